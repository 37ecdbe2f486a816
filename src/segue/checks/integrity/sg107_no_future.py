"""SG107: can the future reach the prediction?

In a copy of some documents the target and everything after it is replaced by noise, before anything is gathered. What
a row then answers may not differ in a single bit. Noise in place of the last context passage is the control: it has
to change answers, or the comparison would be blind.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from segue.checks.case import Case, CaseEntry
from segue.checks.changed_banks import BankCopy, copy_documents, documents_of, well_formed, windows_in, with_rows
from segue.checks.check import Check, Verdict, not_applicable
from segue.checks.run import each_entry
from segue.retrieval.retrievers import Retriever, Scores
from segue.retrieval.retrievers.baselines import normalise
from segue.types import Bank, Contexts, Windows

MOST = 32
"""Windows that are asked again, each of another document."""
LETTERS = np.array(list("abcdefghijklmnopqrstuvwxyz"))


@dataclass(frozen=True)
class Trial:
    """Documents as they are and twice changed.

    Attributes:
        copy: as they are.
        noisy: with noise for every target and all that follows it.
        control: with noise for the last passage of every context.
        windows: one of each document, in the copy's rows.
        kept: rows whose candidate has no member that is noise in ``noisy``.
    """

    copy: BankCopy
    noisy: BankCopy
    control: BankCopy
    windows: Windows
    kept: Bool[np.ndarray, "bank"]


def examine(case: Case) -> Verdict:
    """Replace the future of some windows by noise, and compare what rows and training batches are made of."""
    windows = _one_of_each_document(case)
    if len(windows) == 0:
        return not_applicable("no test window asks for the passage after its context: see SG102")
    trial = _trial(case, windows)
    gathers = {"evaluation": _evaluation_gather(case, trial), "training": _training_gather(case, trial)}
    found, error = each_entry(case.non_controls, functools.partial(_row, case, trial))
    details: dict[str, Any] = {"windows": len(windows), "gathers": gathers, "rows": found}
    leaking = [name for name, share in gathers.items() if share > 0]
    moved = {name: row["changed"] for name, row in found.items() if row["changed"] > 0}
    worst = max([*gathers.values(), *moved.values()])
    if leaking or moved:
        return Verdict("issue", _accusation(leaking, moved, details), worst, 0.0, details)
    if error is not None:
        raise error
    return Verdict("passed", _acquittal(details), 0.0, 0.0, details)


def _acquittal(details: dict[str, Any]) -> str:
    rows = details["rows"]
    said = (f"Noise in place of the target and all later passages of {details['windows']} documents changes no bit of "
            f"what evaluation and training gather, nor of what {len(rows)} rows answer")  # fmt: skip
    return f"{said}; in place of the last context passage it {_control(rows)}." if rows else f"{said}."


def _accusation(leaking: Sequence[str], moved: dict[str, float], details: dict[str, Any]) -> str:
    """Name the gathers and rows that the future reaches; where a gather leaks every row does."""
    said = [
        f"what {name} gathers for {details['gathers'][name]:.0%} of {details['windows']} windows" for name in leaking
    ]
    named = sorted(moved, key=lambda name: -moved[name])[:3]
    said += [f"what {name} answers to {moved[name]:.0%} of them" for name in named]
    more = f" (and {len(moved) - 3} more rows)" if len(moved) > 3 else ""
    control = f"; in place of the last context passage it {_control(details['rows'])}" if details["rows"] else ""
    return f"Noise in place of the target and all later passages changes {', '.join(said)}{more}{control}."


def _control(rows: dict[str, Any]) -> str:
    share = float(np.mean([row["control"] for row in rows.values()]))
    return f"changes {share:.0%} of the answers (control)"


def _one_of_each_document(case: Case) -> Windows:
    """Choose one window of each test document at random, and of those at most ``MOST``, evenly spread."""
    windows = well_formed(case.bank, case.folds[0].test)
    order = case.generator("SG107 windows").permutation(len(windows))
    _, first = np.unique(case.documents(windows)[order], return_index=True)
    chosen = order[first]
    if len(chosen) > MOST:
        chosen = chosen[np.linspace(0, len(chosen) - 1, MOST).round().astype(np.int64)]
    return windows.take(chosen)


def _trial(case: Case, windows: Windows) -> Trial:
    copy = copy_documents(case.bank, documents_of(case.bank, windows))
    inside = windows_in(copy, windows)
    end = (copy.first_row + copy.num_rows)[copy.document_of[inside.target]]
    future = np.concatenate([np.arange(*bounds) for bounds in zip(inside.target, end, strict=True)])
    generator = case.generator("SG107 noise")
    return Trial(
        copy,
        _with_noise(copy, future, generator),
        _with_noise(copy, inside.context[:, -1], generator),
        inside,
        ~np.isin(copy.duplicate_group, copy.duplicate_group[future]),
    )


def _with_noise(copy: BankCopy, rows: Int[np.ndarray, "changed"], generator: np.random.Generator) -> BankCopy:
    """Replace vectors by random directions and texts by words that no language has."""
    vectors = normalise(generator.standard_normal((len(rows), copy.dimension)))
    texts = [" ".join("".join(word) for word in generator.choice(LETTERS, (8, 9))) for _ in rows]
    return with_rows(copy, rows, vectors, texts)


def _evaluation_gather(case: Case, trial: Trial) -> float:
    """Return the share of windows whose context, as evaluation reads it, depends on the future."""
    before, after = (
        case.gather(bank, trial.windows, exclude=case.exclude, texts=True) for bank in (trial.copy, trial.noisy)
    )
    moved = _differ(before.vectors, after.vectors) | _differ(before.mask, after.mask)
    if before.texts is not None and after.texts is not None:
        moved |= np.array([one != other for one, other in zip(before.texts, after.texts, strict=True)])
    return float(moved.mean())


def _training_gather(case: Case, trial: Trial) -> float:
    """Return the share of windows whose context, as training reads it, depends on the future."""
    before, after = (
        case.batches(bank, trial.windows, batch_size=len(trial.windows), seed=case.seed).batch(0)
        for bank in (trial.copy, trial.noisy)
    )
    moved = _differ(before.context.numpy(), after.context.numpy()) | _differ(before.mask.numpy(), after.mask.numpy())
    return float(moved.mean())


def _row(case: Case, trial: Trial, row: CaseEntry) -> dict[str, float]:
    """Return which share of a row's answers the future changes, by how much at most, and the control."""
    retriever = row.retriever.over(trial.copy)
    other = retriever if row.retriever.counts_bank else row.retriever.over(trial.noisy)
    before = _answers(case, retriever, trial.copy, trial)
    after = _answers(case, other, trial.noisy, trial)
    changed = _differ(before, after)
    if changed.any():  # a row that does not repeat itself bit by bit is held to its own spread
        spread = np.abs(_answers(case, retriever, trial.copy, trial) - before).max()
        changed &= np.abs(after - before).max(axis=1) > spread
    control = _differ(before, _answers(case, retriever, trial.control, trial))
    return {
        "changed": float(changed.mean()),
        "largest": float(np.abs(after - before).max(initial=0.0)),
        "control": float(control.mean()),
    }


def _answers(case: Case, retriever: Retriever, bank: Bank, trial: Trial) -> Float[np.ndarray, "window any"]:
    """Return a row's query vectors, or its scores of the kept candidates where it has none."""
    size = retriever.batch_limit or len(trial.windows)
    parts = []
    for start in range(0, len(trial.windows), size):
        windows = trial.windows.take(slice(start, start + size))
        contexts = case.gather(bank, windows, exclude=case.exclude, texts=retriever.reads_text)
        scores = retriever.score(contexts)
        own = scores.queries
        parts.append(_first_stage(scores, retriever, contexts)[:, trial.kept] if own is None else own)
    return np.concatenate(parts)


def _first_stage(scores: Scores, retriever: Retriever, contexts: Contexts) -> Float[np.ndarray, "batch bank"]:
    """Return the score of every row; 0 where the row is not answered."""
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
    """Tell which windows differ in at least one bit.

    >>> _differ(np.array([[1.0, 2.0], [1.0, 0.0]]), np.array([[1.0, 2.0], [1.0, -0.0]])).tolist()
    [False, True]
    """
    one, other = (np.ascontiguousarray(part).reshape(len(part), -1) for part in (before, after))
    return (one.view(np.uint8) != other.view(np.uint8)).any(axis=1)


CHECK = Check(
    code="SG107",
    title="No future in the prediction",
    question="Can the future reach the prediction?",
    detection=f"For up to {MOST} test windows of different documents of the first fold, the vectors and texts of the "
    "target and of all later passages are replaced by noise in a copy of the documents, before anything is gathered. "
    "What evaluation and training gather, and each row's query vectors (without query vectors: its first-stage scores "
    "of all other candidates), must be equal to the bit. Rows that read the bank are made again over the changed copy; "
    "declared statistics of the whole bank are frozen first (SG217 is about them). Controls declare themselves.",
    why="A context that is shifted by one, a normaliser fitted on the documents that are asked about, a model that "
    "reads the document in both directions: each scores wonderfully in evaluation and falls apart in use, where the "
    "next passage does not exist yet.",
    healthy="no bit changes; noise in the last context passage changes nearly all answers",
    fix="cut every input of the prediction at the last context passage, fit what is fitted on training documents, and "
    "train and evaluate again",
    unit="share of windows",
    examine=examine,
    needs=("windows",),
)
