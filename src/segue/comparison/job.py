"""A comparison: a recipe bound to a bank and a run folder; and the result of one option on one fold."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import numpy as np
from jaxtyping import Float, Int

from segue.comparison.options import Option, Reranking
from segue.comparison.settings import ComparisonSettings
from segue.encoders import Encoder
from segue.errors import InputError, StorageError
from segue.evaluation.evaluate import Evaluation
from segue.evaluation.experiment import Experiment, Fold
from segue.files import file_sha256, hashes_of, read_json, read_npz, require_hashes, run_sha256, write_json, write_npz
from segue.old_names import option_folder
from segue.retrieval.rerank.features import PIECES, Group
from segue.training.losses.loss import LOSSES, LossSettings
from segue.types import Windows


@dataclass(frozen=True)
class Job:
    """A comparison to run or to read back.

    Attributes:
        recipe: the settings.
        experiment: bank, folds, groups of near-duplicates.
        options: what is compared, in reading order.
        load_encoder: loads the bank's encoder, for options that encode text.
        out: the run folder.
        losses: the presets that options name; tuning changes a temperature in them.
    """

    recipe: ComparisonSettings
    experiment: Experiment
    options: tuple[Option, ...]
    load_encoder: Callable[[], Encoder]
    out: Path
    losses: Mapping[str, LossSettings] = field(default_factory=lambda: LOSSES)

    @property
    def searched(self) -> tuple[Option, ...]:
        """The options that take part and whose settings are tuned."""
        return tuple(option for option in self.options if option.name in self.recipe.tuning.options)

    @property
    def pieces(self) -> list[Group]:
        """Pieces of passages that a fitted reranker reads, each of which takes as long to encode as the bank."""
        fitted = any(option.reranks is not None and option.reranks.order == "fitted" for option in self.options)
        return [group for group in PIECES if fitted and group in self.recipe.rerank.features]

    def sources(self, reranking: Reranking) -> dict[str, int]:
        """Return what draws candidates besides the first stage, and how many; words only where the bank has texts."""
        settings, texts = self.recipe.rerank, self.experiment.bank.has_texts
        wanted = settings.words if reranking.order == "fitted" else dict.fromkeys(reranking.sources, settings.alone)
        return {name: count for name, count in wanted.items() if count and (texts or not name.startswith("bm25"))}

    def with_tables(self, **tables: object) -> Job:
        """Return the job with other tables of its recipe, by name: ``job.with_tables(training=...)``."""
        return replace(self, recipe=self.recipe.model_copy(update=tables))

    def seed(self, fold: Fold) -> int:
        """Return the seed of everything that is trained or drawn on a fold."""
        return self.recipe.training.seed + fold.number

    def loss_settings(self, name: str | None) -> LossSettings:
        """Return a loss preset by name, of version 0.1 too; None and ``recipe`` are the recipe's own loss."""
        if name is None or name == "recipe":
            return self.recipe.loss
        if name in self.recipe.losses and name not in self.losses:
            return self.recipe.losses[name]
        return self.losses[name.replace("infonce-0.85-ar-0.15", "infonce-ar")]

    def folder(self, option: Option, fold: Fold) -> Path:
        """Return the folder of one option on one fold."""
        return option_folder(self.out / "options", option.name) / f"fold-{fold.number}"

    def validation_windows(self, fold: Fold) -> Windows:
        """Return the validation windows that choices are made on, evenly spread, at most ``validation_windows``."""
        most = self.recipe.triage.validation_windows
        return fold.validation if most is None else spread(fold.validation, most)


def spread(windows: Windows, most: int) -> Windows:
    """Return at most ``most`` windows, evenly spread."""
    if len(windows) <= most:
        return windows
    return windows.take(np.linspace(0, len(windows) - 1, most).round().astype(np.int64))


class FoldTraining(TypedDict):
    """Record of training one option on one fold: ``training.json``, and part of ``result.json``.

    ``loss_name`` is the preset, ``loss`` its description. ``curve`` has a point for each evaluation: step, loss and
    validation metrics. ``reranker`` describes how a reranker was fitted. ``own_loop``: it was trained outside Segue.
    Text options have no document tower and no number of parameters.
    """

    model: str
    size: str
    anchor: bool
    documents: NotRequired[str]
    parameters: int | None
    loss_name: str | None
    loss: str
    batch_size: int
    seed: int
    planned_steps: int
    steps: int
    best_step: int
    seconds: float
    under_trained: bool
    curve: Sequence[Mapping[str, Any]]
    precision: NotRequired[str]
    compatibility: NotRequired[Mapping[str, Mapping[str, float | None]]]
    reranker: NotRequired[Mapping[str, Any]]
    own_loop: NotRequired[bool]


TIMINGS, VALIDATION = "timings.npz", "validation.npz"
"""Files of the answer times and of the validation ranks of an option on a fold."""
EVALUATION_FILES = ("evaluation/evaluation.json", "evaluation/arrays.npz")
RESULT = "result"
"""Name, among the arrays of the timings, of their hash, which includes the result and the split they belong to."""
FINISHED = ("done", "under-trained")
"""Statuses of a result that has numbers and is kept."""


@dataclass(frozen=True)
class FoldResult:
    """Result of one option on one fold.

    Attributes:
        status: ``done``, ``under-trained``, ``skipped``, ``aborted`` or ``failed``.
        reason: why it is not done.
        validation: metrics on the fold's validation documents.
        training: the record of its training, if any.
        evaluation: the test evaluation, if any.
        validation_ranks: rank of each validation window; None in runs of version 0.1.
    """

    status: str
    reason: str | None = None
    validation: Mapping[str, float] | None = None
    training: FoldTraining | None = None
    evaluation: Evaluation | None = None
    validation_ranks: Int[np.ndarray, "window"] | None = None

    def save(self, folder: Path) -> None:
        """Write the result; ``result.json`` comes last, so that its presence means that the rest is complete.

        Timings come later, to a file of their own.
        """
        if self.evaluation is not None:
            self.evaluation.save(folder / "evaluation")
        if self.validation_ranks is not None:
            write_npz(folder / VALIDATION, {"ranks": self.validation_ranks.astype(np.int32)})
        record = {key: getattr(self, key) for key in ("status", "reason", "validation", "training")}
        files = hashes_of(folder, (VALIDATION, *EVALUATION_FILES) if self.evaluation is not None else (VALIDATION,))
        write_json(folder / "result.json", {**record, "files": files})

    @classmethod
    def load(cls, folder: Path) -> FoldResult:
        """Read a result back.

        Raises:
            InputError: a file is missing or broken.
        """
        evaluated, timed = folder / "evaluation", folder / TIMINGS
        try:
            record = read_json(folder / "result.json")
            require_hashes(folder, record.pop("files", None), fix="delete result.json there and run again")
            evaluation = Evaluation.load(evaluated) if evaluated.exists() or record["status"] in FINISHED else None
            if evaluation is not None and timed.exists():
                evaluation = evaluation.timed(_read_timings(timed))
            ranks = read_npz(folder / VALIDATION)["ranks"] if (folder / VALIDATION).exists() else None
            return cls(**record, evaluation=evaluation, validation_ranks=ranks)
        except (InputError, StorageError, KeyError, TypeError, ValueError, AttributeError) as error:
            fix = "delete that result.json and run again; the trained model is kept"
            what = f"{folder / 'result.json'} cannot be read back"
            raise InputError(what, got=str(error).rstrip("."), fix=fix) from error

    def timed(self, timings: Mapping[str, Float[np.ndarray, "query"]], folder: Path) -> FoldResult:
        """Return the result with the milliseconds of timed queries, by stage, and keep them in the folder."""
        assert self.evaluation is not None, "only what was evaluated is timed"
        write_npz(folder / TIMINGS, {**timings, RESULT: np.array(_sha256_of(folder, timings))})
        return replace(self, evaluation=self.evaluation.timed(timings))


def _sha256_of(folder: Path, timings: Mapping[str, np.ndarray]) -> str:
    """Return the hash of timings with the result and the split that they belong to."""
    result = folder / "result.json"
    digest = hashlib.sha256(f"{file_sha256(result) if result.is_file() else ''} {run_sha256(result)}".encode())
    for name, samples in sorted(timings.items()):
        digest.update(f"{name} {samples.dtype} {samples.shape}".encode() + np.ascontiguousarray(samples).tobytes())
    return digest.hexdigest()


def _read_timings(path: Path) -> dict[str, np.ndarray]:
    """Read the timings of a result.

    Raises:
        InputError: the file is broken.
        StorageError: they are another result's.
    """
    timings = read_npz(path)
    known = timings.pop(RESULT, None)
    if known is not None and str(known) != _sha256_of(path.parent, timings):
        raise StorageError(f"{path} holds the times of another result", fix="delete it and run again")
    return timings


Results = dict[str, list[FoldResult]]
"""Results by option name, one for each fold in order."""


def finished_results(job: Job) -> Results:
    """Return the results on disk of the options that have one for every fold."""
    results: Results = {}
    for option in job.options:
        folders = [job.folder(option, fold) for fold in job.experiment.folds]
        if all((folder / "result.json").exists() for folder in folders):
            results[option.name] = [FoldResult.load(folder) for folder in folders]
    return results
