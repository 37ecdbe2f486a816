"""Tensors by name: prefixes, copies, and safetensors files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from jaxtyping import Shaped
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

Tensors = dict[str, Shaped[Tensor, "..."]]


def save_tensors(path: Path, tensors: Tensors, *, header: dict[str, str] | None = None) -> None:
    """Write tensors as safetensors; failures of the disk are ``OSError``."""
    try:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, path, metadata=header)
    except SafetensorError as error:  # safetensors' own name for a full disk or a folder that is not there
        raise OSError(str(error)) from error


def prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> Tensors:
    """Put a prefix before each name.

    >>> list(prefixed("loss.", {"a": torch.zeros(1)}))
    ['loss.a']
    """
    return {prefix + name: tensor for name, tensor in tensors.items()}


def without_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> Tensors:
    """Return the tensors whose names begin with the prefix, without it.

    >>> list(without_prefix("loss.", {"loss.a": torch.zeros(1), "b": torch.zeros(1)}))
    ['a']
    """
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def copy_weights(module: nn.Module) -> Tensors:
    """Copy a module's weights, so that later steps leave the copy alone."""
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
