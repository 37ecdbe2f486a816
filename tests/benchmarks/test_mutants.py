import subprocess
import sys
from pathlib import Path

from benchmarks import mutants

ROOT = Path(__file__).parents[2]

SOURCE = '''
"""The number 3 of a docstring is no constant."""

LIMIT = 3


def share(part: int, whole: int = 7) -> float:
    """Return 5 % or so."""
    if part < LIMIT and whole:
        raise ValueError(f"{part + 1} is too few")
    return min(part, whole, key=abs) / whole
'''


def test_every_fault_of_a_small_file_is_made_and_none_in_its_words(tmp_path, monkeypatch):
    (tmp_path / "small.py").write_text(SOURCE)
    monkeypatch.setattr(mutants, "SOURCE", tmp_path)
    made = {(mutant.place, mutant.now) for mutant in mutants.mutants_of("small.py")}
    assert made == {
        ("", "LIMIT = (4)"),
        ("share", "if (part < LIMIT or whole):"),
        ("share", "if (part <= LIMIT) and whole:"),
        ("share", "return (min(part, whole, key=abs) * whole)"),
        ("share", "return (max(part, whole, key=abs)) / whole"),
        ("share", "return (min(part, whole)) / whole"),
    }


def test_the_draw_does_not_change_with_other_lines(tmp_path, monkeypatch):
    monkeypatch.setattr(mutants, "SOURCE", tmp_path)
    orders = []
    for above in ("", "\n\ndef other(a: int) -> int:\n    return a + 1\n"):
        (tmp_path / "small.py").write_text(above + SOURCE)
        orders.append([mutant.now for mutant in mutants.mutants_of("small.py") if mutant.place != "other"])
    assert orders[0] == orders[1]


def test_a_fault_is_in_force_once_it_is_put_in():
    """``best_of_runs`` of [1], [5, 2] and [3] is 1, 5, 3; with minima it is 1, 2, 3."""
    code = """
import numpy as np
from benchmarks.mutants import mutants_of, put_in
from segue.ranking.pool import best_of_runs
(fault,) = [one for one in mutants_of("ranking/pool.py") if one.place == "best_of_runs" and "minimum" in one.now]
before = best_of_runs(np.array([1, 5, 2, 3]), np.array([1, 2, 1])).tolist()
put_in(fault)
print(before, best_of_runs(np.array([1, 5, 2, 3]), np.array([1, 2, 1])).tolist())
"""
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[1, 5, 3] [1, 2, 3]"


def test_a_survivor_without_a_reason_is_counted():
    def made(now: str) -> mutants.Mutant:
        return mutants.Mutant("room/file.py", "f", 1, "a < b", now, "")

    drawn = [made("a <= b"), made("a > b"), made("a == b")]
    records = [{"outcome": outcome, "cpu_seconds": 60.0} for outcome in ("survived", "survived", "killed")]
    found = mutants.summarise(drawn, records, {("room/file.py", "a < b", "a <= b"): "a is never b"})
    assert (found["mutants"], found["survived"], found["killed"], found["without_reason"]) == (3, 2, 1, 1)
    assert found["share_without_reason"] == 0.3333
    assert [one["reason"] for one in found["survivors"]] == ["a is never b", None]
    assert found["rooms"] == {"room": {"survived": 2, "killed": 1}}
