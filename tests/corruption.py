"""Files of everything that Segue reads back, damaged or exchanged; ``python -m benchmarks.corruption`` tries thousands.

A *place* is a folder that something was written to, with a reader that gives all it holds. A *cell* is one file of it,
changed in one way. The reader has to refuse it with an error that names a file of the folder, or answer as before.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import worlds

import segue
from segue.bank.bank import PassageBank
from segue.comparison.entries.baselines import Baselines
from segue.comparison.entries.reranked import read_fit
from segue.comparison.entries.trained import read_training
from segue.comparison.job import FoldResult, Job
from segue.comparison.plan import load_plan
from segue.comparison.record import write_record
from segue.errors import SegueError
from segue.evaluation.experiment import lock_split
from segue.evaluation.result import Evaluation
from segue.models import ModelCard, ModelSettings, build_model
from segue.models.checkpoint import load_predictor, save_predictor
from segue.ranking.pool import Pool
from segue.retrieval.index.store import build_index, index_settings, load_index, save_index
from segue.retrieval.rerank.lambdamart import LambdaMart
from segue.retrieval.rerank.lists import TrainingLists
from segue.training.state import TrainingState, load_state, save_state
from segue.workflows.triage import Comparison

KINDS = ("emptied", "truncated", "extended", "bit flipped", "bits flipped", "zeroed", "other", "older")
FINE = ("refused", "refused by a neighbour", "harmless", "older, whole")
UNREAD = (".lock", "README.md", "skipped.jsonl")
"""Files that no reader reads."""


@dataclass(frozen=True)
class Place:
    """A folder that is read back.

    Attributes:
        name: what it holds.
        folder: as it was written.
        read: returns a hash of everything that reading it gives.
        other: the same folder of another run.
        older: an older state of the same folder; None where it never changes.
    """

    name: str
    folder: Path
    read: Callable[[Path], str]
    other: Path
    older: Path | None = None

    @cached_property
    def expected(self) -> str:
        return self.read(self.folder)

    @cached_property
    def expected_older(self) -> str:
        return "" if self.older is None else self.read(self.older)

    def files(self) -> list[str]:
        """Return the files that a reader reads."""
        paths = (path for path in sorted(self.folder.rglob("*")) if path.is_file() and path.name not in UNREAD)
        return [path.relative_to(self.folder).as_posix() for path in paths]


@dataclass(frozen=True)
class Cell:
    """What came of one change of one file; ``outcome`` is one of ``FINE``, or how it was taken for right."""

    place: str
    file: str
    kind: str
    outcome: str

    @property
    def fine(self) -> bool:
        return self.outcome in FINE


def changed(data: bytes, kind: str, generator: np.random.Generator) -> bytes:
    """Return the bytes of a file, changed at a random place."""
    if kind == "emptied" or not data:
        return b"" if kind != "extended" else b"\0"
    place, found = int(generator.integers(len(data))), bytearray(data)
    if kind == "truncated":
        return data[:place]
    if kind == "extended":
        return data + [b"\n", b"\0", b"{}", data[: 1 + place], generator.bytes(40)][int(generator.integers(5))]
    if kind == "zeroed":
        found[place : place + 512] = bytes(len(found[place : place + 512]))
    for bit in generator.integers(8 * len(data), size={"bit flipped": 1, "bits flipped": 8}.get(kind, 0)):
        found[bit // 8] ^= 1 << bit % 8
    return bytes(found)


def cells(place: Place, work: Path, *, rounds: int, seed: int = 0) -> Iterator[Cell]:
    """Yield each kind of change of each file, random ones ``rounds`` times, unless nothing is changed."""
    at = work / place.folder.name
    shutil.copytree(place.folder, at)
    assert place.read(at) == place.expected, "a copy is read as the original is"
    for name in place.files():
        data = (at / name).read_bytes()
        for kind in KINDS:
            for number in range(1 if kind in ("emptied", "other", "older") else rounds):
                generator = np.random.default_rng([seed, number, *kind.encode(), *name.encode()])
                new = _replacement(place, name, kind) if kind in ("other", "older") else changed(data, kind, generator)
                if new is None or new == data:
                    continue
                (at / name).write_bytes(new)
                yield Cell(place.name, name, kind, _outcome(place, at, name, kind))
                (at / name).write_bytes(data)
    shutil.rmtree(at)


def _replacement(place: Place, name: str, kind: str) -> bytes | None:
    source = place.other if kind == "other" else place.older
    path = None if source is None else source / name
    return path.read_bytes() if path is not None and path.is_file() else None


def _outcome(place: Place, at: Path, name: str, kind: str) -> str:
    try:
        found = place.read(at)
    except SegueError as error:
        if Path(name).name in str(error):
            return "refused"
        named = any(Path(other).name in str(error) for other in place.files()) or str(at) in str(error)
        return "refused by a neighbour" if named else f"refused without a file's name: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:120]}"
    if found == place.expected:
        return "harmless"
    return "older, whole" if kind == "older" and found == place.expected_older else "another answer"


def digest(*parts: Any) -> str:
    """Return the hash of arrays, and of everything else as text."""
    found = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            found.update(f"{part.dtype}{part.shape}".encode() + np.ascontiguousarray(part).tobytes())
        else:
            found.update(repr(part).encode("utf-8", "backslashreplace"))
    return found.hexdigest()


def read_bank(folder: Path) -> str:
    bank = PassageBank.open(folder)
    rows = np.arange(len(bank))
    texts = bank.texts(rows) if bank.has_texts else []
    about = bank.manifest.model_dump(exclude={"folder"})
    return digest(
        bank.gather(rows),
        texts,
        bank.document_ids,
        bank.document_titles,
        bank.position,
        bank.duplicate_group,
        bank.alive,
        bank.passage_ids(rows),
        sorted(about.items()),
    )


def read_checkpoint(folder: Path) -> str:
    predictor, config = load_predictor(folder)
    weights = {name: value.numpy() for name, value in predictor.state_dict().items()}
    return digest(config.model_dump_json(), *(part for name in sorted(weights) for part in (name, weights[name])))


def read_result(folder: Path) -> str:
    found = FoldResult.load(folder)
    arrays = (
        []
        if found.evaluation is None
        else [value for name, value in sorted(vars(found.evaluation).items()) if isinstance(value, np.ndarray)]
    )
    return digest(
        found.status,
        found.reason,
        found.validation,
        found.training,
        found.evaluation and found.evaluation.metrics,
        found.evaluation and found.evaluation.timings,
        found.validation_ranks,
        *arrays,
    )


IDENTITY = {"seed": 1, "rows": 40}


def read_state(folder: Path) -> str:
    found = load_state(folder, identity=IDENTITY)
    assert found is not None, "there is a state"
    return digest(asdict(found[0]), *(part for name in sorted(found[1]) for part in (name, found[1][name].numpy())))


def read_index(bank: PassageBank) -> Callable[[Path], str]:
    """Return the reader of an index over a bank: what it finds, and its effort."""
    pool = Pool(bank)
    rows = np.arange(0, len(bank), 7)
    vectors = bank.gather(rows)

    def read(folder: Path) -> str:
        index = load_index(folder, pool)
        found = index.search(vectors, 5, exclude=rows[:, None])
        return digest(index.effort, index.engine.settings, *vars(found).values())

    return read


def small_places(folder: Path) -> list[Place]:
    """Return a bank, a checkpoint, a result, a state and the indexes, each with another of its kind."""
    one, other = _bank(folder / "one", seed=1), _bank(folder / "other", seed=2)
    older = folder / "older" / "bank"
    shutil.copytree(one, older)
    segue.remove_from_bank(one, ["essay-1", "essay-2"])
    for seed, name in ((1, "one"), (2, "other")):
        _checkpoint(folder / name / "checkpoint", seed)
        _result(folder / name / "result", seed)
        _state(folder / name / "state", seed)
    places = [
        Place("bank", one, read_bank, other, older),
        *(
            Place(name, folder / "one" / name, read, folder / "other" / name)
            for name, read in (("checkpoint", read_checkpoint), ("result", read_result), ("state", read_state))
        ),
    ]
    bank = PassageBank.open(other)
    for kind in ("graph", "inverted-lists", "lance"):
        for name, settings in (("one", {}), ("other", _OTHER_INDEX[kind])):
            save_index(build_index(Pool(bank), index_settings(kind, **settings)), folder / name / kind)
        places.append(Place(f"index, {kind}", folder / "one" / kind, read_index(bank), folder / "other" / kind))
    return places


_OTHER_INDEX: dict[str, dict[str, Any]] = {"graph": {"neighbours": 8}, "inverted-lists": {"lists": 5}, "lance": {}}


def _bank(folder: Path, *, seed: int) -> Path:
    texts, _ = worlds.essay_texts_and_vectors(documents=12, length=9)
    generator = np.random.default_rng(seed)
    vectors = worlds.unit(generator.normal(size=(sum(map(len, texts)), 16)).astype(np.float32))
    documents = [f"essay-{number}" for number, some in enumerate(texts) for _ in some]
    PassageBank.from_arrays(
        vectors, documents, [f"{text} {seed}." for some in texts for text in some], path=folder / "bank"
    )
    return folder / "bank"


def _checkpoint(folder: Path, seed: int) -> None:
    torch.manual_seed(seed)
    predictor = build_model(ModelSettings(name="mlp", size="toy"), dimension=8, context=2)
    with torch.no_grad():
        for weight in predictor.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    card = ModelCard(
        name="a",
        space={"encoder": "e", "dimension": 8, "fingerprint": "AAAA"},
        training_documents=(f"{seed:064x}",),
        loss="l",
        metrics={},
        training={},
        seed=seed,
        license="mit",
    )
    save_predictor(predictor, folder, card=card)


def _result(folder: Path, seed: int) -> None:
    draw = np.random.default_rng(seed)
    ranks = draw.integers(1, 50, 30)
    evaluation = Evaluation(
        "mlp",
        "candidate",
        "context",
        100,
        np.arange(30),
        np.arange(30) // 5,
        np.arange(30) // 5,
        ranks,
        {"in-document": np.minimum(ranks, 8)},
        draw.integers(0, 100, (30, 5)),
        cosine=draw.random(30),
        resamples=50,
    )
    result = FoldResult("done", validation={"MRR": 0.25 + seed / 10}, evaluation=evaluation, validation_ranks=ranks)
    folder.mkdir(parents=True)
    result.save(folder)
    result.timed({"search": draw.random(20)}, folder)


def _state(folder: Path, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    tensors = {"net.weight": torch.randn(8, 4, generator=generator), "step": torch.tensor(7 + seed)}
    save_state(folder, TrainingState(step=7 + seed, seconds=2.5), tensors, identity={**IDENTITY, "seed": seed})


def run_places(folder: Path) -> list[Place]:
    """Return the folder of a comparison and the bundle of its winner, each with another of its kind."""
    from bundle_world import make_run

    runs, bundles = {}, {}
    for name, salt in (("one", ""), ("other", "b")):
        (folder / name).mkdir(parents=True)
        run = runs[name] = make_run(folder / name, names=("mlp", "copy-last-rerank"), salt=salt)
        bundles[name] = run.bundle("copy-last-rerank", folder / name / "bundle")
        lock_split(run.job.experiment, run.job.out / "split.json")
        write_record(run.job.out / "triage.json", run.record)
    return [
        Place("run", runs["one"].job.out, _read_run(runs["one"].job), runs["other"].job.out),
        Place("bundle", bundles["one"], read_bundle, bundles["other"]),
    ]


def _read_run(job: Job) -> Callable[[Path], str]:
    """Return the reader of a run folder: what a report, a resumed comparison and its bundles read of it."""

    def read(folder: Path) -> str:
        here = replace(job, out=folder)
        record = Comparison.open(folder).record
        lock_split(job.experiment, folder / "split.json")
        steps = load_plan(folder / "plan.json", options=()).steps if (folder / "plan.json").exists() else {}
        found = [read_result(place.parent) for place in sorted(folder.glob("options/*/fold-*/result.json"))]
        found += [read_checkpoint(place.parent) for place in sorted(folder.glob("options/**/checkpoint/config.json"))]
        found += [read_training(place.parent) for place in sorted(folder.glob("options/**/training.json"))]
        for path in sorted(folder.glob("options/**/lists-*.npz")):
            lists = TrainingLists.load(path)
            found.append(digest(lists.candidates.rows, lists.candidates.first, lists.windows.target, lists.label))
        features = Baselines(here).features
        for path in sorted(folder.glob("options/**/reranker/lambdamart.json")):
            found.append(digest(LambdaMart.load(path.parent, features).trees, read_fit(path.parent)))
        return digest(record.model_dump_json(), steps, found)

    return read


def read_bundle(folder: Path) -> str:
    released = segue.load(folder)
    ids = released.bundle.bank.passage_ids(np.arange(3))
    answer = released.next(ids=list(ids), k=5)
    return digest([(passage.id, passage.text, passage.score) for passage in answer])
