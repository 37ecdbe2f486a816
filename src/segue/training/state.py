"""State of a training on disk, from which it resumes after a kill.

One file, ``state.safetensors``, holds weights, moments of the optimiser, the best weights so far, and in its header the
counters and the curve. It is replaced in one rename, so it is never half-written. ``metrics.jsonl`` repeats the curve
in readable form. A finished run's state keeps the best weights only.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from segue.errors import InputError
from segue.files import write_text
from segue.models.tensors import Tensors, save_tensors
from segue.types import Windows

STATE_FILE = "state.safetensors"
METRICS_FILE = "metrics.jsonl"
LOSS_FILE = "loss.safetensors"
"""Learnt weights of the loss (head, temperatures) that belong to the best predictor."""

Record = dict[str, int | float | None]
"""Numbers by name, such as ``step``, ``loss`` or ``MRR``; None means "not computed"."""


@dataclass
class TrainingState:
    """Counters and curve of a run.

    Attributes:
        step: optimiser steps done.
        best_step: step after which the validation score was best.
        best_score: all scores there, ``MRR`` among them; None before the first evaluation.
        stale: evaluations since the best one.
        sums: sums over the steps since the last evaluation, by name; ``steps`` counts them.
        curve: one record for each evaluation.
        seconds: seconds of training and scoring so far, over all sessions.
        finished: nothing is left to do.
        stopped_early: the validation score has not risen for the settings' patience.
    """

    step: int = 0
    best_step: int = 0
    best_score: Record | None = None
    stale: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    curve: list[Record] = field(default_factory=list)
    seconds: float = 0.0
    finished: bool = False
    stopped_early: bool = False

    def add(self, values: Mapping[str, float]) -> None:
        """Count one step and add its values to the sums."""
        self.step += 1
        for name, value in {**values, "steps": 1.0}.items():
            self.sums[name] = self.sums.get(name, 0.0) + value

    def means(self) -> dict[str, float]:
        """Return the means over the steps since the last evaluation.

        >>> TrainingState(sums={"loss": 6.0, "steps": 3.0}).means()
        {'loss': 2.0}
        """
        return {name: value / self.sums["steps"] for name, value in self.sums.items() if name != "steps"}

    def add_record(self, values: Record) -> None:
        """Append an evaluation to the curve, and begin new sums."""
        self.curve.append({"step": self.step, "seconds": round(self.seconds, 3), **values})
        self.sums = {}

    def improves(self, scores: Record) -> bool:
        """Return whether scores are better than the best so far, by MRR."""
        return self.best_score is None or selection_score(scores) > selection_score(self.best_score)


def selection_score(record: Record) -> float:
    """Return the number that selects the best weights, ``MRR``."""
    value = record["MRR"]
    assert value is not None, "a validation score has an MRR"
    return value


def save_state(folder: Path, state: TrainingState, tensors: Tensors, *, identity: Mapping[str, object]) -> None:
    """Write the state and the curve; a kill leaves the state before or this one.

    Args:
        folder: folder of the run.
        state: the counters.
        tensors: weights and moments, by name.
        identity: what must be equal for a run to be resumed.

    Raises:
        StorageError: the disk is full or the folder cannot be written.
    """
    write_text(folder / METRICS_FILE, "".join(json.dumps(record) + "\n" for record in state.curve))
    header = {"format": "1", "identity": json.dumps(identity), "state": json.dumps(asdict(state))}
    header["sha256"] = _sha256(header, tensors)
    save_tensors(folder / STATE_FILE, tensors, header=header)


def _sha256(header: Mapping[str, str], tensors: Tensors) -> str:
    """Return the hash of a state; the state may hold tensors of any type."""
    digest = hashlib.sha256(json.dumps(dict(header), sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        if tensor.numel():
            digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def load_state(folder: Path, *, identity: Mapping[str, object]) -> tuple[TrainingState, Tensors] | None:
    """Read the state; None where there is none.

    Raises:
        InputError: the state belongs to another training, or is damaged.
    """
    path = folder / STATE_FILE
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            # Cloned: tensors stay mapped to the file, which later states replace.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 (no mapping)
        digest = header.pop("sha256", None)
        if digest is not None and digest != _sha256(header, tensors):
            raise ValueError("contents that its sha256 does not fit")
        found, state = json.loads(header["identity"]), TrainingState(**json.loads(header["state"]))
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path} cannot be read as a training state", got=str(error), fix="delete that folder"
        ) from error
    expected = json.loads(json.dumps(identity))
    other = [key for key in sorted({*found, *expected}) if found.get(key) != expected.get(key)]
    if other:
        raise InputError(
            f"{path} belongs to another training",
            got="; ".join(f"{key} = {found.get(key)}" for key in other),
            expected="; ".join(f"{key} = {expected.get(key)}" for key in other),
            fix="choose another folder, or delete this one",
        )
    return state, tensors


def find_finished(folders: Iterable[Path], *, identity: Mapping[str, object]) -> tuple[TrainingState, Tensors] | None:
    """Return the first finished state of the same training; folders of other trainings are passed over."""
    for folder in folders:
        with contextlib.suppress(InputError):
            found = load_state(folder, identity=identity)
            if found is not None and found[0].finished:
                return found
    return None


def windows_hash(windows: Windows) -> str:
    """Return the SHA-256 of the windows' row numbers."""
    digest = hashlib.sha256()
    for rows in (windows.context, windows.target):
        digest.update(np.ascontiguousarray(rows, dtype="<i8").data.cast("B"))
    return digest.hexdigest()
