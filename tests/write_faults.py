"""Commands that write, each on small data, with a fault at any of their writes; afterwards they are run again.

``python -m benchmarks.write_faults`` does all of it; ``tests/test_write_faults.py`` a part.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import worlds
from faulty_disk import Killed, faulty
from safetensors.torch import load_file

import segue
from recipes import write_recipe
from segue.bundles.store import list_bundles, promote, rollback
from segue.errors import SegueError
from segue.files import read_json, read_npz

CLOCKED = re.compile(
    "latency|created|time|timings|steps_per_second|machine|.*seconds|.*_ms|effort|chosen|confirmed_recall"
)
"""Keys of records that a clock decides; the quickest effort of an index is one."""
UNCOMPARED = {
    "report.html",
    "report.md",
    "report.json",
    "timings.npz",
    ".lock",
    "triage.json",
    "README.md",
    "manifest.sha256",
}
"""Files with the date or times in their text; ``triage.json`` is compared by what it says of the options."""


ANOTHER_PROCESS = 2**22 + 1
"""A number that no process has."""


@dataclass(frozen=True)
class Command:
    """A command, and what has to be there before it.

    Attributes:
        name: as on the command line.
        run: does it in a folder.
        needs: commands that were run before, undisturbed.
    """

    name: str
    run: Callable[[Path], object]
    needs: tuple[str, ...] = ()


def recipe_of(folder: Path) -> Path:
    """Write the corpus and the recipe of all commands, always the same bytes."""
    texts, _ = worlds.essay_texts_and_vectors(documents=24, length=9)
    write_texts(folder / "essays.jsonl", texts)
    write_texts(folder / "more.jsonl", [[f"{text} Again" for text in some] for some in texts[:3]], first=100)
    return write_recipe(
        folder,
        corpus={"kind": "jsonl", "path": str(folder / "essays.jsonl")},
        bank={"path": str(folder / "bank"), "shard_passages": 100},
        encoder={"name": "fake_encoder:HashEncoder", "options": {"dimension": 16}},
        triage={"options": ["infonce", "rerank"], "budget_minutes": 3},
        training={"batch_size": 32, "steps": 6, "evaluations": 2, "precision": "float32"},
        rerank={"lists": 40, "first": 10, "bm25": 5, "bm25_context": 0,
                "lambdamart": {"rounds": 3, "leaves": 4, "least_in_leaf": 5}},
        evaluation={"resamples": 100, "latency_queries": 2, "run_depth": 5},
        compute={"processes": 1},
    )  # fmt: skip


def write_texts(path: Path, texts: list[list[str]], *, first: int = 0) -> None:
    lines = [
        {"id": f"essay-{first + n}", "paragraphs": [f"W {text}." for text in some]} for n, some in enumerate(texts)
    ]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")


def _add(at: Path) -> object:
    return segue.add_to_bank(at / "bank", at / "more.jsonl")


def _update(at: Path) -> object:
    texts, _ = worlds.essay_texts_and_vectors(documents=24, length=9)
    write_texts(at / "essays.jsonl", [[*texts[0][:-1], "another end"], *texts[1:20]])
    return segue.update_bank(at / "recipe.toml", remove_gone=True)


def _promote(at: Path) -> object:
    return promote(at / "second" if (at / "second").exists() else at / "bundle", at / "bundles")


COMMANDS = {
    one.name: one
    for one in (
        Command("bank build", lambda at: segue.build_bank(at / "recipe.toml")),
        Command("bank add", _add, ("bank build",)),
        Command("bank update", _update, ("bank build",)),
        Command("bank remove", lambda at: segue.remove_from_bank(at / "bank", ["essay-1", "essay-2"]), ("bank build",)),
        Command("train", lambda at: segue.train(at / "recipe.toml", out=at / "trained"), ("bank build",)),
        Command("triage", lambda at: segue.triage(at / "recipe.toml", out=at / "run"), ("bank build",)),
        Command("report", lambda at: segue.report(at / "run", unsafe=True), ("bank build", "triage")),
        Command("index build", lambda at: segue.index_bank(at / "bank", at / "index", kind="graph"), ("bank build",)),
        Command("index tune", lambda at: segue.tune_index(at / "index", at / "bank", queries=at / "queries.npy",
                                                          target=0.5, k=5), ("bank build", "index build")),
        Command("bundle build", lambda at: segue.bundle(at / "run", at / "bundle", option="rerank", unsafe=True),
                ("bank build", "triage")),
        Command("bundle promote", _promote, ("bank build", "triage", "bundle build")),
        Command("bundle rollback", lambda at: rollback(at / "bundles", (at / "first").read_text()),
                ("bank build", "triage", "bundle build", "bundle promote", "second")),
    )
}  # fmt: skip


def _second(at: Path) -> None:
    """Promote another bundle, so that there is one to go back to."""
    (at / "first").write_text(list_bundles(at / "bundles")[0].version)
    segue.bundle(at / "run", at / "second", option="copy-last", unsafe=True)
    _promote(at)


def prepare(command: Command, folder: Path, kept: Path) -> None:
    """Write the corpus, and run what the command needs; other commands of the folder take copies from ``kept``."""
    for number in range(len(command.needs) + 1):
        copy = kept / " ".join(["corpus", *command.needs[:number]]).replace(" ", "-")
        if copy.exists():
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(copy, folder)
            continue
        if number == 0:
            folder.mkdir(parents=True)
            recipe_of(folder)
            queries = np.random.default_rng(1).normal(size=(60, 16)).astype(np.float32)
            np.save(folder / "queries.npy", worlds.unit(queries))
        else:
            name = command.needs[number - 1]
            _second(folder) if name == "second" else COMMANDS[name].run(folder)
        shutil.copytree(folder, copy)


@dataclass(frozen=True)
class Cell:
    """What came of one fault.

    Attributes:
        command, kind, at: which fault.
        outcome: ``passed`` (the fault did not matter), ``refused`` (one clear error), ``killed``; any other word is a
            fault of Segue: how the command ended, or what differs after it was run again.
    """

    command: str
    kind: str
    at: int
    outcome: str

    @property
    def fine(self) -> bool:
        return self.outcome in ("passed", "refused", "killed")


class Sweep:
    """Faults in one command. All cells use the same path, so that recorded paths do not differ.

    Args:
        command: which.
        folder: has room for copies of its files, which other sweeps in it share.
    """

    def __init__(self, command: Command, folder: Path) -> None:
        self.command, self.before, self.place = command, folder / "before", folder / "at"
        for old in (self.before, self.place):
            shutil.rmtree(old, ignore_errors=True)
        prepare(command, self.place, folder / "kept")
        self.place.rename(self.before)
        self._restore()
        with faulty() as disk:
            command.run(self.place)
            self.operations = disk.count
        self.expected = contents(self.place)

    def _restore(self) -> None:
        shutil.rmtree(self.place, ignore_errors=True)
        shutil.copytree(self.before, self.place)

    def cell(self, kind: str, at: int) -> Cell:
        """Let operation ``at`` fail, then run the command again without a fault, and compare."""
        self._restore()
        outcome = "passed"
        try:
            with faulty(kind, at), patch.object(os, "getpid", lambda: ANOTHER_PROCESS):  # incomplete files are named so
                self.command.run(self.place)
        except Killed:
            outcome = "killed"
        except SegueError:
            outcome = "refused"
        except Exception as error:
            outcome = f"{type(error).__name__}: {error}"
        return Cell(self.command.name, kind, at, outcome if outcome not in FINE else self._again(outcome))

    def _again(self, outcome: str) -> str:
        try:
            self.command.run(self.place)
        except SegueError as error:
            if "already exists" not in str(error):  # it was done before the fault
                return f"then refused: {error}"
        except Exception as error:
            return f"then {type(error).__name__}: {error}"
        found = contents(self.place)
        differs = sorted(name for name in self.expected.keys() | found.keys()
                         if self.expected.get(name) != found.get(name))  # fmt: skip
        return f"then differs: {', '.join(differs[:4])}" if differs else outcome


FINE = ("passed", "refused", "killed")


def contents(folder: Path) -> dict[str, str]:
    """Return a digest of every file, without what a clock decides; incomplete files (``.….part``) are among them."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and path.name not in UNCOMPARED:
            found[name] = hashlib.sha256(_comparable(path)).hexdigest()
    return found


def _comparable(path: Path) -> bytes:
    if path.suffix == ".json":
        record = _timeless(read_json(path))
        if path.name != "manifest.json":  # hashes of files that are compared themselves, of which some hold times
            record = {key: value for key, value in record.items() if key not in ("files", "of")}
        for dated in ("README.md", "bundle.json") if path.name == "manifest.json" else ():
            record.get("files", {}).pop(dated, None)
        return json.dumps(record, sort_keys=True).encode()
    if path.suffix == ".jsonl":
        log = path.name == "looks.jsonl"  # a command that was killed has looked, maybe half written so, and looks again
        lines = path.read_text().splitlines()
        lines = [json.dumps(_timeless(json.loads(line))) for line in lines if not log or _is_json(line)]
        if log:
            lines = sorted(set(lines))
        return "\n".join(lines).encode()
    if path.suffix == ".npz":
        arrays = {key: value for key, value in read_npz(path).items() if "timings" not in key}
        return b"".join(key.encode() + value.tobytes() for key, value in sorted(arrays.items()))
    if path.suffix == ".safetensors":
        return b"".join(key.encode() + value.numpy().tobytes() for key, value in sorted(load_file(path).items()))
    return path.read_bytes()


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(inner) for key, inner in value.items() if not CLOCKED.fullmatch(key)}
    return [_timeless(inner) for inner in value] if isinstance(value, list) else value


def places(operations: int, count: int, *, seed: int) -> Iterator[int]:
    """Yield ``count`` operations, or all of them where there are fewer: evenly spread, from a place by the seed."""
    step = max(1.0, operations / count)
    start = np.random.default_rng(seed).random() * step
    yield from sorted({min(operations, 1 + int(start + n * step)) for n in range(min(count, operations))})
