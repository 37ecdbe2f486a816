"""SG114: are the compared numbers comparable?

What every entry must share with the case (candidates, exclusion) is compared with the case; what entries must share
with one another (windows, groups of documents) is compared with what most of them have.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping

import numpy as np

from segue.checks.case import Case
from segue.checks.check import Check, Verdict
from segue.checks.statistics import and_more
from segue.evaluation.experiment import Fold
from segue.evaluation.result import Evaluation
from segue.types import Bank

Problem = tuple[str, list[str]]
"""A sentence, and the names of the entries it is about."""

Described = Callable[[Evaluation], tuple[Hashable, str]]
"""Function that returns what entries have to share, and its words."""


def examine(case: Case) -> Verdict:
    """Compare how the entries of each fold were measured."""
    evaluated = [(entry, entry.evaluation) for entry in case.entries if entry.evaluation is not None]
    windows: Counter[str] = Counter()
    for entry, evaluation in evaluated:
        windows[entry.name] += len(evaluation)
    measured = [{"row": entry.name, "fold": entry.fold, "pool_size": evaluation.pool_size,
                 "exclude": evaluation.exclude, "windows": len(evaluation)}
                for entry, evaluation in evaluated]  # fmt: skip
    problems = [problem for fold in case.folds for problem in _of_fold(case, fold)]
    odd = sorted({name for _, names in problems for name in names})
    sentences = list(dict.fromkeys(sentence for sentence, _ in problems))
    distinct, alive = distinct_texts(case.bank), int(case.bank.alive.sum())
    details = {"rows": measured, "distinct_texts": distinct, "odd_rows": odd, "problems": sentences}
    if problems:
        return Verdict("issue", f"{'; '.join(sentences)}.", float(len(odd)), 0.0, details)
    said = (f"All {len(windows)} entries ranked the same {max(windows.values()):,} windows over the same {distinct:,} "
            f"candidates (the distinct texts of {alive:,} passages), under one exclusion, {case.exclude}.")  # fmt: skip
    folds = Counter(entry.name for entry, _ in evaluated)
    partial = [name for name, count in folds.items() if count < len(case.folds)]
    note = f" Not evaluated on every fold, therefore not compared: {', '.join(partial)}." if partial else ""
    return Verdict("tip" if partial else "passed", said + note, 0.0, 0.0, details)


def _of_fold(case: Case, fold: Fold) -> Iterator[Problem]:
    """Yield what makes entries of a fold incomparable."""
    entries = {entry.name: entry for entry in case.entries if entry.fold == fold.number}
    found = {name: entry.evaluation for name, entry in entries.items() if entry.evaluation is not None}
    yield from _pools(case.bank, found)
    for rule in ("context", "prefix", "none"):
        names = [name for name, evaluation in found.items()
                 if evaluation.exclude == rule and entries[name].intent != "context-left-in"]  # fmt: skip
        if names and rule != case.exclude:
            yield f"{and_more(names)} excluded {rule!r} from the candidates, the case {case.exclude!r}", names
    yield from _unlike_most(found, _windows, "was measured on {value}, most entries on {usual}")
    keys = {name: _windows(evaluation)[0] for name, evaluation in found.items()}
    same = {name: found[name] for name, key in keys.items() if key == _most_frequent(keys.values())}
    yield from _unlike_most(same, _groups, "counts its windows in {value}, most entries in {usual}")
    yield from _unlike_most(found, _fresh, "has {value} in the fresh pool, most entries {usual}")


def _pools(bank: Bank, found: Mapping[str, Evaluation]) -> Iterator[Problem]:
    """Compare each entry's number of candidates with the number of distinct texts, and its ranks with both."""
    distinct, alive = distinct_texts(bank), int(bank.alive.sum())
    sizes: dict[int, list[str]] = {}
    for name, evaluation in found.items():
        sizes.setdefault(evaluation.pool_size, []).append(name)
    for size, names in sizes.items():
        if size != distinct:
            why = "each duplicate counted separately" if size == alive else f"of {alive:,} passages"
            yield f"{and_more(names)} ranked {size:,} candidates ({why}), the bank has {distinct:,} texts", names
    beyond = [name for name, evaluation in found.items() if evaluation.ranks.max(initial=0) > evaluation.pool_size]
    if beyond:
        yield f"{and_more(beyond)} has ranks beyond the number of candidates", beyond


def distinct_texts(bank: Bank) -> int:
    """Count the live passages, those with the same text once: the candidates there should be."""
    return len(np.unique(bank.duplicate_group[bank.alive]))


def _windows(evaluation: Evaluation) -> tuple[Hashable, str]:
    distinct = len(np.unique(evaluation.targets))
    repeated = f", {distinct:,} of them distinct" if distinct < len(evaluation.targets) else ""
    return evaluation.targets.tobytes(), f"{len(evaluation.targets):,} windows{repeated}"


def _groups(evaluation: Evaluation) -> tuple[Hashable, str]:
    key = (evaluation.documents.tobytes(), evaluation.groups.tobytes())
    return key, f"{len(np.unique(evaluation.groups)):,} groups of {evaluation.num_documents:,} documents"


def _fresh(evaluation: Evaluation) -> tuple[Hashable, str]:
    return evaluation.fresh_pool_sizes, " and ".join(f"{size:,}" for size in evaluation.fresh_pool_sizes) or "nothing"


def _most_frequent(keys: Iterable[Hashable]) -> Hashable:
    """Return the most frequent key, the first one among equals; None where there is none."""
    return next((key for key, _ in Counter(keys).most_common(1)), None)


def _unlike_most(found: Mapping[str, Evaluation], describe: Described, sentence: str) -> Iterator[Problem]:
    """Yield the entries whose key is not the most frequent one."""
    keys = {name: describe(evaluation) for name, evaluation in found.items()}
    usual = _most_frequent(key for key, _ in keys.values())
    described = next((words for key, words in keys.values() if key == usual), "")
    odd: dict[str, list[str]] = {}
    for name, (key, words) in keys.items():
        if key != usual:
            odd.setdefault(words if words != described else f"other {words}", []).append(name)
    for words, names in odd.items():
        yield f"{and_more(names)} {sentence.format(value=words, usual=described)}", names


CHECK = Check(
    code="SG114",
    title="Numbers are comparable",
    question="Are the compared numbers comparable: the same candidates, windows, exclusion and duplicates rule?",
    detection="In every fold, each entry's number of candidates must be the number of distinct texts among the bank's "
    "live passages (so duplicates count once), no rank may exceed it, and each entry must have excluded what the case "
    "declares. Windows, their groups of documents and the size of the fresh pool must be those of most entries. All "
    "comparisons are exact.",
    why="A recall of 75 % at 5 among 115 candidates and one among 584,545 are not comparable. Each of these "
    "differences changes a number more than any change to a model does.",
    healthy="all entries measured in the same way",
    fix="evaluate all entries again with one recipe over one bank",
    unit="entries",
    examine=examine,
    needs=("evaluations",),
)
