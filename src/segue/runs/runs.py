"""A folder of runs: their names, their results, and the answers of each entry to its test windows.

Reads what ``segue triage`` and ``segue evaluate`` wrote. Summaries are in the public form: what an integrity check
blocks is null. The only write is a line in the run's log of test evaluations, ``looks.jsonl``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from segue.bank.bank import PassageBank
from segue.comparison.record import Record, read_record
from segue.errors import InputError
from segue.evaluation.experiment import require_same_bank
from segue.evaluation.result import Evaluation
from segue.files import append_jsonl, read_json
from segue.old_names import option_folder
from segue.reports import public_json
from segue.runs.bank import FRESH, RECIPE, SPLIT, bank_of_run
from segue.storage import is_written, publish, pull
from segue.windows.windows import WindowSettings, make_windows

RECORD, LOOKS = "triage.json", "looks.jsonl"
PLACES = (".", "*", "*/fresh/*", "fresh/*")
"""Patterns of run folders inside a folder of runs, which may be a run itself."""


@dataclass(frozen=True, eq=False)
class EntryAnswers:
    """Answers of one entry of a run to its test windows, fold after fold.

    Attributes:
        option: name of the entry.
        exclude: which passages left the candidates.
        pool_size: number of candidates.
        context: rows that were read, -1 in front.
        targets: row of the passage that came next.
        groups: near-duplicate group of each window's document.
        ranks: rank of each target.
        rankings: rows answered, best first, -1 where empty.
        cosine: cosine of the prediction and the target; None without predictions.
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
    """One run, read lazily.

    Args:
        name: its path below the folder of runs.
        path: its folder.
        bank: its bank, where it is open already; else it is opened from where the run recorded it.
    """

    def __init__(self, name: str, path: Path, bank: PassageBank | None = None) -> None:
        self.name, self.path, self._given = name, path, bank
        self._answers: dict[str, EntryAnswers] = {}

    @cached_property
    def record(self) -> Record:
        """The content of ``triage.json``."""
        return read_record(self.path / RECORD)

    def summary(self) -> Mapping[str, object]:
        """Return what a list of runs shows: all entries, in the public form."""
        about = {"title", "created", "folds", "context", "exclude", "fresh"}
        return {
            **public_json(self.record),
            **self.record.model_dump(mode="json", include=about),
            "corpus": self.record.corpus.model_dump(mode="json", include={"kind", "name", "documents", "passages"}),
            "name": self.name,
            "same": self._queries_hash(),
            "report": (self.path / "report.html").is_file(),
        }

    def _queries_hash(self) -> str:
        """Return a short hash of bank, split and windows: entries of runs that share it answered the same queries."""
        split = read_json(self.path / SPLIT) if (self.path / SPLIT).exists() else {"run": self.name}
        parts = [split, self.record.pool, self.record.windows, self.record.context, self.record.exclude]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:8]

    @cached_property
    def bank(self) -> PassageBank:
        """The run's bank.

        Raises:
            InputError: it was moved, or has changed since.
        """
        if self._given is not None:
            return self._given
        if (self.path / FRESH).exists():  # documents were added to a copy of the bank
            bank = PassageBank.open(self.path / "bank")
            require_same_bank(bank, self.path / SPLIT)
            return bank
        return bank_of_run(self.path)

    def answers(self, option: str) -> EntryAnswers:
        """Return how an entry answered; the first time, this is logged as a test evaluation.

        Raises:
            InputError: the run does not have this entry, or its answers cannot be read.
            StorageError: the log cannot be written.
        """
        if option not in self._answers:
            found = self._read(option)
            now = datetime.now(UTC).isoformat(timespec="seconds")
            append_jsonl(self.path / LOOKS, {"time": now, "option": option, "for": "reading failures"})
            if not is_written(self.path):  # who writes there uploads it
                publish(self.path / LOOKS)
            self._answers[option] = found
        return self._answers[option]

    def _read(self, option: str) -> EntryAnswers:
        if self.record.entry(option) is None or Path(option).name != option:
            raise InputError(f"the run {self.name} does not have this entry", got=repr(option[:80]))
        folders = sorted(
            option_folder(self.path / "options", option).glob("fold-*"), key=lambda path: int(path.name[5:])
        )
        folds = [Evaluation.load(path / "evaluation") for path in folders if (path / "evaluation").is_dir()]
        if not folds:
            raise InputError(f"the entry {option} of the run {self.name} was not evaluated", fix="choose another entry")
        return join(folds, self._contexts(np.concatenate([fold.targets for fold in folds])))

    def _contexts(self, targets: Int[np.ndarray, "window"]) -> Int[np.ndarray, "window context"]:
        """Return what was read before each target."""
        bank = self.bank
        settings = WindowSettings.model_validate(read_json(self.path / RECIPE)["windows"])
        windows = make_windows(bank, np.unique(bank.document_of[targets]).astype(np.int64), settings)
        order = np.argsort(windows.target, kind="stable")
        places = np.minimum(np.searchsorted(windows.target[order], targets), len(order) - 1)
        if not np.array_equal(windows.target[order][places], targets):
            raise InputError(
                f"the windows of the run {self.name} are not its bank's",
                fix="restore the bank that the run was made on",
            )
        found: Int[np.ndarray, "window context"] = windows.context[order][places]
        return found

    def by_option(self, names: tuple[str, ...]) -> dict[str, EntryAnswers]:
        """Return how some entries answered; those that the run did not measure are left out."""
        measured = {entry.name for entry in self.record.entries if entry.measured}
        return {name: self.answers(name) for name in names if name in measured}


def join(folds: list[Evaluation], context: Int[np.ndarray, "window context"]) -> EntryAnswers:
    """Concatenate the folds of an entry."""
    first = folds[0]
    depth = min(fold.rankings.shape[1] for fold in folds)
    cosines = [fold.cosine for fold in folds if fold.cosine is not None]
    return EntryAnswers(
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
        path = pull(path)
        if not path.is_dir():
            raise InputError("there is no such folder of runs", got=path, fix="name the folder given to --out")
        self.path = path
        self._known: dict[str, tuple[int, Run]] = {}

    def runs(self) -> list[Run]:
        """Return all runs that wrote a record, the newest first."""
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
            raise InputError("there is no such run", got=repr(name[:80]), expected="a name from the list of runs")
        return found

    def summaries(self) -> list[Mapping[str, object]]:
        """Return a summary of every run; one that cannot be read has ``unreadable`` with the reason."""
        found: list[Mapping[str, object]] = []
        for run in self.runs():
            try:
                found.append(run.summary())
            except InputError as error:
                found.append({"name": run.name, "unreadable": str(error)})
        return found
