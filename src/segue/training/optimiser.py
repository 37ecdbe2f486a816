"""Optimisation: one step (prediction, loss, gradient, clipping, AdamW) and the schedule of the learning rate."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import torch
from torch import nn

from segue.arithmetic import Work, has_fast_bfloat16
from segue.errors import InputError, SettingsError
from segue.models.predictor import Predictor
from segue.training.adamw import AdamW
from segue.training.batches import Batch
from segue.training.losses.loss import Loss
from segue.training.random_streams import seed_torch
from segue.training.ranks import ALONE, ProcessGroup
from segue.training.settings import TrainingSettings

Precision = Literal["float32", "bfloat16"]


def learning_rate(step: int, *, steps: int, peak: float, warmup: float) -> float:
    """Return the rate of a step: a linear rise to ``peak``, then half a cosine down to zero.

    Args:
        step: counted from 0.
        steps: number of steps of the whole run.
        peak: the highest rate.
        warmup: share of the steps in which the rate rises, 0 to 1.

    >>> [round(learning_rate(step, steps=6, peak=1.0, warmup=0.34), 3) for step in range(6)]
    [0.5, 1.0, 1.0, 0.854, 0.5, 0.146]
    """
    rising = int(steps * warmup)
    if step < rising:
        return peak * (step + 1) / rising
    return peak * 0.5 * (1.0 + math.cos(math.pi * (step - rising) / max(steps - rising, 1)))


def resolve_precision(name: Literal["auto", "float32", "bfloat16"], device: str, *, work: Work = "loss") -> Precision:
    """Return the precision of the model; ``auto`` is bfloat16 where it was measured to be faster.

    Weights, optimiser and the sums of the loss are always float32; the loss's products with fixed documents follow.
    """
    if name != "auto":
        return name
    return "bfloat16" if has_fast_bfloat16(device, work) else "float32"


def build_optimizer(
    predictor: nn.Module,
    loss: nn.Module,
    *,
    weight_decay: float,
    device: str,
    rates: Mapping[nn.Parameter, float] | None = None,
) -> AdamW:
    """Return AdamW over the weights of both modules; matrices decay, the rest does not.

    Biases, norms, single numbers, the anchor and temperatures do not decay, since zero is not a sensible value for
    them. ``rates`` has factors of the learning rate.
    """
    named = [(name, weight) for module in (predictor, loss) for name, weight in module.named_parameters()]
    matrices = [weight.ndim >= 2 and weight.numel() > 1 and "anchor" not in name for name, weight in named]
    decaying, others = ([weight for (_, weight), matrix in zip(named, matrices, strict=True) if matrix == decays]
                        for decays in (True, False))  # fmt: skip
    # Fused is bit-exact under resumption too, and several times faster on one core.
    return AdamW(decaying, others, weight_decay=weight_decay, fused=device in ("cpu", "cuda"), rates=rates)


class Optimisation:
    """A predictor, its loss and the optimiser's moments, which each step changes.

    Args:
        predictor: moved to ``device``.
        loss: moved to ``device``.
        settings: weight decay, clipping, and the seed: dropout of step n draws from (seed, n).
        precision: precision of the model's arithmetic.
        device: ``cpu``, ``cuda`` or ``mps``.
        ranks: the processes that share each step.

    Raises:
        SettingsError: the predictor's document tower and the loss do not go together.
    """

    def __init__(
        self, predictor: Predictor, loss: Loss, settings: TrainingSettings, *, precision: Precision, device: str,
        ranks: ProcessGroup = ALONE,
    ) -> None:  # fmt: skip
        _require_contrast(predictor, loss)
        self.predictor, self.loss = predictor.to(device), loss.to(device)
        self.optimizer = build_optimizer(predictor, loss, weight_decay=settings.weight_decay, device=device,
                                         rates=predictor.rates())  # fmt: skip
        self.settings, self.precision, self.device, self.ranks = settings, precision, device, ranks
        self.loss.ranks = ranks

    def step(self, number: int, batch: Batch, rate: float) -> dict[str, float]:
        """Take one step and return ``loss``, ``loss/<term>`` for each term, and ``grad_norm`` before clipping.

        Raises:
            InputError: the loss or its gradient is not finite, which names step and batch; the weights are left as they
                were.
        """
        self.predictor.train()
        cuda = [torch.cuda.current_device()] if self.device == "cuda" else []
        with torch.random.fork_rng(devices=cuda):
            seed_torch(self.settings.seed, number, rank=self.ranks.number)
            total, parts = self._forward(batch.to(self.device))
            self.optimizer.zero_grad()
            total.backward()
        loss, *terms = self._average(torch.stack([total.detach(), *(value.detach() for value in parts.values())]))
        norm = torch.nn.utils.clip_grad_norm_(self.optimizer.weights, self.settings.clip)
        values = {"loss": loss, "grad_norm": float(norm)}
        values |= {f"loss/{name}": value for name, value in zip(parts, terms, strict=True)}
        with self.ranks.reported_once():
            _require_finite(number, values, batch=batch.name, rate=rate, precision=self.precision)
        self.optimizer.step(rate)
        self.loss.clamp()
        return values

    def _average(self, values: torch.Tensor) -> list[float]:
        """Average gradients and values over the ranks, in one sum; return the values."""
        if self.ranks.size == 1:
            return [float(value) for value in values]
        weights = self.optimizer.weights
        used = [weight.grad is not None for weight in weights]  # of a weight that no rank uses there is no gradient
        gradients = [torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in weights]
        flat = torch.cat([gradient.flatten() for gradient in gradients] + [values, values.new_tensor(used)])
        flat = self.ranks.sum(flat) / self.ranks.size
        *averaged, values, shares = flat.split([weight.numel() for weight in weights] + [len(values), len(weights)])
        for weight, gradient, share in zip(weights, averaged, shares.tolist(), strict=True):
            weight.grad = gradient.view_as(weight) if share else None
        return values.tolist()

    def _forward(self, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        with torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bfloat16"):
            prediction = self.predictor(batch.context, batch.mask, batch.texts)
            target = self.predictor.encode_documents(batch.target)
            negatives = batch.negatives and batch.negatives.through(self.predictor.encode_documents)
        products = getattr(torch, self.precision)
        total, parts = self.loss(prediction, target, batch.groups, batch.context_groups,
                                 negatives=negatives, step=batch.step, products=products)  # fmt: skip
        return total, parts


def _require_contrast(predictor: Predictor, loss: Loss) -> None:
    """Refuse a learnt document tower with a loss that cannot train it.

    1 − cos alone is least for a tower that maps every passage to one point. Losses over the bank use its vectors as
    they are; encoding them again in every step would cost a pass over the bank. Behind a projection head the tower
    would learn for another space than the one that is searched.
    """
    if predictor.documents is None:
        return
    kinds = [f"{'projected ' * (term.space == 'projected')}{term.kind}" for term in loss.settings.terms]
    stored = [kind for kind in kinds if kind not in ("infonce", "ar-cosine", "mse")]
    stored += [source.kind for source in loss.settings.negatives]
    if "infonce" in kinds and not stored:
        return
    tower = f"documents = {predictor.settings.documents!r}"
    raise SettingsError(
        f"[model] {tower} cannot be trained with this loss",
        got=f"terms {', '.join(dict.fromkeys([*kinds, *stored]))}",
        expected="an `infonce` term (in-batch negatives, none mined, raw), with or without `ar-cosine` or `mse`",
        fix='use kind = "infonce", or documents = "identity"',
    )


def _require_finite(number: int, values: dict[str, float], *, batch: str, rate: float, precision: Precision) -> None:
    wrong = [name for name, value in values.items() if not math.isfinite(value)]
    if wrong:
        # The batch was finite when it was gathered, so the weights or the arithmetic are at fault.
        bfloat16 = ' or set precision = "float32"' if precision == "bfloat16" else ""
        raise InputError(
            f"training diverged at step {number + 1}",
            got=", ".join(f"{name} = {values[name]}" for name in wrong) + (f" in {batch}" if batch else ""),
            expected="finite numbers",
            fix=f"lower [training] learning_rate (it was {rate:.2g} in this step){bfloat16}; "
            "the last good state is kept",
        )
