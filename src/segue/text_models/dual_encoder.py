"""The bank's own encoder learns to put the end of a context near the passage that follows.

Enters: a bank with texts, training windows, the settings of its encoder. Leaves: a folder that sentence-transformers
reads (``model/``), the curve, and a state from which a killed run goes on.

Two kinds. With trained documents one encoder reads contexts and passages, the negatives are the other targets of the
batch, and the bank has to be encoded anew. With frozen documents only the reading of contexts is learnt, against the
vectors the bank has: a step reads half as many texts, every training passage is a negative, and nothing is encoded
anew. Either way passages of the context and texts equal to the target are no negatives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from segue.encoders import Encoder, EncoderSettings
from segue.encoders.keep_end import keep_end
from segue.encoders.sentence_transformer import folder_revision, load_from_folder
from segue.errors import InputError, explain
from segue.text_models.batches import DocumentBatches
from segue.text_models.cached_gradients import cached_gradients
from segue.text_models.fine_tuning import FineTuning, seconds_of_a_step
from segue.text_models.settings import DualEncoderSettings
from segue.text_models.transformer import TextTransformer, open_transformer
from segue.training.losses.in_batch import info_nce
from segue.training.losses.whole_bank import TrainingBank, bank_info_nce
from segue.training.state import windows_hash
from segue.training.train import TrainingResult
from segue.types import Bank, Progress, Windows, no_progress
from segue.windows.windows import gather_contexts

MODEL_FOLDER = "model"

EncoderScore = Callable[[Encoder], Mapping[str, float | None]]
"""Scores a fine-tuned encoder on validation over the whole pool; the answer holds ``MRR``, which selects."""


def train_dual_encoder(
    bank: Bank,
    windows: Windows,
    *,
    encoder: EncoderSettings,
    settings: DualEncoderSettings,
    steps: int,
    folder: Path,
    score: EncoderScore,
    progress: Progress = no_progress,
) -> TrainingResult:
    """Fine-tune an encoder; ``load_dual_encoder(folder, encoder)`` reads it back with the weights that scored best.

    A folder with a state of the same training is gone on with, to the bit; one that is finished is only read.

    Args:
        bank: with texts, encoded by ``encoder``.
        windows: of the training documents.
        encoder: what is fine-tuned.
        settings: how.
        steps: optimiser steps.
        folder: of the run.
        score: called ``settings.evaluations`` times, the last time after the last step.
        progress: told of every step.

    Raises:
        InputError: the bank has no texts, there are no windows, the encoder cannot be trained, training diverged, or
            the folder is of another training.
    """
    learner = DualLearner(bank, windows, encoder, settings)

    def score_as_it_stands() -> Mapping[str, float | None]:
        learner.transformer.save(folder / MODEL_FOLDER)
        return score(load_dual_encoder(folder, encoder))

    tuning = FineTuning(learner, settings, steps=steps, folder=folder, score=score_as_it_stands)
    while not tuning.state.finished:
        progress(tuning.state.step, steps, tuning.note())
        tuning.advance()
    if tuning.state.best_step != tuning.state.step or not (folder / MODEL_FOLDER).exists():
        learner.transformer.save(folder / MODEL_FOLDER)
    progress(steps, steps, tuning.note())
    return tuning.result(learner.batches.steps_per_epoch)


def load_dual_encoder(folder: Path, encoder: EncoderSettings) -> Encoder:
    """Load a fine-tuned encoder, to encode passages, and contexts cut by ``keep_end`` to its ``maximum_tokens``.

    Args:
        folder: of the training.
        encoder: what was fine-tuned; its speed settings hold, its name and length do not.
    """
    model = folder / MODEL_FOLDER
    changes = {"name": str(model), "maximum_tokens": None, "prompt": ""}  # the folder knows both
    return load_from_folder(
        model,
        encoder.model_copy(update=changes),
        encoder=f"{encoder.name}, fine-tuned",
        revision=folder_revision(model),
    )


def seconds_per_step(
    bank: Bank, windows: Windows, *, encoder: EncoderSettings, settings: DualEncoderSettings, seconds: float = 10.0
) -> float:
    """Measure a training step over about ``seconds``, so that a plan can say what a training costs."""
    return seconds_of_a_step(DualLearner(bank, windows, encoder, settings), settings, seconds=seconds)


class DualLearner:
    """An encoder with the windows it learns from; see ``fine_tuning.Learner``.

    Raises:
        InputError: the bank has no texts, there are no windows, or the encoder cannot be trained.
    """

    def __init__(self, bank: Bank, windows: Windows, encoder: EncoderSettings, settings: DualEncoderSettings) -> None:
        require_texts(bank)
        self.bank, self.settings = bank, settings
        together = settings.windows_per_document if settings.documents == "trained" else 1
        size = settings.batch_size
        self.batches = DocumentBatches(bank, windows, batch_size=size, together=together, seed=settings.seed)
        self.transformer: TextTransformer = open_transformer(encoder, settings)
        self.candidates = TrainingBank(bank, windows) if settings.documents == "frozen" else None

    def learnt(self) -> dict[str, nn.Parameter]:
        """Return the weights that learn, by name."""
        return self.transformer.learnt()

    def gradients(self, step: int) -> float:
        """Leave the gradient of a step in the weights, and return its loss."""
        windows = self.batches.windows.take(self.batches.chosen(step))
        texts = context_ends(self.bank, windows, maximum_tokens=self.settings.maximum_tokens)
        if self.candidates is None:
            texts += self.bank.texts(windows.target)
        most = self.settings.texts_at_once
        parts = [self.transformer.tokens(texts[first : first + most]) for first in range(0, len(texts), most)]
        return float(cached_gradients(self.transformer, parts, self._loss(windows)))

    def identity(self) -> dict[str, Any]:
        """Return what must be equal for a state to be gone on with."""
        return {
            "encoder": self.transformer.origin,
            "precision": self.transformer.precision,
            "bank": {"passages": len(self.bank), "dimension": self.bank.dimension},
            "windows": windows_hash(self.batches.windows),
        }

    def _loss(self, windows: Windows) -> Callable[[Float[Tensor, "text dim"]], Float[Tensor, ""]]:
        """Return the loss of the vectors of a batch's contexts and, where they are trained, of its targets."""
        device = self.transformer.model.device
        groups = torch.from_numpy(self.bank.duplicate_group[windows.target]).to(device)
        context = np.where(windows.context >= 0, self.bank.duplicate_group[windows.context], -1)
        read = torch.from_numpy(context).to(device)
        options: dict[str, Any] = {"temperature": self.settings.temperature, "groups": groups, "context_groups": read}
        if self.candidates is None:
            return lambda vectors: info_nce(vectors[: len(windows)], vectors[len(windows) :], **options)
        target = torch.from_numpy(self.bank.gather(windows.target)).to(device)
        return partial(bank_info_nce, target=target, bank=self.candidates, **options)


def context_ends(bank: Bank, windows: Windows, *, maximum_tokens: int) -> list[str]:
    """Return the end of each window's context, as the retriever encodes it."""
    texts = gather_contexts(bank, windows, texts=True).texts
    assert texts is not None, "the bank has texts"
    return [keep_end(passages, maximum_tokens=maximum_tokens) for passages in texts]


def require_texts(bank: Bank) -> None:
    """Refuse a bank of vectors only.

    Raises:
        InputError: the bank has no texts.
    """
    if not bank.has_texts:
        raise InputError(explain("text models are not applicable: the bank has no texts",
                                 fix="give the texts beside the vectors, or leave the text options out"))  # fmt: skip
