"""Write the tables of docs/performance.md: a column for each processor that was measured.

    python -m benchmarks.speed.page docs/performance.md

A column is a file of ``benchmarks/results/speed/``, as ``python -m benchmarks.speed all --out FILE`` wrote it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.pages import placed, table
from segue.files import read_json, write_text

RESULTS = Path(__file__).parents[1] / "results" / "speed"
LIBRARY = "FAISS IVF2048,Flat, 64 lists"
WINDOWS = "materialised windows, DataLoader, plain PyTorch"
ROWS = {
    "search-one": ("one query, 584,545 × 768, one thread: P95, processor time", LIBRARY),
    "search-many": ("the same, 500 queries at once, two threads", LIBRARY),
    "exact-ranks": ("exact ranks of 4,000 queries in 300,000 × 768", "FAISS Flat, top 1,000 and post-processing"),
    "exact-ranks-product": ("the same", "the bare product in the same arithmetic"),
    "train-amn": ("training AMN, 400,000 windows, batch 1,024: 8 steps", WINDOWS),
    "train-amn-memory": ("its anonymous memory", "the same"),
    "train-gru": ("training GRU, 40,000 windows", "the same"),
    "train-transformer": ("training Transformer, 40,000 windows", "the same"),
    "whole-bank-step": ("whole-bank step, 512 × 40,000 × 384", "`cross_entropy(q @ bank.T / τ)`"),
    "encode": ("encoding passages, PyTorch", "sentence-transformers, defaults"),
    "encode-openvino": ("the same, OpenVINO in float32", "the same"),
    "encode-int8": ("the same, OpenVINO in int8", "the same"),
    "parse-dump": ("parsing the Wikipedia sample, one process: characters a second", "gensim, one process"),
    "parse-processes": ("the same with two processes", "itself with one"),
    "metrics-bootstrap": (
        "metrics and document bootstrap, 10,000 resamples, 5,000 windows, 12 options",
        "ir_measures and a loop (a hundredth of its resamples run, multiplied)",
    ),
    "import-segue": ("`import segue`", "–"),
    "segue-help": ("`segue --help`", "–"),
}
"""What each row measures, and beside what."""
SECONDS = {"import-segue", "segue-help"}
"""Rows whose ratio is a number of seconds."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("page", type=Path)
    page = parser.parse_args().page
    write_text(page, placed(page.read_text(encoding="utf-8"), "speed", tables(records())))


def records(folder: Path = RESULTS) -> list[dict[str, Any]]:
    """Return what was measured on each processor, the earliest first."""
    found = [read_json(path) for path in folder.glob("*.json")]
    return sorted(found, key=lambda record: str(record["environment"]["date"]))


def tables(found: Sequence[Mapping[str, Any]]) -> str:
    """Return the tables of ratios, of growth and of arithmetic."""
    columns = [_processor(one["environment"]) for one in found]
    rows = [{row["name"]: row for row in one["rows"]} for one in found]
    ratios = [[work, against, *(_target(row[name] for row in rows if name in row)),
               *(_cell(row.get(name)) for row in rows)]
              for name, (work, against) in ROWS.items() if any(name in row for row in rows)]  # fmt: skip
    grown = [[name, " to ".join(f"{size:,}" for size in (sizes[0], sizes[-1])) + f" {unit}",
              *(_growth(row.get(name)) for row in rows)] for name, unit, sizes in _grown(rows)]  # fmt: skip
    kinds = ("numpy", "float32", "bfloat16", "int8")
    arithmetic = [[column, work, chosen, *(speeds.get(kind, "–") for kind in kinds)]
                  for column, one in zip(columns, found, strict=True)
                  for work, chosen, speeds in _arithmetic(one)]  # fmt: skip
    return "\n\n".join(
        [
            table(["work", "against", "target", *columns], ratios),
            "Processor seconds of Segue at the smallest and the largest of four sizes, and the exponent of a power law "
            "fitted to all four:",
            table(["row", "sizes", *columns], grown),
            "Which arithmetic was taken, and the products of one thread that chose it, 10⁹ operations a second:",
            table(["processor", "work", "taken", "NumPy float32", "PyTorch float32", "bfloat16", "int8"], arithmetic),
        ]
    )


def _processor(environment: Mapping[str, Any]) -> str:
    """Return the processor and the date, without marks.

    >>> _processor({"cpu": "Intel(R) Xeon(R) Processor (avx2, avx512f)", "date": "2026-12-01"})
    'Intel Xeon (avx2, avx512f), 2026-12-01'
    """
    return f"{environment['cpu']}, {environment['date']}".replace("(R)", "").replace(" Processor", "")


def _target(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the target of a row, which is that of its last record; a dash where there is none."""
    *_, last = rows
    if last["target"] is None:
        return ["–"]
    sign, unit = "≤" if last["better"] == "lower" else "≥", "s" if last["name"] in SECONDS else "×"
    return [f"{sign} {last['target']:g} {unit}"]


def _cell(row: Mapping[str, Any] | None) -> str:
    """Return a ratio with its spread, bold where it meets its target, and the seconds of both sides."""
    if row is None:
        return "–"
    spread, unit = row["ratio_spread"], "s" if row["name"] in SECONDS else "×"
    shown = f"{row['ratio']:.3g} ({spread['low']:.3g} to {spread['high']:.3g})\N{NO-BREAK SPACE}{unit}"
    parts = [f"**{shown}**" if row["met"] else shown]
    ours, theirs = row["ours"], row["theirs"]
    if "recall" in ours:
        parts.append(f"recall@50 {ours['recall']:.3f} against {theirs['recall']:.3f}")
    if "cosine" in ours:
        parts.append(f"cosine {ours['cosine']:.5f}")
    if row["name"] not in SECONDS and "seconds" in ours:
        parts.append(f"{ours['seconds']['median']:.3g} against {theirs['seconds']['median']:.3g}\N{NO-BREAK SPACE}s")
    taken = ours.get("arithmetic", ours.get("precision"))
    return "; ".join(parts) + (f"; {taken}" if taken else "")


def _grown(rows: Sequence[Mapping[str, Any]]) -> Iterable[tuple[str, str, list[int]]]:
    """Yield the rows whose growth was measured, with the unit of their sizes and the sizes."""
    for name in ROWS:
        if name.endswith(("-product", "-memory")):
            continue  # the same sides as in the row before
        for found in rows:
            if growth := found.get(name, {}).get("about", {}).get("growth"):
                unit = next(iter(growth))
                yield name, unit, growth[unit]
                break


def _growth(row: Mapping[str, Any] | None) -> str:
    growth = (row or {}).get("about", {}).get("growth")
    if not growth:
        return "–"
    seconds = growth["processor_seconds"]
    return f"{seconds[0]:.3g} to {seconds[-1]:.3g} s, exponent {growth['slope']:.2f}"


def _arithmetic(record: Mapping[str, Any]) -> Iterable[tuple[str, str, Mapping[str, float]]]:
    """Yield each work, the kind that was taken for it, and the speed of each kind."""
    known = record["environment"]["arithmetic"]
    for work, chosen in known["chosen"].items():
        yield work, chosen, known["gflops_of_one_thread"].get(work, {})


if __name__ == "__main__":
    main()
