"""A folder of runs, read for people: which there are, what each came to, how each answered its test windows.

Enters: a folder in which ``segue triage`` or ``segue evaluate`` left runs. Leaves: summaries in the public form (what
an integrity check blocks is null there too), and the answers of one row of a run, all folds one after the other.
Nothing is computed again, and nothing is written but a line in the run's log of looks at test documents.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from segue.old_names import option_folder
from segue.bank.bank import PassageBank
from segue.comparison.record import Record, read_record
from segue.windows.windows import WindowSettings, make_windows
from segue.errors import InputError, explain
from segue.evaluation.experiment import require_same_bank
from segue.evaluation.result import Evaluation
from segue.reports import public_json
from segue.files import append_jsonl, read_json

RECORD, RECIPE, SPLIT, LOOKS = "triage.json", "recipe.json", "split.json", "looks.jsonl"
PLACES = (".", "*", "*/fresh/*", "fresh/*")
"""Where runs lie in a folder: it may be one itself."""


@dataclass(frozen=True, eq=False)
class Answered:
    """How one row of a run answered all of its test windows.

    Attributes:
        option: the row.
        exclude: which passages left the candidates.
        pool_size: candidates.
        context: rows that were read, -1 in front.
        targets: row of the passage that came next.
        groups: near-duplicate group of each window's document.
        ranks: of the targets.
        rankings: rows answered, best first, -1 where empty.
        cosine: of the prediction and the true vector; None without predictions.
    """

    option: str
    exclude: str
    pool_size: int
    context: Int[np.ndarray, "window context"]
    targets: Int[np.ndarray, "window"]
    groups: Int[np.ndarray, "window"]
    ranks: Int[np.ndarray, "window"]
    rankings: Int[np.ndarray, "window depth"]
    cosine: Float[np.ndarray, "window"] | None

    def __len__(self) -> int:
        return len(self.targets)


class Run:
    """One run, read when it is asked for.

    Args:
        name: where it lies in the folder of runs.
        path: its folder.
    """

    def __init__(self, name: str, path: Path) -> None:
        self.name, self.path = name, path
        self._answered: dict[str, Answered] = {}

    @cached_property
    def record(self) -> Record:
        """The content of ``triage.json``."""
        return read_record(self.path / RECORD)

    @property
    def refused(self) -> bool:
        """Whether an integrity check forbids its numbers."""
        return self.record.refused

    def summary(self) -> dict[str, Any]:
        """Return what a list of runs shows: all rows, in the public form."""
        record = self.record
        about = record.model_dump(mode="json", include={
            "title": True, "created": True, "folds": True, "context": True, "exclude": True, "fresh": True,
            "corpus": {"kind", "name", "documents", "passages"}})  # fmt: skip
        own = {"name": self.name, "same": self._questions(), "report": (self.path / "report.html").is_file()}
        return {**public_json(record), **about, **own, "run": None}

    def _questions(self) -> str:
        """Return a short name of bank, split and windows: rows of runs that share it answered the same questions."""
        split = read_json(self.path / SPLIT) if (self.path / SPLIT).exists() else {"run": self.name}
        record = self.record
        asked = [split, record.pool, record.windows, record.context, record.exclude]
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:8]

    @cached_property
    def bank(self) -> PassageBank:
        """The run's bank.

        Raises:
            InputError: it is not where the run left it, or has changed since.
        """
        recorded = Path(str(read_json(self.path / RECIPE)["bank"]["path"]))
        beside = [self.path / "bank", self.path.parent / "bank"]
        places = [self.path / "bank"] if (self.path / "corpus.json").exists() else [recorded, *beside]
        place = next((place for place in places if (place / "manifest.json").is_file()), None)
        if place is None:
            raise InputError(explain(f"the bank of the run {self.name} is not there", got=f"no bank at {recorded}",
                                     fix="start the server from the folder that the run was made in"))  # fmt: skip
        bank = PassageBank.open(place)
        require_same_bank(bank, self.path / SPLIT)
        return bank

    def answered(self, option: str) -> Answered:
        """Return how a row answered; the look at test documents is logged the first time.

        Raises:
            InputError: the run has no such row, or its answers cannot be read.
            StorageError: the look cannot be logged.
        """
        if option not in self._answered:
            found = self._read(option)
            now = datetime.now(UTC).isoformat(timespec="seconds")
            append_jsonl(self.path / LOOKS, {"time": now, "option": option, "for": "reading failures"})
            self._answered[option] = found
        return self._answered[option]

    def _read(self, option: str) -> Answered:
        if self.record.entry(option) is None:
            raise InputError(explain(f"the run {self.name} has no such row", got=repr(option[:80])))
        folders = sorted(option_folder(self.path / "options", option).glob("fold-*"), key=lambda path: int(path.name[5:]))
        folds = [Evaluation.load(path / "evaluation") for path in folders if (path / "evaluation").is_dir()]
        if not folds:
            raise InputError(explain(f"the row {option} of the run {self.name} was not evaluated",
                                     fix="choose another row"))  # fmt: skip
        return join(folds, self._contexts(np.concatenate([fold.targets for fold in folds])))

    def _contexts(self, targets: Int[np.ndarray, "window"]) -> Int[np.ndarray, "window context"]:
        """Return what was read before each target."""
        bank = self.bank
        settings = WindowSettings.model_validate(read_json(self.path / RECIPE)["windows"])
        windows = make_windows(bank, np.unique(bank.document_of[targets]).astype(np.int64), settings)
        order = np.argsort(windows.target, kind="stable")
        places = np.minimum(np.searchsorted(windows.target[order], targets), len(order) - 1)
        if not np.array_equal(windows.target[order][places], targets):
            raise InputError(explain(f"the windows of the run {self.name} are not its bank's",
                                     fix="restore the bank that the run was made on"))  # fmt: skip
        found: Int[np.ndarray, "window context"] = windows.context[order][places]
        return found

    def by_option(self, names: tuple[str, ...]) -> dict[str, Answered]:
        """Return how some rows answered, as far as the run has them."""
        there = {entry.name for entry in self.record.entries if entry.measured}
        return {name: self.answered(name) for name in names if name in there}


def join(folds: list[Evaluation], context: Int[np.ndarray, "window context"]) -> Answered:
    """Put the folds of a row one after the other."""
    first = folds[0]
    depth = min(fold.rankings.shape[1] for fold in folds)
    cosines = [fold.cosine for fold in folds if fold.cosine is not None]
    return Answered(
        first.name, first.exclude, first.pool_size, context,
        np.concatenate([fold.targets for fold in folds]).astype(np.int64),
        np.concatenate([fold.groups for fold in folds]).astype(np.int64),
        np.concatenate([fold.ranks for fold in folds]).astype(np.int64),
        np.concatenate([fold.rankings[:, :depth] for fold in folds]).astype(np.int64),
        np.concatenate(cosines).astype(np.float64) if len(cosines) == len(folds) else None,
    )  # fmt: skip


class RunsFolder:
    """The runs of a folder, read again when their records change.

    Args:
        path: a folder of runs, or a run.

    Raises:
        InputError: there is no such folder.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_dir():
            raise InputError(
                explain("there is no such folder of runs", got=path, fix="name the folder given to --out")
            )
        self.path = path
        self._known: dict[str, tuple[int, Run]] = {}

    def runs(self) -> list[Run]:
        """Return all runs that have come to a comparison, the newest first."""
        places = {found for pattern in PLACES for found in self.path.glob(f"{pattern}/{RECORD}")}
        names = {found.parent.relative_to(self.path).as_posix(): found for found in places}
        dated = {name: record.stat().st_mtime_ns for name, record in names.items()}
        for name, time in dated.items():
            if self._known.get(name, (0,))[0] != time:
                self._known[name] = (time, Run(name, names[name].parent))
        self._known = {name: known for name, known in self._known.items() if name in names}
        return [self._known[name][1] for name in sorted(names, key=lambda name: (-dated[name], name))]

    def run(self, name: str) -> Run:
        """Return a run by its name.

        Raises:
            InputError: there is none.
        """
        found = next((run for run in self.runs() if run.name == name), None)
        if found is None:
            raise InputError(
                explain("there is no such run", got=repr(name[:80]), expected="a name from the list of runs")
            )
        return found

    def summaries(self) -> list[dict[str, Any]]:
        """Return a summary of every run; one that cannot be read says so."""
        return [_summary(run) for run in self.runs()]


def _summary(run: Run) -> dict[str, Any]:
    try:
        return run.summary()
    except InputError as error:
        return {"name": run.name, "unreadable": str(error)}
