"""The options a triage compares: one value each, in the order in which tables show them.

An option is data: an architecture and a loss preset to train, or the name of a baseline; ``entries`` turns options into
retrievers. A new option is one more line of ``OPTIONS``.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from segue.comparison.record import Family, Risk
from segue.errors import SettingsError
from segue.models.settings import DocumentKind
from segue.types import Intent

RECIPE_MODEL = "recipe"
"""Placeholder for the architecture that the recipe's [model] table names."""
WINNING_LOSS = "winning"
"""Placeholder for the loss of the loss option that did best on the fold's validation documents."""
OWN_MODEL, BEST_MODEL = "own model", "best model"
"""First stages: the model that the option trains, or the reusable option that did best on the fold's validation."""


@dataclass(frozen=True)
class Reranking:
    """Candidates of an option and how they are put in order.

    Attributes:
        first: the first stage: ``OWN_MODEL``, ``BEST_MODEL`` or an untrained option.
        order: ``fitted`` (a reranker fitted with the recipe's [rerank] table), ``prediction`` (cosine to the prediction
            of the best model), ``fusion`` (of the sources' ranks) or ``own`` (the option's entry in [rerankers]).
        sources: untrained options that draw candidates too; a fitted reranker takes those of [rerank].
    """

    first: str
    order: Literal["fitted", "prediction", "fusion", "own"]
    sources: tuple[str, ...] = ()

    @property
    def reuses_model(self) -> bool:
        """Whether it needs a model that another option trained."""
        return self.first == BEST_MODEL or self.order == "prediction"


@dataclass(frozen=True)
class Option:
    """One option of a comparison.

    Attributes:
        name: name in tables, JSON and on the command line.
        family: group in tables.
        description: what it does, in a clause.
        question: what running it answers.
        risk: risk of adopting it.
        intent: only a ``candidate`` can win.
        model: architecture to train, ``RECIPE_MODEL``, or None for an option without training.
        loss: a preset of ``LOSSES``, ``WINNING_LOSS``, or None.
        anchor: whether the model starts from the best copying baseline.
        documents: the model's document tower; all but ``identity`` encode the bank again.
        reranking: candidates and their order; None for an option that ranks the bank by one score.
        text: what is fine-tuned on text, with the steps of [text] instead of the plan's.
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
    def planned(self) -> bool:
        """Whether its steps are those of the plan; what reads tokens has steps of its own ([text])."""
        return self.trained and self.model != "tokens"

    @property
    def always(self) -> bool:
        """Whether it takes part in every comparison: baselines and controls do."""
        return self.family in ("baseline", "control")

    @property
    def reuses_model(self) -> bool:
        """Whether it needs a model that another option trained."""
        return self.text == "cross-encoder" or (self.reranking is not None and self.reranking.reuses_model)

    @property
    def reranks(self) -> Reranking | None:
        """How candidates are put in order, before some of them are read again."""
        return Reranking("copy-last", "fitted") if self.text == "cross-encoder" else self.reranking

    @property
    def crossfitted(self) -> bool:
        """Whether its first stage is trained three times: for serving, and on each half of the documents."""
        return self.reranking is not None and self.reranking.first == OWN_MODEL

    @property
    def may_be_too_expensive(self) -> bool:
        """Whether its cost is measured, on its first fold, and compared with its share of the budget."""
        return self.text is not None or self.model == "tokens" or self.name == "encoder-context"

    @property
    def reusable(self) -> bool:
        """Whether other options may use its model: it predicts in the bank's own space."""
        return self.trained and self.intent == "candidate" and self.reranking is None and self.documents == "identity"

    @property
    def loss_candidate(self) -> bool:
        """Whether its loss may become the winning loss: the option differs from others in its loss alone."""
        return self.model == RECIPE_MODEL and self.intent == "candidate" and self.reranking is None


def _loss(name: str, description: str, question: str, loss: str, *, projected: bool = False) -> Option:
    """Return an option that trains the recipe's model under a loss; a projection head keeps it from winning."""
    risk: Risk = "medium" if projected else "low"
    intent: Intent = "projected" if projected else "candidate"
    return Option(name, "loss", description, question, risk, intent, RECIPE_MODEL, loss)


def _architecture(name: str, label: str, risk: Risk = "low") -> Option:
    return Option(name, "architecture", f"{label} from the anchor, under the winning loss",
                  "Does another architecture help?", risk, model=name, loss=WINNING_LOSS, anchor=True)  # fmt: skip


ARCHITECTURES = (
    _architecture("amn", "AMN"),
    _architecture("gru", "GRU"),
    _architecture("lstm", "LSTM"),
    _architecture("transformer", "Transformer", "medium"),
    _architecture("mamba", "Mamba-2", "medium"),
    _architecture("mlp", "MLP"),
)
ARCHITECTURE_OPTIONS = tuple(option.name for option in ARCHITECTURES)
TAUS = ("0.05", "0.10", "0.15")
OPTIONS: tuple[Option, ...] = (
    Option("chance", "control", "a random order", "What does a random order score?", intent="control"),
    Option("oracle", "control", "the true next vector as the query", "Can every target be found?",
           intent="control"),
    Option("copy-last", "baseline", "the last passage as the query", "Is the next passage the most similar one?"),
    Option("mean", "baseline", "the mean of the context", "Does the topic of the context suffice?"),
    Option("exp-mean", "baseline", "an exponentially weighted mean", "Do recent passages say more?"),
    Option("ridge", "baseline", "a regularised linear map", "How far does a linear model go?"),
    Option("bm25", "baseline", "words of the last passage", "Do shared words suffice?"),
    Option("bm25-context", "baseline", "words of the whole context", "Do shared words suffice?"),
    Option("encoder-context", "baseline", "the encoder on the joined context", "Can the encoder do it?"),
    _loss("ar-cosine", "1 − cosine to the next vector", "What does regression to the next vector reach?", "ar-cosine"),
    _loss("infonce-projected", "0.7 InfoNCE in a projected space, τ 0.07, + 0.3 AR",
          "What does InfoNCE behind a projection head reach?", "infonce-projected", projected=True),
    _loss("infonce-ar", "0.85 InfoNCE on the raw vectors, τ 0.07, + 0.15 AR",
          "Does dropping the projection head help?", "infonce-ar"),
    *(_loss(f"infonce-projected-tau-{tau}", f"0.7 InfoNCE in a projected space, τ {tau}, + 0.3 AR",
            "Does another temperature help?", f"infonce-projected-tau-{tau}", projected=True) for tau in TAUS),
    *(_loss(f"infonce-ar-tau-{tau}", f"0.85 InfoNCE on the raw vectors, τ {tau}, + 0.15 AR",
            "Does another temperature help, on the raw vectors?", f"infonce-ar-tau-{tau}") for tau in TAUS),
    _loss("infonce", "InfoNCE on the raw vectors alone, τ 0.07", "Does the AR term hurt?", "infonce"),
    _loss("infonce-bank", "InfoNCE over every passage of the training bank, τ 0.05",
          "Does the whole bank as negatives help?", "infonce-bank"),
    Option("amn-mse", "loss", "AMN with a mean squared error", "What does the smallest model reach?",
           model="amn", loss="mse"),
    *ARCHITECTURES,
    Option("tokens", "architecture", "the bank's encoder reads the end of the context, from the anchor, under InfoNCE "
           "over the bank", "Does reading the text help?", "medium", model="tokens", loss="infonce-bank", anchor=True),
    Option("two-tower", "towers", "bidirectional GRU for the context, a linear tower for documents, InfoNCE τ 0.07",
           "Do separate towers for queries and documents help?", "medium",
           model="bidirectional-gru", loss="infonce", anchor=True, documents="linear"),
    Option("siamese", "towers", "one bidirectional GRU for contexts and documents, a head for each, InfoNCE τ 0.07",
           "Does a shared encoder with separate heads help?", "medium",
           model="bidirectional-gru", loss="infonce", anchor=True, documents="shared"),
    Option("text-dual-encoder", "towers", "the bank's encoder, fine-tuned to put the end of a context near the next "
           "passage", "Does reading the text itself help?", "medium", text="dual-encoder"),
    Option("copy-last-rerank", "rerank", "candidates of copy-last and of words, reranked",
           "What does reranking gain without a model?", reranking=Reranking("copy-last", "fitted")),
    Option("rerank", "rerank", "candidates of a model from the anchor and of words, reranked",
           "Does retrieve-then-rerank help?", "medium", model=RECIPE_MODEL, loss="infonce-bank", anchor=True,
           reranking=Reranking(OWN_MODEL, "fitted")),
    Option("cross-encoder", "rerank", "the first candidates of rerank (or copy-last-rerank), each read together with "
           "the context", "Does reading context and candidate together help?", "high",
           text="cross-encoder"),
    Option("bm25-by-model", "rerank", "candidates of BM25 in the order of the best model's prediction",
           "Does the model work as a reranker of words?", reranking=Reranking("bm25-context", "prediction")),
    Option("copy-last-by-model", "rerank", "candidates of copy-last in the order of the best model's prediction",
           "Does the model work as a reranker?", reranking=Reranking("copy-last", "prediction")),
    Option("fusion", "rerank", "sum of the reciprocal ranks of the best model, BM25 and copy-last",
           "Do they know different things?",
           reranking=Reranking(BEST_MODEL, "fusion", ("bm25-context", "copy-last"))),
)  # fmt: skip
"""Every option, in reading order. Towers are not trained under the winning loss, which a tower may not suit."""

READ_AGAIN = ("rerank", "copy-last-rerank")
"""Options whose first candidates a cross-encoder reads: the first of them that there is."""

RECIPE_OPTION = Option("model", "architecture", "the recipe's model and loss", "Is this model worth serving?",
                       model=RECIPE_MODEL, loss="recipe")  # fmt: skip
"""The option that ``segue train`` trains: the recipe's own [model] and [loss] tables."""
Preset = Literal["core", "phase1", "all", "baselines"]
CORE = ("ar-cosine", "infonce-projected", "infonce-ar", "infonce", "infonce-bank", "mlp", "gru", "copy-last-rerank",
        "rerank")  # fmt: skip
"""The default preset: the main losses, two architectures, reranking with and without a model."""
NOT_IN_PHASE_1 = ("infonce-bank", "tokens", "copy-last-rerank", "fusion")


def choose_options(names: Sequence[str] | Preset, *, own: Collection[str] = ()) -> tuple[Option, ...]:
    """Return the options of a preset or those named, in reading order; baselines and controls are always among them.

    Args:
        names: a preset, or names.
        own: names of options of the user's own, which may be among ``names`` and are not returned.

    Raises:
        SettingsError: a name is unknown.

    >>> [option.name for option in choose_options(["ar-cosine"])][-2:]
    ['encoder-context', 'ar-cosine']
    """
    if names == "all":
        return OPTIONS
    if names == "phase1":
        return tuple(option for option in OPTIONS if option.name not in NOT_IN_PHASE_1)
    if names == "baselines":
        names = ()
    if names == "core":
        names = CORE
    known = {*(option.name for option in OPTIONS), *own}
    unknown = [name for name in names if name not in known]
    if unknown:
        near = {name: difflib.get_close_matches(name, known, n=1) for name in unknown}
        hints = [f"{name!r} (nearest: {match[0]!r})" if match else repr(name) for name, match in near.items()]
        raise SettingsError("unknown options", got=", ".join(hints), expected=f"some of {', '.join(sorted(known))}")
    return tuple(option for option in OPTIONS if option.always or option.name in names)
