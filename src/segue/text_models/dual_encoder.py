"""Text dual encoder: the bank's encoder, fine-tuned to encode the end of a context near the passage that follows.

Input: a bank with texts, training windows, the settings of its encoder. Output: a folder that sentence-transformers
reads (``model/``), the curve, and a state from which a killed run resumes.

With trained documents one encoder encodes contexts and passages, the negatives are the other targets of the batch, and
the bank has to be encoded again. With frozen documents only contexts are encoded by the new model, against the vectors
in the bank: a step reads half as many texts, every training passage is a negative, and nothing is encoded again. In
both, passages of the context and texts equal to the target are not negatives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from segue.encoders import Encoder, EncoderSettings
from segue.encoders.keep_end import keep_end
from segue.encoders.sentence_transformer import folder_revision, load_from_folder
from segue.errors import InputError
from segue.text_models.fine_tuning import FineTuning, seconds_of_a_step
from segue.text_models.settings import DualEncoderSettings
from segue.text_models.transformer import open_transformer
from segue.training.batches import Batches
from segue.training.losses.in_batch import info_nce
from segue.training.losses.mining import groups_of
from segue.training.losses.whole_bank import TrainingBank, bank_info_nce
from segue.training.state import windows_hash
from segue.training.train import TrainingResult
from segue.training.watch import Follow, follow_nothing
from segue.types import Bank, Progress, Windows, no_progress
from segue.windows.windows import gather_contexts

MODEL_FOLDER = "model"

EncoderScore = Callable[[Encoder], Mapping[str, float | None]]
"""Returns validation scores of a fine-tuned encoder over the whole pool, ``MRR`` among them, which selects."""


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
    follow: Follow = follow_nothing,
) -> TrainingResult:
    """Fine-tune an encoder; ``load_dual_encoder(folder, encoder)`` loads it with the weights that scored best.

    A folder with a state of the same training is resumed, to the bit; a finished one is only read.

    Args:
        bank: a bank with texts, encoded by ``encoder``.
        windows: windows of the training documents.
        encoder: the model to fine-tune.
        settings: settings of its training.
        steps: optimiser steps.
        folder: folder of the run.
        score: called ``settings.evaluations`` times, the last time after the last step.
        progress: called at every step.
        follow: called with the curve after every step.

    Raises:
        InputError: the bank has no texts, there are no windows, the encoder cannot be trained, training diverged, or
            the folder is of another training.
    """
    learner = DualLearner(bank, windows, encoder, settings)

    def score_as_it_stands() -> Mapping[str, float | None]:
        learner.model.save(folder / MODEL_FOLDER)
        return score(load_dual_encoder(folder, encoder))

    tuning = FineTuning(learner, settings, steps=steps, folder=folder, score=score_as_it_stands)
    tuning.run(progress, follow)
    if tuning.state.best_step != tuning.state.step or not (folder / MODEL_FOLDER).exists():
        learner.model.save(folder / MODEL_FOLDER)
    return tuning.result(learner.batches.steps_per_epoch)


def load_dual_encoder(folder: Path, encoder: EncoderSettings) -> Encoder:
    """Load a fine-tuned encoder, to encode passages, and contexts cut by ``keep_end`` to its ``maximum_tokens``.

    Args:
        folder: folder of the training.
        encoder: the model that was fine-tuned; its speed settings are used, its name and length are not.
    """
    model = folder / MODEL_FOLDER
    changes = {"name": str(model), "maximum_tokens": None, "prompt": ""}  # the folder holds both
    return load_from_folder(
        model,
        encoder.model_copy(update=changes),
        encoder=f"{encoder.name}, fine-tuned",
        revision=folder_revision(model),
    )


def seconds_per_step(
    bank: Bank, windows: Windows, *, encoder: EncoderSettings, settings: DualEncoderSettings, seconds: float = 10.0
) -> float:
    """Return the seconds of a training step, measured over about ``seconds``."""
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
        order = partial(order_in_runs, bank.document_of[windows.target], together=together)
        self.batches = Batches(bank, windows, batch_size=settings.batch_size, seed=settings.seed, order=order)
        self.model = open_transformer(encoder, settings)
        self.candidates = TrainingBank(bank, windows) if settings.documents == "frozen" else None

    def gradients(self, step: int) -> float:
        """Add the gradient of a step to the weights, and return its loss."""
        windows = self.batches.windows.take(self.batches.chosen(step))
        texts = context_ends(self.bank, windows, maximum_tokens=self.settings.maximum_tokens)
        if self.candidates is None:
            texts += self.bank.texts(windows.target)
        most = self.settings.texts_at_once
        parts = [self.model.tokens(texts[first : first + most]) for first in range(0, len(texts), most)]
        return float(cached_gradients(self.model, parts, self._loss(windows)))

    def identity(self) -> dict[str, object]:
        """Return what must be equal for a state to be resumed."""
        return {
            "encoder": self.model.origin,
            "precision": self.model.precision,
            "bank": {"passages": len(self.bank), "dimension": self.bank.dimension},
            "windows": windows_hash(self.batches.windows),
        }

    def _loss(self, windows: Windows) -> Callable[[Float[Tensor, "text dim"]], Float[Tensor, ""]]:
        """Return the loss of the vectors of a batch's contexts and, where they are trained, of its targets."""
        device = self.model.model.device
        temperature, batch = self.settings.temperature, len(windows)
        groups = torch.from_numpy(self.bank.duplicate_group[windows.target]).to(device)
        read = torch.from_numpy(groups_of(self.bank, windows.context)).to(device)
        if self.candidates is None:
            return lambda vectors: info_nce(vectors[:batch], vectors[batch:], temperature=temperature, groups=groups,
                                            context_groups=read)  # fmt: skip
        target = torch.from_numpy(self.bank.gather(windows.target)).to(device)
        return partial(bank_info_nce, target=target, bank=self.candidates, temperature=temperature, groups=groups,
                       context_groups=read)  # fmt: skip


def order_in_runs(
    document: Int[np.ndarray, "window"], generator: np.random.Generator, *, together: int
) -> Int[np.ndarray, "window"]:
    """Return all windows in a random order of runs, each of at most ``together`` random windows of one document.

    In-batch negatives of other documents differ from the target by their subject alone, while what retrieval gets wrong
    are often passages of the same document.

    >>> order = order_in_runs(np.array([7, 7, 7, 7, 8, 8]), np.random.default_rng(2), together=2)
    >>> np.array([7, 7, 7, 7, 8, 8])[order].tolist()
    [7, 7, 8, 8, 7, 7]
    """
    shuffled = generator.permutation(len(document))
    shuffled = shuffled[np.argsort(document[shuffled], kind="stable")]  # document by document, at random within
    _, first, count = np.unique(document[shuffled], return_index=True, return_counts=True)
    place = np.arange(len(document)) - np.repeat(first, count)
    run = np.cumsum(place % together == 0) - 1
    return shuffled[np.argsort(generator.permutation(run[-1] + 1)[run], kind="stable")]


Part = TypeVar("Part")

Embed = Callable[[Part], Float[Tensor, "part dim"]]
"""Returns the vectors of one part of a batch, with a gradient; the same ones every time."""

VectorLoss = Callable[[Float[Tensor, "batch dim"]], Float[Tensor, ""]]
"""Returns the loss of the vectors of the whole batch."""


def cached_gradients(embed: Embed[Part], parts: Sequence[Part], loss: VectorLoss) -> Float[Tensor, ""]:
    """Add the gradient of ``loss(all vectors)`` to the weights, with the activations of one part in memory.

    Computes all vectors without activations, then the loss's gradient with respect to the vectors, then each part again
    to send that gradient through it: Gao, Zhang, Han and Callan 2021, "Scaling Deep Contrastive Learning Batch Size
    under Memory Limited Setup", section 3. A single part needs no second pass.

    Returns:
        The loss, without a gradient.
    """
    if len(parts) == 1:
        value = loss(embed(parts[0]))
        value.backward()
        return value.detach()
    with torch.no_grad():
        vectors = [embed(part) for part in parts]
    leaf = torch.cat(vectors).requires_grad_()
    value = loss(leaf)
    value.backward()
    assert leaf.grad is not None, "the loss reads the vectors"
    for part, gradient in zip(parts, leaf.grad.split([len(part) for part in vectors]), strict=True):
        embed(part).backward(gradient)
    return value.detach()


def context_ends(bank: Bank, windows: Windows, *, maximum_tokens: int) -> list[str]:
    """Return the end of each window's context, as the retriever encodes it."""
    texts = gather_contexts(bank, windows, texts=True).texts
    assert texts is not None, "the bank has texts"
    return [keep_end(passages, maximum_tokens=maximum_tokens) for passages in texts]


def require_texts(bank: Bank) -> None:
    """Raise ``InputError`` where the bank has no texts."""
    if not bank.has_texts:
        raise InputError(
            "text models are not applicable: the bank has no texts",
            fix="give the texts along with the vectors, or leave the text options out",
        )
