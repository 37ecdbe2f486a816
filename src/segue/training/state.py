"""What training leaves on disk so that it can go on after a kill, and how that is read back.

One file, ``state.safetensors``, holds everything: weights, moments of the optimiser, the best weights so far, and in
its header the counters and the curve. One file is replaced in one rename, so there is never a half. ``metrics.jsonl``
repeats the curve for readers. A finished run's state keeps the best weights only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from segue.errors import InputError, explain
from segue.files import atomic_path, write_text
from segue.models.tensors import Tensors, save_tensors
from segue.types import Windows

STATE_FILE = "state.safetensors"
METRICS_FILE = "metrics.jsonl"
LOSS_FILE = "loss.safetensors"
"""The loss's learnt weights (head, temperatures) that belong to the best predictor."""


@dataclass
class TrainingState:
    """Where a run stands.

    Attributes:
        step: optimiser steps done.
        best_step: after which the validation score was best.
        best_score: scores there (``MRR`` and whatever else was measured); None before the first evaluation.
        stale: evaluations since the best one.
        sums: sums over the steps since the last evaluation, by name; ``steps`` counts them.
        curve: one record for each evaluation.
        seconds: spent so far, over all sessions.
        finished: nothing is left to do.
        stopped_early: the validation score rose no more for the settings' patience.
    """

    step: int = 0
    best_step: int = 0
    best_score: dict[str, Any] | None = None
    stale: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    curve: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    finished: bool = False
    stopped_early: bool = False


def save_state(folder: Path, state: TrainingState, tensors: Tensors, *, identity: Mapping[str, Any]) -> None:
    """Write the state and the curve; a kill leaves the state before or this one.

    Args:
        folder: of the run.
        state: the counters.
        tensors: weights and moments, by name.
        identity: what must be equal for a run to be gone on with.

    Raises:
        StorageError: the disk is full or the folder cannot be written.
    """
    write_text(folder / METRICS_FILE, "".join(json.dumps(record) + "\n" for record in state.curve))
    header = {"format": "1", "identity": json.dumps(identity), "state": json.dumps(asdict(state))}
    with atomic_path(folder / STATE_FILE) as temporary:
        save_tensors(temporary, tensors, header=header)


def load_state(folder: Path, *, identity: Mapping[str, Any]) -> tuple[TrainingState, Tensors] | None:
    """Read the state back, None where there is none.

    Raises:
        InputError: it is of another training, or damaged.
    """
    path = folder / STATE_FILE
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            # Cloned: what is read stays mapped to a file that later states replace.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 (no mapping)
        found, state = json.loads(header["identity"]), TrainingState(**json.loads(header["state"]))
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            explain(f"{path} cannot be read as a training state", got=str(error), fix="delete that folder")
        ) from error
    _require_same(path, found, json.loads(json.dumps(identity)))
    return state, tensors


def _require_same(path: Path, found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    other = [key for key in sorted({*found, *expected}) if found.get(key) != expected.get(key)]
    if other:
        raise InputError(
            explain(
                f"{path} belongs to another training",
                got="; ".join(f"{key} = {found.get(key)}" for key in other),
                expected="; ".join(f"{key} = {expected.get(key)}" for key in other),
                fix="choose another folder, or delete this one",
            )
        )


def windows_hash(windows: Windows) -> str:
    """Return the SHA-256 of the windows' row numbers."""
    digest = hashlib.sha256()
    for rows in (windows.context, windows.target):
        digest.update(np.ascontiguousarray(rows, dtype="<i8").data.cast("B"))
    return digest.hexdigest()


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> Tensors:
    """Return the optimiser's moments by ``number of parameter.name of moment``."""
    moments = optimizer.state_dict()["state"]
    return {f"{number}.{name}": tensor for number, entry in moments.items() for name, tensor in entry.items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Tensors) -> None:
    """Give the optimiser its moments back; the opposite of ``optimizer_tensors``."""
    moments: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        number, name = key.split(".", 1)
        moments.setdefault(int(number), {})[name] = tensor
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
