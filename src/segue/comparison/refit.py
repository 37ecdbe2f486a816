"""Refit: train an option of a finished run again, on all documents.

Input: an option on a fold of a run. Output: a folder like a run's, with the option trained on the training, validation
and test documents together. Nothing is selected again: settings, anchor, decay and penalty, the number and schedule of
steps, of trees and of epochs are those that validation selected in the run. So no number is measured on these weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from segue.comparison.entries.baselines import Baselines
from segue.comparison.entries.option_on_fold import OptionOnFold
from segue.comparison.entries.reranked import CascadeBuilder, model_used, record_model_used
from segue.comparison.entries.trained import read_training, train_option
from segue.comparison.job import Job
from segue.comparison.options import Option
from segue.comparison.tuning import tuned
from segue.errors import InputError
from segue.evaluation.experiment import Fold
from segue.types import Progress, Split, no_progress
from segue.windows.windows import WindowSettings, make_windows

NOTE = (
    "These weights were trained on all documents, test documents included. No number of the report was measured on "
    "them: the numbers are those of the recipe, measured on weights that had not read the test documents."
)


@dataclass(frozen=True)
class Refitted:
    """An option that was trained on all documents.

    Attributes:
        job: a job whose run folder holds it, with one fold.
        fold: that fold: all documents are its training documents; its validation and test windows are the run's.
        facts: how it was trained, for a contract.
    """

    job: Job
    fold: Fold
    facts: Mapping[str, Any]


def refit(
    job: Job, option: Option, fold: Fold, windows: WindowSettings, out: Path, *, progress: Progress = no_progress
) -> Refitted:
    """Train an option on all documents, as it was trained on a fold of a finished run.

    Args:
        job: the run.
        option: a finished option.
        fold: the fold whose selected settings and steps are taken.
        windows: the [windows] table of the run.
        out: an empty folder for what is trained.
        progress: called at every step.

    Raises:
        InputError: the run lacks a file of the option, or it is fine-tuned on text, or was trained in a loop of the
            user's own.
        StorageError: the folder cannot be written.
    """
    bank = job.experiment.bank
    documents = np.unique(bank.document_of[bank.alive]).astype(np.int64)
    split = Split(documents, fold.split.validation, fold.split.test, fold.number)
    whole = replace(fold, split=split, train=make_windows(bank, documents, windows))
    like = job.folder(option, fold)
    training: Mapping[str, Any] = read_training(like) if (like / "training.json").exists() else {}
    if training.get("own_loop") or option.text is not None:
        got = "a fine-tuned text encoder" if option.text is not None else "a training of your own loop"
        raise InputError(f"{option.name} cannot be trained again on all documents", got=got,
                         fix="bundle it as it is, without refitting")  # fmt: skip
    loss = training.get("loss_name")
    own = tuned(job, option, fold, loss=loss)
    own = replace(own, out=out, experiment=replace(job.experiment, folds=(whole,)))
    penalties = (Baselines(job).ridge(fold).alpha,) if option.name == "ridge" else ()
    baselines = Baselines(own, penalties=penalties)
    unit = OptionOnFold(own, option, whole, baselines, loss, training.get("planned_steps", 0), progress, like)
    facts: dict[str, Any] = {"note": NOTE, "documents": len(documents), "steps": training.get("best_step")}
    if option.reranking is not None:
        if option.reuses_model:
            name = model_used(like)
            used = next(one for one in job.options if one.name == name)
            facts["model"] = dict(refit(job, used, fold, windows, out, progress=progress).facts)
            record_model_used(own, option, whole, best=name)
        CascadeBuilder(unit).build()
    elif option.trained:
        train_option(unit)
    else:
        baselines.retriever(option.name, whole)
    return Refitted(own, whole, facts)
