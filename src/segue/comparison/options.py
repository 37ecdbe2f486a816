"""The options a triage compares: one value each, in the order in which tables show them.

An option is data. What it trains is named by an architecture and a loss preset; what it retrieves with when it trains
nothing is named by a baseline. ``triage.py`` turns options into retrievers.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from segue.errors import SettingsError, explain
from segue.models.settings import DocumentKind
from segue.types import Intent

Family = Literal["control", "baseline", "loss", "architecture", "towers", "rerank"]
Risk = Literal["low", "medium", "high"]
RECIPE_MODEL = "recipe"
"""Stands for the architecture that the recipe's [model] table names."""
WINNING_LOSS = "winning"
"""Stands for the loss option that did best on the fold's validation documents."""

OWN_MODEL, BORROWED_MODEL = "own model", "borrowed model"
"""First stages: the model that the option trains, or the trained candidate that did best on the fold's validation."""


@dataclass(frozen=True)
class Reranking:
    """How an option retrieves, then reranks.

    Attributes:
        first: the first stage: ``OWN_MODEL``, ``BORROWED_MODEL`` or an untrained option.
        order: what puts candidates in order: a reranker that is ``fitted`` as the recipe's [rerank] table says, the
            ``prediction`` of a borrowed model, or ``fusion`` of the sources' ranks.
        sources: untrained options that draw candidates too; a fitted reranker takes those of [rerank].
    """

    first: str
    order: Literal["fitted", "prediction", "fusion"]
    sources: tuple[str, ...] = ()

    @property
    def borrows(self) -> bool:
        """Whether it needs what another option trained."""
        return self.first == BORROWED_MODEL or self.order == "prediction"


@dataclass(frozen=True)
class Option:
    """One row of the comparison.

    Attributes:
        name: as in tables, JSON and on the command line.
        family: how tables group it.
        description: what it does, in a clause.
        question: what running it answers.
        risk: of adopting it, ``low``, ``medium`` or ``high``.
        intent: rows other than ``candidate`` cannot win.
        model: architecture to train, ``RECIPE_MODEL``, or None for an option without training.
        loss: a preset of ``LOSSES``, ``WINNING_LOSS``, or None.
        anchor: whether the model starts from the best copying baseline.
        documents: the model's document tower; all but ``identity`` encode the bank anew.
        reranking: candidates and what orders them; None for an option that ranks the bank by one score.
        text: what is fine-tuned where the option reads text; it has steps of its own, beside the plan's.
    """

    name: str
    family: Family
    description: str
    question: str
    risk: Risk = "low"
    intent: Intent = "candidate"
    model: str | None = None
    loss: str | None = None
    anchor: bool = False
    documents: DocumentKind = "identity"
    reranking: Reranking | None = None
    text: Literal["dual-encoder", "cross-encoder"] | None = None

    @property
    def trained(self) -> bool:
        """Whether the option has weights to learn by gradient descent."""
        return self.model is not None

    @property
    def always(self) -> bool:
        """Whether it takes part in every comparison: baselines and controls do."""
        return self.family in ("baseline", "control")

    @property
    def borrows(self) -> bool:
        """Whether it needs a model that another option trained."""
        return self.reranking is not None and self.reranking.borrows

    @property
    def lends(self) -> bool:
        """Whether its model may be borrowed: it predicts in the bank's own space."""
        return self.trained and self.intent == "candidate" and self.reranking is None and self.documents == "identity"

    @property
    def may_give_loss(self) -> bool:
        """Whether it takes part in choosing the winning loss: one loss each, the recipe's model, nothing else."""
        return self.model == RECIPE_MODEL and self.intent == "candidate" and self.reranking is None


def _baselines() -> list[Option]:
    rows: list[tuple[str, Family, Intent, str, str]] = [
        ("chance", "control", "control", "a random order", "What does knowing nothing score?"),
        ("oracle", "control", "control", "the true next vector as the query", "Can every target be found at all?"),
        ("copy-last", "baseline", "candidate", "the last passage as the query", "Is the next passage merely similar?"),
        ("mean", "baseline", "candidate", "the mean of the context", "Does the topic of the context suffice?"),
        ("exp-mean", "baseline", "candidate", "an exponentially weighted mean", "Do recent passages say more?"),
        ("ridge", "baseline", "candidate", "a regularised linear map", "How far does a linear model go?"),
        ("bm25", "baseline", "candidate", "words of the last passage", "Do shared words suffice?"),
        ("bm25-context", "baseline", "candidate", "words of the whole context", "Do shared words suffice?"),
        (
            "encoder-context",
            "baseline",
            "candidate",
            "the encoder on the joined context",
            "Can the encoder do it?",
        ),
    ]
    return [
        Option(name, family, description, question, intent=intent)
        for name, family, intent, description, question in rows
    ]


def _loss_options() -> list[Option]:
    projected = "InfoNCE in a projected space"
    options = [
        Option("ar-cosine", "loss", "1 − cosine to the next vector", "What does regression to the next vector reach?",
               model=RECIPE_MODEL, loss="ar-cosine"),
        Option("infonce-projected", "loss", f"0.7 {projected}, τ 0.07, + 0.3 AR",
               "What does InfoNCE behind a projection head reach?", "medium", "projected",
               RECIPE_MODEL, "infonce-projected"),
        Option("infonce-ar", "loss", "0.85 InfoNCE on the raw vectors, τ 0.07, + 0.15 AR",
               "Does dropping the projection head help?", model=RECIPE_MODEL, loss="infonce-ar"),
    ]  # fmt: skip
    for tau in ("0.05", "0.10", "0.15"):
        options.append(
            Option(f"infonce-projected-tau-{tau}", "loss", f"0.7 {projected}, τ {tau}, + 0.3 AR",
                   "Is the temperature at fault?", "medium", "projected", RECIPE_MODEL,
                   f"infonce-projected-tau-{tau}")
        )  # fmt: skip
    for tau in ("0.05", "0.10", "0.15"):
        options.append(
            Option(f"infonce-ar-tau-{tau}", "loss", f"0.85 InfoNCE on the raw vectors, τ {tau}, + 0.15 AR",
                   "Is the temperature at fault, on the raw vectors?", model=RECIPE_MODEL,
                   loss=f"infonce-ar-tau-{tau}")
        )  # fmt: skip
    options.append(
        Option("infonce", "loss", "InfoNCE on the raw vectors alone, τ 0.07", "Does the AR term hurt?",
               model=RECIPE_MODEL, loss="infonce")
    )  # fmt: skip
    options.append(
        Option("infonce-bank", "loss", "InfoNCE over every passage of the training bank, τ 0.05",
               "Does the whole bank as negatives help?", model=RECIPE_MODEL, loss="infonce-bank")
    )  # fmt: skip
    options.append(
        Option("amn-mse", "loss", "AMN with a mean squared error", "What does the smallest model reach?",
               model="amn", loss="mse")
    )  # fmt: skip
    return options


def _architectures() -> list[Option]:
    rows: tuple[tuple[str, str, Risk], ...] = (
        ("amn", "AMN", "low"),
        ("gru", "GRU", "low"),
        ("lstm", "LSTM", "low"),
        ("transformer", "Transformer", "medium"),
        ("mamba", "Mamba-2", "medium"),
        ("mlp", "MLP", "low"),
    )
    return [
        Option(name, "architecture", f"{label} from the anchor, under the winning loss",
               "Does another architecture help?", risk, model=name, loss=WINNING_LOSS, anchor=True)
        for name, label, risk in rows
    ]  # fmt: skip


def _towers() -> list[Option]:
    """Rows whose documents learn too; not under the winning loss, since that may be one that a tower would spoil."""
    rows: tuple[tuple[str, DocumentKind, str, str], ...] = (
        ("two-tower", "linear", "bidirectional GRU for the context, a linear tower for documents, InfoNCE τ 0.07",
         "Do separate towers for queries and documents help?"),
        ("siamese", "shared", "one bidirectional GRU for contexts and documents, a head for each, InfoNCE τ 0.07",
         "Does a shared encoder with separate heads help?"),
    )  # fmt: skip
    return [
        Option(name, "towers", description, question, "medium", model="bidirectional-gru",
               loss="infonce", anchor=True, documents=documents)
        for name, documents, description, question in rows
    ]  # fmt: skip


def _texts() -> list[Option]:
    return [
        Option("text-dual-encoder", "towers", "the bank's encoder learns to put the end of a context near the "
               "next passage", "Does reading the text itself help?", "medium", text="dual-encoder"),
        Option("cross-encoder", "rerank", "candidates of copy-last, each read together with the context",
               "Does reading context and candidate together help?", "high", text="cross-encoder"),
    ]  # fmt: skip


def _rerankers() -> list[Option]:
    return [
        Option("copy-last-rerank", "rerank", "candidates of copy-last and of words, reranked",
               "What does reranking gain without a model?", reranking=Reranking("copy-last", "fitted")),
        Option("rerank", "rerank", "candidates of a model from the anchor and of words, reranked",
               "Does retrieve-then-rerank help?", "medium", model=RECIPE_MODEL, loss="infonce-bank",
               anchor=True, reranking=Reranking(OWN_MODEL, "fitted")),
        Option("bm25-by-model", "rerank", "candidates of BM25 in the order of the best model's prediction",
               "Does the LVM work as the reranker?", reranking=Reranking("bm25-context", "prediction")),
        Option("copy-last-by-model", "rerank", "candidates of copy-last in the order of the best model's "
               "prediction", "Does the LVM work as the reranker?",
               reranking=Reranking("copy-last", "prediction")),
        Option("fusion", "rerank", "reciprocal ranks of the best model, BM25 and copy-last, added up",
               "Do they know different things?",
               reranking=Reranking(BORROWED_MODEL, "fusion", ("bm25-context", "copy-last"))),
    ]  # fmt: skip


OPTIONS: tuple[Option, ...] = (*_baselines(), *_loss_options(), *_architectures(), *_towers(), *_texts(), *_rerankers())
"""Every option, in reading order."""

RECIPE_OPTION = Option("model", "architecture", "the recipe's model and loss", "Is this model worth serving?",
                       model=RECIPE_MODEL, loss="recipe")  # fmt: skip
"""What ``segue train`` trains: the recipe's own [model] and [loss] tables."""


Preset = Literal["core", "phase1", "all"]
CORE = ("ar-cosine", "infonce-projected", "infonce-ar", "infonce", "infonce-bank", "mlp", "gru", "copy-last-rerank",
        "rerank")  # fmt: skip
"""The default: the losses in question, two architectures, and reranking with and without a model."""
ARCHITECTURE_OPTIONS = tuple(option.name for option in _architectures())
NOT_IN_PHASE_1 = ("infonce-bank", "copy-last-rerank", "fusion")


def choose_options(names: Sequence[str] | Preset) -> tuple[Option, ...]:
    """Return the options of a preset or those named, in reading order; baselines and controls are always among them.

    Raises:
        SettingsError: a name is unknown.

    >>> [option.name for option in choose_options(["ar-cosine"])][-2:]
    ['encoder-context', 'ar-cosine']
    """
    if names == "all":
        return OPTIONS
    if names == "phase1":
        return tuple(option for option in OPTIONS if option.name not in NOT_IN_PHASE_1)
    if names == "core":
        names = CORE
    known = {option.name for option in OPTIONS}
    unknown = [name for name in names if name not in known]
    if unknown:
        near = [difflib.get_close_matches(name, known, n=1) for name in unknown]
        hints = [
            f"{name!r} (nearest: {match[0]!r})" if match else repr(name)
            for name, match in zip(unknown, near, strict=True)
        ]
        raise SettingsError(explain("unknown options", got=", ".join(hints),
                                    expected=f"some of {', '.join(sorted(known))}"))  # fmt: skip
    return tuple(option for option in OPTIONS if option.always or option.name in names)
