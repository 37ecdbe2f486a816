import importlib.util
import json
from pathlib import Path

import pytest

from benchmarks.speed import BENCHMARKS

FOLDER = Path(__file__).parents[2] / "benchmarks"


def guard():
    spec = importlib.util.spec_from_file_location("guard", FOLDER / "guard.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("better", "now", "lost"),
    [
        ("higher", 3.0, False),
        ("higher", 2.99, True),
        ("higher", 9.0, False),
        ("lower", 5.0, False),
        ("lower", 5.01, True),
    ],
)
def test_a_loss_of_more_than_a_quarter_is_told(better, now, lost):
    found = guard().losses({"x": {"ratio": 4.0, "better": better}}, [{"name": "x", "ratio": now}])
    assert bool(found) is lost


def test_a_row_that_is_gone_is_a_loss():
    assert guard().losses({"x": {"ratio": 4.0, "better": "higher"}}, []) == ["x: not measured any more"]


def test_what_is_kept_are_measurements_that_exist():
    kept = json.loads((FOLDER / "guard.json").read_text(encoding="utf-8"))["benchmarks"]
    assert kept
    assert set(kept) <= set(BENCHMARKS)
    for benchmark in kept.values():
        assert 0 < benchmark["scale"] <= 1
        assert benchmark["rows"]
