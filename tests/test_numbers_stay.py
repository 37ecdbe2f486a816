"""No number moves: one small comparison comes out as it is kept in ``numbers/kept-*.json``, to the bit.

It holds something of every kind: baselines, losses, an architecture, a document tower, rerankers, rows that read text.
There is a file for each kind of processor that it was run on; on such a machine, every value is equal to the bit.
Elsewhere the last bits differ: what does not rest on float arithmetic is equal there, and the rest is near. To write
this machine's file again, after a change that is meant to move numbers::

    python tests/test_numbers_stay.py --write
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

HERE = Path(__file__).parent / "numbers"
KEPT = sorted(HERE.glob("kept-*.json"))
"""One file for each kind of processor, named by the widest instructions that torch uses there."""

NAMES = {
    "ar-only": "ar-cosine",
    "infonce-projected": "infonce-projected",
    "option-3-pure": "infonce",
    "option-3-whole-bank": "infonce-bank",
    "option-5-amn": "amn-mse",
    "model-mlp": "mlp",
    "option-4-two-tower": "two-tower",
    "option-4-text-dual-encoder": "text-dual-encoder",
    "option-4-cross-encoder": "cross-encoder",
    "copy-last-rerank": "copy-last-rerank",
    "option-4-rerank": "rerank",
    "option-4-lvm-over-bm25": "bm25-by-model",
    "option-4-lvm-over-copy-last": "copy-last-by-model",
    "fusion": "fusion",
}
"""The name in the kept file, and the name today. Where an option gets another name, only the right side changes."""
PLANNED = ("ar-only", "infonce-projected", "option-3-pure", "option-3-whole-bank", "option-5-amn", "model-mlp",
           "option-4-two-tower", "option-4-rerank")  # fmt: skip
"""Those whose steps stand in the plan, by their kept names."""
STEPS = 30
TIMED = ("SG214",)
"""Checks whose outcome the clock decides."""
DRAWN = ("chance",)
"""Rows that are a draw which the last bits of the vectors decide: on another kind of machine, another draw."""
CONDITIONS = ("context_left_in", "prefix", "in_document", "fresh")
NEAR, NEAR_RANK = 0.02, 3.0
"""How far a share (3 windows of 160) or a mean, and how far a median rank may be off on another kind of machine.

With the plainest instructions or two threads on one machine, the farthest was 0.0001; see ``--spread``.
"""
VERSIONS = ("torch", "numpy", "scipy", "faiss-cpu", "lightgbm", "transformers", "sentence-transformers", "bm25s")

RUN = """
import json, sys, segue
segue.triage(segue.load_recipe("recipe.toml", overrides={"triage": {"options": json.loads(sys.argv[1])}}), "run")
"""


def run(folder: Path, **environment: str) -> dict[str, Any]:
    """Run the comparison in a process of its own, with one thread, and return what is held of it."""
    import segue

    shutil.copytree(HERE, folder, dirs_exist_ok=True)
    plan = {"format": 1, "steps": {NAMES[name]: STEPS for name in PLANNED}, "steps_per_second": {},
            "score_seconds": 0.0, "budget_minutes": 1000.0}  # fmt: skip
    (folder / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    package = str(Path(segue.__file__).resolve().parents[1])
    fixed = {"PYTHONPATH": package, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false",
             "HF_HUB_OFFLINE": "1", "MPLBACKEND": "Agg"}  # fmt: skip
    command = [sys.executable, "-c", RUN, json.dumps(list(NAMES.values()))]
    done = subprocess.run(command, cwd=folder, env={**os.environ, **fixed, **environment}, capture_output=True,
                          text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return {"machine": machine(), "fixed": fixed_facts(folder), "bank": bank_hash(folder), **numbers(folder)}


def machine() -> dict[str, Any]:
    """Say what the last bits of a result depend on."""
    import torch

    facts: dict[str, Any] = {"python": platform.python_version(), "system": platform.system()}
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").split("\n\n")[0].splitlines() if path.exists() else []
    about = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    facts |= {key: about.get(key) for key in ("model name", "cpu family", "model", "stepping")}
    facts["torch capability"] = torch.backends.cpu.get_cpu_capability()
    return facts | {name: importlib.metadata.version(name) for name in VERSIONS}


def bank_hash(folder: Path) -> str:
    return read(folder / "bank" / "manifest.json")["hash"]


def fixed_facts(folder: Path) -> dict[str, Any]:
    """Return what does not rest on float arithmetic: texts, documents, splits, windows."""
    manifest, split, record = (read(folder / name) for name in ("bank/manifest.json", "run/split.json",
                                                                "run/triage.json"))  # fmt: skip
    shards = [{key: shard[key] for key in ("rows", "characters", "text_sha256")} for shard in manifest["shards"]]
    asked = {}
    for path in sorted((folder / "run" / "options" / "copy-last").glob("fold-*/evaluation/arrays.npz")):
        asked[path.parts[-3]] = hash_arrays(path, ("targets", "documents", "groups"))
    return {
        "counts": manifest["counts"],
        "shards": shards,
        "documents": manifest["documents_sha256"],
        "alive": split["alive"],
        "asked": asked,
        **{key: record[key] for key in ("pool", "windows", "folds", "context", "exclude", "seeds", "dropped_windows")},
        "tested documents": record["documents"],
        "split": split["folds"],
        "statuses": {kept(row["name"]): row["status"] in ("done", "under-trained") for row in record["entries"]},
    }


def numbers(folder: Path) -> dict[str, Any]:
    """Return every number of a run, by the kept names."""
    record = read(folder / "run" / "triage.json")
    findings = [finding for finding in (*record["audit"], *record["diagnosis"]) if finding["code"] not in TIMED]
    return {
        "winner": kept(record["winner"]),
        "chosen": [kept(name) for name in record["procedure"]["chosen"]],
        "procedure": without_times(record["procedure"]["metrics"]),
        "checks": {finding["code"]: finding["outcome"] for finding in findings},
        "entries": {kept(row["name"]): entry(folder, row) for row in record["entries"]},
    }


def entry(folder: Path, row: dict[str, Any]) -> dict[str, Any]:
    training, ranks = {}, {}
    folds = sorted((folder / "run" / "options" / row["name"]).glob("fold-*"))
    if row["training"]:
        training = {name: row["training"][name] for name in ("steps", "best_steps")}
        training["curves"] = [read(fold / "result.json")["training"]["curve"] for fold in folds]
    for fold in folds:
        ranks[fold.name] = hash_arrays(fold / "evaluation" / "arrays.npz", ("ranks", "rankings", "ranks_by_pool/"))
    return without_times(
        {
            "status": row["status"],
            "validation": row["validation"],
            "metrics": row["metrics"],
            "macro": row["macro"],
            **{name: row[name] for name in CONDITIONS},
            "training": training,
            "ranks": ranks,
        }
    )


def hash_arrays(path: Path, names: tuple[str, ...]) -> str:
    """Hash the arrays whose names begin with one of ``names``, as 64-bit integers."""
    digest = hashlib.sha256()
    with np.load(path, allow_pickle=False) as arrays:
        chosen = sorted(key for key in arrays.files if key in names or (key.split("/")[0] + "/") in names)
        assert len(chosen) >= len(names), chosen
        for key in chosen:
            digest.update(np.ascontiguousarray(arrays[key], dtype="<i8").tobytes())
    return digest.hexdigest()


def kept(name: str) -> str:
    """Return the kept name of an option; baselines keep theirs."""
    return {today: then for then, today in NAMES.items()}.get(name, name)


def without_times(value: Any) -> Any:
    """Leave out what a clock measured."""
    if isinstance(value, dict):
        return {k: without_times(v) for k, v in value.items() if k != "seconds" and not k.endswith("_ms")}
    return [without_times(item) for item in value] if isinstance(value, list) else value


def nearest(of: dict[str, Any]) -> dict[str, Any]:
    """Return the kept file of the machine that differs in the fewest facts."""
    return min((read(path) for path in KEPT), key=lambda kept_run: len(off(of, kept_run["machine"])))


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def flat(value: Any, place: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Return every leaf by its place."""
    if isinstance(value, dict):
        return {at: leaf for key, inner in value.items() for at, leaf in flat(inner, (*place, str(key))).items()}
    if isinstance(value, list):
        return {at: leaf for n, inner in enumerate(value) for at, leaf in flat(inner, (*place, str(n))).items()}
    return {place: value}


def off(found: dict[str, Any], held: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return every value that is another one to the bit: place → found, held."""
    ours, theirs = flat(found), flat(held)
    places = [place for place in {**theirs, **ours} if ours.get(place, "none") != theirs.get(place, "none")]
    return {" / ".join(place): (ours.get(place), theirs.get(place)) for place in places}


def far(found: dict[str, Any], held: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the metrics on test and on validation documents that are not even near."""
    wrong = {}
    for place, (ours, theirs) in off(found["entries"], held["entries"]).items():
        parts = place.split(" / ")
        if (
            parts[0] in DRAWN
            or parts[1] not in ("validation", "metrics", "macro", *CONDITIONS)
            or parts[-1] in ("low", "high")
        ):
            continue
        near = NEAR_RANK if "median rank" in parts else NEAR
        if ours is None or theirs is None or abs(ours - theirs) > near:
            wrong[place] = (ours, theirs)
    return wrong


def farthest(found: dict[str, Any], held: dict[str, Any]) -> list[tuple[float, str]]:
    """Return the ten farthest metrics, median ranks aside."""
    differing = {place: pair for place, pair in off(found["entries"], held["entries"]).items() if "metrics" in place}
    return sorted(
        ((abs(a - b), place) for place, (a, b) in differing.items() if "median" not in place and "chance" not in place),
        reverse=True,
    )[:10]


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> dict[str, Any]:
    return json.loads(json.dumps(run(tmp_path_factory.mktemp("numbers"))))


@pytest.fixture(scope="module")
def held(found) -> dict[str, Any]:
    return nearest(found["machine"])


@pytest.mark.slow
def test_texts_splits_and_windows_are_those_of_the_kept_run(found, held):
    assert off(found["fixed"], held["fixed"]) == {}


@pytest.mark.slow
def test_the_same_option_wins_and_every_metric_is_near(found, held):
    assert found["winner"] == held["winner"]
    assert set(found["entries"]) == set(held["entries"])
    assert far(found, held) == {}


@pytest.mark.slow
def test_on_the_same_kind_of_machine_every_number_is_equal_to_the_bit(found, held):
    if other := off(found["machine"], held["machine"]):
        pytest.skip(f"another kind of machine: {other}")
    assert off(found, held) == {}


def main(words: list[str]) -> None:
    """Write the kept file, or show how far other arithmetic on this machine is from it."""
    with tempfile.TemporaryDirectory() as folder:
        if words == ["--write"]:
            lines = run(Path(folder))
            entries = ",\n".join(f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in lines.pop("entries").items())
            head = json.dumps(lines, indent=1, ensure_ascii=False)[:-2]
            path = HERE / f"kept-{lines['machine']['torch capability'].lower()}.json"
            path.write_text(f'{head},\n "entries": {{\n{entries}\n }}\n}}\n', encoding="utf-8")
        elif words == ["--spread"]:
            held = nearest(machine())
            plain = {"ATEN_CPU_CAPABILITY": "default", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2", "DNNL_MAX_CPU_ISA": "SSE41"}
            for number, environment in enumerate(({}, plain, {"OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"})):
                found = json.loads(json.dumps(run(Path(folder) / str(number), **environment)))
                print(environment, len(off(found, held)), "values are others, not near:", far(found, held))
                print("  farthest:", farthest(found, held))
                print("  fixed:", off(found["fixed"], held["fixed"]), "winner:", found["winner"])
        else:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
