"""Tensors by name: prefixes, copies, safetensors files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from jaxtyping import Shaped
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

Tensors = dict[str, Shaped[Tensor, "..."]]


def save_tensors(path: Path, tensors: Tensors, *, header: dict[str, str] | None = None) -> None:
    """Write tensors as safetensors; failures of the disk raise ``OSError``."""
    try:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, path, metadata=header)
    except SafetensorError as error:  # raised for a full disk or a missing folder
        raise OSError(str(error)) from error


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
