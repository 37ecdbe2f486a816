"""Parts that end their process once, with SIGKILL, in a process that is not the test's own."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fake_encoder import HashEncoder
from worlds import MemoryBank


def die_once(marker: Path, owner: int) -> None:
    """End this process unless it is the owner's, or another one ended before."""
    if os.getpid() != owner and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)


def die() -> None:
    """End this process."""
    os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class MortalBank(MemoryBank):
    """A bank at whose ``most``-th reading the first process ends."""

    marker: Any = None
    owner: int = 0
    most: int = 0
    calls: list[int] = field(default_factory=list)

    def gather(self, rows):
        if os.getpid() != self.owner:
            self.calls.append(1)
            if len(self.calls) == self.most:
                die_once(self.marker, self.owner)
        return super().gather(rows)


class MortalEncoder(HashEncoder):
    """An encoder that ends its process with its second shard, once."""

    def __init__(self, marker: Path) -> None:
        super().__init__()
        self.marker, self.owner = marker, os.getpid()

    def encode(self, texts, *, progress=lambda *_: None):
        if self.encoded:
            die_once(self.marker, self.owner)
        return super().encode(texts, progress=progress)


def other_encoder() -> HashEncoder:
    """Return an encoder that has another space in every process."""
    return HashEncoder(salt=str(os.getpid()))
