"""Fitting the listwise reranker: a softmax over each list, the epoch chosen by validation lists.

Everything is a function of the seed and the step, and the state is written after every epoch: a killed fit goes on
after its last epoch and ends in the same weights.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from segue.hardware import has_fast_bfloat16
from segue.models.tensors import copy_weights, prefixed, without_prefix
from segue.retrieval.rerank.features import Features
from segue.retrieval.rerank.lists import ListFeatures
from segue.retrieval.rerank.listwise import Listwise, ListwiseNet, ListwiseSettings, Scaling, vectors_read
from segue.training.optimiser import build_optimizer, learning_rate
from segue.training.random_streams import torch_seed
from segue.training.state import (
    Record,
    TrainingState,
    load_state,
    optimizer_tensors,
    restore_optimizer,
    save_state,
    windows_hash,
)
from segue.types import Progress, no_progress
from segue.windows.windows import gather_contexts

SAMPLE = 2000
"""Lists whose features are measured for their scale."""
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
    progress: Progress = no_progress,
) -> tuple[Listwise, dict[str, Any]]:
    """Fit the net on lists, and return it with what fitting did.

    Args:
        train: lists of documents that their first stage has not seen; those without their target are left out.
        validation: lists of other documents, which choose the epoch by the mean reciprocal rank within their lists.
        features: over the bank of the lists.
        settings: the [rerank.listwise] table.
        folder: where the state of a killed fit is kept.
        progress: called with the steps.

    Raises:
        SettingsError: no list holds its target.
        InputError: the folder holds another fit.
    """
    settings = settings or ListwiseSettings()
    read, watched = train.with_target(), validation.with_target()
    fit = _Fit(read, watched, features, settings, folder)
    while not fit.state.finished:
        fit.epoch(progress)
    best = fit.state.best_score or {}
    return fit.model(), {"lists": len(train), "lists_with_target": len(read), "validation_lists": len(validation),
                         "validation_lists_with_target": len(watched), "epochs": fit.state.step,
                         "best_epoch": fit.state.best_step, "validation_reciprocal_rank": best.get("MRR"),
                         "seconds": fit.state.seconds, "curve": fit.state.curve}  # fmt: skip


class _Fit:
    """A fit between two epochs."""

    def __init__(
        self, read: ListFeatures, watched: ListFeatures, features: Features, settings: ListwiseSettings, folder: Path
    ) -> None:
        self.read, self.watched, self.features, self.settings, self.folder = read, watched, features, settings, folder
        some = read.take(np.linspace(0, len(read) - 1, min(SAMPLE, len(read))).astype(np.int64))
        self.scaling = Scaling.of(some.values[some.lists.candidates.there])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            self.net = ListwiseNet(len(features.names), features.bank.dimension, features.context, settings)
        nothing = torch.nn.Module()
        self.optimizer = build_optimizer(self.net, nothing, weight_decay=settings.weight_decay, device="cpu")
        self.per_epoch = max(1, len(read) // settings.batch_size)
        self.identity = {"settings": settings.model_dump(mode="json"), "features": list(features.names),
                         "windows": [windows_hash(part.lists.windows) for part in (read, watched)]}  # fmt: skip
        self.state, self.best = self._resume()

    def epoch(self, progress: Progress) -> None:
        """Go once over the lists, score the validation lists, and write down where the fit stands."""
        began, number = time.perf_counter(), self.state.step
        losses = [self._step(number, place, which, progress) for place, which in enumerate(self._batches(number))]
        scored: Record = {"MRR": reciprocal_rank(self.net, self.scaling, self.watched, self.features)}
        state = self.state
        state.step += 1
        if state.improves(scored):
            state.best_step, state.best_score, self.best = state.step, scored, copy_weights(self.net)
        state.seconds += time.perf_counter() - began
        state.curve.append({"epoch": state.step, "loss": float(np.mean(losses)), **scored})
        state.finished = state.step >= self.settings.epochs
        tensors = prefixed("net.", copy_weights(self.net)) | prefixed("best.", self.best)
        moments = prefixed("optimizer.", optimizer_tensors(self.optimizer))
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
            torch.manual_seed(torch_seed(self.settings.seed, number))
            with torch.autocast("cpu", torch.bfloat16, enabled=has_fast_bfloat16("cpu")):
                scores = _scores(self.net, self.scaling, part, self.features)
            loss = functional.cross_entropy(scores, torch.from_numpy(part.lists.label))
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), CLIP)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        progress(number + 1, steps, f"listwise, loss {float(loss.detach()):.2f}")
        return float(loss.detach())

    def _resume(self) -> tuple[TrainingState, dict[str, Tensor]]:
        found = load_state(self.folder, identity=self.identity)
        if found is None:
            return TrainingState(), {}
        state, tensors = found
        self.net.load_state_dict(without_prefix("net.", tensors))
        restore_optimizer(self.optimizer, without_prefix("optimizer.", tensors))
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
