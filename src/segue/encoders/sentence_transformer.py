"""Encoders made of a sentence-transformers model, from the hub or from a folder.

``SentenceTransformer.encode`` sorts by characters and tokenises batch by batch. Here a thousand texts are tokenised
together and batched by their number of *tokens*, so that batches hold almost no padding, which is a third faster. Only
the transformer runs in bfloat16 or int8, or by another runtime than PyTorch; pooling, dense layers and normalisation
stay in float32, so vectors are of length 1 to 1e-6.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from huggingface_hub import model_info, try_to_load_from_cache
from jaxtyping import Float, Int
from torch import Tensor

from segue.arithmetic import has_fast_bfloat16
from segue.encoders.encoder import EncoderSettings
from segue.encoders.openvino_runtime import Features, run_by_openvino
from segue.encoders.space import PROBES, Precision, Space, with_fingerprint
from segue.errors import InputError
from segue.files import file_sha256
from segue.hardware import choose_device, threads
from segue.types import Progress, no_progress

if TYPE_CHECKING:  # importing it takes seconds, and most commands load no model
    from sentence_transformers import SentenceTransformer

Result = TypeVar("Result")

HUB_SECONDS = 10.0
"""Time limit of the hub's first answer, seconds."""

BATCH_ON_CPU, BATCH_ELSEWHERE = 8, 64
"""Texts per batch by default; small batches stay in a CPU's cache."""

TOKENISED_TOGETHER = 1024
"""Texts whose tokens are in memory at once; batches of like length are formed among them."""

LEAST_COSINE: dict[Precision, float] = {"float32": 0.9999, "bfloat16": 0.999, "int8": 0.99}
"""Least cosine of another runtime's vectors with PyTorch's in float32, for every probe."""


class SentenceTransformerEncoder:
    """A sentence-transformers model whose vectors are float32 and of length 1.

    Args:
        model: the model.
        space: its space, without fingerprint.
        batch_size: texts per batch.
        reload: reads the model again, in float32.
        transformer: what stands for the first module; None: the module itself.
    """

    def __init__(
        self,
        model: SentenceTransformer,
        space: Space,
        *,
        batch_size: int,
        reload: Callable[[], SentenceTransformer],
        transformer: Callable[[Features], Features] | None = None,
    ) -> None:
        self._model, self._reload = model, reload
        self._transformer: Callable[[Features], Features] = transformer or model[0]
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
        """The model, to fine-tune it."""
        return self._model

    def copy_to_train(self) -> SentenceTransformer:
        """Return the model once more, in float32; one that runs in bfloat16 is read again."""
        return copy.deepcopy(self._model) if self._space.precision == "float32" else self._reload()

    def encode(self, texts: Sequence[str], *, progress: Progress = no_progress) -> Float[np.ndarray, "text dim"]:
        """Return one unit vector per text, in order.

        On a CPU, batches run side by side with one thread each, which is faster than all threads on each batch. Batches
        depend on the texts alone, so the same texts give the same bytes on the same kind of machine.
        """
        vectors, done = np.zeros((len(texts), self._dimension), dtype=np.float32), 0
        for places, encoded in self._by_batch(texts, self._forward):
            vectors[places] = encoded
            done += len(places)
            progress(done, len(texts), "passages encoded")
        return vectors

    def encode_tokens(
        self, texts: Sequence[str]
    ) -> list[tuple[Int[np.ndarray, "token"], Float[np.ndarray, "token dim"]]]:
        """Return the tokens of each text and their float32 vectors before pooling; no special tokens, no prompt.

        Raises:
            InputError: the model is no transformer with a tokeniser.
        """
        if self._tokenizer is None:
            raise InputError("the encoder gives no vectors of tokens", got=self._space.encoder,
                             expected="a transformer with a tokeniser")  # fmt: skip
        found: list[Any] = [None] * len(texts)
        for places, tokens in self._by_batch(texts, self._forward_tokens):
            for place, one in zip(places, tokens, strict=True):
                found[place] = one
        return found

    @property
    def _tokenizer(self) -> Any:
        """The tokeniser of transformers; None where the model has none."""
        from transformers import PreTrainedTokenizerBase

        tokenizer = getattr(self._model[0], "tokenizer", None)
        return tokenizer if isinstance(tokenizer, PreTrainedTokenizerBase) else None

    def count_tokens(self, texts: Sequence[str]) -> tuple[Int[np.ndarray, "text"], Int[np.ndarray, "text"]] | None:
        """Return the tokens of each text, those of the prompt included, and how many are unknown words; uncut.

        Returns:
            None where the model has no tokeniser of transformers.
        """
        tokenizer = self._tokenizer
        if tokenizer is None:
            return None
        whole = [self._prompt + text for text in texts]
        ids = tokenizer(whole, add_special_tokens=False, truncation=False, verbose=False)["input_ids"]
        tokens = np.array([len(one) for one in ids], dtype=np.int64) + tokenizer.num_special_tokens_to_add()
        return tokens, np.array([one.count(tokenizer.unk_token_id) for one in ids], dtype=np.int64)

    def _by_batch(
        self, texts: Sequence[str], forward: Callable[[Features], Result]
    ) -> Iterator[tuple[np.ndarray, Result]]:
        """Yield the places of the texts of each batch and what ``forward`` returns for it."""
        side_by_side = torch.get_num_threads() if self._model.device.type == "cpu" else 1
        if side_by_side == 1 or len(texts) <= self._batch_size:
            yield from self._mapped(texts, forward, map)
        else:
            with threads(1), ThreadPoolExecutor(side_by_side) as pool:
                yield from self._mapped(texts, forward, pool.map)

    def _mapped(
        self,
        texts: Sequence[str],
        forward: Callable[[Features], Result],
        mapped: Callable[..., Iterable[Any]],
    ) -> Iterator[tuple[np.ndarray, Result]]:
        for start in range(0, len(texts), TOKENISED_TOGETHER):
            together = list(texts[start : start + TOKENISED_TOGETHER])
            features = self._model.preprocess(together, prompt=self._prompt or None)
            rows, batches = zip(*batches_of_like_length(features, self._batch_size), strict=True)
            for places, found in zip(rows, mapped(forward, batches), strict=True):
                yield start + places, found

    @torch.inference_mode()
    def _forward(self, features: Features) -> Float[np.ndarray, "batch dim"]:
        """Run the first module in its own precision and all others in float32."""
        features = self._first(features)
        for module in list(self._model)[1:]:
            features = module(features)
        unit: Tensor = torch.nn.functional.normalize(features["sentence_embedding"].float(), dim=1)
        return unit.cpu().numpy()

    @torch.inference_mode()
    def _forward_tokens(self, features: Features) -> list[tuple[np.ndarray, np.ndarray]]:
        """Run the first module and return the tokens of each text, with their vectors."""
        tokenizer = self._tokenizer
        prompt = len(tokenizer(self._prompt, add_special_tokens=False)["input_ids"]) if self._prompt else 0
        special = torch.tensor([one for one in tokenizer.all_special_ids if one != tokenizer.unk_token_id])
        ids, vectors = features["input_ids"].cpu(), self._first(features)["token_embeddings"].cpu()
        there = features["attention_mask"].cpu().bool() & ~torch.isin(ids, special)
        return [(one[mask][prompt:].numpy(), rows[mask][prompt:].numpy())
                for one, rows, mask in zip(ids, vectors, there, strict=True)]  # fmt: skip

    def _first(self, features: Features) -> dict[str, Any]:
        """Run the first module in its own precision, and return its output in float32."""
        device = self._model.device
        features = {key: value.to(device) if torch.is_tensor(value) else value for key, value in features.items()}
        return {key: _as_float32(value) for key, value in self._transformer(features).items()}


def batches_of_like_length(features: Features, batch_size: int) -> list[tuple[np.ndarray, Features]]:
    """Cut features into batches of like token count, longest first, and trim each to its longest text.

    Which texts share a batch depends on the texts alone. Features that are not one row per text (static embeddings keep
    all tokens in one list) stay one batch.

    Returns:
        Batches, each with the places of its texts in ``features``.
    """
    mask = features.get("attention_mask")
    if mask is None or mask.ndim != 2:
        count = len(features["offsets"]) if "offsets" in features else len(features["input_ids"])
        return [(np.arange(count), dict(features))]
    tokens = mask.sum(dim=1)
    order = torch.argsort(tokens, descending=True, stable=True)
    return [(rows.numpy(), _take(features, rows, int(tokens[rows[0]]))) for rows in order.split(batch_size)]


def _take(features: Features, rows: Tensor, length: int) -> Features:
    """Take rows of every feature, without the columns that are padding in all of them, on whichever side they are."""
    mask = features["attention_mask"][rows]
    used = slice(None, length) if bool(mask[:, :length].sum() == mask.sum()) else slice(-length, None)
    count, width = features["attention_mask"].shape
    taken = {}
    for key, value in features.items():
        if torch.is_tensor(value) and value.shape[:2] == (count, width):
            taken[key] = value[rows][:, used]
        else:
            taken[key] = value[rows] if torch.is_tensor(value) and value.shape[:1] == (count,) else value
    return taken


def load_sentence_transformer(settings: EncoderSettings) -> SentenceTransformerEncoder:
    """Load a model by the path of its folder or by its hub id.

    Raises:
        InputError: it cannot be loaded.
    """
    folder = Path(settings.name)
    if folder.is_dir():
        return load_from_folder(folder, settings, encoder=folder.resolve().name, revision=folder_revision(folder))
    if settings.name.startswith((".", "/", "~")):  # a path, never an id of a hub
        raise InputError(f"encoder {settings.name!r} cannot be loaded", got="no such folder",
                                 expected="the folder of a sentence-transformers model",
                                 fix="check [encoder] name")  # fmt: skip
    load = partial(_load, settings.name, settings, local=False)
    return _encoder(load(), settings, encoder=settings.name, revision=_hub_revision(settings.name), reload=load)


def load_from_folder(
    folder: Path, settings: EncoderSettings, *, encoder: str, revision: str
) -> SentenceTransformerEncoder:
    """Load a model from a folder, without a network.

    Raises:
        InputError: it cannot be loaded.
    """
    load = partial(_load, str(folder), settings, local=True)
    return _encoder(load(), settings, encoder=encoder, revision=revision, reload=load)


def load_module(folder: Path) -> SentenceTransformer:
    """Load the model of a folder as it is, on the CPU, without a network.

    Raises:
        InputError: it cannot be loaded.
    """
    return _load(str(folder), EncoderSettings(name=str(folder), device="cpu"), local=True)


def folder_revision(folder: Path) -> str:
    """Return one sha256 for all weights in a folder: that of the only file, or of the list of all files' hashes.

    All files count, since GTR-T5 keeps its dense layer in a file of its own.
    """
    files = sorted(path for path in folder.rglob("*") if path.suffix in {".safetensors", ".bin"} and path.is_file())
    if len(files) == 1:
        return file_sha256(files[0])
    lines = [f"{path.relative_to(folder).as_posix()} {file_sha256(path)}\n" for path in files]
    return hashlib.sha256("".join(lines).encode()).hexdigest() if files else ""


def _load(name: str, settings: EncoderSettings, *, local: bool) -> SentenceTransformer:
    """Load the model; any error of the libraries (network, JSON, safetensors, missing keys) becomes one line."""
    if settings.runtime == "openvino" and settings.device not in ("auto", "cpu"):
        raise InputError("OpenVINO runs the encoder on the CPU alone", got=f'device "{settings.device}"',
                         expected='"auto" or "cpu"', fix='set [encoder] runtime = "torch"')  # fmt: skip
    try:
        device = choose_device(settings.device if settings.runtime == "torch" else "cpu")
        return _open(name, device, local=True) if local else _from_cache_or_hub(name, device)
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"encoder {settings.name!r} cannot be loaded",
            got=next(iter(str(error).strip().splitlines()), type(error).__name__),
            expected="minilm, a folder or hub id of a sentence-transformers model, or package.module:Class",
            fix="check [encoder] name; without a network, copy the model's folder here and give its path",
        ) from None


def _from_cache_or_hub(name: str, device: str) -> SentenceTransformer:
    """Load an earlier download where it is whole, so that no network is needed, otherwise download.

    The cache is used only if it holds ``modules.json``: without that file sentence-transformers would pool in its own
    way and drop the dense layer, so the same name would give another space. The hub gets one request with a time limit
    first: without a network, each file would be tried six times, for over a minute.
    """
    if try_to_load_from_cache(name, "modules.json") is not None:
        with contextlib.suppress(Exception):
            return _open(name, device, local=True)
    model_info(name, timeout=HUB_SECONDS)
    return _open(name, device, local=False)


def _hub_revision(name: str) -> str:
    """Return the hub revision in the cache, which is the name of the folder of its files."""
    paths = (try_to_load_from_cache(name, file) for file in ("modules.json", "config.json"))
    return next((Path(path).parent.name for path in paths if isinstance(path, str)), "")


def _open(name: str, device: str, *, local: bool) -> SentenceTransformer:
    from sentence_transformers import SentenceTransformer

    with progress_bars(not local and sys.stderr.isatty()):
        return SentenceTransformer(name, device=device, local_files_only=local)


@contextlib.contextmanager
def progress_bars(shown: bool) -> Iterator[None]:
    """Let transformers draw its progress bars (downloads, weights) only if ``shown``."""
    from transformers.utils import logging

    before = logging.is_progress_bar_enabled()
    if not shown:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        if before:
            logging.enable_progress_bar()


def _encoder(
    model: SentenceTransformer,
    settings: EncoderSettings,
    *,
    encoder: str,
    revision: str,
    reload: Callable[[], SentenceTransformer],
) -> SentenceTransformerEncoder:
    """Set the length limit and the precision, and describe the space."""
    model.eval()
    limit_tokens(model, settings.maximum_tokens)
    # Elsewhere than in fast transformers bfloat16 costs accuracy and gains nothing.
    fast = hasattr(model[0], "auto_model") and has_fast_bfloat16(model.device.type, "encoder")
    precision: Precision = settings.precision if settings.precision != "auto" else "bfloat16" if fast else "float32"
    if precision == "bfloat16" and settings.runtime == "torch":
        model[0].to(torch.bfloat16)
    limit = model.max_seq_length
    own_prompt = model.prompts.get(model.default_prompt_name) or "" if model.default_prompt_name else ""
    space = Space(
        encoder=encoder,
        revision=revision,
        dimension=int(model.get_embedding_dimension() or 0),
        pooling=_pooling(model),
        normalised=True,
        prompt=settings.prompt or own_prompt,
        maximum_tokens=int(limit) if limit is not None and limit < 1_000_000 else None,
        precision=precision,
        fingerprint=None,
    )
    fitting = BATCH_ON_CPU if model.device.type == "cpu" else BATCH_ELSEWHERE
    made = partial(SentenceTransformerEncoder, model, batch_size=settings.batch_size or fitting, reload=reload)
    if settings.runtime == "torch":
        return made(space)
    transformer = run_by_openvino(model, precision, streams=torch.get_num_threads(), name=encoder)
    found = made(space, transformer=transformer)
    require_near(found.space, made(replace(space, precision="float32")).space)
    return found


def require_near(space: Space, reference: Space) -> None:
    """Check that a runtime computes what PyTorch computes: compare the vectors of the probe texts.

    Args:
        space: space of the runtime's vectors.
        reference: space of PyTorch's vectors, in float32.

    Raises:
        InputError: one vector has a cosine below ``LEAST_COSINE``.
    """
    assert space.fingerprint is not None, "the fingerprint was measured"
    assert reference.fingerprint is not None, "the fingerprint was measured"
    cosines = np.einsum("pd,pd->p", space.fingerprint, reference.fingerprint)  # [probe]
    if not cosines.min() >= LEAST_COSINE[space.precision]:
        raise InputError(f"encoder {space.encoder!r} answers otherwise when OpenVINO runs it in {space.precision}",
                         got=f"cosine {cosines.min():.5f} to PyTorch's vector of probe {int(np.argmin(cosines))}",
                         expected=f"at least {LEAST_COSINE[space.precision]}",
                         fix='set [encoder] runtime = "torch"')  # fmt: skip


def limit_tokens(model: SentenceTransformer, maximum_tokens: int | None, *, where: str = "[encoder]") -> None:
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
        fix = f"lower {where} maximum_tokens"
        raise InputError(
            "the encoder cannot read that many tokens", got=maximum_tokens, expected=f"at most {positions}", fix=fix
        )
    model.max_seq_length = maximum_tokens


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


def _as_float32(value: Any) -> Any:
    return value.float() if torch.is_tensor(value) and value.is_floating_point() else value
