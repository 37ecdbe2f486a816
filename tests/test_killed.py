"""Kills and bad weather at one command; ``python -m benchmarks.kills`` does hundreds of cells at all of them."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from killed import FINE, Cells, Ended
from processes import environment

from segue.files import read_json

ROOT = Path(__file__).resolve().parent.parent
LINE = "segue: terminated; finished work is kept, run the same command to resume\n"


def test_a_command_is_killed_or_meets_bad_weather_and_is_run_again(tmp_path):
    words = ["--cells", "1", "--fresh", "0", "--commands", "bank remove", "--out", str(tmp_path / "cells.jsonl"),
             "--json", str(tmp_path / "found.json")]  # fmt: skip
    ended = subprocess.run([sys.executable, "-m", "benchmarks.kills", *words], cwd=ROOT, env=environment(),
                           capture_output=True, text=True, check=False)  # fmt: skip
    found = read_json(tmp_path / "found.json")
    assert (ended.returncode, found["bad"]) == (0, []), ended.stderr[-2000:]
    assert found["cells"]["kills"] == 9
    assert found["table"]["bank remove"]["kills"]["SIGKILL, at a write"] == {"ended": 1}
    assert found["table"]["bank remove"]["weather"]["no locks"] == {"finished": 1}


@pytest.mark.parametrize(("code", "err", "number", "outcome"), [
    (0, "", 0, "finished"),
    (143, LINE, signal.SIGTERM, "ended"),
    (-9, "", signal.SIGKILL, "ended"),
    (2, "segue: cannot write a.\n", 0, "refused"),
    (143, LINE + LINE, signal.SIGTERM, None),
    (143, "", signal.SIGTERM, None),
    (130, LINE, signal.SIGTERM, None),
    (-15, LINE, signal.SIGTERM, None),
    (2, "", 0, None),
    (1, "MemoryError", 0, None),
    (143, f"Traceback (most recent call last):\n{LINE}", signal.SIGTERM, None),
])  # fmt: skip
def test_only_documented_ends_are_fine(code, err, number, outcome):
    cells = Cells.__new__(Cells)
    cells.code = 0
    found = cells._judged(Ended(code, "", err, 0.0), number)
    assert found == outcome if outcome else found not in FINE
