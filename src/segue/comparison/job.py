"""What a comparison needs, and what one option comes to on one fold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from segue.comparison.options import Option
from segue.comparison.plan import TriageSettings
from segue.comparison.tuning.settings import TuningSettings
from segue.encoders import Encoder, EncoderSettings
from segue.errors import InputError, explain
from segue.evaluation.evaluate import Evaluation, EvaluationSettings
from segue.evaluation.experiment import Experiment, Fold
from segue.evaluation.gates import GateSettings
from segue.files import read_json, write_json
from segue.models import ModelSettings
from segue.old_names import option_folder
from segue.retrieval.rerank.settings import RerankSettings
from segue.text_models.settings import TextSettings
from segue.training.losses.loss import LOSSES, LossSettings
from segue.training.train import TrainingSettings


@dataclass(frozen=True)
class Job:
    """All that a comparison needs.

    Attributes:
        experiment: bank, folds, groups.
        options: what is compared, in reading order.
        load_encoder: gives the bank's encoder, for the row that encodes text; called at most once.
        out: the run folder.
        rerank: the [rerank] table.
        tuning: the [tuning] table.
        text: the [text] table.
        encoder: the recipe's [encoder] table, which the rows of [text] fine-tune.
        losses: the presets that options name.
    """

    experiment: Experiment
    options: tuple[Option, ...]
    model: ModelSettings
    loss: LossSettings
    training: TrainingSettings
    evaluation: EvaluationSettings
    settings: TriageSettings
    gates: tuple[GateSettings, ...]
    load_encoder: Callable[[], Encoder]
    out: Path
    rerank: RerankSettings = field(default_factory=RerankSettings)
    tuning: TuningSettings = field(default_factory=TuningSettings)
    text: TextSettings = field(default_factory=TextSettings)
    encoder: EncoderSettings = field(default_factory=EncoderSettings)
    losses: Mapping[str, LossSettings] = field(default_factory=lambda: LOSSES)

    @property
    def searched(self) -> tuple[Option, ...]:
        """The options that take part and whose settings are tuned."""
        return tuple(option for option in self.options if option.name in self.tuning.options)

    @property
    def encodes_sentences(self) -> bool:
        """Whether an option's reranker reads the vectors of sentences, which take as long to make as the bank's."""
        fitted = any(option.reranking is not None and option.reranking.order == "fitted" for option in self.options)
        return fitted and "sentences" in self.rerank.features

    def folder(self, option: Option, fold: Fold) -> Path:
        """Return where one option's work on one fold is kept."""
        return option_folder(self.out / "options", option.name) / f"fold-{fold.number}"


FINISHED = ("done", "under-trained")
"""Statuses of a result that has numbers and is kept."""


@dataclass(frozen=True)
class FoldResult:
    """What one option came to on one fold.

    Attributes:
        status: ``done``, ``under-trained``, ``skipped``, ``aborted`` or ``failed``.
        reason: why it is not done.
        validation: scores on the fold's validation documents, by metric name.
        training: what training did, or None.
        evaluation: the one look at the test documents, or None.
    """

    status: str
    reason: str | None = None
    validation: Mapping[str, float] | None = None
    training: Mapping[str, Any] | None = None
    evaluation: Evaluation | None = None

    def save(self, folder: Path) -> None:
        """Write the result; ``result.json`` comes last, so its presence means that the rest is whole."""
        if self.evaluation is not None:
            self.evaluation.save(folder / "evaluation")
        record = {key: getattr(self, key) for key in ("status", "reason", "validation", "training")}
        write_json(folder / "result.json", record)

    @classmethod
    def load(cls, folder: Path) -> FoldResult:
        """Read a result back.

        Raises:
            InputError: a file is missing or broken.
        """
        evaluated = folder / "evaluation"
        try:
            record = read_json(folder / "result.json")
            return cls(**record, evaluation=Evaluation.load(evaluated) if evaluated.exists() else None)
        except (InputError, KeyError, TypeError, AttributeError) as error:
            fix = "delete that result.json and run again; the trained model is kept"
            what = f"{folder / 'result.json'} cannot be read back"
            raise InputError(explain(what, got=str(error).rstrip("."), fix=fix)) from error


Results = dict[str, list[FoldResult]]
"""Results by option name, one for each fold in order."""
