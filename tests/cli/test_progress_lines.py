"""What a user sees of a long build whose stderr is a file."""

from __future__ import annotations

import re
import subprocess
import sys

from processes import environment

from recipes import write_recipe
from segue.bank.bank import PassageBank

ENCODER = '''
import time
from pathlib import Path
from fake_encoder import HashEncoder

class Slow(HashEncoder):
    """Encodes a few texts at once; many only after the next line of progress is in the file."""

    def __init__(self, log):
        super().__init__()
        self.log = Path(log)

    def encode(self, texts, *, progress=lambda *_: None):
        if len(texts) < 20:
            return super().encode(texts, progress=progress)
        progress(1, len(texts), "passages encoded")
        time.sleep(0.01)
        progress(10, len(texts), "passages encoded")
        for _ in range(3000):
            if ": 10 of" in self.log.read_text():
                break
            time.sleep(0.1)
        return super().encode(texts, progress=progress)
'''

SEGUE = """
from segue.cli.main import main
from segue.progress import Lines

Lines.__init__.__defaults__ = (1.0,)  # seconds between two lines: a test need not wait for ten
main()
"""


def test_a_build_shows_how_much_of_all_is_done_and_the_time_left(tmp_path):
    log, texts = tmp_path / "log", tmp_path / "texts"
    texts.mkdir()
    (tmp_path / "slow_encoder.py").write_text(ENCODER, encoding="utf-8")
    for number in range(5):
        text = "\n\n".join(f"Sentence {place} of the text {number} says something new." for place in range(8))
        (texts / f"{number}.txt").write_text(text, encoding="utf-8")
    recipe = write_recipe(
        tmp_path, corpus={"kind": "folder", "path": str(texts)},
        passages={"target_characters": 60, "minimum_characters": 20},
        encoder={"name": "slow_encoder:Slow", "options": {"log": str(log)}},
    )  # fmt: skip
    build = [sys.executable, "-c", SEGUE, "bank", "build", str(recipe)]
    with log.open("w") as stderr, (tmp_path / "out").open("w") as stdout:
        subprocess.run(build, cwd=tmp_path, env=environment(), stdout=stdout, stderr=stderr, check=True)
    said = log.read_text().splitlines()
    assert len(PassageBank.open(tmp_path / "bank")) == 40
    moved = [line for line in said if "10 of" in line]
    left = r"Reading and encoding: 10 of 40,( \d+ a second,)? passages encoded, .* so far, about .* left"
    assert re.fullmatch(left, moved[0]), said
    assert said[0] == "Reading and encoding"
    assert re.fullmatch(r"Reading and encoding: done in .*", said[-1])
