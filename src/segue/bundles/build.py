"""Build a bundle from a run: the winner's files, the bank, the contract, the card; the folder appears whole or not."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from segue.bank.bank import PassageBank
from segue.bundles.card import bundle_card
from segue.bundles.files import BANK, CARD, CONFIDENCE, CONTRACT, DOCUMENTS, GATES, GOLDEN, Manifest, seal
from segue.bundles.open import ask_golden
from segue.bundles.parts import INDEX, Origin, searching, take_apart
from segue.comparison.entries.reranked import Making, borrowed_name, cascade_entrant
from segue.comparison.entries.text import read_text_entrant
from segue.comparison.entries.trained import Baselines, as_retriever
from segue.comparison.job import Job
from segue.comparison.options import Option
from segue.comparison.record import Record
from segue.errors import InputError, explain
from segue.evaluation.experiment import Fold
from segue.files import read_json, write_folder, write_json, write_text
from segue.models import hash_documents, load_predictor
from segue.old_names import option_folder
from segue.reports import public_json
from segue.retrieval.index.store import index_facts, load_index
from segue.retrieval.rerank.density import neighbour_cosines
from segue.retrieval.retrievers import Retriever
from segue.types import no_progress
from segue.version import __version__

GOLDEN_QUESTIONS = 8


@dataclass(frozen=True)
class Winner:
    """What is put into a bundle.

    Attributes:
        job: the comparison.
        option: the row.
        fold: the fold whose training it was.
        record: of the comparison.
        name: the bundle's name.
        index: folder of an approximate index over the bank; None: the bank is searched exactly.
    """

    job: Job
    option: Option
    fold: Fold
    record: Record
    name: str
    index: Path | None = None


def build_bundle(winner: Winner, out: Path) -> Manifest:
    """Write a bundle.

    Raises:
        InputError: ``out`` exists already, the row cannot be served, or the index is not one over the bank.
        StorageError: the folder cannot be written.
    """
    if out.exists():
        raise InputError(explain(f"{out} exists already", fix="choose another folder, or delete it"))
    baselines = Baselines(winner.job)
    retriever = live_retriever(winner.job, winner.option, winner.fold, baselines)
    if winner.index is not None:
        retriever = searching(retriever, load_index(winner.index, winner.job.experiment.pool))
    sealed: list[Manifest] = []

    def fill(folder: Path) -> None:
        _fill(winner, retriever, folder)
        sealed.append(seal(folder, name=winner.name, created=_now()))

    write_folder(out, fill)
    return sealed[0]


def live_retriever(job: Job, option: Option, fold: Fold, baselines: Baselines) -> Retriever:
    """Read a finished option back as it was evaluated; nothing is trained."""
    if option.text is not None:
        return read_text_entrant(job, option, fold, baselines)
    if option.reranking is not None:
        return cascade_entrant(Making(job, option, fold, baselines, None, 0, no_progress))[0]
    if option.trained:
        predictor, _ = load_predictor(job.folder(option, fold) / "checkpoint")
        return as_retriever(job, option, predictor, baselines)
    return baselines.retriever(option.name, fold)


def _fill(winner: Winner, retriever: Retriever, folder: Path) -> None:
    """Write every file of a bundle but the manifest."""
    job, bank = winner.job, winner.job.experiment.bank
    assert isinstance(bank, PassageBank), "a run's bank lies on disk"
    description = take_apart(retriever, folder, _origin(winner))
    if winner.index is not None:
        shutil.copytree(winner.index, folder / INDEX, ignore=shutil.ignore_patterns(".*"))
    _copy_bank(bank, folder / BANK, sentences="sentences" in str(description))
    documents = [bank.document_ids[number] for number in winner.fold.split.train]
    trained = hash_documents(documents)
    write_text(folder / DOCUMENTS, "".join(f"{digest}\n" for digest in trained))
    write_json(folder / GOLDEN, ask_golden(retriever, bank, _golden_rows(winner), exclude=job.evaluation.exclude))
    contract = _contract(winner, description, len(trained))
    write_json(folder / CONTRACT, contract)
    gates = _gates(winner)
    write_json(folder / GATES, gates)
    if _confidence_is_its(winner):
        shutil.copyfile(job.out / "confidence.json", folder / CONFIDENCE)
    write_text(folder / CARD, bundle_card(contract, gates))


def _origin(winner: Winner) -> Origin:
    """Return where the run keeps the parts of the winner."""
    job, own = winner.job, winner.job.folder(winner.option, winner.fold)
    pool = job.experiment.pool

    def density() -> np.ndarray:
        path = job.out / "cache" / "density.npz"
        if path.exists():
            with np.load(path, allow_pickle=False) as kept:
                return np.asarray(kept["density"])
        return neighbour_cosines(job.experiment.bank, pool)

    text = own / "training" if winner.option.text == "dual-encoder" else None
    return Origin(_checkpoint(winner), text, density, job.evaluation.context_tokens)


def _checkpoint(winner: Winner) -> Path | None:
    """Return the checkpoint that the winner predicts with: its own, or the one it borrowed."""
    job, option = winner.job, winner.option
    own = job.folder(option, winner.fold)
    if option.borrows:
        return option_folder(job.out / "options", borrowed_name(own)) / own.name / "checkpoint"
    return own / "checkpoint" if option.trained else None


def _copy_bank(bank: PassageBank, target: Path, *, sentences: bool) -> None:
    """Copy the bank's files, not link them: a bundle stays as it is, whatever becomes of the run."""
    unwanted = [".*", "shard-*.json", "build.json"] + ([] if sentences else ["sentences"])
    shutil.copytree(bank.path, target, ignore=shutil.ignore_patterns(*unwanted))


def _golden_rows(winner: Winner) -> Int[np.ndarray, "question context"]:
    """Choose validation windows, evenly spread: what was read, oldest first."""
    context = winner.fold.validation.context
    chosen = np.unique(np.linspace(0, len(context) - 1, GOLDEN_QUESTIONS).round().astype(np.int64))
    return context[chosen]


def _contract(winner: Winner, description: dict[str, Any], trained: int) -> dict[str, Any]:
    job, bank = winner.job, winner.job.experiment.bank
    assert isinstance(bank, PassageBank), "a run's bank lies on disk"
    space = bank.space
    return {
        "format": 1,
        "segue": __version__,
        "name": winner.name,
        "created": _now(),
        "option": winner.option.name,
        "description": winner.option.description,
        "fold": winner.fold.number,
        "folds": len(job.experiment.folds),
        "retriever": description,
        "index": {"kind": "exact"} if winner.index is None else index_facts(winner.index),
        "context": job.experiment.context,
        "exclude": job.evaluation.exclude,
        "normalisation": {"vectors": "length 1", "texts": "NFKC, case folded, white space collapsed"},
        "space": {name: value for name, value in space.to_json().items() if name != "fingerprint"},
        "encoder": None if space.declared else _encoder_settings(job),
        "passages": bank.manifest.to_json()["passages"],
        "bank": {
            "hash": bank.hash,
            "passages": len(bank),
            "documents": len(bank.document_ids),
            "candidates": job.experiment.pool.size,
        },
        "training_documents": trained,
        "corpus": winner.record.corpus.to_json(),
        "seed": job.training.seed + winner.fold.number,
    }


def _encoder_settings(job: Job) -> dict[str, Any]:
    """Return the recipe's encoder; the device is the server's own affair."""
    return job.encoder.model_dump(mode="json", exclude={"device"})


def _gates(winner: Winner) -> dict[str, Any]:
    """Return what the comparison says of the winner and of what it has to be compared with, in the public form."""
    public = public_json(winner.record)
    beside = {winner.option.name, "copy-last"} | ({"copy-last-rerank"} if winner.option.reranking else set())
    rows = [row for row in public["options"] if row["name"] in beside]
    keep = ("pool", "windows", "documents", "blocked", "unsafe", "winner", "gates")
    return {name: public[name] for name in keep} | {
        "muted": list(winner.record.muted),
        "procedure": winner.record.procedure is not None and len(winner.job.experiment.folds) > 1,
        "rows": rows,
        "checks": [
            {"code": finding.code, "title": finding.title, "outcome": finding.outcome}
            for finding in winner.record.audit
        ],
    }


def _confidence_is_its(winner: Winner) -> bool:
    path = winner.job.out / "confidence.json"
    return path.exists() and read_json(path).get("option") == winner.option.name


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
