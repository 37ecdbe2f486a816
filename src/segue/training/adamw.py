"""AdamW over weights of two kinds: matrices decay, the rest does not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.optim import adamw as torch_adamw

from segue.models.tensors import Tensors

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
NAMES = ("exp_avg", "exp_avg_sq", "step")
"""The moments of a weight."""


class AdamW:
    """AdamW (Loshchilov and Hutter 2019), each step by PyTorch's own function.

    ``torch.optim.AdamW`` takes the same steps to the bit. Its first use imports PyTorch's compiler, which takes each
    process about two seconds.

    Args:
        decaying: weights that decay.
        others: weights that do not.
        weight_decay: share of the rate by which ``decaying`` shrink in a step.
        fused: whether one kernel updates a weight; None: PyTorch decides by device.
        rates: factors of the learning rate, of weights where it is not 1.
    """

    def __init__(
        self, decaying: Iterable[nn.Parameter], others: Iterable[nn.Parameter], *, weight_decay: float,
        fused: bool | None = None, rates: Mapping[nn.Parameter, float] | None = None,
    ) -> None:  # fmt: skip
        groups = [(list(decaying), weight_decay), (list(others), 0.0)]
        self.weights = [weight for weights, _ in groups for weight in weights]
        self._kinds = [(decay, (rates or {}).get(weight, 1.0)) for weights, decay in groups for weight in weights]
        self._moments: dict[int, dict[str, Tensor]] = {}
        self._fused = fused

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for weight in self.weights:
            weight.grad = None

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Change every weight that has a gradient."""
        for decay, factor in dict.fromkeys(self._kinds):
            weights: list[Tensor] = []
            gradients: list[Tensor] = []
            moments: list[dict[str, Tensor]] = []
            for number, weight in enumerate(self.weights):
                if weight.grad is not None and self._kinds[number] == (decay, factor):
                    weights.append(weight)
                    gradients.append(weight.grad)
                    moments.append(self._moments.setdefault(number, self._begin(weight)))
            averages, squares, steps = ([entry[name] for entry in moments] for name in NAMES)
            torch_adamw.adamw(weights, gradients, averages, squares, [], steps, fused=self._fused, amsgrad=False,
                              beta1=BETA1, beta2=BETA2, lr=rate * factor, weight_decay=decay, eps=EPSILON,
                              maximize=False)  # fmt: skip

    def tensors(self) -> Tensors:
        """Return the moments by ``number of weight.name of moment``."""
        return {f"{number}.{name}": tensor for number, entry in self._moments.items() for name, tensor in entry.items()}

    def restore(self, tensors: Tensors) -> None:
        """Restore the moments from what ``tensors`` returned."""
        self._moments = {}
        for key, tensor in tensors.items():
            number, name = key.split(".", 1)
            weight = self.weights[int(number)]
            place = weight.device if self._fused or name != "step" else "cpu"
            self._moments.setdefault(int(number), {})[name] = tensor.to(place)

    def _begin(self, weight: nn.Parameter) -> dict[str, Tensor]:
        step = torch.zeros((), device=weight.device if self._fused else "cpu")
        return {"step": step, "exp_avg": torch.zeros_like(weight), "exp_avg_sq": torch.zeros_like(weight)}
