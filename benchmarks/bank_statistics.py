"""A reranked entry falls when test passages are not counted: do its features shift, or did it know the test set?

Reads a run that held `copy-last-rerank`. SG217 compares equally many counted documents. Here words and density are left
out one at a time, and trees are fitted again, on the same lists, with a density to which a passage's own document never
counts: no passage looks lonelier than another then, wherever it is from. Ranks of the first fold's test windows
(evenly spread, at most 1000, as SG217 takes them) over the whole bank; nothing is chosen by them.

    segue demo && python -m benchmarks.bank_statistics runs/demo --json benchmarks/results/bank_statistics.json
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.surroundings import surroundings
from segue.bank.copies import documents_of
from segue.checks.build_case import case_of_job
from segue.checks.diagnosis.sg217_bank_statistics import CHECK
from segue.checks.run import run_checks
from segue.comparison.entries.baselines import Baselines
from segue.comparison.entries.option_on_fold import OptionOnFold
from segue.comparison.entries.reranked import CascadeBuilder
from segue.evaluation.intervals import bootstrap, paired
from segue.evaluation.metrics import per_window
from segue.files import write_json
from segue.hardware import limit_threads
from segue.ranking.exact import top_k
from segue.ranking.pool import Pool
from segue.retrieval.rerank.features import NEIGHBOURS, ROWS_AT_ONCE, Features
from segue.retrieval.rerank.lambdamart import LambdaMart, fit_lambdamart
from segue.retrieval.rerank.lists import TrainingLists, features_of
from segue.retrieval.retrievers.cascade import Cascade
from segue.types import Bank
from segue.workflows.audit import job_of_run

OPTION = "copy-last-rerank"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--json", type=Path, help="where the results go")
    args = parser.parse_args()
    limit_threads()
    study = Study(args.run)
    table, reference = [], study.ranks(study.cascade(study.whole))
    for name, make in study.variants().items():
        ranks = study.ranks(make())
        table.append(study.row(name, ranks, reference))
        print(table[-1], flush=True)
    (found,) = run_checks([CHECK], study.case)
    print(found.statement)
    documents = len(documents_of(study.bank, study.windows))
    record = {"environment": surroundings(), "windows": len(reference), "documents": documents, "table": table,
              "SG217": found.to_json()["details"]["rows"]}  # fmt: skip
    if args.json:
        write_json(args.json, record)


class Study:
    """The cascade of a run, its lists, and the windows that are ranked."""

    def __init__(self, run: Path) -> None:
        self.job, results = job_of_run(run)
        self.fold, self.bank = self.job.experiment.folds[0], self.job.experiment.bank
        self.baselines = Baselines(self.job)
        self.case = case_of_job(self.job, results, baselines=self.baselines)
        self.windows = self.case.answerable(self.case.sample(self.fold))
        option = next(option for option in self.job.options if option.name == OPTION)
        self.builder = CascadeBuilder(OptionOnFold(self.job, option, self.fold, self.baselines))
        self.whole = self.baselines.features
        self.known = np.concatenate([self.fold.split.train, self.fold.split.validation]).astype(np.int64)

    def variants(self) -> dict[str, Callable[[], Cascade]]:
        """Return what is measured, by name."""
        counted = self.whole.counting(self.known)
        elsewhere, elsewhere_known = (
            self.features(density=elsewhere_cosines(self.bank, self.job.experiment.pool, among))
            for among in (self.job.experiment.pool, Pool(self.bank, self.known))
        )
        refit = self.fitted(elsewhere)
        return {
            "as fitted: whole bank": lambda: self.cascade(self.whole),
            "as fitted: training and validation documents": lambda: self.cascade(self.whole).counting(self.known),
            "as fitted: words alone of these": lambda: self.cascade(self.features(words=counted._words)),
            "as fitted: density alone of these": lambda: self.cascade(self.features(density=counted._density)),
            "refitted, own document never counted: whole bank": lambda: self.cascade(elsewhere, refit),
            "refitted, own document never counted: density of training and validation documents": lambda: self.cascade(
                elsewhere_known, refit
            ),
            "refitted, own document never counted: words too of these": lambda: self.cascade(
                self.features(words=counted._words, density=elsewhere_known._density), refit
            ),
        }

    def features(self, **known: object) -> Features:
        """Return the run's features with other words or another density."""
        of_bank = {"words": self.whole._words, "density": self.whole._density, **known}
        return Features(self.bank, self.whole.pool, context=self.whole.context, groups=self.whole.groups,
                        pieces=self.whole.pieces, **of_bank)  # type: ignore[arg-type]  # fmt: skip

    def fitted(self, features: Features) -> LambdaMart:
        """Fit trees on the run's lists, with other features."""
        settings = self.job.recipe.rerank.lambdamart.model_copy(update={"seed": self.job.seed(self.fold)})
        lists = (TrainingLists.load(self.builder.unit.folder / f"lists-{part}.npz") for part in ("train", "validation"))
        read = [features_of(part, features, exclude=self.job.recipe.evaluation.exclude) for part in lists]
        return fit_lambdamart(read[0], read[1], features, settings=settings)[0]

    def cascade(self, features: Features, model: LambdaMart | None = None) -> Cascade:
        """Return the option with a reranker over some features: its own trees, or others."""
        first, _ = self.builder.first_stage(self.fold, self.builder.unit.folder)
        model = model or LambdaMart.load(self.builder.unit.folder / "reranker", features)
        return self.builder.cascade(first, replace(model, features=features))

    def ranks(self, cascade: Cascade) -> np.ndarray:
        """Return the targets' ranks over the whole bank."""
        entry = next(entry for entry in self.case.entries if entry.name == OPTION)
        return self.case.ranks_of(replace(entry, load=lambda: cascade), self.windows)

    def row(self, name: str, ranks: np.ndarray, reference: np.ndarray) -> dict[str, object]:
        """Return R@5 and MRR with intervals, and the paired differences to the whole bank as fitted."""
        groups, row = self.case.groups_of(self.windows), {"statistics": name}
        for metric in ("R@5", "MRR"):
            one, other = per_window(ranks)[metric], per_window(reference)[metric]
            whole, test = bootstrap({metric: one}, groups, ratios={})[metric], paired(one, other, groups)
            row[metric] = {"value": whole.value, "low": whole.low, "high": whole.high}
            row[f"Δ {metric}"] = {"value": test.difference.value, "low": test.difference.low,
                                  "high": test.difference.high, "p": test.p_value}  # fmt: skip
        return row


def elsewhere_cosines(bank: Bank, pool: Pool, among: Pool) -> np.ndarray:
    """Return the cosines of each row with its 1st, 10th and 50th neighbour in other documents."""
    found = np.full((len(bank), len(NEIGHBOURS)), np.nan, dtype=np.float32)
    rows = np.flatnonzero(pool.mask)
    for start in range(0, len(rows), ROWS_AT_ONCE):
        part = rows[start : start + ROWS_AT_ONCE]
        own = padded([np.arange(bank.first_row[one], bank.first_row[one] + bank.num_rows[one])
                      for one in bank.document_of[part]])  # fmt: skip
        scores = top_k(bank.gather(part), among, max(NEIGHBOURS), exclude=own).scores
        found[part] = scores[:, np.array(NEIGHBOURS) - 1]
    found[np.isneginf(found)] = np.nan
    return found


def padded(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Return rows of unequal length as one array, padded with -1."""
    whole = np.full((len(rows), max(map(len, rows))), -1, dtype=np.int64)
    for number, row in enumerate(rows):
        whole[number, : len(row)] = row
    return whole


if __name__ == "__main__":
    main()
