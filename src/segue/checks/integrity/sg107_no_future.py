"""SG107: can the future reach the prediction?

In a copy of some documents the target and everything after it is replaced by noise, before anything is gathered. An
entry's answers may not differ in a single bit. Noise in place of the last context passage is the control: it has to
change answers, or the comparison would detect nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from segue.bank.copies import BankCopy, copy_documents, documents_of, windows_in, with_rows
from segue.checks.case import Case, CaseEntry, spread
from segue.checks.check import Check, Verdict, not_applicable
from segue.checks.run import each_entry
from segue.retrieval.retrievers import Retriever, Scores
from segue.retrieval.retrievers.baselines import normalise
from segue.types import Bank, Contexts, Windows

MAXIMUM_WINDOWS = 32
"""Windows that are queried again, each of another document."""
LETTERS = np.array(list("abcdefghijklmnopqrstuvwxyz"))


@dataclass(frozen=True)
class NoisyDocuments:
    """Documents as they are and changed in two ways.

    Attributes:
        copy: the documents unchanged.
        noisy: the copy with noise for every target and all later passages.
        control: the copy with noise for the last passage of every context.
        windows: one of each document, in the copy's rows.
        kept: rows whose candidate has no member that is noise in ``noisy``.
    """

    copy: BankCopy
    noisy: BankCopy
    control: BankCopy
    windows: Windows
    kept: Bool[np.ndarray, "bank"]


@dataclass(frozen=True)
class Influence:
    """Shares of an entry's answers that the future and the last context passage change, and the largest change."""

    changed: float
    largest: float
    control: float


def examine(case: Case) -> Verdict:
    """Replace the future of some windows by noise, and compare what entries and training batches are made of."""
    windows = _one_of_each_document(case)
    if len(windows) == 0:
        return not_applicable("no test window has the passage after its context as target: see SG102")
    documents = _with_noise(case, windows)
    gathers = _gathers(case, documents)
    found, error = each_entry(case.non_controls, lambda entry: _influence(case, documents, entry))
    details = {"windows": len(windows), "gathers": gathers, "rows": found}
    moved = {name: one.changed for name, one in found.items() if one.changed > 0}
    worst = max([*gathers.values(), *moved.values()])
    shares, place = [one.control for one in found.values()], "in place of the last context passage"
    control = f"; {place} it changes {np.mean(shares):.0%} of the answers (control)" if shares else ""
    if worst > 0:
        leaks = {name: share for name, share in gathers.items() if share > 0}
        said = [f"what {name} gathers for {share:.0%} of {len(windows)} windows" for name, share in leaks.items()]
        named = sorted(moved, key=lambda name: -moved[name])[:3]
        said += [f"what {name} answers to {moved[name]:.0%} of them" for name in named]
        more = f" (and {len(moved) - 3} more entries)" if len(moved) > 3 else ""
        text = f"Noise in place of the target and all later passages changes {', '.join(said)}{more}{control}."
        return Verdict("issue", text, worst, 0.0, details)
    text = (f"Noise in place of the target and all later passages of {len(windows)} documents changes no bit of what "
            f"evaluation and training gather, nor of {len(found)} entries' answers{control}.")  # fmt: skip
    return Verdict("passed", text, 0.0, 0.0, details, error=error)


def _one_of_each_document(case: Case) -> Windows:
    """Choose one window of each test document at random, and of those at most ``MAXIMUM_WINDOWS``, evenly spread.

    Its context is consecutive passages of one document and its target the next one, as SG102 requires.
    """
    bank, windows = case.bank, case.folds[0].test
    known, target = windows.context >= 0, windows.target[:, None]
    rows = np.where(known, windows.context, target)
    follows = (target - rows == np.arange(rows.shape[1], 0, -1)) | ~known
    same = bank.document_of[rows] == bank.document_of[target]
    windows = windows.take((follows & same).all(axis=1) & known.any(axis=1))
    order = case.generator("SG107 windows").permutation(len(windows))
    _, first = np.unique(case.documents(windows)[order], return_index=True)
    return windows.take(order[first][spread(len(first), MAXIMUM_WINDOWS)])


def _with_noise(case: Case, windows: Windows) -> NoisyDocuments:
    copy = copy_documents(case.bank, documents_of(case.bank, windows))
    inside = windows_in(copy, windows)
    end = (copy.first_row + copy.num_rows)[copy.document_of[inside.target]]
    future = np.concatenate([np.arange(*bounds) for bounds in zip(inside.target, end, strict=True)])
    generator = case.generator("SG107 noise")
    noisy, control = _noise(copy, future, generator), _noise(copy, inside.context[:, -1], generator)
    kept = ~np.isin(copy.duplicate_group, copy.duplicate_group[future])
    return NoisyDocuments(copy, noisy, control, inside, kept)


def _noise(copy: BankCopy, rows: Int[np.ndarray, "changed"], generator: np.random.Generator) -> BankCopy:
    """Replace vectors by random directions and texts by words of no language."""
    vectors = normalise(generator.standard_normal((len(rows), copy.dimension)))
    texts = [" ".join("".join(word) for word in generator.choice(LETTERS, (8, 9))) for _ in rows]
    return with_rows(copy, rows, vectors, texts)


def _gathers(case: Case, documents: NoisyDocuments) -> dict[str, float]:
    """Return the shares of windows whose context, as evaluation and as training read it, depends on the future."""
    windows, banks = documents.windows, (documents.copy, documents.noisy)
    before, after = (case.gather(bank, windows, exclude=case.exclude, texts=True) for bank in banks)
    moved = _differ(before.vectors, after.vectors) | _differ(before.mask, after.mask)
    if before.texts is not None and after.texts is not None:
        moved |= np.array([one != other for one, other in zip(before.texts, after.texts, strict=True)])
    one, other = (case.batches(bank, windows, batch_size=len(windows), seed=case.seed).batch(0) for bank in banks)
    trained = _differ(one.context.numpy(), other.context.numpy()) | _differ(one.mask.numpy(), other.mask.numpy())
    return {"evaluation": float(moved.mean()), "training": float(trained.mean())}


def _influence(case: Case, documents: NoisyDocuments, entry: CaseEntry) -> Influence:
    retriever = entry.retriever.over(documents.copy)
    other = retriever if entry.retriever.counts_bank else entry.retriever.over(documents.noisy)
    before = _answers(case, retriever, documents.copy, documents)
    after = _answers(case, other, documents.noisy, documents)
    changed = _differ(before, after)
    if changed.any():  # an entry whose answers are not repeatable to the bit is compared with its own spread
        spread_of_answers = np.abs(_answers(case, retriever, documents.copy, documents) - before).max()
        changed &= np.abs(after - before).max(axis=1) > spread_of_answers
    control = _differ(before, _answers(case, retriever, documents.control, documents))
    return Influence(float(changed.mean()), float(np.abs(after - before).max(initial=0.0)), float(control.mean()))


def _answers(
    case: Case, retriever: Retriever, bank: Bank, documents: NoisyDocuments
) -> Float[np.ndarray, "window any"]:
    """Return a retriever's query vectors, or its scores of the kept candidates where it has none."""
    parts = []
    for windows in documents.windows.batches(retriever.batch_limit or len(documents.windows)):
        contexts = case.gather(bank, windows, exclude=case.exclude, texts=retriever.reads_text)
        scores = retriever.score(contexts)
        own = scores.queries
        parts.append(_first_stage(scores, retriever, contexts)[:, documents.kept] if own is None else own)
    return np.concatenate(parts)


def _first_stage(scores: Scores, retriever: Retriever, contexts: Contexts) -> Float[np.ndarray, "batch bank"]:
    """Return the score of every row; 0 where the row is not a hit."""
    if scores.values is not None:
        return scores.values
    total = len(retriever.pool.bank)
    found = scores.top(retriever.pool, total, exclude=contexts.exclude)
    filled = np.zeros((len(contexts), total + 1))  # the last column takes the places that stayed empty
    np.put_along_axis(filled, found.rows, found.scores.astype(np.float64), axis=1)
    return filled[:, :-1]


def _differ(
    before: Shaped[np.ndarray, "window *any"], after: Shaped[np.ndarray, "window *any"]
) -> Bool[np.ndarray, "window"]:
    """Mark the windows that differ in at least one bit.

    >>> _differ(np.array([[1.0, 2.0], [1.0, 0.0]]), np.array([[1.0, 2.0], [1.0, -0.0]])).tolist()
    [False, True]
    """
    one, other = (np.ascontiguousarray(part).reshape(len(part), -1) for part in (before, after))
    return (one.view(np.uint8) != other.view(np.uint8)).any(axis=1)


CHECK = Check(
    code="SG107",
    title="No future in the prediction",
    question="Can the future reach the prediction?",
    detection=f"For up to {MAXIMUM_WINDOWS} test windows of different documents of the first fold, the vectors and "
    "texts of the target and of all later passages are replaced by noise in a copy of the documents, before "
    "anything is gathered. What evaluation and training gather, and each entry's query vectors (without query "
    "vectors: its first-stage scores of all other candidates), must be equal to the bit. Entries that read the "
    "bank are built again over the changed copy; declared statistics of the whole bank are frozen first (SG217 is "
    "about them). Controls are exempt.",
    why="A context shifted by one, a normaliser fitted on test documents, a model that reads the document in both "
    "directions: each scores well in evaluation and fails in use, where the next passage does not exist yet.",
    healthy="no bit changes; noise in the last context passage changes nearly all answers",
    fix="end every input of the prediction at the last context passage, fit statistics on training documents, and "
    "train and evaluate again",
    unit="share of windows",
    examine=examine,
    needs=("windows",),
)
