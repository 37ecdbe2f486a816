"""A listwise reranker: candidates and context attend to one another, and each candidate gets a score.

Input: the features of every candidate, its vector, the vectors of the context and of the prediction. A token is a
candidate, a context passage or the prediction; the candidates have no place of their own, so that the order in which
they were drawn cannot matter (Pang et al. 2020, "SetRank"). Scores are trained with a softmax over the list (Cao et al.
2007, "Learning to rank: from pairwise approach to listwise approach").
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from segue.arithmetic import has_fast_bfloat16
from segue.errors import InputError
from segue.models.tensors import copy_weights, prefixed, save_tensors, without_prefix
from segue.retrieval.rerank.features import FeatureReranker, Features
from segue.retrieval.rerank.interface import CandidateLists
from segue.retrieval.rerank.lists import ListFeatures
from segue.settings import Settings
from segue.training.optimiser import build_optimizer, learning_rate
from segue.training.random_streams import seed_generators, seed_torch
from segue.training.state import (
    Record,
    TrainingState,
    load_state,
    save_state,
    windows_hash,
)
from segue.training.watch import Follow, follow_nothing
from segue.types import Bank, Contexts, Progress, no_progress
from segue.windows.windows import gather_contexts

FARTHEST = 6.0
"""Standard deviations at which standardised features are clipped."""
WIDE = 20.0
"""Value beyond which a feature (ranks, lengths, word scores) is read on a logarithmic scale."""


class ListwiseSettings(Settings):
    """The [rerank.listwise] table."""

    width: int = Field(128, ge=8, le=1024, description="components of a token")
    layers: int = Field(2, ge=1, le=12, description="rounds of attention over the list")
    heads: int = Field(4, ge=1, le=16, description="attention heads; they divide the width")
    dropout: float = Field(0.1, ge=0, lt=1, description="share of activations dropped in training")
    vectors: bool = Field(True, description="read the vectors of candidates and context in addition to the features")
    epochs: int = Field(5, ge=1, le=100, description="passes over the training lists")
    batch_size: int = Field(64, ge=1, le=4096, description="lists per step")
    learning_rate: float = Field(1e-3, gt=0, le=1, description="highest rate of AdamW")
    weight_decay: float = Field(0.02, ge=0, le=10, description="weight decay of AdamW, on matrices")
    seed: int = Field(1, ge=0, description="seed of the first weights, the order of the lists, and dropout")


@dataclass(frozen=True)
class Scaling:
    """Standardisation of features, measured on the training lists.

    Attributes:
        wide: read on the scale sign(x) · ln(1 + |x|).
        mean: mean of each feature on its scale, missing values left out.
        deviation: standard deviation, at least 1e-6.
    """

    wide: Bool[np.ndarray, "feature"]
    mean: Float[np.ndarray, "feature"]
    deviation: Float[np.ndarray, "feature"]

    @classmethod
    def of(cls, features: Float[np.ndarray, "candidate feature"]) -> Scaling:
        """Measure a sample of candidates; a feature that is always missing has mean 0 and deviation 1.

        >>> Scaling.of(np.array([[1.0, np.nan], [3.0, np.nan]])).mean.tolist()
        [2.0, 0.0]
        """
        features = features.astype(np.float64)
        known = ~np.isnan(features)
        wide = np.where(known, np.abs(features), 0.0).max(axis=0) > WIDE
        values = np.where(known, _on_scale(features, wide), 0.0)
        count = np.maximum(known.sum(axis=0), 1)
        mean = values.sum(axis=0) / count
        spread = np.sqrt((np.where(known, values - mean, 0.0) ** 2).sum(axis=0) / count)
        return cls(wide, mean.astype(np.float32), np.where(known.any(axis=0), np.maximum(spread, 1e-6), 1.0)
                   .astype(np.float32))  # fmt: skip

    def __call__(
        self, features: Float[np.ndarray, "batch candidate feature"]
    ) -> Float32[np.ndarray, "batch candidate feature"]:
        """Return standardised features; missing ones are 0, the mean."""
        scaled = (_on_scale(features.astype(np.float32), self.wide) - self.mean) / self.deviation
        return np.nan_to_num(np.clip(scaled, -FARTHEST, FARTHEST), nan=0.0).astype(np.float32)


def _on_scale(values: np.ndarray, wide: Bool[np.ndarray, "feature"]) -> np.ndarray:
    return np.where(wide, np.sign(values) * np.log1p(np.abs(values)), values)


class Attention(nn.Module):
    """Layer: attention over all tokens that are not padding, then a feed-forward net."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.before = nn.LayerNorm(width)
        self.projection = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)
        self.own = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Dropout(dropout),
                                 nn.Linear(2 * width, width))  # fmt: skip
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, tokens: Float[Tensor, "batch token width"], there: Bool[Tensor, "batch token"]
    ) -> Float[Tensor, "batch token width"]:
        """Return the tokens after the layer; padding is masked."""
        batch, count, width = tokens.shape
        shaped = self.projection(self.before(tokens)).view(batch, count, 3, self.heads, width // self.heads)
        query, key, value = shaped.permute(2, 0, 3, 1, 4).unbind(0)
        seen = functional.scaled_dot_product_attention(query, key, value, attn_mask=there[:, None, None, :])
        tokens = tokens + self.dropout(self.output(seen.transpose(1, 2).reshape(batch, count, width)))
        return tokens + self.dropout(self.own(tokens))


class ListwiseNet(nn.Module):
    """Scores a list of candidates.

    Args:
        features: numbers per candidate.
        dimension: components of an embedding.
        places: passages of a context; one more token is the prediction.
        settings: sizes.
    """

    def __init__(self, features: int, dimension: int, places: int, settings: ListwiseSettings) -> None:
        super().__init__()
        width = settings.width
        self.settings = settings
        self.scale = dimension**0.5
        self.read = nn.Sequential(nn.Linear(features, width), nn.GELU(), nn.Linear(width, width))
        self.direct = nn.Linear(features, 1)
        self.candidate = nn.Linear(dimension, width, bias=False) if settings.vectors else None
        if settings.vectors:
            self.context = nn.Linear(dimension, width)
            self.place = nn.Parameter(0.02 * torch.randn(places + 1, width))
        self.rounds = nn.ModuleList(Attention(width, settings.heads, settings.dropout) for _ in range(settings.layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 1)

    def forward(
        self,
        features: Float[Tensor, "batch candidate feature"],
        there: Bool[Tensor, "batch candidate"],
        read: VectorsRead | None = None,
    ) -> Float[Tensor, "batch candidate"]:
        """Return one score per candidate.

        Args:
            features: standardised.
            there: False at the pads.
            read: what a net that reads vectors needs.
        """
        tokens = self.read(features)
        mask = there
        if self.candidate is not None:
            assert read is not None, "this net reads vectors"
            tokens = tokens + self.candidate(read.candidates * self.scale)
            beside = self.context(read.context * self.scale) + self.place
            tokens, mask = torch.cat([tokens, beside.to(tokens.dtype)], dim=1), torch.cat([there, read.known], dim=1)
        for attention in self.rounds:
            tokens = attention(tokens, mask)
        scores = self.head(self.norm(tokens[:, : there.shape[1]])) + self.direct(features)
        return scores.squeeze(-1).float()


class VectorsRead(NamedTuple):
    """Vectors that a net reads in addition to the features.

    Attributes:
        candidates: unit vectors.
        context: unit vectors of the context, oldest first, then of the prediction.
        known: False where there is no passage, or no prediction.
    """

    candidates: Float[Tensor, "batch candidate dim"]
    context: Float[Tensor, "batch places dim"]
    known: Bool[Tensor, "batch places"]


def vectors_read(net: ListwiseNet, contexts: Contexts, candidates: CandidateLists, bank: Bank) -> VectorsRead | None:
    """Gather the vectors that a net reads; None for a net without them."""
    if net.candidate is None:
        return None
    rows = np.maximum(candidates.rows, 0)
    vectors = bank.gather(rows.ravel()).reshape(*rows.shape, -1)
    queries = np.zeros_like(contexts.vectors[:, 0]) if candidates.queries is None else candidates.queries
    context = np.concatenate([contexts.vectors, queries[:, None]], axis=1).astype(np.float32)
    predicted = np.full((len(contexts), 1), candidates.queries is not None)
    known = np.concatenate([contexts.mask, predicted], axis=1)
    return VectorsRead(torch.from_numpy(vectors), torch.from_numpy(context), torch.from_numpy(known))


@dataclass(frozen=True)
class Listwise(FeatureReranker):
    """Fitted net.

    Attributes:
        features: features over the bank that is searched.
        net: the net, in evaluation mode.
        scaling: scaling of the features.
        name: name in tables.
    """

    net: ListwiseNet
    scaling: Scaling
    name: str = "listwise"
    kind: ClassVar[str] = "listwise"
    files: ClassVar[tuple[str, ...]] = ("listwise.safetensors",)

    @torch.no_grad()
    def scores(self, contexts: Contexts, candidates: CandidateLists) -> Float[np.ndarray, "batch candidate"]:
        """Return the net's scores, -inf at the pads."""
        if not candidates.there.any():
            return np.full(candidates.rows.shape, -np.inf)
        values = self.features.compute(contexts, candidates)
        read = vectors_read(self.net, contexts, candidates, self.features.bank)
        there = torch.from_numpy(candidates.there)
        scores = self.net(torch.from_numpy(self.scaling(values)), there, read).numpy().astype(np.float64)
        return np.where(candidates.there, scores, -np.inf)

    def _save_fitted(self, folder: Path) -> Mapping[str, object]:
        scaling = {f"scaling.{name}": torch.from_numpy(getattr(self.scaling, name)) for name in SCALING}
        save_tensors(folder / "listwise.safetensors", prefixed("net.", copy_weights(self.net)) | scaling)
        return {"settings": self.net.settings.model_dump(mode="json")}

    @classmethod
    def _load_fitted(cls, folder: Path, features: Features, known: Mapping[str, Any]) -> Listwise:
        net = ListwiseNet(len(features.names), features.bank.dimension, features.context,
                          ListwiseSettings.model_validate(known["settings"]))  # fmt: skip
        try:
            tensors = load_file(folder / "listwise.safetensors")
            net.load_state_dict(without_prefix("net.", tensors))
            scaling = Scaling(**{name: tensors[f"scaling.{name}"].numpy() for name in SCALING})
        except (SafetensorError, OSError, KeyError, RuntimeError) as error:
            raise InputError(f"{folder / 'listwise.safetensors'} cannot be read", got=str(error),
                             fix="fit again") from error  # fmt: skip
        return cls(features, net.eval(), scaling)


SCALING = ("wide", "mean", "deviation")


SAMPLE = 2000
"""Lists whose features are measured for the scaling."""
LISTS_AT_ONCE = 256
WARMUP = 0.05
CLIP = 1.0


def fit_listwise(
    train: ListFeatures,
    validation: ListFeatures,
    features: Features,
    *,
    settings: ListwiseSettings | None = None,
    folder: Path,
    epochs: int | None = None,
    progress: Progress = no_progress,
    follow: Follow = follow_nothing,
) -> tuple[Listwise, Mapping[str, object]]:
    """Fit the net on lists, and return it with a record of the fit.

    Args:
        train: lists of documents that their first stage was not trained on; those without their target are left out.
        validation: lists of other documents, which choose the epoch by the mean reciprocal rank within their lists.
        features: features over the bank of the lists.
        settings: the [rerank.listwise] table.
        folder: keeps the state, so that a killed fit resumes.
        epochs: the epoch that is kept; None: the validation lists choose it.
        progress: called with the steps.
        follow: called with the curve after every epoch; an epoch is a step.

    Raises:
        SettingsError: no list holds its target.
        InputError: the folder holds the state of another fit.
    """
    settings = settings or ListwiseSettings()
    read, watched = train.with_target(), validation.with_target()
    fit = _Fit(read, watched, features, settings, folder=folder, epochs=epochs)
    follow(fit.state.curve)
    while not fit.state.finished:
        fit.epoch(progress)
        follow(fit.state.curve)
    best = fit.state.best_score or {}
    return fit.model(), {"lists": len(train), "lists_with_target": len(read), "validation_lists": len(validation),
                         "validation_lists_with_target": len(watched), "epochs": fit.state.step,
                         "best_epoch": fit.state.best_step, "validation_reciprocal_rank": best.get("MRR"),
                         "seconds": fit.state.seconds, "curve": fit.state.curve}  # fmt: skip


class _Fit:
    """State of a fit between two epochs.

    Everything is a function of the seed and the step, and the state is written after every epoch: a killed fit resumes
    after its last epoch and ends in the same weights.
    """

    def __init__(
        self,
        read: ListFeatures,
        watched: ListFeatures,
        features: Features,
        settings: ListwiseSettings,
        *,
        folder: Path,
        epochs: int | None = None,
    ) -> None:
        self.read, self.watched, self.features, self.settings, self.folder = read, watched, features, settings, folder
        self.epochs = epochs
        some = read.take(np.linspace(0, len(read) - 1, min(SAMPLE, len(read))).astype(np.int64))
        self.scaling = Scaling.of(some.values[some.lists.candidates.there])
        with torch.random.fork_rng(devices=[]):
            seed_generators(settings.seed)
            self.net = ListwiseNet(len(features.names), features.bank.dimension, features.context, settings)
        nothing = torch.nn.Module()
        self.optimizer = build_optimizer(self.net, nothing, weight_decay=settings.weight_decay, device="cpu")
        self.per_epoch = max(1, len(read) // settings.batch_size)
        self.identity = {"settings": settings.model_dump(mode="json"), "features": list(features.names),
                         "windows": [windows_hash(part.lists.windows) for part in (read, watched)]}  # fmt: skip
        self.state, self.best = self._resume()

    def epoch(self, progress: Progress) -> None:
        """Train on all lists once, score the validation lists, and save the state."""
        began, number = time.perf_counter(), self.state.step
        losses = [self._step(number, place, which, progress) for place, which in enumerate(self._batches(number))]
        scored: Record = {"MRR": reciprocal_rank(self.net, self.scaling, self.watched, self.features)}
        state = self.state
        state.step += 1
        if self.epochs is not None or state.improves(scored):
            state.best_step, state.best_score, self.best = state.step, scored, copy_weights(self.net)
        state.seconds += time.perf_counter() - began
        state.add_record({"loss": float(np.mean(losses)), **scored})
        state.finished = state.step >= (self.epochs or self.settings.epochs)
        tensors = prefixed("net.", copy_weights(self.net)) | prefixed("best.", self.best)
        moments = prefixed("optimizer.", self.optimizer.tensors())
        save_state(self.folder, state, tensors | moments, identity=self.identity)

    def model(self) -> Listwise:
        """Return the reranker with the weights of the best epoch."""
        self.net.load_state_dict(self.best)
        return Listwise(self.features, self.net.eval(), self.scaling)

    def _batches(self, epoch: int) -> Iterator[Int[np.ndarray, "batch"]]:
        order = np.random.default_rng((self.settings.seed, epoch)).permutation(len(self.read))
        size = self.settings.batch_size
        return (order[place * size : (place + 1) * size] for place in range(self.per_epoch))

    def _step(self, epoch: int, place: int, which: Int[np.ndarray, "batch"], progress: Progress) -> float:
        number, steps = epoch * self.per_epoch + place, self.settings.epochs * self.per_epoch
        rate = learning_rate(number, steps=steps, peak=self.settings.learning_rate, warmup=WARMUP)
        part = self.read.take(which)
        self.net.train()
        with torch.random.fork_rng(devices=[]):
            seed_torch(self.settings.seed, number)
            with torch.autocast("cpu", torch.bfloat16, enabled=has_fast_bfloat16("cpu")):
                scores = _scores(self.net, self.scaling, part, self.features)
            loss = functional.cross_entropy(scores, torch.from_numpy(part.lists.label))
            self.optimizer.zero_grad()
            loss.backward()
        norm, value = float(torch.nn.utils.clip_grad_norm_(self.net.parameters(), CLIP)), float(loss.detach())
        if not (math.isfinite(value) and math.isfinite(norm)):
            raise InputError(f"the listwise reranker diverged at step {number + 1}",
                             got=f"loss {value}, gradient {norm} in batch {place + 1} of {self.per_epoch} in epoch "
                             f"{epoch + 1}", expected="finite numbers",
                             fix=f"lower learning_rate (it was {rate:.2g} in this step); the epochs before are kept",
                             )  # fmt: skip
        self.optimizer.step(rate)
        progress(number + 1, steps, f"listwise, loss {value:.2f}")
        return value

    def _resume(self) -> tuple[TrainingState, dict[str, Tensor]]:
        found = load_state(self.folder, identity=self.identity)
        if found is None:
            return TrainingState(), {}
        state, tensors = found
        self.net.load_state_dict(without_prefix("net.", tensors))
        self.optimizer.restore(without_prefix("optimizer.", tensors))
        return state, without_prefix("best.", tensors)


def _scores(
    net: ListwiseNet, scaling: Scaling, part: ListFeatures, features: Features
) -> Float[Tensor, "batch candidate"]:
    """Return the net's scores, -inf at the pads."""
    contexts = gather_contexts(features.bank, part.lists.windows, exclude="none")
    there = torch.from_numpy(part.lists.candidates.there)
    read = vectors_read(net, contexts, part.lists.candidates, features.bank)
    return net(torch.from_numpy(scaling(part.values)), there, read).masked_fill(~there, -math.inf)


@torch.no_grad()
def reciprocal_rank(net: ListwiseNet, scaling: Scaling, lists: ListFeatures, features: Features) -> float:
    """Return the mean reciprocal rank of the targets within their lists; ties count against them."""
    net.eval()
    found: list[np.ndarray] = []
    for start in range(0, len(lists), LISTS_AT_ONCE):
        part = lists.take(slice(start, start + LISTS_AT_ONCE))
        scores = _scores(net, scaling, part, features).numpy()
        own = scores[np.arange(len(part)), part.lists.label]
        found.append(1.0 / (scores >= own[:, None]).sum(axis=1))
    return float(np.concatenate(found).mean())
