"""Options that rerank: their first stages are trained or borrowed, lists are drawn, and the reranker is fitted on them.

Everything is kept in the option's folder, each part whole or not there, so a killed run goes on where it was:

``checkpoint/``, ``training.json``       the first stage that is served, trained on all training documents
``half-0/``, ``half-1/``                 first stages of the halves (``crossfit.py``)
``lists-….npz``                          what each of them, or the served one, drew
``reranker/``                            what was fitted, and what that took

Validation documents choose the number of trees; test documents are not looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

from segue.comparison.entries.trained import Baselines, train_entrant, watched
from segue.comparison.halves import halves, spread
from segue.comparison.job import Job
from segue.comparison.options import BORROWED_MODEL, OWN_MODEL, Option, Reranking
from segue.errors import InputError, explain
from segue.evaluation.experiment import Fold
from segue.files import read_json, write_json
from segue.old_names import current_name
from segue.retrieval.rerank import Reranker
from segue.retrieval.rerank.cosine import ByCosine
from segue.retrieval.rerank.features import Features
from segue.retrieval.rerank.fusion import Diversified, Fusion, Mixture
from segue.retrieval.rerank.lambdamart import LambdaMart, fit_lambdamart
from segue.retrieval.rerank.lists import ListFeatures, TrainingLists, draw_lists, features_of, join_lists
from segue.retrieval.rerank.listwise import Listwise, fit_listwise
from segue.retrieval.retrievers import Retriever, VectorSearch
from segue.retrieval.retrievers.cascade import Cascade
from segue.types import Progress, Windows

LIST_BATCH = 256
"""Windows whose candidates are drawn together."""
BORROWED = "borrowed.json"
"""Names the option whose trained model a cascade reads."""


@dataclass(frozen=True)
class Making:
    """One cascade option on one fold, being made or read back.

    Attributes:
        job: the comparison.
        option: with its ``reranking``.
        fold: of the job.
        baselines: the job's.
        loss: that the first stage is trained under, where the option trains one.
        steps: of each first stage, from the plan.
        progress: told of every step.
    """

    job: Job
    option: Option
    fold: Fold
    baselines: Baselines
    loss: str | None
    steps: int
    progress: Progress

    @property
    def folder(self) -> Path:
        """Where the parts are kept."""
        return self.job.folder(self.option, self.fold)

    @property
    def plan(self) -> Reranking:
        """How the option reranks."""
        assert self.option.reranking is not None
        return self.option.reranking

    def first_stage(self, fold: Fold, folder: Path) -> tuple[Retriever, dict[str, Any] | None]:
        """Return the first stage of a fold or of a half of it, trained where it is the option's own."""
        if self.plan.first == OWN_MODEL:
            return train_entrant(self.job, self.option, fold, loss=self.loss, steps=self.steps,
                                 baselines=self.baselines, progress=self.progress, folder=folder)  # fmt: skip
        if self.plan.first == BORROWED_MODEL:
            return self.borrowed(), None
        return self.baselines.retriever(self.plan.first, fold), None

    def borrowed(self) -> VectorSearch:
        """Return the trained model that another option left on this fold."""
        from segue.comparison.entries.trained import as_retriever
        from segue.models import load_predictor

        name = borrowed_name(self.folder)
        option = next(option for option in self.job.options if option.name == name)
        predictor, _ = load_predictor(self.job.folder(option, self.fold) / "checkpoint")
        found = as_retriever(self.job, option, predictor, self.baselines)
        assert found.predicts, "models with a document tower are not borrowed"
        assert found.searcher is not None
        return found.searcher


def cascade_entrant(making: Making) -> tuple[Cascade, dict[str, Any] | None]:
    """Return a cascade option as it is evaluated, and what training did; what the folder holds is read back."""
    first, training = making.first_stage(making.fold, making.folder)
    reranker, fit = _reranker(making, first)
    cascade = cascade_of(making, first, reranker)
    record = None if training is None else _training_record(making, training, fit)
    return cascade, record


def borrowed_name(folder: Path) -> str:
    """Return the option whose trained model an option reads on a fold, from the note in its folder."""
    return current_name(str(read_json(folder / BORROWED)["option"]))


def borrow(job: Job, option: Option, fold: Fold, *, lender: str) -> None:
    """Note whose trained model a cascade reads on a fold; what was noted before stays."""
    path = job.folder(option, fold) / BORROWED
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"format": 1, "option": lender})


def cascade_of(making: Making, first: Retriever, reranker: Reranker) -> Cascade:
    """Put a first stage, the option's sources and a reranker together."""
    settings, option = making.job.rerank, making.option
    fitted = making.plan.order == "fitted"
    if fitted and settings.mmr is not None:
        reranker = Diversified(reranker, making.job.experiment.bank, settings.mmr)
    depth = settings.first if fitted else settings.alone
    return Cascade(option.name, option.intent, first, depth, reranker, tuple(_sources(making)))


def _sources(making: Making) -> Iterator[tuple[Retriever, int]]:
    """Yield the sources beside the first stage; without texts there are no words."""
    fitted, settings = making.plan.order == "fitted", making.job.rerank
    wanted = settings.words if fitted else dict.fromkeys(making.plan.sources, settings.alone)
    for name, count in wanted.items():
        if count and (making.job.experiment.bank.has_texts or not name.startswith("bm25")):
            yield making.baselines.retriever(name, making.fold), count


def _reranker(making: Making, first: Retriever) -> tuple[Reranker, dict[str, Any] | None]:
    if making.plan.order == "fusion":
        return Fusion(), None
    if making.plan.order == "prediction":
        return ByCosine(making.borrowed().query, making.job.experiment.bank, name="model"), None
    return _fitted(making, first)


def _fitted(making: Making, first: Retriever) -> tuple[Reranker, dict[str, Any]]:
    """Return the fitted reranker, or fit it on lists of training documents."""
    folder, features = making.folder / "reranker", making.baselines.features
    if not (folder / "fit.json").exists():
        began = monotonic()
        train, trainings = _training_lists(making)
        validation = _drawn(making, first, watched(making.job, making.fold), "validation")
        exclude, progress = making.job.evaluation.exclude, making.progress
        read = features_of(train, features, exclude=exclude, progress=progress)
        watching = features_of(validation, features, exclude=exclude, progress=progress)
        record = {kind: _fit(kind, making, (read, watching), folder) for kind in making.job.rerank.kinds}
        record["first_stage_mrr"] = {"training": train.reciprocal_rank, "validation": validation.reciprocal_rank}
        write_json(folder / "fit.json", record | {"halves": trainings, "seconds": monotonic() - began})
    members = tuple(_load(kind, folder, features) for kind in making.job.rerank.kinds)
    return members[0] if len(members) == 1 else Mixture(members), read_json(folder / "fit.json")


def _load(kind: str, folder: Path, features: Features) -> Reranker:
    return LambdaMart.load(folder, features) if kind == "lambdamart" else Listwise.load(folder, features)


def _fit(kind: str, making: Making, read: tuple[ListFeatures, ListFeatures], folder: Path) -> Mapping[str, object]:
    """Fit one kind of reranker, save it, and return what fitting did."""
    settings, features, seed = making.job.rerank, making.baselines.features, making.job.training.seed
    model: LambdaMart | Listwise
    if kind == "lambdamart":
        trees = settings.lambdamart.model_copy(update={"seed": seed + making.fold.number})
        model, record = fit_lambdamart(*read, features, settings=trees, progress=making.progress)
    else:
        net = settings.listwise.model_copy(update={"seed": seed + making.fold.number})
        model, record = fit_listwise(*read, features, settings=net, folder=folder / "state", progress=making.progress)
    model.save(folder)
    return record


def _training_lists(making: Making) -> tuple[TrainingLists, list[dict[str, Any]]]:
    """Return the lists of training documents, none of which its first stage has seen, and the halves' trainings.

    A first stage that was not trained has seen none.
    """
    fold, most = making.fold, making.job.rerank.lists
    if making.plan.first != OWN_MODEL:
        first, _ = making.first_stage(fold, making.folder)
        return _drawn(making, first, spread(fold.train, most), "train"), []
    experiment, seed = making.job.experiment, making.job.training.seed + fold.number
    parts = halves(fold, experiment.bank, experiment.groups, seed=seed)
    lists, trainings = [], []
    for number, (own, other) in enumerate(zip(parts, reversed(parts), strict=True)):
        first, training = making.first_stage(own, making.folder / f"half-{number}")
        share = round(most * len(other.train) / len(fold.train))
        lists.append(_drawn(making, first, spread(other.train, share), f"of-half-{1 - number}"))
        trainings += [training] if training else []
    return join_lists(lists), trainings


def _drawn(making: Making, first: Retriever, windows: Windows, name: str) -> TrainingLists:
    """Draw lists, or read them back."""
    path = making.folder / f"lists-{name}.npz"
    if path.exists():
        return TrainingLists.load(path)
    cascade = cascade_of(making, first, Fusion())  # what orders them does not matter here
    lists = draw_lists(
        lambda contexts: cascade.candidates(contexts).candidates,
        making.job.experiment.bank,
        cascade.pool,
        windows,
        exclude=making.job.evaluation.exclude,
        texts=cascade.reads_text,
        batch_size=min(LIST_BATCH, cascade.batch_limit or LIST_BATCH),
        progress=making.progress,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    lists.save(path)
    return lists


def _training_record(making: Making, served: dict[str, Any], fit: dict[str, Any] | None) -> dict[str, Any]:
    """Return the served first stage's record, with the seconds of everything that the option needed."""
    if fit is None:
        return served
    parts = fit["halves"]
    about = {name: value for name, value in fit.items() if name != "halves"}
    about |= {"kind": making.job.rerank.kind, "trainings": 1 + len(parts), "first_stage_seconds": served["seconds"],
              "half_steps": [part["steps"] for part in parts]}  # fmt: skip
    return served | {
        "seconds": served["seconds"] + fit["seconds"],
        "under_trained": served["under_trained"] or any(part["under_trained"] for part in parts),
        "reranker": about,
    }


def require_lender(found: str | None, option: Option) -> str:
    """Return the name of the option whose model is borrowed.

    Raises:
        InputError: no trained candidate is there.
    """
    if found is None:
        raise InputError(explain(f"{option.name} reads another option's trained model, and there is none",
                                 fix="let a trained option without a document tower take part"))  # fmt: skip
    return found
