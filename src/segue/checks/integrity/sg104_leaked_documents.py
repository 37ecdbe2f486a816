"""SG104: was anything that is evaluated trained on?

Enters: the lists of training documents that checkpoints carry, and the folds' own split for what was fitted without a
checkpoint. Leaves: which evaluation documents, passages and near-duplicates stand in them. The lists are compared by
hash, so each comparison says how many of a list's documents the bank holds: hashes of another kind would find nothing,
and nothing is what a clean split finds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from segue.checks.case import Case, CaseEntry
from segue.checks.check import Check, Verdict
from segue.checks.run import each_entry
from segue.checks.statistics import percent
from segue.evaluation.experiment import Fold
from segue.models import hash_documents

ALLOWED = 0.01
"""Share of the targets that may stand word for word in training: boilerplate does."""
FEWEST = 3
"""Fewer copied targets than this are no issue, whatever their share: one standing phrase of a short test set."""
NEAR = 0.995
"""Cosine from which two passages are near-duplicates."""
ROWS_AT_ONCE = 8192
SPLIT = "the split"

TrainingDocuments = tuple[int, str, frozenset[str]]
"""A row's fold, its name, and the hashes of the documents that its checkpoint lists."""


@dataclass(frozen=True)
class TrainingList:
    """The documents that some rows of a fold were trained on, by hash."""

    fold: Fold
    hashes: frozenset[str]
    rows: tuple[str, ...]


def examine(case: Case) -> Verdict:
    """Compare every list of training documents with what is evaluated on its fold."""
    hashes = hash_documents(case.bank.document_ids)
    carried, error = each_entry([row for row in case.entries if row.trained is not None], _carried)
    found = [one for fold in case.folds for one in _of_fold(case, fold, hashes, carried.values())]
    leaked = max(found, key=lambda one: one["documents_trained_on"] / max(1, one["documents"]))
    copied = max(found, key=lambda one: one["targets_word_for_word"])
    details = {"lists": found}
    if leaked["documents_trained_on"]:
        share = leaked["documents_trained_on"] / leaked["documents"]
        return Verdict("issue", _say_leak(leaked, share), share, 0.0, details)
    share = copied["targets_word_for_word"] / max(1, copied["targets"])
    if share > ALLOWED and copied["targets_word_for_word"] >= FEWEST:
        said = f"No evaluation document was trained on, but {_say_copies(copied)}: {100 * ALLOWED:g} % is allowed."
        return Verdict("issue", said, share, ALLOWED, details)
    if error is not None:
        raise error
    notes = _notes(case, found)
    said = f"{_say_clean(leaked)}; {_say_copies(copied)}{_say_near(case, found)}."
    return Verdict("tip" if notes else "passed", " ".join([said, *notes]), 0.0, 0.0, details)


def _carried(row: CaseEntry) -> TrainingDocuments:
    """Return the training documents that a row's checkpoint lists.

    Raises:
        InputError: the checkpoint cannot be read.
    """
    assert row.trained is not None
    return row.fold, row.name, frozenset(row.trained.config.training_documents)


def _of_fold(
    case: Case, fold: Fold, hashes: Sequence[str], carried: Iterable[TrainingDocuments]
) -> list[dict[str, Any]]:
    """Compare each list of a fold with its evaluation documents and targets."""
    lists = _lists(case, fold, hashes, carried)
    trained = np.array([[digest in known.hashes for digest in hashes] for known in lists])  # [list, document]
    near = _near_targets(case, fold, trained)
    return [_compare(case, known, trained[number]) | near[number] for number, known in enumerate(lists)]


def _lists(case: Case, fold: Fold, hashes: Sequence[str], carried: Iterable[TrainingDocuments]) -> list[TrainingList]:
    """Return the different lists of a fold: its split's, and those that checkpoints carry."""
    windows = case.bank.document_of[fold.train.target].astype(np.int64)
    split = frozenset(hashes[number] for number in np.union1d(fold.split.train, windows))
    rows: dict[frozenset[str], list[str]] = {split: [SPLIT]}
    for number, name, listed in carried:
        if number == fold.number:
            rows.setdefault(listed, []).append(name)
    return [TrainingList(fold, known, tuple(names)) for known, names in rows.items()]


def _compare(case: Case, known: TrainingList, trained: Bool[np.ndarray, "document"]) -> dict[str, Any]:
    """Count evaluation documents and targets that a list holds, exactly and nearly."""
    bank, targets = case.bank, _targets(case, known.fold)
    documents = np.unique(bank.document_of[targets])
    learnt = trained[bank.document_of] & bank.alive
    return {
        "rows": list(known.rows),
        "fold": known.fold.number,
        "listed": len(known.hashes),
        "listed_in_bank": int(trained.sum()),
        **_query_documents(case, known, documents),
        "documents_nearly": _near_documents(case, documents, trained),
        "documents_in_validation": int(np.isin(documents, known.fold.split.validation).sum()),
        "targets": len(targets),
        "targets_word_for_word": int(np.isin(bank.duplicate_group[targets], bank.duplicate_group[learnt]).sum()),
    }


def _targets(case: Case, fold: Fold) -> Int[np.ndarray, "target"]:
    """Return the rows that the fold asks for, and those that its rows were really evaluated on."""
    evaluated = [
        row.evaluation.targets for row in case.entries if row.fold == fold.number and row.evaluation is not None
    ]
    return np.unique(np.concatenate([fold.test.target, *evaluated]))


def _query_documents(case: Case, known: TrainingList, documents: Int[np.ndarray, "asked"]) -> dict[str, int]:
    names = {case.bank.document_ids[number] for number in documents}
    if case.query_documents is not None:
        names |= set(case.query_documents[known.fold.number])
    trained_on = sum(digest in known.hashes for digest in hash_documents(names))
    return {"documents": len(names), "documents_trained_on": trained_on}


def _near_documents(case: Case, documents: Int[np.ndarray, "asked"], trained: Bool[np.ndarray, "document"]) -> int:
    """Count the evaluation documents that were not trained on, but a near-duplicate of which was."""
    if case.groups is None:
        return 0
    fresh = documents[~trained[documents]]
    return int(np.isin(case.groups[fresh], case.groups[trained]).sum())


def _near_targets(case: Case, fold: Fold, trained: Bool[np.ndarray, "list document"]) -> list[dict[str, int]]:
    """Count sampled targets with a vector of cosine ≥ ``NEAR``, but other words, in each list's documents."""
    bank = case.bank
    targets = case.sample(fold, most=max(1, case.effort.windows // len(case.folds))).target
    vectors = _directions(bank.gather(targets))
    learnt = trained[:, bank.document_of] & bank.alive  # [list, bank]
    other_words = np.stack([~np.isin(bank.duplicate_group[targets], bank.duplicate_group[rows]) for rows in learnt])
    found = np.zeros_like(other_words)
    for start, block in bank.blocks(ROWS_AT_ONCE):
        alike = vectors @ _directions(block).T >= NEAR  # [target, row]
        for number, rows in enumerate(learnt[:, start : start + len(block)]):
            found[number] |= alike[:, rows].any(axis=1)
    return [
        {"targets_sampled": len(targets), "targets_nearly": int(count)} for count in (other_words & found).sum(axis=1)
    ]


def _directions(vectors: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "rows dim"]:
    """Return the vectors at length 1; rows that are zero or not finite (SG106) become zero."""
    finite = np.where(np.isfinite(vectors).all(axis=1, keepdims=True), vectors, 0.0)
    return (finite / np.maximum(np.linalg.norm(finite, axis=1, keepdims=True), 1e-12)).astype(np.float32)


def _say_leak(one: dict[str, Any], share: float) -> str:
    return (
        f"{_who(one['rows'])} {one['documents_trained_on']:,} of {one['documents']:,} evaluation documents "
        f"({percent(share)}); {_say_copies(one)}, where a clean split has 0 documents."
    )


def _say_copies(one: dict[str, Any]) -> str:
    share = one["targets_word_for_word"] / max(1, one["targets"])
    return f"{percent(share)} of {one['targets']:,} targets stand word for word in training documents"


def _say_clean(one: dict[str, Any]) -> str:
    return (
        f"None of {one['documents']:,} evaluation documents was trained on (found by the same hashes: "
        f"{one['listed_in_bank']:,} of {one['listed']:,} training documents)"
    )


def _say_near(case: Case, found: Sequence[dict[str, Any]]) -> str:
    """Say which share of the targets has a near-duplicate in training; without texts duplicates are not known."""
    share = max(one["targets_nearly"] / max(1, one["targets_sampled"]) for one in found)
    texts = "" if case.bank.has_texts else " (no texts: by row only)"
    return f"{texts}, {percent(share)} have a passage of cosine ≥ {NEAR} there"


def _who(rows: Sequence[str]) -> str:
    """Say who was trained on something.

    >>> _who(["ar-cosine", "mlp", "gru", "amn"])
    'ar-cosine, mlp and 2 more were trained on'
    >>> _who(["the split"])
    'The split trains on'
    """
    if rows[0] == SPLIT:
        return "The split trains on"
    more = f" and {len(rows) - 2} more" if len(rows) > 2 else ""
    return f"{', '.join(rows[:2])}{more} {'was' if len(rows) == 1 else 'were'} trained on"


def _notes(case: Case, found: Sequence[dict[str, Any]]) -> list[str]:
    """Say what blocks nothing but should be known."""
    most = {key: max(one[key] for one in found) for key in ("documents_nearly", "documents_in_validation")}
    copied, nearly = (max(one[key] for one in found) for key in ("targets_word_for_word", "targets_nearly"))
    silent = [name for one in found if one["listed"] == 0 for name in one["rows"]]
    foreign = [name for one in found if one["listed"] and not one["listed_in_bank"] for name in one["rows"]]
    notes = {
        f"{most['documents_nearly']} evaluation documents have a near-duplicate that was trained on.":
            most["documents_nearly"] > 0,
        f"{most['documents_in_validation']} evaluation documents are validation documents too, on which models were "
        "selected.": most["documents_in_validation"] > 0,
        f"{copied} copied targets are too few to tell standing phrases from a leak.":
            any(one["targets_word_for_word"] > ALLOWED * one["targets"] for one in found),
        f"{nearly} sampled targets are near-duplicates of training passages.":
            any(one["targets_nearly"] > ALLOWED * one["targets_sampled"] for one in found),
        f"{', '.join(silent)}: the checkpoint lists no training documents, so only the split vouches.": bool(silent),
        f"{', '.join(foreign)}: the bank holds none of the listed training documents.": bool(foreign),
    }  # fmt: skip
    return [note for note, said in notes.items() if said]


CHECK = Check(
    code="SG104",
    title="Leaked documents",
    question="Was anything that is evaluated trained on: documents, passages, or near-duplicates of them?",
    detection="Each checkpoint lists the sha256 of its training documents' ids; rows without a checkpoint are held to "
    "their fold's split. A single evaluation document in a list is an issue, and so are targets that stand word for "
    f"word (same normalised text) in training documents, if they are over {100 * ALLOWED:g} % and at least {FEWEST}. "
    "A tip: evaluation documents grouped with a training document (Jaccard similarity of word 5-grams, MinHash; Broder "
    f"1997), over {100 * ALLOWED:g} % of up to 1,000 targets with a training passage of cosine ≥ {NEAR}, "
    "documents that also selected the model, and a checkpoint that lists nothing.",
    why="A model that has read the answers looks good until it meets a new text. In the report this project grew from "
    "91.5 % of the evaluation articles had been trained on, and its numbers could not be told from memory.",
    healthy="0 evaluation documents trained on, 0 % to 1 % of the targets word for word",
    fix="split by document with near-duplicates together, train again, and evaluate on documents that no checkpoint "
    "lists",
    unit="share of evaluation documents (or of targets, where those decide)",
    examine=examine,
    needs=("windows",),
)
