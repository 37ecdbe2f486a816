"""Encoding passages: text in, vectors out, beside sentence-transformers as it comes.

The same passages of the real bank, the same packaged weights. The other side calls ``SentenceTransformer.encode`` with
its defaults (float32, batches of 32). Ours is what ``segue bank build`` calls, in the arithmetic that it chooses, and
the mean cosine to the same encoder's vectors in float32 is reported.
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
_WEIGHTS = 6 * 12 * 384**2  # of the six layers' matrices
_CHARACTERS_PER_TOKEN = 4.5


def measure(settings: BenchSettings, progress: Progress) -> list[Measurement]:
    """Return the row ``encode``."""
    bank = real_bank(settings, progress)
    arguments = {"bank": bank.path, "passages": max(32, round(PASSAGES * settings.scale))}
    sides = [Side(prepare_ours, arguments), Side(prepare_theirs, arguments)]
    ours, theirs = take_turns(sides, repeats=settings.repeats, progress=progress)
    peaks = matmul_gflops()
    tokens = ours.facts["characters"] / _CHARACTERS_PER_TOKEN
    limit = {
        "what": "operations of the layers' matrices over the measured peak, tokens guessed from characters",
        "seconds": 2e-9 * _WEIGHTS * tokens / max(peaks["float32"], peaks["bfloat16"]),
        "gflops": peaks,
    }
    ratios = pairwise(ours, theirs, "seconds", better="higher")
    about = {"passages": arguments["passages"], "characters": ours.facts["characters"],
             "growth": growth(prepare_ours, arguments, size_name="passages", repeats=settings.repeats)}  # fmt: skip
    return [Measurement("encode", "higher", TARGET, ratios, ours.to_json(), theirs.to_json(), limit, about,
                settings.scale == 1, holds=ours.facts["cosine"] >= COSINE)]  # fmt: skip


def _texts(bank: Path, passages: int) -> list[str]:
    """Return passages spread evenly over a bank."""
    opened = PassageBank.open(bank)
    return opened.texts(np.linspace(0, len(opened) - 1, passages).astype(np.int64))


def prepare_ours(bank: Path, passages: int) -> Prepared:
    """Load the packaged encoder as a build does, and compare its vectors with the reference."""
    texts = _texts(bank, passages)
    encoder = load_encoder(EncoderSettings(name="minilm"))
    reference = load_encoder(EncoderSettings(name="minilm", precision="float32"))
    some = texts[:64]
    cosine = float(np.einsum("td,td->t", encoder.encode(some), reference.encode(some)).mean())
    del reference

    def turn() -> dict[str, float]:
        encoder.encode(texts)
        return {}

    characters = sum(map(len, texts))
    return Prepared(turn, {"precision": encoder.space.precision, "cosine": cosine, "characters": characters})


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
