"""What each step costs per million passages: every step at four sizes, and the line through them.

    python -m benchmarks.slopes [--documents BANK] --json benchmarks/results/slopes.json --page docs/scale.md

Each step is measured at an eighth, a quarter, half and all of its largest size. The four sizes are processes of their
own that take turns (``speed/turns.py``); a step's value at a size is the median of its turns. A line is fitted to the
four medians by least squares of the relative errors. A step is *linear* if no median is further than 15 % from it.

Banks are the structured synthetic bank (``speed/structured_bank.py``, 768 dimensions, float32), made of the passages of
``--documents`` (default: the demo's, which are encoded once). Reading and encoding take the demo's articles. Texts of
the structured bank are short, so texts are compared on real passages, each with a number behind it.

A step's record is a file in the cache: a run that was stopped goes on with the step it was in. ``--page`` writes the
tables between the markers of a page; with ``--steps`` left empty nothing is measured.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.pages import placed, table
from benchmarks.speed import whole_bank
from benchmarks.speed.banks import real_bank
from benchmarks.speed.growth import SHARES, line, slope
from benchmarks.speed.measurement import BenchSettings
from benchmarks.speed.structured_bank import build_structured_bank, off_manifold_queries
from benchmarks.speed.turns import Prepared, Side, SideResult, take_turns
from benchmarks.surroundings import surroundings
from segue.bank.bank import PassageBank
from segue.bank.duplicates import DuplicateGroups
from segue.bank.shards import ShardRows
from segue.bundles.build import Winner, build_bundle
from segue.comparison.job import Job
from segue.comparison.options import choose_options
from segue.comparison.record import Record
from segue.comparison.settings import ComparisonSettings
from segue.corpus.passages import PassageSettings, cut
from segue.corpus.wikipedia_dump import WikipediaDumpCorpus
from segue.encoders import Encoder, EncoderSettings, load_encoder
from segue.evaluation.experiment import Experiment, Fold
from segue.files import read_json, write_json, write_text
from segue.hardware import limit_threads
from segue.models import ModelSettings
from segue.ranking.exact import target_ranks, top_k
from segue.ranking.pool import Pool
from segue.retrieval.index.store import build_index, index_settings, load_index, save_index
from segue.retrieval.rerank.cosine import ByCosine
from segue.retrieval.rerank.features import Features, Group
from segue.retrieval.rerank.lambdamart import fit_lambdamart
from segue.retrieval.rerank.lists import draw_lists, features_of
from segue.retrieval.retrievers import VectorRetriever
from segue.retrieval.retrievers.cascade import Cascade
from segue.training.losses.loss import LOSSES
from segue.training.settings import TrainingSettings
from segue.training.train import begin_short_run
from segue.types import Contexts, Document, Windows
from segue.windows.splits import SplitSettings, make_splits
from segue.windows.windows import WindowSettings, gather_contexts, make_windows

MILLION, BAND = 1_000_000, 0.15
PASSAGES, FEWER, REAL, ENCODED = 200_000, 100_000, 6_400, 3_200
"""Largest sizes: of banks, of what takes longer on them (training, indexes), of reading, of encoding."""
RANKED, SEARCHED, K, LISTS, CANDIDATES, BATCH, TREES = 500, 100, 50, 100, 100, 1024, 60
SHARD = 4096
PROJECTED = {"10 million": 10**7, "1 billion": 10**9, "10 billion": 10**10}


@dataclass(frozen=True)
class Inputs:
    """What a step reads: the real bank, and the structured bank of its size."""

    real: Path
    cache: Path
    size: int

    @property
    def folder(self) -> Path:
        return self.cache / f"structured-{self.size}"

    @property
    def bank(self) -> PassageBank:
        return PassageBank.open(self.folder)


def read(inputs: Inputs) -> Prepared:
    settings = PassageSettings()
    lengths = [len(cut(one, settings)) for one in WikipediaDumpCorpus().read() if isinstance(one, Document)]
    enough = int(np.searchsorted(np.cumsum(lengths), inputs.size)) + 1
    corpus = WikipediaDumpCorpus(maximum_documents=min(enough, len(lengths)))

    def turn() -> dict[str, float]:
        for document in corpus.read():
            if isinstance(document, Document):
                cut(document, settings)
        return {}

    return Prepared(turn, {"size": sum(lengths[:enough])})


def encode(inputs: Inputs) -> Prepared:
    bank, encoder = PassageBank.open(inputs.real), load_encoder(EncoderSettings(name="minilm"))
    texts = bank.texts(np.linspace(0, len(bank) - 1, inputs.size).astype(np.int64))
    encoder.encode(texts[:32])
    return turning(lambda: encoder.encode(texts), size=len(texts), precision=encoder.space.precision)


def compare_texts(inputs: Inputs) -> Prepared:
    real = PassageBank.open(inputs.real)
    known = real.texts(np.arange(len(real)))
    texts = [f"{text} {number}" for number, text in zip(range(inputs.size), itertools.cycle(known), strict=False)]

    def find() -> None:
        groups = DuplicateGroups()
        for start in range(0, len(texts), SHARD):
            part = texts[start : start + SHARD]
            groups.add(ShardRows([""] * len(part), [0] * len(part), part).hashes(), start)

    return turning(find, size=len(texts))


def open_bank(inputs: Inputs) -> Prepared:
    starts = np.cumsum([0, *(shard.rows for shard in inputs.bank.manifest.shards)])[:-1]
    return turning(lambda: inputs.bank.gather(starts), size=inputs.size)


def windows(inputs: Inputs) -> Prepared:
    bank = inputs.bank
    return turning(lambda: windows_of(bank), size=len(bank))


def ranks(inputs: Inputs) -> Prepared:
    bank = inputs.bank
    pool, some = Pool(bank), spread_windows(bank, RANKED)
    contexts = gather_contexts(bank, some)
    queries = mean_of_context(contexts)
    return turning(lambda: target_ranks(queries, pool, some.target, exclude=contexts.exclude), size=len(bank))


def epoch(inputs: Inputs) -> Prepared:
    bank = inputs.bank
    every = windows_of(bank)
    steps = max(1, len(every) // BATCH)
    training = TrainingSettings(batch_size=min(BATCH, len(every)), steps=100_000)
    run = begin_short_run(bank, every, model=ModelSettings(name="mlp", size="demo"),
                          loss=LOSSES["infonce-tau-0.05"], training=training)  # fmt: skip
    run.advance(1)
    return turning(lambda: run.advance(run.done + steps), size=steps * training.batch_size, steps=steps)


def whole_bank_step(inputs: Inputs) -> Prepared:
    made = whole_bank.prepare_ours(inputs.folder, inputs.size)
    return Prepared(made.turn, {**made.facts, "size": made.facts["candidates"]})


def index(kind: str, inputs: Inputs) -> Prepared:
    pool, folder = Pool(inputs.bank), index_folder(kind, inputs)

    def build() -> None:
        save_index(build_index(pool, index_settings(kind)), folder)

    return turning(build, size=len(pool.members))


def search_exactly(inputs: Inputs) -> Prepared:
    pool = Pool(inputs.bank)
    queries, nothing = queries_of(pool)
    return turning(lambda: top_k(queries, pool, K, exclude=nothing), size=len(pool.members))


def search(kind: str, inputs: Inputs) -> Prepared:
    pool, folder = Pool(inputs.bank), index_folder(kind, inputs)
    if not (folder / "index.json").exists():
        save_index(build_index(pool, index_settings(kind)), folder)
    opened = load_index(folder, pool)
    most = opened.engine.efforts()[-1]
    opened.effort = {"width": 128} if kind == "graph" else {"lists": max(1, round(most["lists"] / 4)), "refined": 4}
    queries, nothing = queries_of(pool)

    def one_by_one() -> None:
        for number in range(len(queries)):
            opened.search(queries[number : number + 1], K, exclude=nothing[:1])

    return turning(one_by_one, size=len(pool.members), effort=dict(opened.effort))


def rerank(inputs: Inputs) -> Prepared:
    bank = inputs.bank
    pool = Pool(bank)
    first = VectorRetriever("mean", "candidate", mean_of_context, pool)
    cascade = Cascade("by cosine", "candidate", first, CANDIDATES, ByCosine(mean_of_context, bank))
    groups: tuple[Group, ...] = ("prediction", "context", "list", "places")
    features = Features(bank, pool, context=WindowSettings().context, groups=groups)
    some = spread_windows(bank, 5 * LISTS)
    fifth = np.arange(len(some)) % 5
    train, known, measured = (
        draw_lists(lambda contexts: cascade.candidates(contexts).candidates, bank, pool, some.take(part),
                   exclude="context", texts=False, batch_size=LISTS)
        for part in (fifth < 3, fifth == 3, fifth == 4)
    )  # fmt: skip
    read_of = (features_of(lists, features, exclude="context") for lists in (train, known))
    trees, _ = fit_lambdamart(*read_of, features, trees=TREES)
    return turning(lambda: trees.scores(gather_contexts(bank, measured.windows), measured.candidates), size=len(bank),
                   lists=len(measured), candidates=int(measured.candidates.there.sum()))  # fmt: skip


def bundle(inputs: Inputs) -> Prepared:
    bank, settings, scratch = inputs.bank, WindowSettings(), inputs.cache / f"slopes-bundle-{inputs.size}"
    shutil.rmtree(scratch, ignore_errors=True)
    alone = np.arange(len(bank.document_ids))
    (split,) = make_splits(bank, SplitSettings(), groups=alone)
    fold = Fold(split, *(make_windows(bank, part, settings) for part in (split.train, split.validation, split.test)))
    (option,) = (one for one in choose_options(["copy-last"]) if one.name == "copy-last")
    experiment = Experiment(bank, Pool(bank), (fold,), alone, settings.context)
    job = Job(ComparisonSettings(gates="report"), experiment, (option,), no_encoder, scratch / "run")
    winner = Winner(job, option, fold, empty_record(len(bank)), "slopes")

    def build() -> None:
        build_bundle(winner, scratch / "bundle")
        shutil.rmtree(scratch / "bundle")

    return turning(build, size=len(bank))


def turning(work: Callable[[], object], **facts: object) -> Prepared:
    """Return a side whose turn is a call of ``work``."""

    def turn() -> dict[str, float]:
        work()
        return {}

    return Prepared(turn, facts)


def no_encoder() -> Encoder:
    raise InputError("the structured bank has no encoder")


def empty_record(passages: int) -> Record:
    """Return the record of a comparison that has no entries: what a bundle copies from it."""
    encoder = {"encoder": "pairs", "revision": "", "dimension": 1, "pooling": "", "normalised": True, "prompt": "",
               "maximum_tokens": None, "precision": "float32"}  # fmt: skip
    machine = dict.fromkeys(("cpu", "system", "python", "torch", "numpy", "faiss"), "") | {"cores": 1, "memory_gb": 1}
    dropout = {"anchored": 0, "bare": 0}
    return Record.model_validate(
        {"segue": "", "created": "", "title": "", "corpus": {"kind": "structured", "name": ""}, "encoder": encoder,
         "pool": passages, "windows": 1, "documents": 1, "folds": 1, "context": 1, "exclude": "context", "seeds": [1],
         "size": "", "machine": machine, "seconds": {}, "dropped_windows": {}, "winner": None, "winning_losses": None,
         "article_dropout": dropout, "procedure": None, "gates": [], "entries": []}
    )  # fmt: skip


def windows_of(bank: PassageBank) -> Windows:
    return make_windows(bank, np.arange(len(bank.document_ids)), WindowSettings())


def spread_windows(bank: PassageBank, count: int) -> Windows:
    """Return so many windows, evenly spread, or all where there are fewer."""
    every = windows_of(bank)
    return every.take(np.unique(np.linspace(0, len(every) - 1, count).astype(np.int64)))


def mean_of_context(contexts: Contexts) -> np.ndarray:
    """Return the normalised mean of each context: near the target, and off the passages' manifold."""
    mean = (contexts.vectors * contexts.mask[..., None]).sum(axis=1)
    return (mean / np.linalg.norm(mean, axis=1, keepdims=True)).astype(np.float32)


def queries_of(pool: Pool) -> tuple[np.ndarray, np.ndarray]:
    """Return off-manifold queries, and that nothing is excluded."""
    assert isinstance(pool.bank, PassageBank)
    queries = off_manifold_queries(pool.bank, SEARCHED, seed=3)
    return queries, np.empty((len(queries), 0), dtype=np.int64)


def index_folder(kind: str, inputs: Inputs) -> Path:
    return inputs.cache / f"slopes-{kind}-{inputs.size}"


@dataclass(frozen=True)
class Step:
    """A step that is measured.

    Attributes:
        prepare: makes a side of a size; its fact ``size`` is the size that counts.
        what: words for the table.
        largest: size at ``--scale 1``.
        unit: what the size counts.
        threads: of the process.
        structured: whether it reads the structured bank of its size.
        warm_up: whether a turn comes before those that count.
    """

    prepare: Callable[[Inputs], Prepared]
    what: str
    largest: int = PASSAGES
    unit: str = "passages"
    threads: int = 2
    structured: bool = True
    warm_up: bool = True


STEPS: Mapping[str, Step] = {
    "read-and-cut": Step(read, "a Wikipedia dump to passages, one process", REAL, threads=1, structured=False),
    "encode": Step(encode, "the packaged MiniLM", ENCODED, structured=False, warm_up=False),
    "duplicates": Step(compare_texts, "texts normalised, hashed, grouped", threads=1, structured=False),
    "bank-opened": Step(open_bank, "opened, every shard mapped and hashed"),
    "windows": Step(windows, "windows of all documents", threads=1),
    "exact-ranks": Step(ranks, f"{RANKED} windows among all candidates"),
    "epoch": Step(epoch, f"MLP, in-batch InfoNCE, batches of {BATCH:,}", FEWER, unit="windows",
                  warm_up=False),
    "whole-bank-step": Step(whole_bank_step, f"one step of {whole_bank.BATCH} windows", unit="candidates"),
    "graph-built": Step(functools.partial(index, "graph"), "built and saved", FEWER, warm_up=False),
    "lists-built": Step(functools.partial(index, "inverted-lists"), "built and saved", FEWER, warm_up=False),
    "exact-search": Step(search_exactly, f"{SEARCHED} queries at once, {K} best"),
    "graph-searched": Step(functools.partial(search, "graph"), f"{SEARCHED} queries one by one, width 128", FEWER,
                           threads=1),
    "lists-searched": Step(functools.partial(search, "inverted-lists"), f"{SEARCHED} queries one by one, a quarter of "
                           "the lists", FEWER, threads=1),
    "rerank": Step(rerank, f"{LISTS} lists of {CANDIDATES}, features of vectors, {TREES} trees", threads=1),
    "bundle": Step(bundle, "copied, hashed, golden queries, exact search", warm_up=False),
}  # fmt: skip


def measure(name: str, *, scale: float, repeats: int, settings: BenchSettings, real: PassageBank) -> dict[str, Any]:
    """Measure a step at its sizes, and return its record."""
    step = STEPS[name]
    sizes = [max(32, round(share * step.largest * scale)) for share in SHARES]
    if step.structured:
        for size in sizes:
            build_structured_bank(real, settings.cache / f"structured-{size}", rows=size)
    given = [Inputs(real.path.absolute(), settings.cache.absolute(), size) for size in sizes]
    sides = [Side(step.prepare, {"inputs": one}, step.threads) for one in given]
    taken = take_turns(sides, repeats=repeats, warm_up=step.warm_up)
    return record_of(step, taken) | {"repeats": repeats, "surroundings": surroundings()}


def record_of(step: Step, taken: Sequence[SideResult]) -> dict[str, Any]:
    """Return what a step's sides measured, and the lines through it."""
    rows = [one.to_json() for one in taken]
    sizes = [int(row["size"]) for row in rows]
    clock, processor = ([row[name]["median"] for row in rows] for name in ("seconds", "processor_seconds"))
    memory = [row["peak_anonymous_mb"] for row in rows]
    by_clock, by_processor = line(sizes, clock), line(sizes, processor)
    anonymous = None if None in memory else line(sizes, memory)
    return {
        "what": step.what,
        "unit": step.unit,
        "threads": step.threads,
        "sizes": sizes,
        "measured": rows,
        "seconds_per_million": by_clock.slope * MILLION,
        "seconds_at_zero": by_clock.start,
        "largest_deviation": by_clock.deviation,
        "linear": by_clock.deviation <= BAND,
        "exponent": slope(sizes, clock),
        "processor_seconds_per_million": by_processor.slope * MILLION,
        "processor_seconds_at_zero": by_processor.start,
        "mb_per_million": None if anonymous is None else anonymous.slope * MILLION,
        "mb_at_zero": None if anonymous is None else anonymous.start,
    }


def tables(record: Mapping[str, Any]) -> str:
    """Return the tables of the page, in Markdown, from what was measured."""
    steps: Mapping[str, Mapping[str, Any]] = record["steps"]
    scale = f", at {record['scale']:g} of the sizes" if record["scale"] != 1 else ""
    rows = [[name.replace("-", " "), one["what"], f"{one['sizes'][0]:,} to {one['sizes'][-1]:,} {one['unit']}",
             figure(one["seconds_per_million"]), figure(one["processor_seconds_per_million"]),
             f"{one['largest_deviation']:.1%}", "yes" if one["linear"] else "no",
             "–" if one["mb_at_zero"] is None else f"{figure(one['mb_at_zero'])} + {figure(one['mb_per_million'])}"]
            for name, one in steps.items()]  # fmt: skip
    head = ["step", "what", "sizes", "seconds per million", "processor seconds per million", "furthest from the line",
            "linear", "MB at 0, and per million"]  # fmt: skip
    hours = [[name.replace("-", " "), *(figure(core_hours(one, size)) for size in PROJECTED.values())]
             for name, one in steps.items() if one["linear"]]  # fmt: skip
    return (f"Measured on {record['cpu']}, {record['cores']} cores, commit {record['commit']}, "
            f"{record['repeats']} turns of each size{scale}.\n\n{table(head, rows)}\n\nBy these lines, in core-hours "
            "(processor seconds / 3,600); steps that are not linear are left out:\n\n"
            f"{table(['step', *PROJECTED], hours)}")  # fmt: skip


def core_hours(step: Mapping[str, Any], size: int) -> float:
    """Return the processor hours of a step at a size, by its line."""
    return (step["processor_seconds_at_zero"] + step["processor_seconds_per_million"] * size / MILLION) / 3600


def figure(value: float) -> str:
    """Return a number with three digits that count.

    >>> [figure(value) for value in (0.012345, 1.5, 1234.5, -0.0000001)]
    ['0.0123', '1.5', '1,230', '0']
    """
    if abs(value) < 1e-6:
        return "0"
    digits = f"{value:.3g}"
    return f"{float(digits):,.0f}" if abs(value) >= 100 else f"{float(digits):g}"


def write_page(page: Path, record: Mapping[str, Any]) -> None:
    """Write the tables between the markers of a page.

    Raises:
        InputError: the page lacks them.
    """
    write_text(page, placed(page.read_text(encoding="utf-8"), "slopes", tables(record)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=Path, help="bank of real passages; default: the demo's")
    parser.add_argument("--cache", type=Path, default=Path("runs/bench"), help="folder of banks and records")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the sizes")
    parser.add_argument("--repeats", type=int, default=3, help="counted turns of each size")
    parser.add_argument("--steps", nargs="*", choices=STEPS, default=list(STEPS))
    parser.add_argument("--json", type=Path, help="where the result goes; with --steps left empty, what is read")
    parser.add_argument("--page", type=Path, help="page whose tables are written again")
    options = parser.parse_args()
    limit_threads()
    if options.steps:
        result = measured_steps(options)
        if options.json:
            write_json(options.json, result)
    else:
        result = read_json(options.json)
    print(tables(result))
    if options.page:
        write_page(options.page, result)


def measured_steps(options: argparse.Namespace) -> dict[str, Any]:
    """Measure what is not recorded yet; return the records of all steps."""
    settings = BenchSettings(cache=options.cache, documents=options.documents)
    folder = options.cache / f"slopes-{options.scale:g}"
    real = None
    for name in options.steps:
        kept = folder / f"{name}.json"
        if not kept.exists():
            real = real or real_bank(settings)
            record = measure(name, scale=options.scale, repeats=options.repeats, settings=settings, real=real)
            write_json(kept, record)
        record = read_json(kept)
        print(f"{name}: {figure(record['seconds_per_million'])} s per million {record['unit']}, furthest "
              f"{record['largest_deviation']:.1%}", file=sys.stderr)  # fmt: skip
    steps = {name: read_json(folder / f"{name}.json") for name in options.steps}
    return {"benchmark": "slopes", "scale": options.scale, "repeats": options.repeats, "synthetic": True, "band": BAND,
            "steps": steps, **surroundings()}  # fmt: skip


if __name__ == "__main__":
    main()
