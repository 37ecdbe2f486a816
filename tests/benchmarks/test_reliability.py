"""The page of reliability says what the sweeps recorded, and names tests that exist."""

from pathlib import Path

import pytest
from doc_blocks import missing_tests

from benchmarks import reliability
from segue.errors import InputError

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reliability.md"


def cells(line):
    return [cell.strip() for cell in line.strip("| ").split("|")]


def test_the_page_says_what_the_records_say():
    text = PAGE.read_text(encoding="utf-8")
    assert reliability.with_tables(text, reliability.RESULTS) == text


def test_the_page_names_tests_that_exist():
    assert missing_tests(PAGE.read_text(encoding="utf-8")) == set()
    assert missing_tests("`tests/no_such.py::test_it`, `tests/test_docs.py::test_no_such`") == {
        ("tests/no_such.py", "test_it"), ("tests/test_docs.py", "test_no_such")}  # fmt: skip


def test_a_page_without_a_place_is_refused():
    with pytest.raises(InputError, match="no place"):
        reliability.with_tables("# A page", reliability.RESULTS)


def test_cells_of_write_faults_are_added_over_kinds():
    kinds = {"full": {"passed": 1, "refused": 2}, "torn": {"killed": 3, "bad": 1}}
    record = {"cells": 7, "bad": [{}], "table": [{"command": "train", "operations": 9, "cells": 7, "kinds": kinds}]}
    first, _, head, _, row, together = reliability.write_faults(record).splitlines()
    assert first == "7 cells, 1 bad."
    assert dict(zip(cells(head), cells(row), strict=True)) == {
        "command": "`train`",
        "operations": "9",
        "cells": "7",
        "passed": "1",
        "refused": "2",
        "killed": "3",
        "bad": "1",
    }
    assert cells(together)[2:] == cells(row)[2:]


def test_kills_and_weather_are_counted_apart():
    parts = {
        "kills": {"SIGINT, early": {"ended": 2}, "SIGKILL, any": {"finished": 1}},
        "weather": {"full": {"refused": 4}},
    }
    record = {"cells": {"kills": 3, "weather": 4}, "bad": [], "table": {"triage": parts}}
    first, _, head, _, row, _ = reliability.kills(record).splitlines()
    assert first == "3 kills and 4 disturbances, 0 bad."
    assert dict(zip(cells(head), cells(row), strict=True)) == {
        "command": "`triage`", "kills": "3", "disturbances": "4", "finished": "1", "refused": "4", "ended": "2",
        "aborted": "0", "bad": "0"}  # fmt: skip


def test_inputs_of_all_engines_are_added():
    found = {"inputs": 1200, "slowest_seconds": 0.126, "faults": ["a"]}
    other = {"inputs": 30, "slowest_seconds": 0.5, "faults": ["a", "b"]}
    record = {"inputs": 1230, "seconds": 5400.0, "targets": {"html": {"pieces": other, "mutations": found}},
              "open": {"html": ["b"]}}  # fmt: skip
    first, _, head, _, row = reliability.fuzzing(record).splitlines()
    assert first == "1,230 inputs in 1.5 hours of one process."
    assert cells(head) == ["target", "mutations", "pieces", "inputs", "slowest, s", "faults found", "open"]
    assert cells(row) == ["html", "1,200", "30", "1,230", "0.50", "2", "1"]


def test_requests_that_were_neither_answered_nor_refused_with_429_are_shown():
    times = {"p50_ms": 1.26, "p95_ms": 2.0, "p99_ms": 3.0}
    part = {"statuses": {"200": 5, "429": 2, "500": 1, "OSError": 1}, "wrong": 1, "accepted": times, "refused": times}
    calm = {"statuses": {"200": 9}, "wrong": 0, "accepted": times}
    near = {"without_flood": calm, "during_flood": part, "flooding_client": part, "changes": 9,
            "memory_mb": {"third_minute": 300.2, "last_minute": 301.0}}  # fmt: skip
    record = {"capacity_per_second": 250.4, "among_bad_clients": near, "beyond_capacity": part}
    lines = reliability.hostile_load(record).splitlines()
    assert lines[0] == ("Capacity 250 answers a second; 9 changes of the bundle; memory of the server 300 MB in the "
                        "third minute and 301 MB in the last.")  # fmt: skip
    assert cells(lines[4])[1:] == ["9", "1.3", "3.0", "0", "", "", "0", "0"]
    assert cells(lines[5])[1:] == ["5", "1.3", "3.0", "2", "1.3", "3.0", "2", "1"]
