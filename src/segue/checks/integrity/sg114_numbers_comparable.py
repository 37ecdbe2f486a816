"""SG114: are the compared numbers comparable?

What every row must share with the case (candidates, exclusion) is compared with the case; what rows must share with
one another (windows, groups of documents) is compared with what most of them have.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence

import numpy as np

from segue.checks.case import Case, CaseEntry
from segue.checks.check import Check, Verdict
from segue.evaluation.experiment import Fold
from segue.evaluation.result import Evaluation
from segue.types import Bank

Problem = tuple[str, list[str]]
"""A sentence, and the names of the rows it is about."""


def examine(case: Case) -> Verdict:
    """Compare how the rows of each fold were measured."""
    measured = _measured(case)
    problems = [problem for fold in case.folds for problem in _of_fold(case, fold)]
    odd = sorted({name for _, names in problems for name in names})
    said = list(dict.fromkeys(sentence for sentence, _ in problems))
    details = {"rows": measured, "distinct_texts": distinct_texts(case.bank), "odd_rows": odd, "problems": said}
    if problems:
        return Verdict("issue", f"{'; '.join(said)}.", float(len(odd)), 0.0, details)
    partial = _partial(case)
    note = f" Not evaluated on every fold, hence not compared: {', '.join(partial)}." if partial else ""
    return Verdict("tip" if partial else "passed", _say_clean(case) + note, 0.0, 0.0, details)


def _of_fold(case: Case, fold: Fold) -> Iterator[Problem]:
    """Yield what makes rows of a fold incomparable."""
    rows = {row.name: row for row in case.entries if row.fold == fold.number and row.evaluation is not None}
    found = {name: row.evaluation for name, row in rows.items() if row.evaluation is not None}
    yield from _pools(case.bank, found)
    yield from _exclusions(case, rows)
    yield from _apart(found, _windows, "was measured on {value}, most rows on {usual}")
    yield from _apart(_alike(found), _groups, "counts its windows in {value}, most rows in {usual}")
    yield from _apart(found, _fresh, "has {value} in the fresh pool, most rows {usual}")


def _pools(bank: Bank, found: dict[str, Evaluation]) -> Iterator[Problem]:
    """Hold each row's number of candidates to the number of distinct texts, and its ranks to both."""
    distinct, alive = distinct_texts(bank), int(bank.alive.sum())
    sizes: dict[int, list[str]] = {}
    for name, evaluation in found.items():
        sizes.setdefault(evaluation.pool_size, []).append(name)
    for size, names in sizes.items():
        if size != distinct:
            why = "each duplicate counted for itself" if size == alive else f"of {alive:,} passages"
            yield f"{_names(names)} ranked {size:,} candidates ({why}), the bank has {distinct:,} texts", names
    beyond = [name for name, evaluation in found.items() if evaluation.ranks.max(initial=0) > evaluation.pool_size]
    if beyond:
        yield f"{_names(beyond)} has ranks beyond the number of candidates", beyond


def distinct_texts(bank: Bank) -> int:
    """Count the live passages, those with the same text once: the candidates there should be."""
    return len(np.unique(bank.duplicate_group[bank.alive]))


def _exclusions(case: Case, rows: dict[str, CaseEntry]) -> Iterator[Problem]:
    """Compare what each row left out with what the case declares."""
    for rule in ("context", "prefix", "none"):
        names = [
            name for name, row in rows.items()
            if row.evaluation is not None and row.evaluation.exclude == rule and row.intent != "context-left-in"
        ]  # fmt: skip
        if names and rule != case.exclude:
            yield f"{_names(names)} excluded {rule!r} from the candidates, the case {case.exclude!r}", names


def _windows(evaluation: Evaluation) -> tuple[Hashable, str]:
    distinct = len(np.unique(evaluation.targets))
    repeated = f", {distinct:,} of them distinct" if distinct < len(evaluation.targets) else ""
    return evaluation.targets.tobytes(), f"{len(evaluation.targets):,} windows{repeated}"


def _groups(evaluation: Evaluation) -> tuple[Hashable, str]:
    key = (evaluation.documents.tobytes(), evaluation.groups.tobytes())
    return key, f"{len(np.unique(evaluation.groups)):,} groups of {evaluation.num_documents:,} documents"


def _alike(found: dict[str, Evaluation]) -> dict[str, Evaluation]:
    """Return the rows with the most frequent windows: what differs between others follows from their windows."""
    keys = {name: _windows(evaluation)[0] for name, evaluation in found.items()}
    usual = _usual(keys.values())
    return {name: evaluation for name, evaluation in found.items() if keys[name] == usual}


def _usual(keys: Iterable[Hashable]) -> Hashable:
    """Return the most frequent key, the first one among equals; None where there is none."""
    return next((key for key, _ in Counter(keys).most_common(1)), None)


def _fresh(evaluation: Evaluation) -> tuple[Hashable, str]:
    return evaluation.fresh_pool_sizes, " and ".join(f"{size:,}" for size in evaluation.fresh_pool_sizes) or "nothing"


def _apart(
    found: dict[str, Evaluation], of: Callable[[Evaluation], tuple[Hashable, str]], sentence: str
) -> Iterator[Problem]:
    """Yield the rows whose key is not the most frequent one."""
    keys = {name: of(evaluation) for name, evaluation in found.items()}
    if len({key for key, _ in keys.values()}) <= 1:
        return
    usual = _usual(key for key, _ in keys.values())
    described = next(words for key, words in keys.values() if key == usual)
    odd: dict[str, list[str]] = {}
    for name, (key, words) in keys.items():
        if key != usual:
            odd.setdefault(words if words != described else f"other {words}", []).append(name)
    for words, names in odd.items():
        yield f"{_names(names)} {sentence.format(value=words, usual=described)}", names


def _partial(case: Case) -> list[str]:
    """Return the options that were evaluated on some folds only."""
    count = Counter(row.name for row in case.entries if row.evaluation is not None)
    return [name for name, folds in count.items() if folds < len(case.folds)]


def _measured(case: Case) -> list[dict[str, object]]:
    return [
        {
            "row": row.name,
            "fold": row.fold,
            "pool_size": row.evaluation.pool_size,
            "exclude": row.evaluation.exclude,
            "windows": len(row.evaluation),
        }
        for row in case.entries
        if row.evaluation is not None
    ]


def _say_clean(case: Case) -> str:
    windows: Counter[str] = Counter()
    for row in case.entries:
        if row.evaluation is not None:
            windows[row.name] += len(row.evaluation)
    distinct, alive = distinct_texts(case.bank), int(case.bank.alive.sum())
    return (
        f"All {len(windows)} rows ranked the same {max(windows.values()):,} windows over the same {distinct:,} "
        f"candidates (the distinct texts of {alive:,} passages), under one exclusion "
        f"({case.exclude})."
    )


def _names(names: Sequence[str]) -> str:
    """Join names; many are cut.

    >>> _names(["mean", "ridge"]), _names(["a", "b", "c", "d", "e"])
    ('mean, ridge', 'a, b, c and 2 more')
    """
    more = f" and {len(names) - 3} more" if len(names) > 4 else ""
    return ", ".join(names[:3] if more else names) + more


CHECK = Check(
    code="SG114",
    title="Numbers are comparable",
    question="Are the compared numbers comparable: the same candidates, windows, exclusion and duplicates rule?",
    detection="In every fold, each row's number of candidates must be the number of distinct texts among the bank's "
    "live passages (so duplicates count once), no rank may exceed it, and each row must have excluded what the case "
    "declares. Windows, their groups of documents and the size of the fresh pool must be those of most rows. All "
    "comparisons are exact.",
    why="A recall of 75 % at 5 came from 115 candidates and stood beside one from 584,545. Each of these differences "
    "moves a number more than any change to a model does.",
    healthy="no row measured otherwise than the rest",
    fix="evaluate all rows again with one recipe over one bank",
    unit="rows",
    examine=examine,
    needs=("evaluations",),
)
