"""What each part of reranking is worth: kinds of reranker, groups of features, sources of candidates.

Reads the run of a triage that held `rerank`, or another reranked option: its lists of training documents (none of which
their first stage has seen) and of validation windows. Trees are fitted again for every variant, on the same lists and
with the same settings; with two steps, on the candidates that the first one keeps. Ranks are over the whole bank, as a
cascade has them (what was not drawn follows in the first stage's order). Differences are paired over validation
windows. The test part is not used.

    python -m benchmarks.reranking runs/best --out runs/reranking.jsonl --json benchmarks/results/reranking.json
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.resumable import Units
from benchmarks.surroundings import surroundings
from segue.comparison.entries.baselines import Baselines
from segue.comparison.entries.option_on_fold import OptionOnFold
from segue.comparison.entries.reranked import CascadeBuilder, load_fitted
from segue.comparison.job import Job
from segue.evaluation.intervals import bootstrap, paired
from segue.files import write_json
from segue.hardware import limit_threads
from segue.retrieval.rerank.features import Features
from segue.retrieval.rerank.fusion import standardised
from segue.retrieval.rerank.lambdamart import fit_lambdamart
from segue.retrieval.rerank.lists import ListFeatures, TrainingLists, features_of, join_lists
from segue.retrieval.rerank.two_steps import fit_first_step
from segue.runs.bank import bank_of_run
from segue.windows.windows import gather_contexts
from segue.workflows.prepare import make_job, options_of_run, recorded_recipe

REFERENCE = "trees, all features, all sources"
CUTOFFS = (1, 5, 10, 50)
SOURCES = ("the model", "bm25", "bm25-context")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="file of lines, one for each unit; gone on with")
    parser.add_argument("--json", type=Path, help="where the summary goes")
    parser.add_argument("--option", default="rerank", help="the option whose lists are read: rerank, copy-last-rerank")
    parser.add_argument("--kept", type=int, nargs="*", default=[50], help="candidates kept by the first of two steps")
    parser.add_argument("--lists", type=int, default=10_000, help="training lists that trees are fitted on")
    parser.add_argument("--shares", type=int, nargs="*", default=[2, 4, 8, 16],
                        help="n: trees of each n-th group of documents only, a learning curve")  # fmt: skip
    args = parser.parse_args()
    limit_threads()
    study = Study(args.run, args.lists, args.option)
    variants = study.variants(args.kept, args.shares)
    units = Units(args.out, total=len(variants))
    for name, work in variants.items():
        unit = {"option": args.option, "variant": name, "lists": args.lists}
        units.one(unit, lambda work=work: {"ranks": work().tolist()})
    summary = {"environment": surroundings(), "option": args.option, "lists": args.lists,
               "windows": len(study.validation), "reference": REFERENCE, "table": study.table(units)}  # fmt: skip
    write_json(args.json or args.out.with_suffix(".json"), summary)


class Study:
    """The lists of a run with all their features, and the windows they belong to."""

    def __init__(self, run: Path, lists: int, option: str) -> None:
        recipe = recorded_recipe(run)
        bank = bank_of_run(run)
        self.job: Job = make_job(recipe, bank, options_of_run(run), run)
        self.fold = self.job.experiment.folds[0]
        self.option = next(one for one in self.job.options if one.name == option)
        self.baselines = Baselines(self.job)
        self.folder = self.job.folder(self.option, self.fold)
        halves = sorted(self.folder.glob("lists-of-half-*.npz"))
        every = join_lists([TrainingLists.load(path) for path in halves or [self.folder / "lists-train.npz"]])
        chosen = np.linspace(0, len(every) - 1, min(lists, len(every))).round().astype(np.int64)
        exclude, features = self.job.recipe.evaluation.exclude, self.baselines.features
        self.train = features_of(every.take(chosen), features, exclude=exclude)
        self.validation = features_of(TrainingLists.load(self.folder / "lists-validation.npz"), features,
                                      exclude=exclude)  # fmt: skip
        self.first_ranks = self._first_ranks()

    def variants(self, kept: Sequence[int], shares: Sequence[int]) -> dict[str, Any]:
        """Return what is measured, by name."""
        features = self.baselines.features
        found: dict[str, Any] = {"no reranking": lambda: self.first_ranks}
        found[REFERENCE] = lambda: self.fitted(self.train, self.validation, features)
        for group in features.groups:
            found[f"without {group}"] = lambda group=group: self.without(group)
        for most in kept:
            found[f"{most} kept by the first of two steps"] = lambda most=most: self.in_two_steps(most)
        for sources in ((0,), (0, 1), (0, 2), (1, 2)):
            name = "candidates of " + " and ".join(SOURCES[source] for source in sources)
            found[name] = lambda sources=sources: self.from_sources(sources)
        for share in shares:
            found[f"1/{share} of the documents"] = lambda share=share: self.of_documents(share)
        kinds = self.job.recipe.rerank.kinds
        for kind in (*kinds, "both") if len(kinds) > 1 else kinds:
            found[f"the run's reranker: {kind}"] = lambda kind=kind: self.of_run(kind)
        return found

    def fitted(self, train: ListFeatures, validation: ListFeatures, features: Features) -> np.ndarray:
        """Fit trees and return the validation ranks."""
        model, _ = fit_lambdamart(train, validation, features, settings=self.job.recipe.rerank.lambdamart)
        return self.ranks(model.scores_of(validation.values, validation.lists.candidates.there), validation.lists)

    def without(self, group: str) -> np.ndarray:
        """Leave a group of features out."""
        features = self.baselines.features
        left = features.only([name for name in features.groups if name != group])
        return self.fitted(*self.with_features(left), left)

    def with_features(self, features: Features) -> list[ListFeatures]:
        """Return training and validation lists with some of their features."""
        columns = [self.baselines.features.names.index(name) for name in features.names]
        return [dataclasses.replace(part, values=part.values[..., columns]) for part in (self.train, self.validation)]

    def in_two_steps(self, kept: int) -> np.ndarray:
        """Let trees over the recipe's quick features choose the candidates that all features are computed for."""
        recipe, experiment = self.job.recipe, self.job.experiment
        quick = self.baselines.features.only(recipe.rerank.quick)
        half = experiment.groups[experiment.bank.document_of[self.train.lists.windows.target]] % 2 == 0
        _, lists, _ = fit_first_step(*self.with_features(quick), quick, half=half, kept=kept,
                                     settings=recipe.rerank.lambdamart)  # fmt: skip
        features, exclude = self.baselines.features, recipe.evaluation.exclude
        return self.fitted(*(features_of(part, features, exclude=exclude) for part in lists), features)

    def from_sources(self, sources: tuple[int, ...]) -> np.ndarray:
        """Keep the candidates that some sources drew; features within the list stay those of the whole list."""
        return self.fitted(drawn_by(self.train, sources), drawn_by(self.validation, sources), self.baselines.features)

    def of_documents(self, share: int) -> np.ndarray:
        """Fit trees on the lists of fewer documents."""
        experiment = self.job.experiment
        groups = experiment.groups[experiment.bank.document_of[self.train.lists.windows.target]]
        few = self.train.take(np.flatnonzero(groups % share == 0))
        return self.fitted(few, self.validation, self.baselines.features)

    def of_run(self, kind: str) -> np.ndarray:
        """Score the validation lists with what the run fitted."""
        kinds = self.job.recipe.rerank.kinds if kind == "both" else (kind,)
        lists, features = self.validation.lists, self.baselines.features
        models = [load_fitted(name, self.folder / "reranker", features) for name in kinds]
        scores = np.full(lists.candidates.rows.shape, -np.inf)
        for start in range(0, len(lists), 256):
            part = lists.take(slice(start, start + 256))
            contexts = gather_contexts(features.bank, part.windows, texts=features.reads_text)
            there = part.candidates.there
            each = [standardised(model.scores(contexts, part.candidates), there) for model in models]
            scores[start : start + len(part)] = np.where(there, np.mean(each, axis=0), -np.inf)
        return self.ranks(scores, lists)

    def ranks(self, scores: np.ndarray, lists: TrainingLists) -> np.ndarray:
        """Return each target's rank: in its list, or behind it where the first stage puts it (at least)."""
        own = scores[np.arange(len(scores)), np.maximum(lists.label, 0)]
        inside = (scores >= own[:, None]).sum(axis=1)
        behind = np.maximum(self.first_ranks, lists.candidates.there.sum(axis=1) + 1)
        return np.where(lists.hits, inside, behind)

    def _first_ranks(self) -> np.ndarray:
        unit = OptionOnFold(self.job, self.option, self.fold, self.baselines, self.option.loss)
        first, _ = CascadeBuilder(unit).first_stage(self.fold, self.folder)
        windows, bank = self.validation.lists.windows, self.job.experiment.bank
        return first.target_ranks(gather_contexts(bank, windows), windows.target)

    def table(self, units: Units) -> list[dict[str, Any]]:
        """Return each variant's metrics, and its paired differences to the reference."""
        windows = self.validation.lists.windows
        bank = self.job.experiment.bank
        groups = self.job.experiment.groups[bank.document_of[windows.target]]
        found = {record["unit"]["variant"]: np.array(record["ranks"]) for record in units.done}
        rows = []
        for variant, ranks in found.items():
            values = {f"R@{cutoff}": (ranks <= cutoff).astype(float) for cutoff in CUTOFFS} | {"MRR": 1.0 / ranks}
            row: dict[str, Any] = {"variant": variant}
            for name, whole in bootstrap(values, groups, ratios={}).items():
                row[name] = {"value": whole.value, "low": whole.low, "high": whole.high}
            if variant != REFERENCE:
                test = paired((ranks <= 5).astype(float), (found[REFERENCE] <= 5).astype(float), groups)
                row["Δ R@5"] = {"value": test.difference.value, "low": test.difference.low,
                                "high": test.difference.high, "p": test.p_value}  # fmt: skip
            rows.append(row)
        return rows


def drawn_by(read: ListFeatures, sources: tuple[int, ...]) -> ListFeatures:
    """Keep, of every list, the candidates that one of the sources drew, at the front."""
    found = read.lists.candidates
    assert found.sources is not None, "the lists do not say who drew what"
    kept = np.isfinite(found.sources[:, list(sources)]).any(axis=1) & found.there
    order = np.argsort(~kept, axis=1, kind="stable")
    rows = np.take_along_axis(np.where(kept, found.rows, -1), order, axis=1)
    first = np.take_along_axis(np.where(kept, found.first, -np.inf), order, axis=1)
    values = np.take_along_axis(read.values, order[..., None], axis=1)
    place = np.argsort(order, axis=1)[np.arange(len(read)), np.maximum(read.lists.label, 0)]
    label = np.where((read.lists.label >= 0) & kept[np.arange(len(read)), np.maximum(read.lists.label, 0)], place, -1)
    candidates = dataclasses.replace(found, rows=rows, first=first, sources=None)
    return ListFeatures(TrainingLists(read.lists.windows, candidates, label), values)


if __name__ == "__main__":
    main()
