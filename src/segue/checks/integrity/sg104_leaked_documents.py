"""SG104: was anything that is evaluated trained on?

Input: the lists of training documents that checkpoints carry, and the folds' own split for entries without a
checkpoint. Output: which evaluation documents, passages and near-duplicates are in them. The lists are compared by
hash, so each comparison also counts the listed documents that the bank holds: hashes of another kind would match none,
and so would a clean split.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int
from scipy import sparse

from segue.checks.case import Case, CaseEntry, directions
from segue.checks.check import Check, Judgement, Verdict
from segue.checks.run import each_entry
from segue.checks.statistics import and_more, percent
from segue.evaluation.experiment import Fold
from segue.models import hash_documents

ALLOWED_SHARE = 0.01
"""Share of the targets that may be in a copied run of passages without an issue."""
MINIMUM_COPIES = 3
"""Targets in copied runs below which there is no issue, at any share."""
NEAR_DUPLICATE_COSINE = 0.995
"""Cosine from which two passages are near-duplicates."""
MANY_COPIES = 0.1
"""Share of documents that are near-copies of others from which the corpus should be cleaned."""
SPLIT = "the split"


@dataclass(frozen=True)
class Leak:
    """Overlap of a fold's evaluation documents and targets with one list of training documents.

    Attributes:
        rows: names of the entries with this list.
        listed_in_bank: listed documents that the bank holds.
        documents_nearly: evaluation documents not trained on, a near-duplicate of which was.
        targets_word_for_word: targets whose text is in training documents: phrases that recur, and copies.
        targets_copied: those of them that are copies: of a run of passages, or of much of a training document.
        targets_nearly: sampled targets with a training passage of cosine ≥ ``NEAR_DUPLICATE_COSINE``, but other words.
    """

    rows: tuple[str, ...]
    fold: int
    listed: int
    listed_in_bank: int
    documents: int
    documents_trained_on: int
    documents_nearly: int
    documents_in_validation: int
    targets: int
    targets_word_for_word: int
    targets_copied: int
    targets_sampled: int
    targets_nearly: int

    @property
    def trained_share(self) -> float:
        """Share of evaluation documents that were trained on."""
        return self.documents_trained_on / max(1, self.documents)

    @property
    def copied_share(self) -> float:
        """Share of targets in a run of passages that training documents hold too."""
        return self.targets_copied / max(1, self.targets)


def examine(case: Case) -> Verdict:
    """Compare every list of training documents with what is evaluated on its fold."""
    hashes = hash_documents(case.bank.document_ids)
    carried, error = each_entry(
        case.trained_entries,
        lambda entry: (entry, frozenset(entry.training.config.training_documents)),
    )
    found = [leak for fold in case.folds for leak in _of_fold(case, fold, hashes, carried.values())]
    leaked = max(found, key=lambda one: one.trained_share)
    copied = max(found, key=lambda one: one.targets_copied)
    details = {"lists": found}
    if leaked.documents_trained_on:
        said = (f"{_who(leaked.rows)} {leaked.documents_trained_on:,} of {leaked.documents:,} evaluation documents "
                f"({percent(leaked.trained_share)}); {_of_copies(leaked)}, where a clean split has 0.")  # fmt: skip
        return Verdict("issue", said, leaked.trained_share, 0.0, details)
    if copied.copied_share > ALLOWED_SHARE and copied.targets_copied >= MINIMUM_COPIES:
        said = f"No evaluation document was trained on, but {_of_copies(copied)}: {100 * ALLOWED_SHARE:g} % is allowed."
        return Verdict("issue", said, copied.copied_share, ALLOWED_SHARE, details)
    texts = "" if case.bank.has_texts else " (no texts: by row only)"
    near = percent(max(one.targets_nearly / max(1, one.targets_sampled) for one in found))
    said = (f"None of {leaked.documents:,} evaluation documents was trained on (found by the same hashes: "
            f"{leaked.listed_in_bank:,} of {leaked.listed:,} training documents); {_of_copies(copied)}{texts}, {near} "
            f"have a passage of cosine ≥ {NEAR_DUPLICATE_COSINE} there.")  # fmt: skip
    notes = _notes(case, found)
    caveats = case.about_all(" ".join(notes)) if notes else {}
    outcome: Judgement = "tip" if notes else "passed"
    return Verdict(outcome, " ".join([said, *notes]), 0.0, 0.0, details, caveats=caveats, error=error)


def _of_fold(
    case: Case, fold: Fold, hashes: Sequence[str], carried: Iterable[tuple[CaseEntry, frozenset[str]]]
) -> list[Leak]:
    """Compare each distinct list of a fold (its split's, and those of checkpoints) with what is evaluated on it."""
    bank, words, groups = case.bank, case.bank.duplicate_group, case.document_groups
    windows = bank.document_of[fold.train.target].astype(np.int64)
    split = frozenset(hashes[number] for number in np.union1d(fold.split.train, windows))
    entries: dict[frozenset[str], list[str]] = {split: [SPLIT]}
    for entry, listed in carried:
        if entry.fold == fold.number:
            entries.setdefault(listed, []).append(entry.name)
    trained = np.array([[digest in listed for digest in hashes] for listed in entries])  # [list, document]
    evaluated = [e.evaluation.targets for e in case.entries if e.fold == fold.number and e.evaluation is not None]
    targets = np.unique(np.concatenate([fold.test.target, *evaluated]))
    documents = np.unique(bank.document_of[targets])
    names = {bank.document_ids[number] for number in documents} | set((case.query_documents or {}).get(fold.number, ()))
    sampled, nearly = _near_targets(case, fold, trained)
    return [
        Leak(
            rows=tuple(entries[listed]),
            fold=fold.number,
            listed=len(listed),
            listed_in_bank=int(known.sum()),
            documents=len(names),
            documents_trained_on=sum(digest in listed for digest in hash_documents(names)),
            documents_nearly=int(np.isin(groups[documents[~known[documents]]], groups[known]).sum()),
            documents_in_validation=int(np.isin(documents, fold.split.validation).sum()),
            targets=len(targets),
            targets_word_for_word=int(np.isin(words[targets], words[known[bank.document_of] & bank.alive]).sum()),
            targets_copied=_copied(case, targets, known),
            targets_sampled=sampled,
            targets_nearly=int(nearly[number]),
        )
        for number, (listed, known) in enumerate(zip(entries, trained, strict=True))
    ]


def _copied(case: Case, targets: Int[np.ndarray, "target"], trained: Bool[np.ndarray, "document"]) -> int:
    """Count the targets that are copies of passages in training documents.

    A text alone may be a phrase that many documents use. It is a copy where the passage before or after it is the same
    too, or where its document shares at least three passages, and a quarter of its own, with one training document.
    """
    bank = case.bank
    inside = (np.diff(bank.document_of) == 0) & bank.alive[1:] & bank.alive[:-1]
    rows = 1 + np.flatnonzero(inside)  # row r - 1 is the passage before row r
    pair = bank.duplicate_group[rows - 1] * len(bank) + bank.duplicate_group[rows]
    learnt = trained[bank.document_of[rows]]
    copied = np.zeros(len(bank) + 1, dtype=bool)
    copied[rows] = ~learnt & np.isin(pair, pair[learnt])
    alive = np.flatnonzero(bank.alive)
    document, text = np.unique(np.stack([bank.document_of[alive], bank.duplicate_group[alive]]), axis=1)
    holds = sparse.csr_matrix((np.ones(len(text)), (document, text)), shape=(len(trained), len(bank)))
    evaluated = np.unique(bank.document_of[targets])
    shared = holds[evaluated] @ holds[np.flatnonzero(trained)].T
    most = shared.max(axis=1).toarray().ravel() if shared.shape[1] else np.zeros(len(evaluated))
    copies = evaluated[(most >= MINIMUM_COPIES) & (4 * most >= holds[evaluated].getnnz(axis=1))]
    word_for_word = np.isin(bank.duplicate_group[targets], text[trained[document]])
    of_copies = word_for_word & np.isin(bank.document_of[targets], copies)
    return int((copied[targets] | copied[targets + 1] | of_copies).sum())


def _near_targets(
    case: Case, fold: Fold, trained: Bool[np.ndarray, "list document"]
) -> tuple[int, Int[np.ndarray, "list"]]:
    """Count sampled targets, and for each list those with a near vector but other words in its documents."""
    bank = case.bank
    targets = case.sample(fold, most=max(1, case.effort.windows // len(case.folds))).target
    vectors = case.directions(targets).astype(np.float32)
    learnt = trained[:, bank.document_of] & bank.alive  # [list, bank]
    other_words = np.stack([~np.isin(bank.duplicate_group[targets], bank.duplicate_group[rows]) for rows in learnt])
    found = np.zeros_like(other_words)
    for start, block in bank.blocks(8192):
        alike = vectors @ directions(block).astype(np.float32).T >= NEAR_DUPLICATE_COSINE  # [target, row]
        for number, rows in enumerate(learnt[:, start : start + len(block)]):
            found[number] |= alike[:, rows].any(axis=1)
    return len(targets), (other_words & found).sum(axis=1)


def _of_copies(leak: Leak) -> str:
    return f"{percent(leak.copied_share)} of {leak.targets:,} targets are copied from training documents"


def _who(names: Sequence[str]) -> str:
    """Return the beginning of a sentence about what was trained on.

    >>> _who(["ar-cosine", "mlp", "gru", "amn"])
    'ar-cosine, mlp and 2 more were trained on'
    >>> _who(["the split"])
    'The split trains on'
    """
    if names[0] == SPLIT:
        return "The split trains on"
    return f"{and_more(names, 2)} {'was' if len(names) == 1 else 'were'} trained on"


def _notes(case: Case, found: Sequence[Leak]) -> list[str]:
    """Describe what blocks nothing but should be known."""
    nearly, shared = max(one.documents_nearly for one in found), max(one.documents_in_validation for one in found)
    copied, near = max(one.targets_copied for one in found), max(one.targets_nearly for one in found)
    silent = [name for one in found if one.listed == 0 for name in one.rows]
    foreign = [name for one in found if one.listed and not one.listed_in_bank for name in one.rows]
    groups = case.document_groups[np.unique(case.bank.document_of[case.bank.alive])]
    copies = len(groups) - len(np.unique(groups))
    notes = {
        f"{nearly} evaluation documents have a near-duplicate that was trained on.": nearly > 0,
        f"{shared} evaluation documents are validation documents too, on which models were selected.": shared > 0,
        f"{copied} copied targets are too few to be sure of a leak.":
            any(one.targets_copied > ALLOWED_SHARE * one.targets for one in found),
        f"{near} sampled targets are near-duplicates of training passages.":
            any(one.targets_nearly > ALLOWED_SHARE * one.targets_sampled for one in found),
        f"{', '.join(silent)}: the checkpoint lists no training documents, so only the split proves it.": bool(silent),
        f"{', '.join(foreign)}: the bank holds none of the listed training documents.": bool(foreign),
        # they stay in one part, so nothing leaks, but they weigh more
        f"{copies:,} of {len(groups):,} documents are near-copies of others; they stay in one part of the split.":
            copies > MANY_COPIES * len(groups),
    }  # fmt: skip
    return [note for note, applies in notes.items() if applies]


CHECK = Check(
    code="SG104",
    title="Leaked documents",
    question="Was anything that is evaluated trained on: documents, passages, or near-duplicates of them?",
    detection="Each checkpoint lists the sha256 of its training documents' ids; for entries without a checkpoint "
    "their fold's split is used. A single evaluation document in a list is an issue, and so are copies: targets "
    "(same normalised text) in a training document, where the passage before or after is the same there too, or where "
    "both documents share three passages and a quarter of the evaluated one; over "
    f"{100 * ALLOWED_SHARE:g} % and at least {MINIMUM_COPIES} of them. A text alone that several documents share is "
    "boilerplate, which is not a target of validation or test. A tip: evaluation documents grouped with a training "
    "document (near-duplicates by words, Broder 1997, or by vectors), over "
    f"{100 * ALLOWED_SHARE:g} % of up to 1,000 targets with a training passage of cosine ≥ {NEAR_DUPLICATE_COSINE}, "
    "documents that also selected the model, a checkpoint that lists nothing, and over "
    f"{100 * MANY_COPIES:g} % of the documents near-copies of others.",
    why="A model that was trained on the test documents looks good until it reads a new text: its score cannot be "
    "distinguished from memorising.",
    healthy="0 evaluation documents trained on, 0 % to 1 % of the targets copied",
    fix="split by document with near-duplicates together, train again, and evaluate on documents that no checkpoint "
    "lists",
    unit="share of evaluation documents (or of targets, where those decide)",
    examine=examine,
    needs=("windows",),
)
