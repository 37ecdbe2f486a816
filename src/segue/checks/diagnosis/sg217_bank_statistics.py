"""SG217: do features use statistics of test passages, and does it help?

Two effects look alike when test passages are left out of the statistics: knowledge of the test set is gone, which may
not help, and the tested document's own passages are not counted, which those of training documents were when a reranker
was fitted. A served bank counts its own passages. So test documents are halved, and each half is scored with statistics
over equally many documents: with its own half, with the other half instead, and with both halves in place of others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from segue.bank.copies import BankCopy, copy_documents, documents_of, windows_in
from segue.checks.case import BATCH, Case, CaseEntry
from segue.checks.check import Check, Judgement, Verdict
from segue.checks.statistics import percent, points
from segue.evaluation.intervals import PairedTest, paired
from segue.evaluation.metrics import per_window
from segue.ranking.pool import Pool
from segue.retrieval.retrievers import Retriever
from segue.types import Windows

Documents = Int[np.ndarray, "_"]
Ranks = Int[np.ndarray, "_"]
Values = Float[np.ndarray, "_"]

DECLARED = "bank statistics"
"""Name under which an entry declares them."""
METRICS = ("R@5", "MRR")
LEVEL = 0.01
DECLARED_FIX = "quote both numbers: the lower one is for a bank whose other documents were not tested"
PROBED = 60
"""Windows that are ranked in two banks to see whether other documents change the order."""
PROBED_PASSAGES = 4000
"""Passages of the larger of the two banks."""


@dataclass(frozen=True)
class Ablation:
    """A metric on the same windows and candidates, under statistics over equally many documents.

    Attributes:
        own: the tested document is counted, with its half of the test documents.
        test_set: both halves are counted, in place of as many other documents.
        lonely: the other half is counted instead of its own.
        of_test_set: paired test of ``test_set`` minus ``own``.
        of_own: paired test of ``own`` minus ``lonely``.
    """

    own: float
    test_set: float
    lonely: float
    of_test_set: PairedTest
    of_own: PairedTest


@dataclass(frozen=True)
class Halves:
    """The two halves of the test documents.

    Attributes:
        windows: test windows of each half.
        pools: candidates of each half: it, and the documents that every statistic counts.
        counted: documents counted with the first half, with the second, and with both in place of others.
    """

    windows: tuple[Windows, Windows]
    pools: tuple[Pool, Pool]
    counted: tuple[Documents, Documents, Documents]


def examine(case: Case) -> Verdict:
    """Find the entries that use statistics of the bank, whether they declare it, and measure what it gains."""
    probed = {entry.name: _depends_on_others(case, entry)
              for entry in case.non_controls if not entry.retriever.counts_bank}  # fmt: skip
    counting = {entry.name: entry for entry in case.non_controls if probed.get(entry.name, True)}
    undeclared = [name for name, entry in counting.items() if DECLARED not in entry.declares]
    ablated = _ablate(case, counting)
    details = {"rows": ablated, "undeclared": undeclared, "counting": [*counting], "probed": probed}
    measured, said = float(len(undeclared)), "".join(f" {text}" for text in _sentences(ablated))
    if not counting:
        text = f"None of {len(case.non_controls)} entries uses statistics of the bank."
        return Verdict("passed", text, 0.0, 0.0, details)
    caveats = {name: _of_test_set(name, found) for name, found in ablated.items() if _helps(found)}
    if undeclared:
        hidden = [name for name in undeclared if name in probed]
        how = f" ({', '.join(hidden)} not stated, but other documents change its order)" if hidden else ""
        text = f"{', '.join(undeclared)} uses statistics of the whole bank, test passages included, undeclared{how}."
        return Verdict("issue", f"{text}{said}", measured, 0.0, details, caveats=caveats)
    text = f"{', '.join(counting)}: statistics of the whole bank, as declared.{said}"
    outcome: Judgement = "tip" if caveats else "passed"
    return Verdict(outcome, text, measured, 0.0, details, DECLARED_FIX if caveats else "", caveats)


def _helps(found: Mapping[str, Ablation]) -> bool:
    """Return whether statistics of the test set give a clear lead over those of other documents."""
    return any(found[metric].of_test_set.p_greater < LEVEL for metric in METRICS)


def _sentences(ablated: Mapping[str, Mapping[str, Ablation]]) -> Iterator[str]:
    """Yield what knowledge of the test set gains, then what is lost where the tested document is not counted."""
    for name, found in ablated.items():
        if _helps(found):
            yield _of_test_set(name, found)
    shifted = {name: found["R@5"] for name, found in ablated.items()
               if any(found[metric].of_own.p_greater < LEVEL for metric in METRICS)}  # fmt: skip
    for name, one in shifted.items():
        yield (f"{name} has R@5 {percent(one.own)} where the tested document is counted and {percent(one.lonely)} "
               f"where as many other unseen documents are counted instead, "
               f"{points(one.of_own.difference)}.")  # fmt: skip
    if shifted:
        yield ("That is no knowledge of the test set: uncounted, a document's passages look lonelier and its words "
               "rarer than those of training documents, and a served bank counts what it holds.")  # fmt: skip


def _of_test_set(name: str, found: Mapping[str, Ablation]) -> str:
    """State what knowledge of the test set gains."""
    one = found["R@5"]
    return (f"{name} has R@5 {percent(one.test_set)} where other test documents are counted and {percent(one.own)} "
            f"where as many documents outside the test set are counted instead, {points(one.of_test_set.difference)}: "
            "that much rests on statistics of the test set.")  # fmt: skip


def _depends_on_others(case: Case, entry: CaseEntry) -> bool:
    """Return whether the order of the tested documents' passages changes when other documents leave the bank.

    A query vector that is made from its context alone cannot depend on them; those retrievers are not tested.
    """
    if not entry.retriever.reads_bank:
        return False
    windows = case.answerable(case.sample(case.fold_of(entry), most=PROBED))
    if len(windows) == 0:
        return False
    tested = documents_of(case.bank, windows)
    others = case.other_documents(tested, PROBED_PASSAGES, "SG217 documents")
    small, large = (copy_documents(case.bank, chosen) for chosen in (tested, np.concatenate([tested, others])))
    if len(small) == len(large):
        return False
    return not np.array_equal(_ranks_in(small, case, entry, windows), _ranks_in(large, case, entry, windows))


def _ranks_in(copy: BankCopy, case: Case, entry: CaseEntry, windows: Windows) -> Int[np.ndarray, "window"]:
    """Return the targets' ranks among the passages of the tested documents, in one of the two banks."""
    inside = windows_in(copy, windows)
    tested = np.unique(copy.document_of[inside.target]).astype(np.int64)
    moved = entry.retriever.over(copy)
    contexts = case.gather(copy, inside, exclude=case.exclude, texts=moved.reads_text)
    return moved.target_ranks(contexts, inside.target, pool=Pool(copy, tested))


def _ablate(case: Case, counting: Mapping[str, CaseEntry]) -> dict[str, dict[str, Ablation]]:
    """Score entries under each statistic; those that cannot be built again are left out."""
    halves = _halves(case)
    if halves is None:
        return {}
    ranks: dict[str, list[tuple[Ranks, Ranks]]] = {}
    for documents in halves.counted:  # all entries one after the other: they may share what is counted
        for name, entry in counting.items():
            rebuilt = entry.retriever.counting(documents)
            if rebuilt is not None:
                parts = zip(halves.windows, halves.pools, strict=True)
                first, second = (_ranks(case, rebuilt, windows, pool) for windows, pool in parts)
                ranks.setdefault(name, []).append((first, second))
    groups = np.concatenate([case.groups_of(windows) for windows in halves.windows])
    return {name: _compare(case, found, groups) for name, found in ranks.items()}


def _compare(case: Case, ranks: list[tuple[Ranks, Ranks]], groups: Ranks) -> dict[str, Ablation]:
    """Compare the ranks of both halves under the three statistics."""
    (first, second_lonely), (first_lonely, second), both = ranks
    own, lonely, test_set = (per_window(np.concatenate(parts)) for parts in
                             ((first, second), (first_lonely, second_lonely), both))  # fmt: skip

    def test(one: Mapping[str, Values], other: Mapping[str, Values], metric: str) -> PairedTest:
        return paired(one[metric], other[metric], groups, resamples=case.effort.resamples)

    return {
        metric: Ablation(
            own=float(own[metric].mean()),
            test_set=float(test_set[metric].mean()),
            lonely=float(lonely[metric].mean()),
            of_test_set=test(test_set, own, metric),
            of_own=test(own, lonely, metric),
        )
        for metric in METRICS
    }


def _halves(case: Case) -> Halves | None:
    """Halve the test documents, near-duplicates together; None where a half or the other documents are too few."""
    fold = case.folds[0]
    windows = case.answerable(case.sample(fold, most=case.effort.windows // 2))  # ranked under three statistics
    generator = case.generator("SG217 halves")
    groups = case.document_groups[fold.split.test]
    in_first = np.isin(groups, generator.permutation(np.unique(groups))[::2])
    first, second = fold.split.test[in_first], fold.split.test[~in_first]
    others = generator.permutation(np.setdiff1d(np.arange(len(case.bank.first_row)), fold.split.test))
    left_out = min(max(len(first), len(second)), len(others) // 2)
    halves = tuple(windows.take(np.isin(case.documents(windows), part)) for part in (first, second))
    if left_out == 0 or not all(map(len, halves)):
        return None
    kept = others[left_out:]
    return Halves(
        (halves[0], halves[1]),
        (Pool(case.bank, np.append(kept, first)), Pool(case.bank, np.append(kept, second))),
        (np.append(others, first), np.append(others, second), np.concatenate([kept, first, second])),
    )


def _ranks(case: Case, retriever: Retriever, windows: Windows, pool: Pool) -> Ranks:
    """Return the targets' ranks among the candidates of a pool."""
    parts = [
        retriever.target_ranks(
            case.gather(case.bank, batch, exclude=case.exclude, texts=retriever.reads_text), batch.target, pool=pool
        )
        for batch in windows.batches(retriever.batch_limit or BATCH)
    ]
    return np.concatenate(parts)


CHECK = Check(
    code="SG217",
    title="Bank statistics",
    question="Do rerank or fusion features use statistics of test passages (word counts, hubness, density)?",
    detection="An entry uses statistics of the bank where its retriever states it, or where the order of the tested "
    f"documents' passages changes when other documents leave a copy of the bank ({PROBED} windows, up to "
    f"{PROBED_PASSAGES:,} other passages). It has to declare that. Where the retriever can be built again with other "
    "statistics, the test documents of the first fold are halved. On the same windows and candidates, statistics over "
    "equally many documents are compared, paired over groups of documents: those that count the tested document's half "
    "and no other test document; both halves in place of as many other documents, which is knowledge of the test set "
    f"(a tip where it gives a clear lead, p < {LEVEL:g}); and the other half instead of its own, which shows how "
    "far features shift when the tested document is not counted (stated, never raised: a served bank counts its own "
    "passages).",
    why="Word rarity and density that are counted over the test passages may carry information about the test set. "
    "That a document's own passages are counted does not: a production index also knows its own passages, and a "
    "reranker that was fitted so misreads passages that were not counted.",
    healthy="none, or declared and without a difference",
    fix='declare it (CaseEntry.declares["bank statistics"]), or fit the statistics on training documents',
    unit="entries that do not declare it",
    examine=examine,
    needs=("windows", "entries"),
)
"""SG217: statistics of the bank have to be declared, whatever the retriever says of itself."""
