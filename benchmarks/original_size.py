"""Take the whole way at the size of the original work: 584,545 passages of 768 dimensions and 396,258 training windows.

    python -m benchmarks.original_size --documents BANK [--scale 0.05] [--cache runs/bench] [--out FILE]

The bank is the structured synthetic bank of the speed benchmarks (``benchmarks/speed/structured_bank.py``), stored as
float16; ``--documents`` names the bank of real passages it is made of (default: the demo's, which is too small for the
full size). Steps: the bank is written; a small anchored model is trained for one epoch, in batches of 1,024, with
in-batch InfoNCE at τ 0.05; it is evaluated exactly on 5,000 windows of other documents, under every condition; an index
of each kind is built, and tuned to a recall@50 of 0.99 on the model's queries, the context excluded; an index that does
not reach it has ``chosen`` null and the reason. The bank is also converted to LanceDB and back.

Each step is a process of its own, and its record is a file beside the bank: a run that was stopped goes on with the
step it was in. Memory is the peak of anonymous memory of that process, imports included; pages of mapped files do not
count, since the kernel may drop them. ``start`` is that of imports alone.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.speed.banks import real_bank
from benchmarks.speed.measurement import BenchSettings
from benchmarks.speed.memory import PeakMemory
from benchmarks.speed.structured_bank import ROWS, build_structured_bank
from benchmarks.surroundings import surroundings
from segue.bank.bank import PassageBank
from segue.bank.lance import from_lance, to_lance
from segue.errors import InputError
from segue.evaluation.evaluate import EvaluationSettings, evaluate
from segue.files import read_json, write_json
from segue.hardware import limit_threads
from segue.models import ModelSettings, Predictor, build_model
from segue.ranking.exact import target_ranks
from segue.ranking.pool import Pool
from segue.retrieval.index.store import build_index, index_settings, load_index, record_tuning, save_index
from segue.retrieval.index.tuning import tune
from segue.retrieval.retrievers.predictor import PredictorQuery
from segue.retrieval.retrievers.vector import VectorRetriever
from segue.training.losses.loss import LOSSES, build_loss
from segue.training.settings import TrainingSettings
from segue.training.train import train
from segue.types import Windows
from segue.windows.windows import WindowSettings, excluded_rows, gather_contexts, make_windows

WINDOWS, BATCH, EVALUATED, SCORED, TUNED_ON = 396_258, 1024, 5_000, 1_000, 400
LOSS, MODEL = "infonce-tau-0.05", {"name": "mlp", "size": "demo"}
K, RECALL, LIMIT_GB = 50, 0.99, 8
KINDS = ("graph", "inverted-lists", "lance")


class Problem:
    """What the steps share: the folder, the size and the windows."""

    def __init__(self, cache: Path, scale: float, documents: Path | None) -> None:
        self.settings = BenchSettings(cache=cache, scale=scale, documents=documents)
        self.rows, self.windows = round(ROWS * scale), round(WINDOWS * scale)
        self.folder = cache / f"original-{self.rows}"

    @property
    def bank(self) -> PassageBank:
        return PassageBank.open(self.folder / "bank")

    def training_and_others(self, bank: PassageBank) -> tuple[Windows, Windows]:
        """Return the training windows, and those of documents that come after them."""
        every = make_windows(bank, np.arange(len(bank.document_ids)), WindowSettings())
        training = every.take(slice(0, self.windows))
        last = bank.document_of[training.target[-1]]
        return training, every.take(np.flatnonzero(bank.document_of[every.target] > last))

    def predictor(self) -> Predictor:
        bank = self.bank
        model = build_model(ModelSettings(**MODEL), dimension=bank.dimension, context=WindowSettings().context)
        model.load_state_dict(torch.load(self.folder / "model.pt", weights_only=True))
        return model.eval()


def start(_: Problem) -> dict[str, Any]:
    return {}


def bank(problem: Problem) -> dict[str, Any]:
    real = real_bank(problem.settings)
    built = build_structured_bank(real, problem.folder / "bank", rows=problem.rows, storage="float16")
    size = sum(path.stat().st_size for path in built.path.iterdir() if path.is_file())
    return {"passages": len(built), "dimension": built.dimension, "documents": len(built.document_ids),
            "real_passages": len(real), "storage": "float16", "bytes": size}  # fmt: skip


def epoch(problem: Problem) -> dict[str, Any]:
    bank = problem.bank
    windows, others = problem.training_and_others(bank)
    pool, validation = Pool(bank), spread(others, SCORED, first=1)
    contexts = gather_contexts(bank, validation)

    def score(predictor: Predictor) -> dict[str, float]:
        queries = PredictorQuery(predictor)(contexts)
        return {"MRR": float((1 / target_ranks(queries, pool, validation.target, exclude=contexts.exclude)).mean())}

    model = build_model(ModelSettings(**MODEL), dimension=bank.dimension, context=windows.context.shape[1])
    settings = TrainingSettings(batch_size=BATCH, epochs=1, evaluations=1)
    loss = build_loss(LOSSES[LOSS], bank.dimension)
    done = train(model, loss, bank, windows, settings=settings, score=score, folder=problem.folder / "training")
    torch.save(model.state_dict(), problem.folder / "model.pt")
    first, last = done.curve[0], done.curve[-1]
    return {"windows": len(windows), "batch": BATCH, "steps": done.steps, "loss": LOSS, "model": MODEL,
            "parameters": sum(weight.numel() for weight in model.parameters()), "training_seconds": done.seconds,
            "validation_windows": len(validation), "MRR": {"before": first["MRR"], "after": last["MRR"]}}  # fmt: skip


def evaluation(problem: Problem) -> dict[str, Any]:
    bank = problem.bank
    windows = spread(problem.training_and_others(bank)[1], EVALUATED, first=0)
    retriever = VectorRetriever("model", "candidate", PredictorQuery(problem.predictor()), Pool(bank))
    settings = EvaluationSettings(latency_queries=0)
    fresh = np.unique(bank.document_of[windows.target]).astype(np.int64)
    groups = np.arange(len(bank.document_ids))
    found = evaluate(retriever, bank, windows, groups=groups, settings=settings, fresh_documents=fresh)
    return {"windows": len(windows), "MRR": float((1 / found.ranks).mean()), "conditions": settings.conditions}


def conversion(problem: Problem) -> dict[str, Any]:
    bank, began = problem.bank, time.monotonic()
    to_lance(bank, problem.folder / "database")
    there = time.monotonic() - began
    shutil.rmtree(problem.folder / "again", ignore_errors=True)  # of a run that was stopped
    again = from_lance(problem.folder / "database", problem.folder / "again")
    size = sum(path.stat().st_size for path in (problem.folder / "database").rglob("*") if path.is_file())
    return {"seconds_there": round(there, 1), "bytes": size, "same_hash": again.hash == bank.hash}


def index(kind: str) -> Callable[[Problem], dict[str, Any]]:
    def build(problem: Problem) -> dict[str, Any]:
        built = build_index(Pool(problem.bank), index_settings(kind))
        save_index(built, problem.folder / kind)
        return dict(built.facts())

    return build


def tuning(kind: str) -> Callable[[Problem], dict[str, Any]]:
    def choose(problem: Problem) -> dict[str, Any]:
        bank = problem.bank
        windows = spread(problem.training_and_others(bank)[1], TUNED_ON, first=2)
        queries = PredictorQuery(problem.predictor())(gather_contexts(bank, windows))
        opened = load_index(problem.folder / kind, Pool(bank))
        try:
            tuned = tune(opened, queries, exclude=excluded_rows(bank, windows, "context"), target=RECALL, k=K)
        except InputError as error:  # that no effort reaches the recall is a result
            return {"chosen": None, "confirmed_recall": None, "refused": str(error)}
        record_tuning(problem.folder / kind, tuned, source="model")
        found = tuned.to_json()
        return {name: found[name] for name in ("chosen", "confirmed_recall", "queries", "target", "k")}

    return choose


STEPS: dict[str, Callable[[Problem], dict[str, Any]]] = {
    "start": start, "bank": bank, "epoch": epoch, "evaluation": evaluation, "conversion": conversion,
    **{f"{verb}-{kind}": make(kind) for kind in KINDS for verb, make in (("index", index), ("tuning", tuning))},
}  # fmt: skip


def spread(windows: Windows, count: int, *, first: int) -> Windows:
    """Return so many windows, evenly spread; other ones where ``first`` differs, if there are enough."""
    step = max(3, len(windows) // count)
    return windows.take(slice(first, None, step)).take(slice(0, count))


def run_step(name: str, problem: Problem) -> None:
    """Run a step and write its record."""
    limit_threads()
    began, used = time.monotonic(), time.process_time()
    with PeakMemory() as memory:
        facts = STEPS[name](problem)
    seconds = {"seconds": round(time.monotonic() - began, 1), "processor_seconds": round(time.process_time() - used, 1)}
    record = {**seconds, "peak_anonymous_mb": round((memory.peak or 0) / 1e6), **facts}
    write_json(problem.folder / f"{name}.json", record | {"surroundings": surroundings()})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=Path)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--cache", type=Path, default=Path("runs/bench"))
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=list(STEPS))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--child", choices=STEPS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    problem = Problem(options.cache, options.scale, options.documents)
    if options.child:
        run_step(options.child, problem)
        return
    for name in options.steps:
        if not (problem.folder / f"{name}.json").exists():
            subprocess.run([sys.executable, "-m", __spec__.name, *sys.argv[1:], "--child", name], check=True)
        done = read_json(problem.folder / f"{name}.json")
        print(f"{name}: {done['seconds']} s, {done['peak_anonymous_mb']:,} MB", file=sys.stderr)
    records = {name: read_json(problem.folder / f"{name}.json") for name in options.steps}
    most = max(one["peak_anonymous_mb"] for one in records.values())
    text = json.dumps({"benchmark": "original_size", "scale": options.scale, "synthetic": True,
                       "below_8_gb": most < 1000 * LIMIT_GB, "steps": records}, indent=2)  # fmt: skip
    print(text)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
