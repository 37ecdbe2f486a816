"""The tables of a recipe that a comparison reads, and the two that are its own: [triage] and [tuning]."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from segue.cluster import ComputeSettings
from segue.comparison.options import (
    BEST_MODEL,
    OPTIONS,
    RECIPE_MODEL,
    RECIPE_OPTION,
    WINNING_LOSS,
    Option,
    Preset,
    Reranking,
    choose_options,
)
from segue.encoders import EncoderSettings
from segue.errors import SettingsError
from segue.evaluation.evaluate import EvaluationSettings
from segue.evaluation.gates import REPORT_GATES, STANDARD_GATES, GateSettings
from segue.models import ModelSettings
from segue.old_names import current_name
from segue.parts import choose_parts
from segue.retrieval.own import RerankerSettings, RetrieverSettings
from segue.retrieval.rerank.settings import RerankSettings
from segue.settings import Settings
from segue.text_models.settings import TextSettings
from segue.training.losses.loss import LossSettings, describe_loss
from segue.training.train import TrainingSettings

OWN_TABLES = ("models", "losses", "retrievers", "rerankers")
"""Tables whose entries are options of the user's own."""


def _own_names(info: Any, *tables: str) -> list[str]:
    """Return the names of the recipe's own options, of all tables or of some."""
    own = (info.context or {}).get("own", {})
    return [name for table in tables or OWN_TABLES for name in own.get(table, ())]


class TriageSettings(Settings):
    """The [triage] table."""

    options: Preset | tuple[str, ...] = Field(
        "core",
        description='"core", "phase1" (all that the original report compared and proposed), "all", '
        '"baselines" (nothing is trained), or names; those of your own always take part',
    )
    budget_minutes: float = Field(30.0, gt=0, le=100_000, description="minutes for everything after encoding")
    encoder_share: float | None = Field(
        None,
        gt=0,
        le=1,
        description="share of budget_minutes that encoder-context may take; over it, it is skipped (null: no limit)",
    )
    plan: str | None = Field(None, description="plan.json of another run whose steps are repeated")
    validation_windows: int | None = Field(
        2000,
        ge=10,
        description="validation windows scored while training, evenly spread (null: all)",
    )

    @field_validator("options")
    @classmethod
    def _known(cls, options: Preset | tuple[str, ...], info: Any) -> Preset | tuple[str, ...]:
        if not isinstance(options, str):
            options = tuple(current_name(name) for name in options)
        choose_options(options, own=_own_names(info))
        return options


class TuningSettings(Settings):
    """The [tuning] table; `pip install 'segue[tune]'`."""

    options: tuple[str, ...] = Field(
        (), description="trained options, also of your own, whose settings are searched, where they take part"
    )
    trials: int = Field(8, ge=2, le=1000, description="trials of each of them; the first has the recipe's own settings")
    share: float = Field(
        0.3, gt=0, le=0.9, description="share of the training budget that all trials together may take"
    )

    @field_validator("options")
    @classmethod
    def _trained(cls, options: tuple[str, ...], info: Any) -> tuple[str, ...]:
        options = tuple(current_name(name) for name in options)
        choose_options(options, own=_own_names(info))
        trained = {option.name for option in OPTIONS if option.planned} | {*_own_names(info, "models", "losses")}
        untrained = [name for name in options if name not in trained]
        if untrained:
            raise SettingsError("nothing to tune", got=", ".join(untrained),
                                expected="options that are trained", fix="leave them out")  # fmt: skip
        if len(set(options)) < len(options):
            raise SettingsError("an option is tuned once", got=", ".join(options), fix="name each once")
        return options


class ComparisonSettings(Settings):
    """The tables that a comparison reads; ``Recipe`` adds those that make the bank and its windows."""

    encoder: EncoderSettings = EncoderSettings()
    model: ModelSettings = ModelSettings()
    loss: LossSettings = Field(LossSettings(), description="what `segue train` minimises; options have their own")
    training: TrainingSettings = TrainingSettings()
    text: TextSettings = TextSettings()
    rerank: RerankSettings = Field(RerankSettings(), description="what options that rerank draw and fit")
    evaluation: EvaluationSettings = EvaluationSettings()
    triage: TriageSettings = TriageSettings()
    tuning: TuningSettings = TuningSettings()
    compute: ComputeSettings = ComputeSettings()
    gates: Literal["standard", "report"] | tuple[GateSettings, ...] = Field(
        "standard", description='what the winner must reach: "standard", "report" (with Eff@5), or a list of gates'
    )

    models: dict[str, ModelSettings] = Field({}, description="models of your own by name, as options beside the others")
    losses: dict[str, LossSettings] = Field({}, description="losses of your own by name, as options beside the others")
    retrievers: dict[str, RetrieverSettings] = Field({}, description="retrievers of your own by name, as options")
    rerankers: dict[str, RerankerSettings] = Field({}, description="rerankers of your own by name, as options")

    @field_validator(*OWN_TABLES)
    @classmethod
    def _free_names(cls, entries: dict[str, Any], info: Any) -> dict[str, Any]:
        taken = {option.name for option in (*OPTIONS, RECIPE_OPTION)}
        taken |= {name for table in OWN_TABLES for name in info.data.get(table, {})}
        for name in entries:
            if name in taken or not re.fullmatch(r"\w[\w.-]*", name):
                expected = "letters, digits, - _ and ., and no name of another option"
                raise SettingsError(f"an option cannot have the name {name!r}", expected=expected)
        return entries

    @field_validator("rerankers")
    @classmethod
    def _known_first_stages(cls, rerankers: dict[str, RerankerSettings], info: Any) -> dict[str, RerankerSettings]:
        known = ["model", *(option.name for option in OPTIONS if option.family == "baseline"),
                 *info.data.get("retrievers", {})]  # fmt: skip
        for name, settings in rerankers.items():
            if settings.first not in known:
                raise SettingsError(f"{name} has no such first stage", got=repr(settings.first),
                                    expected=", ".join(known))  # fmt: skip
        return rerankers

    @model_validator(mode="after")
    def _chosen_parts(self) -> ComparisonSettings:
        choose_parts(self.part_names())
        return self

    def part_names(self) -> list[str]:
        """Return the names of encoder, models, terms of losses, retrievers and rerankers."""
        models, losses = (self.model, *self.models.values()), (self.loss, *self.losses.values())
        names = [self.encoder.name, *(model.name for model in models)]
        names += [term.kind for loss in losses for term in loss.terms]
        names += [retriever.part for retriever in self.retrievers.values()]
        return [*names, *(reranker.part for reranker in self.rerankers.values())]

    def chosen_options(self) -> tuple[Option, ...]:
        """Return the options that take part: those of [triage], and all of the user's own.

        Raises:
            SettingsError: [triage] names an option that there is not.
        """
        own = self.own_options()
        return (*choose_options(self.triage.options, own=[option.name for option in own]), *own)

    def own_options(self) -> tuple[Option, ...]:
        """Return the options of the user's own models, losses, retrievers and rerankers."""
        options = [Option(name, "loss", describe_loss(loss), "Does a loss of your own help?",
                          intent="projected" if loss.projected else "candidate", model=RECIPE_MODEL, loss=name)
                   for name, loss in self.losses.items()]  # fmt: skip
        options += [Option(name, "architecture", f"{model.name}, under the winning loss", "Does your own model help?",
                           model=model.name, loss=WINNING_LOSS, anchor=model.anchor, documents=model.documents)
                    for name, model in self.models.items()]  # fmt: skip
        options += [Option(name, "own", own.description, "Does a retriever of your own help?")
                    for name, own in self.retrievers.items()]  # fmt: skip
        options += [Option(name, "rerank", own.description, "Does a reranker of your own help?",
                           reranking=Reranking(BEST_MODEL if own.first == "model" else own.first, "own"))
                    for name, own in self.rerankers.items()]  # fmt: skip
        return tuple(options)

    def gate_family(self) -> tuple[GateSettings, ...]:
        """Return the gates that are judged together."""
        families = {"standard": STANDARD_GATES, "report": REPORT_GATES}
        return families[self.gates] if isinstance(self.gates, str) else self.gates
