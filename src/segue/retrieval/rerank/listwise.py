"""A listwise reranker: candidates and context attend to one another, and each candidate gets a score.

Enters: the features of every candidate, its vector, the vectors of the context and of the prediction. A token is a
candidate, a context passage or the prediction; the candidates have no place of their own, so that the order in which
they were drawn cannot matter (Pang et al. 2020, "SetRank"). Scores are trained with a softmax over the list (Cao et al.
2007, "Learning to rank: from pairwise approach to listwise approach").
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from segue.errors import InputError, explain
from segue.files import read_json, write_json
from segue.models.tensors import copy_weights, prefixed, save_tensors, without_prefix
from segue.retrieval.rerank.features import Features
from segue.retrieval.rerank.interface import Candidates
from segue.settings import Settings
from segue.types import Bank, Contexts

FARTHEST = 6.0
"""Standardised features are cut at this many standard deviations."""
WIDE = 20.0
"""A feature that reaches beyond this (ranks, lengths, word scores) is read on a logarithmic scale."""


class ListwiseSettings(Settings):
    """The [rerank.listwise] table."""

    width: int = Field(128, ge=8, le=1024, description="components of a token")
    layers: int = Field(2, ge=1, le=12, description="rounds of attention over the list")
    heads: int = Field(4, ge=1, le=16, description="attention heads; they divide the width")
    dropout: float = Field(0.1, ge=0, lt=1, description="share of activations dropped in training")
    vectors: bool = Field(True, description="read the vectors of candidates and context beside the features")
    epochs: int = Field(5, ge=1, le=100, description="passes over the training lists")
    batch_size: int = Field(64, ge=1, le=4096, description="lists a step")
    learning_rate: float = Field(1e-3, gt=0, le=1, description="highest rate of AdamW")
    weight_decay: float = Field(0.02, ge=0, le=10, description="of matrices")
    seed: int = Field(1, ge=0, description="of first weights, order of the lists, and dropout")


@dataclass(frozen=True)
class Scaling:
    """How features become numbers of about 1; taken from the training lists.

    Attributes:
        wide: read on the scale sign(x) · ln(1 + |x|).
        mean: of each feature on its scale, missing values left out.
        deviation: standard deviation, at least 1e-6.
    """

    wide: Bool[np.ndarray, "feature"]
    mean: Float[np.ndarray, "feature"]
    deviation: Float[np.ndarray, "feature"]

    @classmethod
    def of(cls, features: Float[np.ndarray, "candidate feature"]) -> Scaling:
        """Measure a sample of candidates; a feature that is always missing gets mean 0 and deviation 1.

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
        """Return standardised features; what is missing is 0, the mean."""
        scaled = (_on_scale(features.astype(np.float32), self.wide) - self.mean) / self.deviation
        return np.nan_to_num(np.clip(scaled, -FARTHEST, FARTHEST), nan=0.0).astype(np.float32)


def _on_scale(values: np.ndarray, wide: Bool[np.ndarray, "feature"]) -> np.ndarray:
    return np.where(wide, np.sign(values) * np.log1p(np.abs(values)), values)


class Attention(nn.Module):
    """One round: every token looks at every token that is there, then goes through a small net of its own."""

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
        """Return the tokens after the round; those that are not there are looked at by nobody."""
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
    """The vectors that a net reads beside the features.

    Attributes:
        candidates: unit vectors.
        context: unit vectors of the context, oldest first, then of the prediction.
        known: False where there is no passage, or no prediction.
    """

    candidates: Float[Tensor, "batch candidate dim"]
    context: Float[Tensor, "batch places dim"]
    known: Bool[Tensor, "batch places"]


def vectors_read(net: ListwiseNet, contexts: Contexts, candidates: Candidates, bank: Bank) -> VectorsRead | None:
    """Gather the vectors that a net reads; None for one that reads none."""
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
class Listwise:
    """The net, and the features it reads.

    Attributes:
        features: over the bank that is searched.
        net: in evaluation mode.
        scaling: of the features.
        name: what tables call it.
    """

    features: Features
    net: ListwiseNet
    scaling: Scaling
    name: str = "listwise"

    @property
    def reads_text(self) -> bool:
        """Whether its features do."""
        return self.features.reads_text

    @property
    def counts_bank(self) -> bool:
        """Whether its features do."""
        return self.features.counts_bank

    def over(self, bank: Bank) -> Listwise:
        """Return the same net over another bank."""
        return replace(self, features=self.features.over(bank))

    def counting(self, documents: Int[np.ndarray, "counted"]) -> Listwise:
        """Return the same net, the features' statistics counted over some documents only."""
        return replace(self, features=self.features.counting(documents))

    @torch.no_grad()
    def scores(self, contexts: Contexts, candidates: Candidates) -> Float[np.ndarray, "batch candidate"]:
        """Return the net's scores, -inf at the pads."""
        if not candidates.there.any():
            return np.full(candidates.rows.shape, -np.inf)
        values = self.features.compute(contexts, candidates)
        read = vectors_read(self.net, contexts, candidates, self.features.bank)
        there = torch.from_numpy(candidates.there)
        scores = self.net(torch.from_numpy(self.scaling(values)), there, read).numpy().astype(np.float64)
        return np.where(candidates.there, scores, -np.inf)

    def save(self, folder: Path, *, record: dict[str, Any] | None = None) -> None:
        """Write the net, its scaling, what it reads, and where given what fitting did."""
        folder.mkdir(parents=True, exist_ok=True)
        scaling = {f"scaling.{name}": torch.from_numpy(getattr(self.scaling, name)) for name in SCALING}
        save_tensors(folder / "listwise.safetensors", prefixed("net.", copy_weights(self.net)) | scaling)
        about = {"format": 1, "kind": "listwise", "groups": self.features.groups, "context": self.features.context,
                 "features": self.features.names, "settings": self.net.settings.model_dump(mode="json")}  # fmt: skip
        write_json(folder / "listwise.json", about | {"fit": record})


SCALING = ("wide", "mean", "deviation")


def load_listwise(folder: Path, features: Features) -> Listwise:
    """Read a net back.

    Args:
        folder: where it was saved.
        features: over the bank that is searched; the same ones that the net was fitted on.

    Raises:
        InputError: a file is missing or broken, or the net reads other features.
    """
    known = read_json(folder / "listwise.json")
    if tuple(known.get("features", ())) != features.names:
        raise InputError(explain(f"the net in {folder} reads other features", got=len(known.get("features", ())),
                                 expected=len(features.names),
                                 fix="ask for the [rerank] features of that run, or fit again"))  # fmt: skip
    net = ListwiseNet(len(features.names), features.bank.dimension, features.context,
                      ListwiseSettings.model_validate(known["settings"]))  # fmt: skip
    try:
        tensors = load_file(folder / "listwise.safetensors")
        net.load_state_dict(without_prefix("net.", tensors))
        scaling = Scaling(**{name: tensors[f"scaling.{name}"].numpy() for name in SCALING})
    except (SafetensorError, OSError, KeyError, RuntimeError) as error:
        raise InputError(explain(f"{folder / 'listwise.safetensors'} cannot be read", got=str(error),
                                 fix="fit again")) from error  # fmt: skip
    return Listwise(features, net.eval(), scaling)
