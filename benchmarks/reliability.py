"""Write the tables of docs/reliability.md from the records of the sweeps.

    python -m benchmarks.reliability --page docs/reliability.md

Each table stands between two markers that name its sweep; the text around them stays as it is.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.pages import placed, table
from segue.files import read_json, write_text

RESULTS = Path(__file__).with_name("results")
NOT_MEASURED = "Not measured yet."
WRITE_OUTCOMES = ("passed", "refused", "killed")
KILL_OUTCOMES = ("finished", "refused", "ended", "aborted")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--page", type=Path, required=True)
    page = parser.parse_args().page
    write_text(page, with_tables(page.read_text(encoding="utf-8"), RESULTS))


def with_tables(text: str, results: Path) -> str:
    """Return a page with the tables of the records in a folder.

    Raises:
        InputError: the page does not have the markers of a table.
    """
    for name, write in TABLES.items():
        path = results / f"{name}.json"
        made = write(read_json(path)) if path.exists() else NOT_MEASURED
        text = placed(text, name, made)
    return text


def write_faults(record: Mapping[str, Any]) -> str:
    """Return one row for each command: its operations on the disk, the cells, and how they ended."""
    rows = []
    for one in record["table"]:
        ended = sum((Counter(found) for found in one["kinds"].values()), Counter())
        rows.append([f"`{one['command']}`", one["operations"], one["cells"], *_by_outcome(ended, WRITE_OUTCOMES)])
    head = ["command", "operations", "cells", *WRITE_OUTCOMES, "bad"]
    return f"{record['cells']:,} cells, {len(record['bad'])} bad.\n\n{table(head, [*rows, _totals(rows)])}"


def kills(record: Mapping[str, Any]) -> str:
    """Return one row for each command: kills and disturbances, and how they ended."""
    rows = []
    for command, parts in record["table"].items():
        found = [Counter[str](), Counter[str]()]
        for part, name in zip(found, ("kills", "weather"), strict=True):
            for group in parts.get(name, {}).values():
                part.update(group)
        ended = found[0] + found[1]
        rows.append([f"`{command}`", found[0].total(), found[1].total(), *_by_outcome(ended, KILL_OUTCOMES)])
    head = ["command", "kills", "disturbances", *KILL_OUTCOMES, "bad"]
    done, weather = record["cells"]["kills"], record["cells"].get("weather", 0)
    return (f"{done:,} kills and {weather:,} disturbances, {len(record['bad'])} bad.\n\n"
            + table(head, [*rows, _totals(rows)]))  # fmt: skip


def corruption(record: Mapping[str, Any]) -> str:
    """Return one row for each place that is read back."""
    words = [name for name in record["table"][0] if name not in ("place", "cells", "bad")]
    rows = [[one["place"], one["cells"], *(one[word] for word in words), one["bad"]] for one in record["table"]]
    return (f"{record['cells']:,} cells, {len(record['bad'])} bad.\n\n"
            + table(["place", "cells", *words, "bad"], [*rows, _totals(rows)]))  # fmt: skip


def fuzzing(record: Mapping[str, Any]) -> str:
    """Return one row for each target."""
    engines = sorted({engine for found in record["targets"].values() for engine in found})
    rows = []
    for target, found in sorted(record["targets"].items()):
        counts = [found[engine]["inputs"] if engine in found else 0 for engine in engines]
        slowest = max(one["slowest_seconds"] for one in found.values())
        faults = {fault for one in found.values() for fault in one["faults"]}
        rows.append([target, *counts, sum(counts), f"{slowest:.2f}", len(faults), len(record["open"].get(target, ()))])
    head = ["target", *engines, "inputs", "slowest, s", "faults found", "open"]
    hours = record["seconds"] / 3600
    return f"{record['inputs']:,} inputs in {hours:.1f} hours of one process.\n\n{table(head, rows)}"


def hostile_load(record: Mapping[str, Any]) -> str:
    """Return one row for each part of the study."""
    near, beyond = record["among_bad_clients"], record["beyond_capacity"]
    parts = {"90 %, without the flood": near["without_flood"], "90 %, during the flood": near["during_flood"],
             "the flooding client": near["flooding_client"], "three times the capacity": beyond}  # fmt: skip
    rows = []
    for name, part in parts.items():
        statuses = part["statuses"]
        others = sum(count for status, count in statuses.items() if status not in ("200", "429"))
        accepted, refused = (part.get(which) or {} for which in ("accepted", "refused"))
        rows.append([name, statuses.get("200", 0), *_ms(accepted), statuses.get("429", 0), *_ms(refused), others,
                     part["wrong"]])  # fmt: skip
    head = ["requests", "answered", "P50, ms", "P99, ms", "refused (429)", "P50, ms", "P99, ms", "otherwise", "wrong"]
    memory = near["memory_mb"]
    return (f"Capacity {record['capacity_per_second']:.0f} answers a second; {near['changes']} changes of the bundle; "
            f"memory of the server {memory['third_minute']:.0f} MB in the third minute and "
            f"{memory['last_minute']:.0f} MB in the last.\n\n{table(head, rows)}")  # fmt: skip


TABLES: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "write_faults": write_faults,
    "kills": kills,
    "corruption": corruption,
    "fuzzing": fuzzing,
    "hostile_load": hostile_load,
}


def _by_outcome(ended: Mapping[str, int], words: Iterable[str]) -> list[int]:
    return [*(ended.get(word, 0) for word in words), ended.get("bad", 0)]


def _totals(rows: list[list[Any]]) -> list[Any]:
    return ["together", *(sum(column) for column in zip(*(row[1:] for row in rows), strict=True))]


def _ms(times: Mapping[str, float]) -> list[str]:
    return [f"{times[name]:.1f}" if times else "" for name in ("p50_ms", "p99_ms")]


if __name__ == "__main__":
    main()
