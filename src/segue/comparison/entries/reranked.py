"""Options that rerank: a first stage draws candidates, and a reranker fitted on lists of them puts them in order.

Every part is kept in the option's folder, complete or absent, so that a killed run is resumed:

``checkpoint/``, ``training.json``       the first stage that is served, trained on all training documents
``half-0/``, ``half-1/``                 first stages for cross-fitting, each trained on half of the documents
``lists-….npz``                          the candidates that each first stage drew
``borrowed.json``                        the option whose trained model is used, where it is not the option's own
``reranker/``                            the fitted reranker, and the record of its fitting

Validation documents choose the number of trees; test documents are not read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
from jaxtyping import Int

from segue.comparison.entries.option_on_fold import OptionOnFold
from segue.comparison.entries.trained import load_trained, train_option
from segue.comparison.job import FoldTraining, Job, spread
from segue.comparison.options import BEST_MODEL, OWN_MODEL, Option, Reranking
from segue.errors import InputError
from segue.evaluation.experiment import Fold
from segue.files import hashes_of, read_json, require_hashes, write_json
from segue.old_names import current_name
from segue.retrieval.own import OwnPart
from segue.retrieval.rerank import Reranker
from segue.retrieval.rerank.cosine import ByCosine
from segue.retrieval.rerank.features import Features
from segue.retrieval.rerank.fusion import Diversified, Fusion, Mixture
from segue.retrieval.rerank.lambdamart import LambdaMart, fit_lambdamart
from segue.retrieval.rerank.lists import (
    ListFeatures,
    TrainingLists,
    draw_lists,
    features_of,
    join_lists,
    score_lists,
)
from segue.retrieval.rerank.listwise import Listwise, fit_listwise
from segue.retrieval.rerank.own import OwnReranker
from segue.retrieval.rerank.two_steps import QUICK, TwoSteps, fit_first_step
from segue.retrieval.retrievers import Retriever, VectorSearch
from segue.retrieval.retrievers.cascade import Cascade
from segue.training.watch import watching
from segue.types import Bank, Windows

LIST_BATCH = 256
"""Windows whose candidates are drawn together."""
MODEL_USED = "borrowed.json"
"""File that names the option whose trained model is used."""
FitRecord = Mapping[str, Any]
"""Content of ``fit.json``: the report of each kind of reranker, ``first_stage_mrr``, ``halves`` and ``seconds``."""


@dataclass(frozen=True)
class CascadeBuilder:
    """Builds an option with ``reranking`` on one fold, or reads it back; ``steps`` are those of each first stage."""

    unit: OptionOnFold

    @property
    def reranking(self) -> Reranking:
        """Reranking of the option."""
        assert self.unit.option.reranking is not None
        return self.unit.option.reranking

    def build(self) -> tuple[Cascade, FoldTraining | None]:
        """Return the option as it is evaluated, with the record of its training; parts in the folder are read back."""
        first, training = self.first_stage(self.unit.fold, self.unit.folder)
        if self.reranking.order == "fitted":
            reranker, fit = self._fitted(first)
            return self.cascade(first, reranker), training and _training_record(self.unit.job, training, fit)
        if self.reranking.order == "fusion":
            return self.cascade(first, Fusion()), training
        if self.reranking.order == "own":
            return self.cascade(first, self._own()), training
        query = self._best_model().query
        return self.cascade(first, ByCosine(query, self.unit.job.experiment.bank, name="model")), training

    def first_stage(self, fold: Fold, folder: Path) -> tuple[Retriever, FoldTraining | None]:
        """Return the first stage on a fold or on half of it, trained where it is the option's own."""
        if self.reranking.first == OWN_MODEL:
            return train_option(replace(self.unit, fold=fold), folder=folder)
        if self.reranking.first == BEST_MODEL:
            return self._best_model(), None
        return self.unit.baselines.retriever(self.reranking.first, fold), None

    def _best_model(self) -> VectorSearch:
        """Return the trained model of the option that ``record_model_used`` noted."""
        name = model_used(self.unit.folder)
        option = next(option for option in self.unit.job.options if option.name == name)
        folder = self.unit.job.folder(option, self.unit.fold)
        searcher = load_trained(replace(self.unit, option=option), folder).searcher()
        assert searcher is not None
        assert searcher.predicts, "models with a document tower are not used by other options"
        return searcher

    def cascade(self, first: Retriever, reranker: Reranker) -> Cascade:
        """Combine a first stage, the option's other sources and a reranker."""
        settings, fitted = self.unit.job.recipe.rerank, self.reranking.order == "fitted"
        if fitted and settings.mmr is not None:
            reranker = Diversified(reranker, self.unit.job.experiment.bank, settings.mmr)
        depth = settings.first if fitted else settings.alone
        if self.reranking.order == "own":
            depth = self.unit.job.recipe.rerankers[self.unit.option.name].candidates
        return Cascade(self.unit.option.name, self.unit.option.intent, first, depth, reranker, tuple(self._sources()))

    def _own(self) -> Reranker:
        """Return the user's own reranker, fitted where it can be."""
        name, bank = self.unit.option.name, self.unit.job.experiment.bank
        own = OwnPart.make("reranker", name, self.unit.job.recipe.rerankers[name])
        return OwnReranker(own.fitted(bank, self.unit.fold.train).over(bank), bank)

    def _sources(self) -> Iterator[tuple[Retriever, int]]:
        """Yield the sources other than the first stage."""
        for name, count in self.unit.job.sources(self.reranking).items():
            yield self.unit.baselines.retriever(name, self.unit.fold), count

    def scored_lists(self, most: int, folder: Path) -> TrainingLists:
        """Return lists of training documents that hold their target, with a reranker's scores; the option is built.

        Each half of the documents is scored by a reranker that was fitted on lists of the other half, with as many
        trees or epochs as the served one: on lists that it was fitted on, its scores would be better than any that are
        served (cross-fitting).

        Args:
            most: lists at most, evenly spread; the rerankers are fitted on them too.
            folder: receives the lists and the two rerankers, or holds them.

        Raises:
            SettingsError: a half has no list with its target.
        """
        path, job, bank = folder / "lists-scored.npz", self.unit.job, self.unit.job.experiment.bank
        if path.exists():
            return TrainingLists.load(path)
        lists = self.training_lists()[0]
        held = np.flatnonzero(lists.hits)
        lists = lists.take(held[np.linspace(0, len(held) - 1, min(most, len(held))).round().astype(np.int64)])
        first, _ = self.first_stage(self.unit.fold, self.unit.folder)
        validation = self._lists(first, job.validation_windows(self.unit.fold), "validation")
        half, _ = cross_fitting_folds(self.unit.fold, bank, job.experiment.groups, seed=job.seed(self.unit.fold))
        inside = np.isin(bank.document_of[lists.windows.target], half.split.train)
        like_served = CascadeBuilder(replace(self.unit, like=self.unit.folder))
        scores = np.full(lists.candidates.rows.shape, -np.inf)
        for number, fitted_on in enumerate((inside, ~inside)):
            own, other = (lists.take(np.flatnonzero(which)) for which in (fitted_on, ~fitted_on))
            reranker, _ = like_served._fit_on(own, validation, folder / f"half-{number}")
            scores[~fitted_on] = score_lists(reranker, other, bank, exclude=job.recipe.evaluation.exclude,
                                             progress=self.unit.progress)  # fmt: skip
        lists = replace(lists, candidates=replace(lists.candidates, first=scores, sources=None, queries=None))
        lists.save(path)
        return lists

    def _fitted(self, first: Retriever) -> tuple[Reranker, FitRecord]:
        """Return the reranker and the record of its fitting; fit it on lists of training documents first, if needed."""
        folder = self.unit.folder / "reranker"
        if not (folder / "fit.json").exists():
            began = monotonic()
            train, trainings = self.training_lists()
            validation = self._lists(first, self.unit.job.validation_windows(self.unit.fold), "validation")
            record: FitRecord = {
                **self._fit_on(train, validation, folder)[1],
                "first_stage_mrr": {"training": train.reciprocal_rank, "validation": validation.reciprocal_rank},
                "halves": trainings,
                "seconds": monotonic() - began,
            }
            files = hashes_of(folder, (f"{kind}.json" for kind in self.unit.job.recipe.rerank.kinds))
            write_json(folder / "fit.json", {**record, "files": files})
        return self._read_back(folder), read_fit(folder)

    def _read_back(self, folder: Path) -> Reranker:
        settings, features = self.unit.job.recipe.rerank, self.unit.baselines.features
        members: tuple[Reranker, ...] = tuple(load_fitted(kind, folder, features) for kind in settings.kinds)
        reranker = members[0] if len(members) == 1 else Mixture(members)
        if settings.kept is None:
            return reranker
        return TwoSteps(LambdaMart.load(folder / QUICK, self._quick_features), reranker, settings.kept)

    def _fit_on(self, train: TrainingLists, validation: TrainingLists, folder: Path) -> tuple[Reranker, FitRecord]:
        """Fit every kind of reranker on training and validation lists; return the reranker and the records."""
        features, quick = self.unit.baselines.features, dict[str, Any]()
        if self.unit.job.recipe.rerank.kept is not None:
            train, validation, quick = self._first_step(train, validation, folder)
        lists = self._features_of(train, features), self._features_of(validation, features)
        record = {kind: self._fit(kind, lists, folder) for kind in self.unit.job.recipe.rerank.kinds}
        return self._read_back(folder), record | quick

    def _features_of(self, lists: TrainingLists, features: Features) -> ListFeatures:
        return features_of(lists, features, exclude=self.unit.job.recipe.evaluation.exclude,
                           progress=self.unit.progress)  # fmt: skip

    @property
    def _quick_features(self) -> Features:
        return self.unit.baselines.features.only(self.unit.job.recipe.rerank.quick)

    def _first_step(
        self, train: TrainingLists, validation: TrainingLists, folder: Path
    ) -> tuple[TrainingLists, TrainingLists, dict[str, Any]]:
        """Fit the first of two steps, save it, and return what it keeps of the lists, and the record of its fitting.

        Of each half of the training documents, the trees fitted on the other half choose (cross-fitting).
        """
        job, fold, features = self.unit.job, self.unit.fold, self._quick_features
        kept, bank = job.recipe.rerank.kept, job.experiment.bank
        assert kept is not None, "there are two steps"
        settings = job.recipe.rerank.lambdamart.model_copy(update={"seed": job.seed(fold)})
        before = {} if self.unit.like is None else read_json(self.unit.like / "reranker" / "fit.json")[QUICK]
        half, _ = cross_fitting_folds(fold, bank, job.experiment.groups, seed=job.seed(fold))
        inside = np.isin(bank.document_of[train.windows.target], half.split.train)
        known, watched = self._features_of(train, features), self._features_of(validation, features)
        model, lists, record = fit_first_step(known, watched, features, half=inside, kept=kept, settings=settings,
                                              trees=before.get("trees"), progress=self.unit.progress)  # fmt: skip
        model.save(folder / QUICK)
        return (*lists, {QUICK: record})

    def _fit(self, kind: str, lists: tuple[ListFeatures, ListFeatures], folder: Path) -> Mapping[str, Any]:
        """Fit one kind of reranker on training and validation lists, save it, and return the record of its fitting."""
        settings, features = self.unit.job.recipe.rerank, self.unit.baselines.features
        before = {} if self.unit.like is None else read_json(self.unit.like / "reranker" / "fit.json")[kind]
        seed = {"seed": self.unit.job.seed(self.unit.fold)}
        model: LambdaMart | Listwise
        if kind == "lambdamart":
            trees = settings.lambdamart.model_copy(update=seed)
            model, record = fit_lambdamart(*lists, features, settings=trees, trees=before.get("trees"),
                                           progress=self.unit.progress)  # fmt: skip
        else:
            net = settings.listwise.model_copy(update=seed)
            tools = self.unit.job.recipe.training.report_to if self.unit.like is None else ()
            with watching(tools, self.unit.job.out, self.unit.name_in_run(folder), net.model_dump()) as follow:
                model, record = fit_listwise(*lists, features, settings=net, folder=folder / "state",
                                             epochs=before.get("best_epoch"), progress=self.unit.progress,
                                             follow=follow)  # fmt: skip
        model.save(folder)
        return record

    def training_lists(self) -> tuple[TrainingLists, list[FoldTraining]]:
        """Return lists of training documents that their first stage was not trained on, and the trainings of halves.

        A first stage without training was trained on none.
        """
        fold, most = self.unit.fold, self.unit.job.recipe.rerank.lists
        if self.reranking.first != OWN_MODEL:
            first, _ = self.first_stage(fold, self.unit.folder)
            return self._lists(first, spread(fold.train, most), "train"), []
        experiment = self.unit.job.experiment
        parts = cross_fitting_folds(fold, experiment.bank, experiment.groups, seed=self.unit.job.seed(fold))
        lists, trainings = [], []
        for number, (own, other) in enumerate(zip(parts, reversed(parts), strict=True)):
            first, training = self.first_stage(own, self.unit.folder / f"half-{number}")
            share = round(most * len(other.train) / len(fold.train))
            lists.append(self._lists(first, spread(other.train, share), f"of-half-{1 - number}"))
            trainings += [training] if training else []
        return join_lists(lists), trainings

    def _lists(self, first: Retriever, windows: Windows, name: str) -> TrainingLists:
        """Draw the candidates of each window, or read them back."""
        path = self.unit.folder / f"lists-{name}.npz"
        if path.exists():
            return TrainingLists.load(path)
        cascade = self.cascade(first, Fusion())  # the order within a list does not matter here
        lists = draw_lists(
            lambda contexts: cascade.candidates(contexts).candidates,
            self.unit.job.experiment.bank,
            cascade.pool,
            windows,
            exclude=self.unit.job.recipe.evaluation.exclude,
            texts=cascade.reads_text,
            batch_size=min(LIST_BATCH, cascade.batch_limit or LIST_BATCH),
            progress=self.unit.progress,
        )
        lists.save(path)
        return lists


def read_fit(folder: Path) -> FitRecord:
    """Read the record of a reranker's fit.

    Raises:
        InputError: the file is missing or broken.
        StorageError: the rerankers beside it are others.
    """
    record = read_json(folder / "fit.json")
    require_hashes(folder, record.pop("files", None), fix="delete the folder and fit again")
    return record


def load_fitted(kind: str, folder: Path, features: Features) -> Reranker:
    """Load a fitted reranker of a kind from the folder it was saved in."""
    return LambdaMart.load(folder, features) if kind == "lambdamart" else Listwise.load(folder, features)


def _training_record(job: Job, served: FoldTraining, fit: FitRecord) -> FoldTraining:
    """Return the record of the served first stage, with the seconds of everything that the option needed."""
    parts = fit["halves"]
    reranker = {name: value for name, value in fit.items() if name != "halves"}
    reranker |= {"kind": job.recipe.rerank.kind, "trainings": 1 + len(parts),
                 "first_stage_seconds": served["seconds"], "half_steps": [part["steps"] for part in parts]}  # fmt: skip
    return {
        **served,
        "seconds": served["seconds"] + fit["seconds"],
        "under_trained": served["under_trained"] or any(part["under_trained"] for part in parts),
        "reranker": reranker,
    }


def model_used(folder: Path) -> str:
    """Return the option whose trained model the option of this folder uses."""
    return current_name(str(read_json(folder / MODEL_USED)["option"]))


def record_model_used(job: Job, option: Option, fold: Fold, *, best: str | None) -> None:
    """Record that an option uses the trained model of option ``best``; an earlier record stays.

    Raises:
        InputError: there is no such model.
    """
    if best is None:
        raise InputError(f"{option.name} uses another option's trained model, and there is none",
                         fix="add a trained option without a document tower")  # fmt: skip
    path = job.folder(option, fold) / MODEL_USED
    if not path.exists():
        write_json(path, {"format": 1, "option": best})


def cross_fitting_folds(fold: Fold, bank: Bank, groups: Int[np.ndarray, "document"], *, seed: int) -> tuple[Fold, Fold]:
    """Split a fold's training documents into two halves, near-duplicates together; everything else stays.

    A first stage trained on one half draws lists for the windows of the other. On documents that it was trained on, its
    lists would be better than any that are served, and a reranker would rely on it too much (cross-fitting; Wolpert
    1992, Stacked generalization).

    Args:
        fold: the fold to split.
        bank: the bank of the fold.
        groups: near-duplicate group of each document.
        seed: seed of the order in which groups are dealt.

    Raises:
        InputError: there are fewer than two groups of training documents.
    """
    documents = fold.split.train
    distinct, group = np.unique(groups[documents], return_inverse=True)
    if len(distinct) < 2:
        raise InputError("training documents cannot be halved", got=f"{len(distinct)} group of near-duplicates",
                         expected="two or more", fix="give more documents")  # fmt: skip
    order = np.random.default_rng(seed).permutation(len(distinct))
    size = np.bincount(group, minlength=len(distinct))[order]
    before = np.cumsum(size) - size  # documents dealt before each group
    in_first = np.zeros(len(distinct), dtype=bool)
    in_first[order] = (before < len(documents) / 2) & (np.arange(len(order)) < len(order) - 1)

    def half(chosen: Int[np.ndarray, "half"]) -> Fold:
        inside = np.isin(bank.document_of[fold.train.target], chosen)
        return replace(fold, split=replace(fold.split, train=chosen), train=fold.train.take(inside))

    return half(documents[in_first[group]]), half(documents[~in_first[group]])
