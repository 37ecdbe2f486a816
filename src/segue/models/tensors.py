"""Tensors by name: prefixes, copies, safetensors files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from jaxtyping import Shaped
from safetensors.torch import save
from torch import Tensor, nn

from segue.files import atomic_file

Tensors = dict[str, Shaped[Tensor, "..."]]


def save_tensors(path: Path, tensors: Tensors, *, header: dict[str, str] | None = None) -> None:
    """Write tensors as safetensors, atomically."""
    with atomic_file(path) as handle:
        handle.write(save({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, header))


def prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> Tensors:
    """Put a prefix before each name.

    >>> list(prefixed("loss.", {"a": Tensor()}))
    ['loss.a']
    """
    return {prefix + name: tensor for name, tensor in tensors.items()}


def without_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> Tensors:
    """Return the tensors whose names begin with the prefix, without it.

    >>> list(without_prefix("loss.", {"loss.a": Tensor(), "b": Tensor()}))
    ['a']
    """
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def copy_weights(module: nn.Module) -> Tensors:
    """Copy a module's weights, so that later steps do not change the copy."""
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
