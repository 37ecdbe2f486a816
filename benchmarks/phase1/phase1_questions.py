"""What form (a) of the replay asks of what: the documents, the questions, the deal over windows, the models.

Enters: a clean job. Leaves: one whose index lacks the documents asked about, and the stored questions about these,
before and after the repair.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Int

from benchmarks.phase1.stored_questions import QuestionReader, StoredQuestions, repair, store_questions
from segue.checks.changed_banks import BankCopy, copy_documents
from segue.comparison.job import Job
from segue.comparison.options import Option, choose_options
from segue.errors import InputError, explain
from segue.evaluation.experiment import Experiment, Fold
from segue.ranking.pool import Pool
from segue.recipe import Recipe
from segue.types import Bank, Split, Windows
from segue.windows.near_duplicates import document_groups
from segue.windows.windows import WindowSettings, make_windows

REPORTED = ("ar-cosine", "infonce-projected")
"""The models of the original report."""
AMN = "amn-baseline"
SHARE_ASKED = 500 / 8970
"""Of the documents: 8471 to 8970 were asked about, 1 to 8470 were indexed."""
FEWEST_ASKED = 16
"""Documents asked about, where their share makes fewer: no sign test can speak about less than twelve."""
CUTOFF = "R@5"


@dataclass(frozen=True)
class AsDone:
    """What form (a) asks of what.

    Attributes:
        job: the index, its random deal over windows, and the models of the report.
        stored: the questions before the repair, with their real next vectors.
        reader: the questions after it.
        clean: the experiment whose bank holds what is asked about too.
        asked: the questions as windows of that bank, with the answers that are really next.
    """

    job: Job
    stored: StoredQuestions
    reader: QuestionReader
    clean: Experiment
    asked: Windows

    @property
    def index(self) -> Bank:
        """The bank without the documents asked about."""
        return self.job.experiment.bank

    @property
    def fold(self) -> Fold:
        """The only fold."""
        return self.job.experiment.folds[0]


def prepare(clean: Job, out: Path, recipe: Recipe, *, keys_per_document: int) -> AsDone:
    """Take the last documents out of the bank, store questions about them, and repair these.

    Args:
        clean: its bank and settings are used.
        out: run folder of this form.
        recipe: of this form.
        keys_per_document: of the placeholder keys.

    Raises:
        InputError: the repair drops every question.
    """
    bank = clean.experiment.bank
    asked = _last_documents(bank)
    index = copy_documents(bank, np.arange(asked[0]))
    windows = make_windows(bank, asked, WindowSettings(context=recipe.windows.context))
    stored = store_questions(bank, windows, keys_per_document=keys_per_document)
    repaired = repair(stored, index)
    if len(repaired) == 0:
        raise InputError(explain("no placeholder key is in the index", got=f"{len(stored)} questions",
                                 fix="use documents of more passages, or fewer keys_per_document"))  # fmt: skip
    reader = QuestionReader(repaired, index)
    job = replace(clean, experiment=_experiment(index, reader, recipe), options=_options(), out=out)
    return AsDone(job, stored, reader, clean.experiment, windows)


def _last_documents(bank: Bank) -> Int[np.ndarray, "asked"]:
    total = len(bank.document_ids)
    count = max(round(SHARE_ASKED * total), min(FEWEST_ASKED, total // 2))
    return np.arange(total - count, total, dtype=np.int64)


def _experiment(index: BankCopy, reader: QuestionReader, recipe: Recipe) -> Experiment:
    documents = np.arange(len(index.document_ids), dtype=np.int64)
    train, validation = _dealt_at_random(
        make_windows(index, documents, recipe.windows), recipe.split.validation, seed=recipe.split.seed
    )
    asked = np.unique(index.document_of[reader.windows.target]).astype(np.int64)
    fold = Fold(Split(documents, documents, asked), train, validation, reader.windows)
    groups = document_groups(index, recipe.split.near_duplicates)
    return Experiment(index, Pool(index), (fold,), groups, recipe.windows.context)


def _dealt_at_random(windows: Windows, share: float, *, seed: int) -> tuple[Windows, Windows]:
    """Deal overlapping windows, not documents, to training and validation."""
    order = np.random.default_rng(seed).permutation(len(windows))
    cut = round(share * len(windows))
    return windows.take(np.sort(order[cut:])), windows.take(np.sort(order[:cut]))


def _options() -> tuple[Option, ...]:
    """Return the report's models as it presented them: the projected one without a word about its space."""
    models = [replace(option, intent="candidate") for option in choose_options(REPORTED) if option.name in REPORTED]
    amn = Option(AMN, "baseline", "the true vectors as queries, called a model", "What was the baseline's 100 %?")
    return (amn, *models)
