"""The bundle: one folder with everything that a triage's winner needs to answer, every file of it hashed.

======================== ===========================================================================================
``manifest.json``        size and sha256 of every other file; ``manifest.sha256`` beside it holds its own
``bundle.json``          the contract: the retriever in parts, what it reads, what it may not answer, where it is from
``gates.json``           the comparison's gates, checks and numbers of the winner
``golden.json``          questions about the bank with the answers that the winner gave when the bundle was built
``confidence.json``      when an answer is to be believed, where the run measured that
``training_documents.txt`` sha256 of the id of each document that was trained on
``README.md``            the model card
``bank/``                passages, vectors and their space
``predictor/`` …         the parts (``bundle_parts.py``)
======================== ===========================================================================================

Loading hashes every file, compares the spaces of bank, predictor and encoder by their fingerprints, and asks the golden
questions again; whatever differs is refused with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from segue.bank.bank import PassageBank
from segue.bundles.files import BANK, CONFIDENCE, CONTRACT, GATES, GOLDEN, Manifest, verify
from segue.bundles.parts import Assembly
from segue.encoders import Encoder, EncoderSettings, load_encoder
from segue.encoders.space import require_same
from segue.errors import InputError, explain
from segue.evaluation.confidence.model import Confidence
from segue.files import read_json
from segue.hardware import Device, choose_device
from segue.retrieval.retrievers import Retriever
from segue.types import Bank, Exclusion, Windows
from segue.windows.windows import gather_contexts

GOLDEN_PLACES = 10
QUERY_TOLERANCE = 1e-4
"""Greatest Euclidean distance between a golden prediction and what the loaded predictor answers in float32."""
GOLDEN_SHARE = 0.9
"""Least share of the golden answers that are given again; rounding may exchange answers that score nearly the same."""


@dataclass(frozen=True)
class Bundle:
    """A verified bundle, read into memory.

    Attributes:
        path: its folder.
        manifest: its files and version.
        contract: the content of ``bundle.json``.
        gates: the content of ``gates.json``.
        bank: the passages.
        retriever: the winner.
        encoder: the bank's encoder; None where there is none (declared vectors) or it was not asked for.
        confidence: when an answer is to be believed; None where the run could not tell.
    """

    path: Path
    manifest: Manifest
    contract: Mapping[str, Any]
    gates: Mapping[str, Any]
    bank: PassageBank
    retriever: Retriever
    encoder: Encoder | None
    confidence: Confidence | None

    @property
    def version(self) -> str:
        """The beginning of the manifest's sha256."""
        return self.manifest.version

    @property
    def context(self) -> int:
        """Passages that are read, at most."""
        return int(self.contract["context"])

    @property
    def exclude(self) -> Exclusion:
        """Which passages may not be answered: what was read, all before it, or nothing."""
        exclude: Exclusion = self.contract["exclude"]
        return exclude


def open_bundle(
    path: Path | str, *, encoder: Encoder | None = None, texts: bool = True, device: Device = "auto"
) -> Bundle:
    """Verify a bundle and read it.

    Args:
        path: the bundle's folder.
        encoder: the bank's encoder, where it is at hand; None loads the one that the contract names.
        texts: whether texts will be asked about; without it no encoder is loaded.
        device: where nets run.

    Raises:
        InputError: there is no bundle, or it does not answer as it did when it was built.
        StorageError: a file is missing, changed or added; the message names it.
        SpaceError: the encoder, or a part of the bundle, is of another space than the bank.
    """
    path = Path(path)
    manifest = verify(path)
    contract = read_json(path / CONTRACT)
    bank = PassageBank.open(path / BANK)
    load = _EncoderOnce(contract, bank, encoder)
    assembly = Assembly(path, bank, load_encoder=load, encoder=load.settings, index=contract["index"],
                        device=choose_device(device))  # fmt: skip
    retriever = assembly.retriever(contract["retriever"])
    check_golden(retriever, bank, read_json(path / GOLDEN), str(path), exclude=contract["exclude"])
    known = load() if texts and not bank.space.declared else None
    return Bundle(
        path, manifest, contract, read_json(path / GATES), bank, retriever, known, _confidence(path, contract)
    )


class _EncoderOnce:
    """Loads the bank's encoder when it is first asked for, and compares its fingerprint with the bank's."""

    def __init__(self, contract: Mapping[str, Any], bank: Bank, given: Encoder | None) -> None:
        self.settings = EncoderSettings.model_validate(contract["encoder"] or {})
        self._bank, self._encoder, self._checked = bank, given, False

    def __call__(self) -> Encoder:
        if self._bank.space.declared:
            raise InputError(explain("the bundle's vectors were made elsewhere, so there is no encoder to ask",
                                     fix="ask with vectors"))  # fmt: skip
        if self._encoder is None:
            self._encoder = load_encoder(self.settings)
        if not self._checked:
            require_same(self._bank.space, self._encoder.space, "the bundle's bank and the encoder")
            self._checked = True
        return self._encoder


def _confidence(path: Path, contract: Mapping[str, Any]) -> Confidence | None:
    """Return the fitted confidence of the bundle's fold, where the run found it worth believing."""
    if not (path / CONFIDENCE).exists():
        return None
    record = read_json(path / CONFIDENCE)
    usable = any(judged.get("usable") for judged in record["judged"].values())
    return Confidence.from_json(record["models"][int(contract["fold"])]) if usable else None


def ask_golden(
    retriever: Retriever, bank: Bank, rows: Int[np.ndarray, "question context"], *, exclude: Exclusion
) -> dict[str, Any]:
    """Return golden questions, by the rows that were read, with their answers."""
    contexts = gather_contexts(bank, Windows(rows, rows[:, -1]), texts=retriever.reads_text,
                               exclude="none" if exclude == "none" else "context")  # fmt: skip
    size = retriever.batch_limit or len(rows)
    answers: list[list[int]] = []
    queries: list[list[float]] = []
    for start in range(0, len(rows), size):
        part = contexts.take(slice(start, start + size))
        scores = retriever.score(part)
        answers += scores.top(retriever.pool, GOLDEN_PLACES, exclude=part.exclude).rows.tolist()
        queries += [] if scores.queries is None else scores.queries.astype(float).tolist()
    return {"context": rows.tolist(), "answers": answers, "queries": queries or None}


def check_golden(
    retriever: Retriever, bank: Bank, golden: Mapping[str, Any], where: str, *, exclude: Exclusion
) -> None:
    """Ask the golden questions again.

    Raises:
        InputError: a prediction lies elsewhere, or other passages are answered.
    """
    now = ask_golden(retriever, bank, np.array(golden["context"], dtype=np.int64), exclude=exclude)
    got = _difference(golden, now)
    if got:
        raise InputError(
            explain(
                f"{where} does not answer as it did when it was built ({GOLDEN})",
                got=got,
                expected=f"predictions within {QUERY_TOLERANCE:g}, {GOLDEN_SHARE:.0%} of the answers the same",
                fix="load it with the version of Segue that built it, or build it again",
            )
        )


def _difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Say how golden answers differ; nothing where they do not."""
    if (before["queries"] is None) != (now["queries"] is None):
        return "predictions on one side only"
    if before["queries"] is not None:
        distance = float(np.linalg.norm(np.array(before["queries"]) - np.array(now["queries"]), axis=1).max())
        if not distance <= QUERY_TOLERANCE:
            return f"a prediction {distance:.2g} away"
    pairs = list(zip(before["answers"], now["answers"], strict=True))
    same = sum(len(set(old) & set(new)) for old, new in pairs) / max(1, sum(len(set(old)) for old, _ in pairs))
    return "" if same >= GOLDEN_SHARE else f"{same:.0%} of the answers the same"
