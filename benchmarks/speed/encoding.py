"""Encoding passages: text in, vectors out, beside sentence-transformers as it comes.

The same passages of the real bank, the same packaged weights. The other side calls ``SentenceTransformer.encode`` with
its defaults (float32, batches of 32). Ours is what ``segue bank build`` calls: with PyTorch in the arithmetic that it
chooses, with OpenVINO in float32, and with OpenVINO in int8. All sides take turns in one run. The mean and the least
cosine to PyTorch's vectors in float32 are reported.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.speed.banks import real_bank
from benchmarks.speed.growth import growth
from benchmarks.speed.machine import matmul_gflops
from benchmarks.speed.measurement import BenchSettings, Measurement, pairwise
from benchmarks.speed.turns import Prepared, Side, take_turns
from segue.bank.bank import PassageBank
from segue.encoders import EncoderSettings, load_encoder
from segue.encoders.minilm import packaged_folder
from segue.types import Progress

PASSAGES, TARGET, COSINE = 512, 4.0, 0.999
OURS = {
    "encode": {"runtime": "torch", "precision": "auto"},
    "encode-openvino": {"runtime": "openvino", "precision": "float32"},
    "encode-int8": {"runtime": "openvino", "precision": "int8"},
}
"""What is measured beside sentence-transformers: the row, and the settings of the encoder."""
_WEIGHTS = 6 * 12 * 384**2  # of the six layers' matrices
_CHARACTERS_PER_TOKEN = 4.5


def measure(settings: BenchSettings, progress: Progress) -> list[Measurement]:
    """Return a row for each of ``OURS``."""
    bank = real_bank(settings, progress)
    arguments = {"bank": bank.path, "passages": max(32, round(PASSAGES * settings.scale))}
    sides = [Side(prepare_ours, {**arguments, **how}) for how in OURS.values()]
    *ours, theirs = take_turns([*sides, Side(prepare_theirs, arguments)], repeats=settings.repeats, progress=progress)
    peaks = matmul_gflops()
    tokens = ours[0].facts["characters"] / _CHARACTERS_PER_TOKEN
    limit = {
        "what": "operations of the layers' matrices over the measured peak, tokens guessed from characters",
        "seconds": 2e-9 * _WEIGHTS * tokens / max(peaks["float32"], peaks["bfloat16"]),
        "gflops": peaks,
    }
    about = {"passages": arguments["passages"], "characters": ours[0].facts["characters"]}
    slope = {"growth": growth(prepare_ours, {**arguments, **OURS["encode"]}, size_name="passages",
                              repeats=settings.repeats)}  # fmt: skip
    return [Measurement(name, "higher", TARGET, pairwise(one, theirs, "seconds", better="higher"), one.to_json(),
                        theirs.to_json(), limit, {**about, **(slope if name == "encode" else {})}, settings.scale == 1,
                        holds=one.facts["cosine"] >= COSINE)
            for name, one in zip(OURS, ours, strict=True)]  # fmt: skip


def _texts(bank: Path, passages: int) -> list[str]:
    """Return passages spread evenly over a bank."""
    opened = PassageBank.open(bank)
    return opened.texts(np.linspace(0, len(opened) - 1, passages).astype(np.int64))


def prepare_ours(bank: Path, passages: int, runtime: str, precision: str) -> Prepared:
    """Load the packaged encoder as a build does, and compare its vectors with the reference."""
    texts = _texts(bank, passages)
    settings = EncoderSettings.model_validate({"name": "minilm", "runtime": runtime, "precision": precision})
    encoder = load_encoder(settings)
    reference = load_encoder(EncoderSettings(name="minilm", precision="float32"))
    some = texts[:64]
    cosines = np.einsum("td,td->t", encoder.encode(some), reference.encode(some))
    del reference

    def turn() -> dict[str, float]:
        encoder.encode(texts)
        return {}

    characters = sum(map(len, texts))
    return Prepared(turn, {"runtime": runtime, "precision": encoder.space.precision, "cosine": float(cosines.mean()),
                           "least_cosine": float(cosines.min()), "characters": characters})  # fmt: skip


def prepare_theirs(bank: Path, passages: int) -> Prepared:
    """Load the same weights with sentence-transformers."""
    from sentence_transformers import SentenceTransformer

    from segue.encoders.sentence_transformer import progress_bars

    texts = _texts(bank, passages)
    with progress_bars(False):
        model = SentenceTransformer(str(packaged_folder()), device="cpu", local_files_only=True)

    def turn() -> dict[str, float]:
        model.encode(texts, show_progress_bar=False)
        return {}

    return Prepared(turn, {"engine": "SentenceTransformer.encode, defaults"})
