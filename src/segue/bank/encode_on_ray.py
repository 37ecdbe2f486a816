"""Encode the shards of a bank with Ray Data: actors hold the encoder, and read the passages where they are written.

A shard is the unit, so the texts that share a batch, and with them the bytes, are those of a build on one machine. Its
vectors come back here, in order, to the one process that writes. A lost actor costs the shard that it encodes, which
another one begins again.
"""

from __future__ import annotations

import functools
import logging
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
from jaxtyping import Float, Int

from segue.bank.shards import read_rows
from segue.cluster import ComputeSettings, connected, lost, places, process_state, require_seen, take_state
from segue.encoders import Encoder, EncoderSettings
from segue.encoders.space import Space, require_same
from segue.errors import SettingsError
from segue.parts import pickled_parts, take_pickled


def encode_on_ray(
    shards: Sequence[int],
    *,
    folder: Path,
    load: Callable[[], Encoder],
    settings: EncoderSettings | None,
    space: Space,
    compute: ComputeSettings,
    chosen: Mapping[int, Int[np.ndarray, "rows"]] | None = None,
) -> Iterator[Float[np.ndarray, "rows dim"]]:
    """Yield the vectors of shards whose passages are written, in their order.

    Args:
        shards: their numbers.
        folder: the bank's folder, which all machines of the cluster see.
        load: loads the encoder, in every actor.
        settings: of the encoder, where it has any: parts of the user's own in them are sent along.
        space: of the vectors; an actor whose encoder has another one is refused.
        compute: the cluster, and what an actor reserves.
        chosen: rows to encode of each shard, counted from its first; None: all. Only their vectors are yielded.

    Raises:
        InputError: the cluster does not answer, or the encoder fails there.
        SettingsError: the encoder cannot be sent to other processes, or no machine has room for it.
        StorageError: an actor does not see the folder, or actors are lost again and again.
    """
    if not shards:
        return
    named = "" if settings is None else settings.model_dump_json()
    try:
        pickled = cloudpickle.dumps(load)
    except Exception as error:  # whatever it refers to may refuse
        raise SettingsError("the encoder cannot be sent to a Ray cluster", got=f"{type(error).__name__}: {error}",
                            fix="give a function that loads it") from error  # fmt: skip
    state = process_state(compute, functools.partial(take_pickled, pickled_parts(named)))
    with connected(compute) as ray:
        from ray.data import ActorPoolStrategy, from_items
        from ray.exceptions import RayError

        at_once = min(places(ray, compute), len(shards))
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        rows = from_items([{"shard": number, "rows": b"" if chosen is None else pickle.dumps(chosen[number])}
                           for number in shards], override_num_blocks=len(shards))  # fmt: skip
        rows.context.enable_progress_bars = rows.context.print_on_execution_start = False
        rows.context.execution_options.preserve_order = True
        encoded = rows.map_batches(
            _Actor,
            fn_constructor_args=(state, str(folder.absolute()), pickled, space),
            compute=ActorPoolStrategy(min_size=1, max_size=at_once, max_tasks_in_flight_per_actor=2),
            batch_size=1,
            **compute.options,
        )
        try:
            for batch in encoded.iter_batches(batch_size=None, batch_format="numpy"):
                for failed, vectors in zip(batch["error"], batch["vectors"], strict=True):
                    if failed:
                        raise pickle.loads(failed)
                    yield vectors
        except RayError as error:
            raise lost(error) from error


class _Actor:
    """Encodes shards in a process of the cluster; the encoder is loaded for the first one."""

    def __init__(self, state: bytes, folder: str, load: bytes, space: Space) -> None:
        self._state, self._folder, self._load, self._space = state, folder, load, space

    @functools.cached_property
    def _encoder(self) -> Encoder:
        take_state(self._state)
        require_seen(self._folder)
        encoder: Encoder = pickle.loads(self._load)()
        require_same(self._space, encoder.space, "the bank and the encoder on a machine of the Ray cluster")
        return encoder

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Return the vectors of the shard of a batch, or the error."""
        try:
            encoder = self._encoder
            texts = read_rows(Path(self._folder), int(batch["shard"][0])).texts or []
            if rows := batch["rows"][0]:
                texts = [texts[row] for row in pickle.loads(rows)]
            vectors = encoder.encode(texts)
            return {"error": [b""], "vectors": np.ascontiguousarray(vectors, dtype=np.float32)[None]}
        except Exception as error:  # the encoder's too; Ray would try it again
            return {"error": [cloudpickle.dumps(error)], "vectors": np.zeros((1, 0, 1), dtype=np.float32)}
