"""Ranks: the processes that take every step of one training together, on one machine or on several.

``torchrun`` starts them. Each predicts its share of the step's windows; what a loss compares with the other windows is
gathered. Gradients and values are averaged over the ranks in one sum, so every rank takes the same step, which is the
step of a single process up to rounding. ``DistributedDataParallel`` is not used: models are small, and the loss has
weights of its own.

The state of a training does not depend on the number of ranks. Only the first rank writes files.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar, cast

import cloudpickle
import torch
from jaxtyping import Shaped
from torch import Tensor, distributed

from segue.errors import InputError, OtherRankError, SegueError

TIMEOUT = timedelta(minutes=30)
"""Maximum time a rank waits for the others. A rank whose process ends is noticed at once."""
Made = TypeVar("Made")


@dataclass(frozen=True)
class ProcessGroup:
    """Place of this process among the ranks of a training; by default it is alone, and nothing is sent.

    Attributes:
        number: counted from 0.
        size: number of ranks.
    """

    number: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this rank prints and writes."""
        return self.number == 0

    def share(self, count: int) -> slice:
        """Return this rank's part of ``count`` things; the parts are in the order of the ranks.

        >>> [ProcessGroup(number, 3).share(8) for number in range(3)]
        [slice(0, 2, None), slice(2, 5, None), slice(5, 8, None)]
        """
        return slice(count * self.number // self.size, count * (self.number + 1) // self.size)

    def once(self, make: Callable[[], Made]) -> Made:
        """Return what the first rank makes, on every rank; the others wait for it.

        Raises:
            OtherRankError: the first rank failed, on the others.
        """
        if self.size == 1:
            return make()
        if not self.first:
            made, code = cloudpickle.loads(self._sent(None))
            if code is not None:
                raise OtherRankError(exit_code=code)
            return cast(Made, made)
        try:
            result = make()
        except SegueError as error:
            self._sent(cloudpickle.dumps((None, error.exit_code)))
            raise
        self._sent(cloudpickle.dumps((result, None)))
        return result

    def _sent(self, message: bytes | None) -> bytes:
        """Return the first rank's message, on every rank."""
        held = [message]
        with _together():
            distributed.broadcast_object_list(held)
        assert held[0] is not None, "the first rank sends a message"
        return held[0]

    @contextlib.contextmanager
    def reported_once(self) -> Iterator[None]:
        """Let the first rank alone report an error that every rank meets in the block."""
        try:
            yield
        except SegueError as error:
            if self.first:
                raise
            raise OtherRankError(exit_code=error.exit_code) from error

    def sum(self, values: Tensor) -> Tensor:
        """Replace values by their sum over the ranks, and return them; not differentiable."""
        if self.size > 1:
            with _together():
                distributed.all_reduce(values)
        return values

    def gather(self, rows: Shaped[Tensor, "own *any"]) -> Shaped[Tensor, "batch *any"]:
        """Return the rows of all ranks, which have equally many, in the order of the ranks.

        Differentiable: the gradient of a row is summed over the ranks.
        """
        return rows if self.size == 1 else _Gather.apply(rows, self)  # type: ignore[no-untyped-call,no-any-return]


ALONE = ProcessGroup()
"""A single process."""


class _Gather(torch.autograd.Function):
    """The rows of all ranks."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, ranks: ProcessGroup) -> Tensor:
        ctx.ranks = ranks
        every = rows.new_empty((ranks.size * len(rows), *rows.shape[1:]))
        with _together():
            distributed.all_gather(list(every.chunk(ranks.size)), rows.contiguous())
        return every

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (every,) = gradients
        return ctx.ranks.sum(every.clone())[ctx.ranks.share(len(every))], None


@contextlib.contextmanager
def joined(device: str) -> Iterator[ProcessGroup]:
    """Yield this process's place among the ranks that ``torchrun`` started; without it, the process is alone.

    Args:
        device: ``cpu`` (gloo), or ``cuda`` (nccl; each rank takes the GPU of its number on its machine).

    Raises:
        InputError: there is no GPU for this rank, or the ranks did not find each other.
    """
    size = int(os.environ.get("WORLD_SIZE", "1")) if "RANK" in os.environ else 1
    if size == 1:
        yield ALONE
        return
    mine = not distributed.is_initialized()
    if mine:
        _connect(device)
    yield ProcessGroup(distributed.get_rank(), distributed.get_world_size())
    if mine:  # after an error the process ends, and the others learn from it
        distributed.destroy_process_group()


def _connect(device: str) -> None:
    if device not in ("cpu", "cuda"):
        raise InputError("several ranks cannot train on this device", got=device, expected="cpu or cuda",
                         fix="add --device cpu, or start a single process")  # fmt: skip
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if device == "cuda":
        if local >= torch.cuda.device_count():
            raise InputError("there are more ranks than GPUs", got=f"{torch.cuda.device_count()} GPUs for rank {local}",
                             fix="lower --nproc-per-node, or add --device cpu")  # fmt: skip
        torch.cuda.set_device(local)
    try:
        distributed.init_process_group("cpu:gloo,cuda:nccl" if device == "cuda" else "gloo", timeout=TIMEOUT)
    except (RuntimeError, ValueError) as error:
        fix = "start them with torchrun; on several machines give --rdzv-endpoint"
        raise InputError("the ranks did not find each other", got=_sentence(error), fix=fix) from error


@contextlib.contextmanager
def _together() -> Iterator[None]:
    """Name the cause where the ranks cannot go on together."""
    try:
        yield
    except RuntimeError as error:  # gloo's, and the base of PyTorch's own
        fix = "see what it reported, and run the same command again, which resumes"
        what = "another rank of this training ended, or cannot be reached"
        raise SegueError(what, got=_sentence(error), fix=fix) from error


def _sentence(error: Exception) -> str:
    """Return the first sentence of a message, without the place in the source that gloo and nccl begin with."""
    return re.sub(r"^\[\S+\] ", "", str(error).partition("\n")[0].partition(". ")[0])
