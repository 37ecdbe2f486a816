"""Cross-encoder: reads context and candidate together, and corrects the first stage's score of the candidate.

Input: a bank with texts, training windows, and the first stage's hits for each window. Output: a folder with the
model, and a state from which a killed run resumes.

score = w · (first stage's score) + head(vector of the pair). The head starts at zero, so the untrained order is the
first stage's. The loss is the cross-entropy of choosing the target among its list (ListNet's top-one probability with
one relevant passage: Cao et al. 2007, "Learning to Rank", section 4).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from segue.encoders import EncoderSettings
from segue.encoders.keep_end import keep_end
from segue.encoders.sentence_transformer import batches_of_like_length
from segue.errors import InputError
from segue.files import read_json, write_text
from segue.models.tensors import copy_weights, save_tensors
from segue.text_models.dual_encoder import MODEL_FOLDER, require_texts
from segue.text_models.fine_tuning import FineTuning, seconds_of_a_step
from segue.text_models.settings import CrossEncoderSettings
from segue.text_models.transformer import TextTransformer, open_transformer
from segue.training.batches import Batches
from segue.training.random_streams import LIST_NEGATIVES, random_stream
from segue.training.state import windows_hash
from segue.training.train import TrainingResult
from segue.training.watch import Follow, follow_nothing
from segue.types import Bank, Progress, Windows, no_progress
from segue.windows.windows import gather_contexts

HEAD_FILE = "head.safetensors"
SETTINGS_FILE = "cross-encoder.json"


@runtime_checkable
class Lists(Protocol):
    """Hits of a first stage for some windows."""

    @property
    def rows(self) -> Int[np.ndarray, "window candidate"]:
        """Candidates, −1 for padding; at most one of each duplicate group."""
        ...

    @property
    def first(self) -> Float[np.ndarray, "window candidate"]:
        """Their first-stage scores."""
        ...


class CrossEncoder(nn.Module):
    """A transformer over pairs of texts with a scalar head.

    Args:
        transformer: encodes the pairs.
        settings: how pairs are cut, and the first stage's weight before training.
    """

    def __init__(self, transformer: TextTransformer, settings: CrossEncoderSettings) -> None:
        super().__init__()
        self.settings = settings
        self.transformer = transformer
        self.head = nn.Linear(transformer.dimension, 1, bias=False)
        nn.init.zeros_(self.head.weight)
        self.log_first_weight = nn.Parameter(torch.tensor(math.log(settings.first_weight)))
        self.to(transformer.model.device)

    def forward(self, features: Mapping[str, object]) -> Float[Tensor, "pair"]:
        """Return what each pair adds to the first stage's weighted score."""
        components = self.transformer(features) * math.sqrt(self.transformer.dimension)  # about 1 each
        added: Tensor = self.head(components)
        return added.squeeze(1)

    def pair(self, context: tuple[str, ...], candidate: str) -> tuple[str, str]:
        """Return the two texts that are read together; the tokeniser cuts the end of a long candidate."""
        return keep_end(context, maximum_tokens=self.settings.context_tokens), candidate

    @torch.inference_mode()
    def added(self, pairs: list[tuple[str, str]]) -> Float[np.ndarray, "pair"]:
        """Return what each pair adds to the first stage's score; pairs of similar length are computed together."""
        values = np.zeros(len(pairs), dtype=np.float32)
        for start in range(0, len(pairs), self.settings.texts_at_once):
            features = self.transformer.tokens(pairs[start : start + self.settings.texts_at_once])
            for places, batch in batches_of_like_length(features, 32):
                values[start + places] = self(batch).float().cpu().numpy()
        return values

    @property
    def first_weight(self) -> float:
        """The factor of the first stage's score."""
        return float(self.log_first_weight.detach().exp())

    def save(self, folder: Path) -> None:
        """Write the model; ``load_cross_encoder`` reads it."""
        self.transformer.save(folder / MODEL_FOLDER)
        weights = {**copy_weights(self.head), "log_first_weight": self.log_first_weight.detach().reshape(1)}
        save_tensors(folder / HEAD_FILE, weights)
        write_text(folder / SETTINGS_FILE, self.settings.model_dump_json(indent=2) + "\n")


def load_cross_encoder(folder: Path) -> CrossEncoder:
    """Load the model that ``train_cross_encoder`` or ``CrossEncoder.save`` wrote.

    Raises:
        InputError: a file is missing or broken.
    """
    settings = CrossEncoderSettings.model_validate(read_json(folder / SETTINGS_FILE))
    model = CrossEncoder(open_transformer(EncoderSettings(name=str(folder / MODEL_FOLDER)), settings), settings)
    weights = load_file(folder / HEAD_FILE)
    with torch.no_grad():
        model.log_first_weight.copy_(weights.pop("log_first_weight")[0])
    model.head.load_state_dict(weights)
    return model


def train_cross_encoder(
    bank: Bank,
    windows: Windows,
    lists: Lists,
    *,
    encoder: EncoderSettings,
    settings: CrossEncoderSettings,
    steps: int,
    folder: Path,
    score: Callable[[CrossEncoder], Mapping[str, float | None]],
    progress: Progress = no_progress,
    follow: Follow = follow_nothing,
) -> TrainingResult:
    """Train a cross-encoder that starts from the bank's encoder; ``load_cross_encoder(folder)`` loads it.

    A folder with a state of the same training is resumed, to the bit; a finished one is only read.

    Args:
        bank: a bank with texts.
        windows: windows of the training documents; best of documents that the first stage was not fitted on.
        lists: the first stage's hits for them, so that negatives are as hard as in use.
        encoder: the model it starts from.
        settings: settings of its training.
        steps: optimiser steps.
        folder: folder of the run.
        score: returns the model's validation scores, ``MRR`` among them, which selects.
        progress: called at every step.
        follow: called with the curve after every step.

    Raises:
        InputError: the bank has no texts, no list holds its target and enough others, the encoder cannot be trained,
            training diverged, or the folder is of another training.
    """
    learner = CrossLearner(bank, windows, lists, encoder=encoder, settings=settings)
    tuning = FineTuning(learner, settings, steps=steps, folder=folder, score=lambda: score(learner.model))
    tuning.run(progress, follow)
    learner.model.save(folder)
    return tuning.result(learner.batches.steps_per_epoch)


def seconds_per_step(
    bank: Bank,
    windows: Windows,
    lists: Lists,
    *,
    encoder: EncoderSettings,
    settings: CrossEncoderSettings,
    seconds: float = 10.0,
) -> float:
    """Return the seconds of a training step, measured over about ``seconds``."""
    learner = CrossLearner(bank, windows, lists, encoder=encoder, settings=settings)
    return seconds_of_a_step(learner, settings, seconds=seconds)


class CrossLearner:
    """A cross-encoder with the lists it learns from; see ``fine_tuning.Learner``.

    Windows whose target the first stage did not find are left out: they teach nothing about ordering its hits.
    """

    def __init__(
        self, bank: Bank, windows: Windows, lists: Lists, *, encoder: EncoderSettings, settings: CrossEncoderSettings
    ) -> None:
        require_texts(bank)
        self.bank, self.settings = bank, settings
        same = bank.duplicate_group[lists.rows] == bank.duplicate_group[windows.target][:, None]
        truth = same & (lists.rows >= 0)
        usable = truth.any(axis=1) & ((lists.rows >= 0).sum(axis=1) > settings.negatives)
        if not usable.any():
            raise InputError(
                "there is nothing to rerank",
                got="no list with its target and enough others",
                expected=f"{settings.negatives} in addition to it",
                fix="let the first stage return more candidates",
            )
        self.rows, self.first, self.truth = lists.rows[usable], lists.first[usable], truth[usable]
        self.batches = Batches(bank, windows.take(usable), batch_size=settings.batch_size, seed=settings.seed)
        self.model = CrossEncoder(open_transformer(encoder, settings), settings)

    def gradients(self, step: int) -> float:
        """Add the gradient of a step to the weights, and return its loss."""
        chosen = self.batches.chosen(step)
        places = self._places(chosen, step)
        at_once = max(1, self.settings.texts_at_once // places.shape[1])
        total = 0.0
        for begin in range(0, len(chosen), at_once):
            part = slice(begin, begin + at_once)
            loss = self._loss(chosen[part], places[part]) * len(chosen[part]) / len(chosen)
            loss.backward()
            total += float(loss.detach())
        return total

    def identity(self) -> dict[str, object]:
        """Return what must be equal for a state to be resumed."""
        transformer = self.model.transformer
        return {
            "encoder": transformer.origin,
            "precision": transformer.precision,
            "bank": {"passages": len(self.bank), "dimension": self.bank.dimension},
            "windows": windows_hash(self.batches.windows),
            "lists": windows_hash(Windows(self.rows, np.zeros(len(self.rows), dtype=np.int64))),
        }

    def _places(self, chosen: Int[np.ndarray, "batch"], step: int) -> Int[np.ndarray, "batch list"]:
        """Return the place of each target in its list, followed by the places of drawn negatives."""
        generator = random_stream(self.settings.seed, LIST_NEGATIVES, step)
        order = generator.random(self.rows[chosen].shape)
        order[self.truth[chosen]] = -1.0  # the target first
        order[self.rows[chosen] < 0] = 2.0  # padding last
        return np.argsort(order, axis=1, kind="stable")[:, : 1 + self.settings.negatives]

    def _loss(self, chosen: Int[np.ndarray, "part"], places: Int[np.ndarray, "part list"]) -> Float[Tensor, ""]:
        windows = self.batches.windows.take(chosen)
        rows = np.take_along_axis(self.rows[chosen], places, axis=1)
        first = np.take_along_axis(self.first[chosen], places, axis=1).astype(np.float32)
        contexts = gather_contexts(self.bank, windows, texts=True).texts
        assert contexts is not None, "the bank has texts"
        texts = iter(self.bank.texts(rows.ravel()))
        pairs = [self.model.pair(context, next(texts)) for context in contexts for _ in range(rows.shape[1])]
        added = self.model(self.model.transformer.tokens(pairs)).view(rows.shape)  # [part, list]
        device = added.device
        scores = self.model.log_first_weight.exp() * torch.from_numpy(first).to(device) + added
        return functional.cross_entropy(scores, torch.zeros(len(scores), dtype=torch.int64, device=device))
