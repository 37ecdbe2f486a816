"""Bundle: one folder with everything that the winner of a comparison needs to answer, every file hashed.

======================== ===========================================================================================
``manifest.json``        size and sha256 of every other file; ``manifest.sha256`` beside it holds its own
``bundle.json``          the contract: the retriever's parts, what it reads and leaves out, where it comes from
``gates.json``           the comparison's gates, checks and numbers of the winner
``golden.json``          queries about the bank with the answers that the winner gave when the bundle was built
``confidence.json``      the fitted confidence of answers, where the run measured it
``training_documents.txt`` sha256 of the id of each training document
``README.md``            the model card
``bank/``                passages, vectors and their space
``predictor/`` …         the parts (``segue.retrieval.registry``)
======================== ===========================================================================================

Loading hashes every file, compares the spaces of bank, predictor and encoder by their fingerprints, and answers the
golden queries again; a bundle that differs is refused with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict, cast

import numpy as np
from jaxtyping import Int

from segue.bank.bank import PassageBank
from segue.bundles.files import BANK, CONFIDENCE, CONTRACT, GATES, GOLDEN, BundleManifest, verify
from segue.encoders import Encoder, EncoderSettings, load_encoder, require_own_encoder
from segue.encoders.own import as_encoder
from segue.encoders.space import require_same
from segue.errors import InputError
from segue.evaluation.confidence.model import Confidence
from segue.files import read_json
from segue.hardware import Device, choose_device
from segue.retrieval.registry import KINDS
from segue.retrieval.retrievers import Retriever
from segue.retrieval.retrievers.interface import batches_of
from segue.retrieval.saving import PartReader
from segue.storage import place_of, pull
from segue.types import Bank, Exclusion, Windows
from segue.windows.windows import gather_contexts

GOLDEN_PLACES = 10
QUERY_TOLERANCE = 1e-4
"""Maximum Euclidean distance of a golden prediction from that of the loaded predictor in float32."""
GOLDEN_SHARE = 0.9
"""Minimum share of golden answers that must be the same; rounding may exchange answers of nearly equal scores."""


class Golden(TypedDict):
    """Content of ``golden.json``: rows read, rows answered, and predictions (None: there are none), query by query."""

    context: list[list[int]]
    answers: list[list[int]]
    queries: list[list[float]] | None


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
        encoder: the bank's encoder; None where there is none (declared vectors) or it was not loaded.
        confidence: the fitted confidence; None where the run could not measure it.
    """

    path: Path
    manifest: BundleManifest
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
        """Passages that may not be answered: what was read, all before it, or none."""
        exclude: Exclusion = self.contract["exclude"]
        return exclude


def open_bundle(
    path: Path | str, *, encoder: Encoder | None = None, texts: bool = True, device: Device = "auto"
) -> Bundle:
    """Verify a bundle and read it.

    Args:
        path: the bundle's folder.
        encoder: the bank's encoder; None loads the one that the contract names.
        texts: whether queries will bring texts; without them no encoder is loaded.
        device: device of the nets.

    Raises:
        InputError: there is no bundle, or it does not answer as it did when it was built.
        StorageError: a file is missing, changed or added; the message names it.
        SpaceError: the encoder, or a part of the bundle, is of another space than the bank.
    """
    path = pull(place_of(path))
    manifest = verify(path)
    contract = read_json(path / CONTRACT)
    bank = PassageBank.open(path / BANK)
    load = _EncoderOnce(path, contract, bank, encoder)
    reader = PartReader(path, bank, KINDS, load_encoder=load, encoder=load.settings, index=contract["index"],
                        device=choose_device(device))  # fmt: skip
    retriever: Retriever = reader.read(contract["retriever"])
    check_golden(retriever, bank, cast(Golden, read_json(path / GOLDEN)), str(path), exclude=contract["exclude"])
    known = load() if texts and not bank.space.declared else None
    return Bundle(
        path, manifest, contract, read_json(path / GATES), bank, retriever, known, _confidence(path, contract)
    )


class _EncoderOnce:
    """Loads the bank's encoder at the first call, and compares its fingerprint with the bank's."""

    def __init__(self, path: Path, contract: Mapping[str, Any], bank: Bank, given: Encoder | None) -> None:
        self._path, self.settings = path, EncoderSettings.model_validate(contract["encoder"] or {})
        self._bank, self._checked = bank, False
        self._encoder = None if given is None else as_encoder(given, name="the encoder that was given")

    def __call__(self) -> Encoder:
        if self._bank.space.declared:
            raise InputError("the bundle's vectors were made elsewhere, so it has no encoder",
                             fix="query with vectors or passage ids (segue predict: --vectors or --id)")  # fmt: skip
        if self._encoder is None:
            self._encoder = load_encoder(require_own_encoder(self.settings, self._path))
        if not self._checked:
            require_same(self._bank.space, self._encoder.space, "the bundle's bank and the encoder")
            self._checked = True
        return self._encoder


def _confidence(path: Path, contract: Mapping[str, Any]) -> Confidence | None:
    """Return the fitted confidence of the bundle's fold, where the run found it usable."""
    if not (path / CONFIDENCE).exists():
        return None
    record = read_json(path / CONFIDENCE)
    usable = any(judged.get("usable") for judged in record["judged"].values())
    return Confidence.from_json(record["models"][int(contract["fold"])]) if usable else None


def golden_answers(
    retriever: Retriever, bank: Bank, rows: Int[np.ndarray, "query context"], *, exclude: Exclusion
) -> Golden:
    """Answer the golden queries, given by the rows that were read."""
    contexts = gather_contexts(bank, Windows(rows, rows[:, -1]), texts=retriever.reads_text,
                               exclude="none" if exclude == "none" else "context")  # fmt: skip
    answers: list[list[int]] = []
    queries: list[list[float]] = []
    for _, part in batches_of(contexts, retriever.batch_limit):
        scores = retriever.score(part)
        answers += scores.top(retriever.pool, GOLDEN_PLACES, exclude=part.exclude).rows.tolist()
        queries += [] if scores.queries is None else scores.queries.astype(float).tolist()
    return {"context": rows.tolist(), "answers": answers, "queries": queries or None}


def check_golden(retriever: Retriever, bank: Bank, golden: Golden, where: str, *, exclude: Exclusion) -> None:
    """Answer the golden queries again and compare.

    Raises:
        InputError: a prediction or the answered passages differ.
    """
    now = golden_answers(retriever, bank, np.array(golden["context"], dtype=np.int64), exclude=exclude)
    got = _difference(golden, now)
    if got:
        raise InputError(
            f"{where} does not answer as it did when it was built ({GOLDEN})",
            got=got,
            expected=f"predictions within {QUERY_TOLERANCE:g}, {GOLDEN_SHARE:.0%} of the answers the same",
            fix="load it with the version of Segue that built it, or build it again",
        )


def _difference(before: Golden, now: Golden) -> str:
    """Return how golden answers differ, in words; nothing where they do not."""
    if (before["queries"] is None) != (now["queries"] is None):
        return "predictions on one side only"
    if before["queries"] is not None and now["queries"] is not None:
        distance = float(np.linalg.norm(np.array(before["queries"]) - np.array(now["queries"]), axis=1).max())
        if not distance <= QUERY_TOLERANCE:
            return f"a prediction {distance:.2g} away"
    pairs = list(zip(before["answers"], now["answers"], strict=True))
    same = sum(len(set(old) & set(new)) for old, new in pairs) / max(1, sum(len(set(old)) for old, _ in pairs))
    return "" if same >= GOLDEN_SHARE else f"{same:.0%} of the answers the same"
