"""Any sentence-transformers model, from the hub or from a folder, in a loop of our own.

Why not ``SentenceTransformer.encode``: it sorts by characters and tokenises batch by batch. Here a thousand texts are
tokenised once and batched by their number of *tokens*, so that almost nothing is padding: 27 against 20 passages a
second and core in float32, 74 against 55 in bfloat16 (all-MiniLM-L6-v2, passages of 125 tokens). Only the transformer
runs in bfloat16; pooling, dense layers and normalisation stay in float32, so vectors are of length 1 to 1e-6.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from huggingface_hub import model_info, try_to_load_from_cache
from jaxtyping import Float
from sentence_transformers import SentenceTransformer
from torch import Tensor
from transformers.utils import logging as transformers_logging

from segue.encoders.space import PROBES, Precision, Space, with_fingerprint
from segue.encoders.token_batches import batches_of_like_length
from segue.encoders.weights import folder_revision
from segue.errors import InputError
from segue.hardware import choose_device, has_fast_bfloat16
from segue.types import Progress, no_progress

if TYPE_CHECKING:
    from segue.encoders import EncoderSettings

HUB_SECONDS = 10.0
"""How long to wait for the hub's first answer, seconds."""

BATCH_ON_CPU, BATCH_ELSEWHERE = 8, 64
"""Texts of a batch: on two cores 8 took 2.1 s where 32 took 2.4 and 64 took 2.8 (256 passages, all-MiniLM-L6-v2)."""

TOKENISED_TOGETHER = 1024
"""Texts whose tokens are in memory at once; batches of like length are formed among them."""


class SentenceTransformerEncoder:
    """A sentence-transformers model whose vectors are float32 and of length 1."""

    def __init__(self, model: SentenceTransformer, space: Space, *, batch_size: int) -> None:
        self._model = model
        self._prompt = space.prompt
        self._dimension = space.dimension
        self._batch_size = batch_size
        self._space = with_fingerprint(space, self.encode(PROBES))

    @property
    def space(self) -> Space:
        """The space of the vectors, fingerprint included."""
        return self._space

    @property
    def model(self) -> SentenceTransformer:
        """The model itself, for who trains it."""
        return self._model

    @torch.inference_mode()
    def encode(self, texts: Sequence[str], *, progress: Progress = no_progress) -> Float[np.ndarray, "text dim"]:
        """Return one unit vector per text, in order.

        Batches depend on the texts alone, so the same texts give the same bytes (same machine, same thread count).
        """
        vectors = np.zeros((len(texts), self._dimension), dtype=np.float32)
        done = 0
        for start in range(0, len(texts), TOKENISED_TOGETHER):
            together = list(texts[start : start + TOKENISED_TOGETHER])
            features = self._model.preprocess(together, prompt=self._prompt or None)
            for rows, batch in batches_of_like_length(features, self._batch_size):
                vectors[start + rows] = self._forward(batch)
                done += len(rows)
                progress(done, len(texts), "passages encoded")
        return vectors

    def _forward(self, features: Mapping[str, Any]) -> Float[np.ndarray, "batch dim"]:
        """Run the first module in its own precision and all others in float32."""
        features = {key: _to(value, self._model.device) for key, value in features.items()}
        first, *others = self._model
        features = first(features)
        features = {key: _as_float32(value) for key, value in features.items()}
        for module in others:
            features = module(features)
        unit: Tensor = torch.nn.functional.normalize(features["sentence_embedding"].float(), dim=1)
        return unit.cpu().numpy()


def load_sentence_transformer(settings: EncoderSettings) -> SentenceTransformerEncoder:
    """Load a model by the path of its folder or by its hub id.

    Raises:
        InputError: it cannot be loaded.
    """
    folder = Path(settings.name)
    if folder.is_dir():
        return load_from_folder(folder, settings, encoder=folder.resolve().name, revision=folder_revision(folder))
    if settings.name.startswith((".", "/", "~")):  # never an id of a hub, which would only say how ids are written
        raise InputError(f"encoder {settings.name!r} cannot be loaded", got="no such folder",
                                 expected="the folder of a sentence-transformers model",
                                 fix="check [encoder] name")  # fmt: skip
    model = _load(settings.name, settings, local=False)
    return _encoder(model, settings, encoder=settings.name, revision=_hub_revision(settings.name))


def load_from_folder(
    folder: Path, settings: EncoderSettings, *, encoder: str, revision: str
) -> SentenceTransformerEncoder:
    """Load a model from a folder without asking any hub.

    Raises:
        InputError: it cannot be loaded.
    """
    return _encoder(_load(str(folder), settings, local=True), settings, encoder=encoder, revision=revision)


def _load(name: str, settings: EncoderSettings, *, local: bool) -> SentenceTransformer:
    """Load the model; whatever the hub or the files raise becomes one line.

    Every library on the way raises errors of its own (network, JSON, safetensors, missing keys), hence the wide net.
    """
    try:
        device = choose_device(settings.device)
        return _open(name, device, local=True) if local else _from_cache_or_hub(name, device)
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"encoder {settings.name!r} cannot be loaded",
            got=_first_line(error),
            expected="minilm, a folder or hub id of a sentence-transformers model, or package.module:Class",
            fix="check [encoder] name; without a network, copy the model's folder here and give its path",
        ) from None


def _from_cache_or_hub(name: str, device: str) -> SentenceTransformer:
    """Load an earlier download where it is whole, so that no network is needed; else ask the hub.

    The cache counts only where it knows about ``modules.json``: without that file sentence-transformers would pool in
    a way of its own and drop the dense layer, and the same name would give another space. The hub is first asked one
    question with a time limit: where there is no network, each file would be tried six times, for over a minute.
    """
    if try_to_load_from_cache(name, "modules.json") is not None:
        with contextlib.suppress(Exception):
            return _open(name, device, local=True)
    model_info(name, timeout=HUB_SECONDS)
    return _open(name, device, local=False)


def _hub_revision(name: str) -> str:
    """Return the hub revision that is in the cache: its files lie in a folder of that name."""
    paths = (try_to_load_from_cache(name, file) for file in ("modules.json", "config.json"))
    return next((Path(path).parent.name for path in paths if isinstance(path, str)), "")


def _open(name: str, device: str, *, local: bool) -> SentenceTransformer:
    with progress_bars(not local and sys.stderr.isatty()):
        return SentenceTransformer(name, device=device, local_files_only=local)


@contextlib.contextmanager
def progress_bars(shown: bool) -> Iterator[None]:
    """Let transformers draw its bars (downloads, weights) only where someone watches."""
    before = transformers_logging.is_progress_bar_enabled()
    if not shown:
        transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if before:
            transformers_logging.enable_progress_bar()


def _encoder(
    model: SentenceTransformer, settings: EncoderSettings, *, encoder: str, revision: str
) -> SentenceTransformerEncoder:
    """Set length limit and precision, then describe the space."""
    model.eval()
    _limit_tokens(model, settings.maximum_tokens)
    precision = _choose_precision(model, settings.precision)
    if precision == "bfloat16":
        model[0].to(torch.bfloat16)
    limit = model.max_seq_length
    space = Space(
        encoder=encoder,
        revision=revision,
        dimension=int(model.get_embedding_dimension() or 0),
        pooling=_pooling(model),
        normalised=True,
        prompt=settings.prompt or _own_prompt(model),
        maximum_tokens=int(limit) if limit is not None and limit < 1_000_000 else None,
        precision=precision,
        fingerprint=None,
    )
    fitting = BATCH_ON_CPU if model.device.type == "cpu" else BATCH_ELSEWHERE
    return SentenceTransformerEncoder(model, space, batch_size=settings.batch_size or fitting)


def _limit_tokens(model: SentenceTransformer, maximum_tokens: int | None) -> None:
    """Cut texts at ``maximum_tokens``; more than the model has positions for would crash it later.

    FlashAttention's padding-free input is switched off: its features cannot be cut into batches.
    """
    first: Any = model[0]
    if hasattr(first, "unpad_inputs"):
        first.unpad_inputs = False
    if maximum_tokens is None:
        return
    config = getattr(getattr(first, "auto_model", None), "config", None)
    positions = getattr(config, "max_position_embeddings", None)
    if positions is not None and maximum_tokens > positions:
        fix = "lower [encoder] maximum_tokens"
        raise InputError(
            "the encoder cannot read so much", got=maximum_tokens, expected=f"at most {positions}", fix=fix
        )
    model.max_seq_length = maximum_tokens


def _choose_precision(model: SentenceTransformer, wanted: str) -> Precision:
    """Take bfloat16 only where it is fast, and only for transformers: elsewhere it costs accuracy and gains nothing."""
    fast = hasattr(model[0], "auto_model") and has_fast_bfloat16(model.device.type)
    return "bfloat16" if wanted == "bfloat16" or (wanted == "auto" and fast) else "float32"


def _own_prompt(model: SentenceTransformer) -> str:
    """Return the prompt the model's authors put before every text."""
    return model.prompts.get(model.default_prompt_name) or "" if model.default_prompt_name else ""


def _pooling(model: SentenceTransformer) -> str:
    """Name the modules between token vectors and the last normalisation, e.g. ``mean`` or ``mean+dense``."""
    names = []
    for module in list(model)[1:]:
        kind = type(module).__name__.lower()
        mode = getattr(module, "pooling_mode", None)
        if kind == "pooling" and mode is not None:
            names.append(mode if isinstance(mode, str) else "+".join(mode))
        elif kind != "normalize":
            names.append(kind)
    return "+".join(names) or "none"


def _to(value: Any, device: torch.device) -> Any:
    return value.to(device) if torch.is_tensor(value) else value


def _as_float32(value: Any) -> Any:
    return value.float() if torch.is_tensor(value) and value.is_floating_point() else value


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
