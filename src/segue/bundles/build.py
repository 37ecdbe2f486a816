"""Building a bundle from a run: the winner's files, the bank, the contract and the model card.

The folder is written whole or not at all.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from segue.bank.bank import PassageBank
from segue.bank.manifest import MANIFEST, without_places
from segue.bundles.files import BANK, CARD, CONFIDENCE, CONTRACT, DOCUMENTS, GATES, GOLDEN, BundleManifest, seal
from segue.bundles.open import golden_answers
from segue.comparison.entries import load_retriever
from segue.comparison.entries.baselines import Baselines
from segue.comparison.entries.reranked import model_used
from segue.comparison.job import Job
from segue.comparison.options import Option
from segue.comparison.record import Record
from segue.encoders.endpoint import PREFIX
from segue.errors import InputError
from segue.evaluation.experiment import Fold
from segue.files import copy_file, copy_folder, read_json, read_npz, write_folder, write_json, write_text
from segue.models import hash_documents, read_config
from segue.old_names import option_folder
from segue.parts import HERE_ALONE, is_own
from segue.printable import markdown_text
from segue.reports import public_json
from segue.retrieval.index.store import index_facts, load_index
from segue.retrieval.rerank.features import PIECES, neighbour_cosines
from segue.retrieval.retrievers import Retriever
from segue.retrieval.saving import INDEX, Description, PartWriter
from segue.storage import place_of, pull
from segue.version import __version__

GOLDEN_QUERIES = 8
NEAR = 2
"""Folders up from a bundle to one that also holds its bank, at most, for the bank's path to be recorded."""


@dataclass(frozen=True)
class Winner:
    """Option of a run that becomes a bundle.

    Attributes:
        job: the comparison.
        option: the option.
        fold: the fold on which it was trained.
        record: record of the comparison.
        name: the bundle's name.
        index: folder of an approximate index over the bank; None: the bank is searched exactly.
        refit: how it was trained again on all documents; None: the weights are those that were measured.
    """

    job: Job
    option: Option
    fold: Fold
    record: Record
    name: str
    index: Path | None = None
    refit: Mapping[str, Any] | None = None


def build_bundle(winner: Winner, out: Path) -> BundleManifest:
    """Write a bundle.

    Raises:
        InputError: ``out`` already exists, the option cannot be served, or the index is not over the bank.
        StorageError: the folder cannot be written.
    """
    require_absent(out)
    baselines = Baselines(winner.job)
    retriever = load_retriever(winner.job, winner.option, winner.fold, baselines)
    if winner.index is not None:
        retriever = retriever.searched_with(load_index(winner.index, winner.job.experiment.pool))
    sealed: list[BundleManifest] = []

    def fill(folder: Path) -> None:
        _fill(winner, retriever, folder, out)
        note = None if winner.refit is None else str(winner.refit["note"])
        sealed.append(seal(folder, name=winner.name, created=_now(), note=note))

    write_folder(out, fill)
    return sealed[0]


def require_absent(out: Path) -> None:
    """Check that there is nothing where a bundle is to be written.

    Raises:
        InputError: there is.
    """
    if out.exists():
        raise InputError(f"{place_of(out)} already exists", fix="choose another folder, or delete it")


def _fill(winner: Winner, retriever: Retriever, folder: Path, out: Path) -> None:
    """Write every file of a bundle except the manifest into a folder that becomes ``out``."""
    job, bank = winner.job, winner.job.experiment.bank
    assert isinstance(bank, PassageBank), "a run's bank is on disk"
    description = retriever.save_part(_part_writer(winner, folder))
    if winner.index is not None:
        copy_folder(winner.index, folder / INDEX, without=(".*",))
    unwanted = [".*", "shard-*.json", "build.json", "skipped.jsonl"]
    read = {group for about in _nested(description) for group in about.get("groups", ())}
    unwanted += [name for name in PIECES if name not in read]
    copy_folder(pull(place_of(bank.path)), folder / BANK, without=unwanted)
    write_json(folder / BANK / MANIFEST, without_places(bank.manifest).to_json())
    documents = [bank.document_ids[number] for number in winner.fold.split.train]
    trained = hash_documents(documents)
    write_text(folder / DOCUMENTS, "".join(f"{digest}\n" for digest in trained))
    write_json(
        folder / GOLDEN, golden_answers(retriever, bank, _golden_rows(winner), exclude=job.recipe.evaluation.exclude)
    )
    contract = _contract(winner, description, len(trained), out)
    write_json(folder / CONTRACT, contract)
    gates = _gates(winner)
    write_json(folder / GATES, gates)
    confidence = job.out / "confidence.json"
    if confidence.exists() and read_json(confidence).get("option") == winner.option.name:
        copy_file(confidence, folder / CONFIDENCE)
    write_text(folder / CARD, bundle_card(contract, gates))


def _part_writer(winner: Winner, folder: Path) -> PartWriter:
    """Return what writes the winner's parts, from where the run keeps them."""
    job, own = winner.job, winner.job.folder(winner.option, winner.fold)
    pool = job.experiment.pool

    def density() -> np.ndarray:
        path = job.out / "cache" / "density.npz"
        if path.exists():
            return read_npz(path)["density"]
        return neighbour_cosines(job.experiment.bank, pool)

    text = own / "training" if winner.option.text == "dual-encoder" else None
    return PartWriter(folder, _checkpoint(winner), text, density, job.recipe.evaluation.context_tokens)


def _checkpoint(winner: Winner) -> Path | None:
    """Return the checkpoint of the winner's predictor: its own, or the one it borrowed."""
    job, option = winner.job, winner.option
    own = job.folder(option, winner.fold)
    if option.reuses_model:
        return option_folder(job.out / "options", model_used(own)) / own.name / "checkpoint"
    return own / "checkpoint" if option.trained else None


def _golden_rows(winner: Winner) -> Int[np.ndarray, "query context"]:
    """Return the contexts of evenly spread validation windows, oldest passage first."""
    context = winner.fold.validation.context
    chosen = np.unique(np.linspace(0, len(context) - 1, GOLDEN_QUERIES).round().astype(np.int64))
    return context[chosen]


def _contract(winner: Winner, description: Description, trained: int, out: Path) -> Mapping[str, Any]:
    job, bank = winner.job, winner.job.experiment.bank
    assert isinstance(bank, PassageBank), "a run's bank is on disk"
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
        "index": {"kind": "exact"} if winner.index is None else _index_facts(winner),
        "context": job.experiment.context,
        "exclude": job.recipe.evaluation.exclude,
        "normalisation": {"vectors": "length 1", "texts": "NFKC, case folded, white space collapsed"},
        "space": {name: value for name, value in space.to_json().items() if name != "fingerprint"},
        "encoder": None if space.declared else job.recipe.encoder.model_dump(mode="json", exclude={"device"}),
        "passages": bank.manifest.to_json()["passages"],
        "bank": {
            "hash": bank.hash,
            "passages": int(bank.alive.sum()),
            "documents": len(bank.live_documents),
            "candidates": job.experiment.pool.size,
            "beside": _beside(bank.path, out),
        },
        "training_documents": trained,
        "refit": winner.refit,
        "parts": [{"kind": kind, "part": part} for kind, part in _own_parts(winner, description)],
        "corpus": winner.record.corpus.to_json(),
        "seed": job.seed(winner.fold),
    }


def _beside(bank: Path, out: Path) -> str | None:
    """Return a bank's path from a bundle, or None if it is far away: a bundle is published, with its paths."""
    path = os.path.relpath(bank.resolve(), out.resolve())
    return path if Path(path).parts.count("..") <= NEAR else None


def _index_facts(winner: Winner) -> Mapping[str, object]:
    """Return the facts of the index; its recall was not measured on queries of refitted weights."""
    assert winner.index is not None
    return dict(index_facts(winner.index)) | ({} if winner.refit is None else {"recall": None})


def _own_parts(winner: Winner, description: Description) -> list[tuple[str, str]]:
    """Return kind and name of the user's own parts, whose modules are needed to load the bundle.

    Raises:
        InputError: no other process can make the model.
    """
    found = list(_saved_parts(description))
    bank, encoder, checkpoint = winner.job.experiment.bank, winner.job.recipe.encoder.name, _checkpoint(winner)
    if not bank.space.declared and not encoder.startswith(PREFIX) and is_own("encoder", encoder):
        found.append(("encoder", encoder))
    if checkpoint is not None and is_own("model", model := read_config(checkpoint).model.name):
        if model.startswith(HERE_ALONE):
            raise InputError(f"a bundle cannot hold the model {winner.option.name}",
                             got="a part that only the process it was given to can make",
                             fix="define it in a module, give it by 'module:Class', and compare again")  # fmt: skip
        found.append(("model", model))
    if winner.index is not None and is_own("index", kind := str(index_facts(winner.index)["kind"])):
        found.append(("index", kind))
    return found


def _saved_parts(about: Description) -> Iterator[tuple[str, str]]:
    """Yield kind and name of the own parts that a retriever's description names."""
    for part in _nested(about):
        if str(part.get("kind")).startswith("own-"):
            yield "reranker" if part["kind"] == "own-reranker" else "retriever", str(part["part"])


def _nested(about: object) -> Iterator[Mapping[str, Any]]:
    """Yield a description and those inside it."""
    if isinstance(about, Mapping):
        yield about
    for inner in about.values() if isinstance(about, Mapping) else about if isinstance(about, list) else ():
        yield from _nested(inner)


def _gates(winner: Winner) -> Mapping[str, Any]:
    """Return the results of the winner and of the baselines it is compared with, in their public form."""
    public = public_json(winner.record)
    beside = {winner.option.name, "copy-last"} | ({"copy-last-rerank"} if winner.option.reranking else set())
    rows = [row for row in public["options"] if row["name"] in beside]
    keep = ("pool", "windows", "documents", "blocked", "unsafe", "winner", "gates")
    return {name: public[name] for name in keep} | {
        "refit": None if winner.refit is None else winner.refit["note"],
        "muted": list(winner.record.muted),
        "procedure": winner.record.procedure is not None and winner.record.folds > 1,
        "rows": rows,
        "own_metrics": list(winner.record.own_metrics),
        "checks": [
            {"code": finding.code, "title": finding.title, "outcome": finding.outcome}
            for finding in winner.record.audit
        ],
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


SHOWN = ("R@1", "R@5", "R@10", "Contain@50", "MRR", "total_p95_ms")

EXCLUDED = {
    "context": "the passages read",
    "prefix": "the passages read and all before them",
    "none": "nothing is excluded",
}


def bundle_card(contract: Mapping[str, Any], gates: Mapping[str, Any]) -> str:
    """Write the model card: a YAML header as the Hugging Face hub reads it, then Markdown."""
    bank, space = contract["bank"], contract["space"]
    lines = [
        "---",
        "library_name: segue",
        "pipeline_tag: sentence-similarity",
        "tags: [segue, next-passage, retrieval]",
        "---",
        f"# {markdown_text(contract['name'])}",
        "",
        f"Given the last {contract['context']} passages of a document it answers which passage comes next, out of "
        f"{bank['candidates']} candidates ({bank['passages']} passages of {bank['documents']} documents).",
        "",
        f"- Option: **{markdown_text(contract['option'])}** ({markdown_text(contract['description'])})",
        f"- Space: {markdown_text(space['encoder'])}, {space['dimension']} components, "
        f"pooling {markdown_text(space['pooling'] or 'unknown')}",
        f"- Never answered: {EXCLUDED[contract['exclude']]}",
        f"- Trained on {contract['training_documents']} documents (`training_documents.txt` holds their hashes)"
        + (f", those of fold {contract['fold'] + 1} of {contract['folds']}" if contract["folds"] > 1 else ""),
        *(
            ["- Needs parts of your own: " + ", ".join(f"`{own['part']}` ({own['kind']})" for own in contract["parts"])]
            if contract["parts"]
            else []
        ),
        f"- Built {contract['created']} with Segue {contract['segue']}",
        "",
        "## Measured",
        "",
        f"{gates['windows']} windows of {gates['documents']} test documents, pool of {gates['pool']} candidates.",
        *(["", f"**{gates['refit']}**"] if gates.get("refit") else []),
        *_refusal(gates),
        "",
        *_numbers(gates),
        "",
        "## Gates",
        "",
        *(_outcomes(gates) or ["No gates."]),
        "",
    ]
    return "\n".join(lines)


def _outcomes(gates: Mapping[str, Any]) -> list[str]:
    return [f"- {markdown_text(gate['name'])}: {gate['outcome'] or 'refused'}" for gate in gates["gates"]]


def _refusal(gates: Mapping[str, Any]) -> list[str]:
    if not gates["blocked"]:
        return []
    how = "shown at the user's risk" if gates["unsafe"] else "not shown"
    return ["", f"**An integrity check failed ({', '.join(gates['blocked'])}): these numbers are {how}.**"]


def _numbers(gates: Mapping[str, Any]) -> list[str]:
    names = (*SHOWN, *gates.get("own_metrics", ()))
    lines = ["| option | " + " | ".join(map(markdown_text, names)) + " |", "|---" * (len(names) + 1) + "|"]
    for row in gates["rows"]:
        cells = [_cell(name, row["metrics"].get(name)) for name in names]
        lines.append(f"| {markdown_text(row['name'])} | " + " | ".join(cells) + " |")
    return lines


def _cell(name: str, metric: Mapping[str, Any] | None) -> str:
    if metric is None or metric["value"] is None:
        return "–"
    if name.endswith("_ms"):
        return f"{metric['value']:.2f}"
    scale, digits = (1.0, 3) if name == "MRR" or name not in SHOWN else (100.0, 1)
    value = f"{metric['value'] * scale:.{digits}f}"
    if metric["low"] is None or metric["high"] is None:
        return value
    return f"{value} [{metric['low'] * scale:.{digits}f}, {metric['high'] * scale:.{digits}f}]"
