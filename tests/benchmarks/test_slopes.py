"""The table of slopes says what was measured, and projections follow by hand arithmetic."""

import json
from pathlib import Path

import pytest

from benchmarks import slopes
from benchmarks.pages import markers
from benchmarks.speed.turns import SideResult
from segue.errors import InputError

ROOT = Path(__file__).parents[2]
BEGIN, END = markers("slopes")
SIZES = [250_000, 500_000, 1_000_000, 2_000_000]


def side(size, seconds):
    """Return a side whose three turns have a median of so many seconds, on two busy cores."""
    values = {"seconds": [seconds, 0.5 * seconds, 3 * seconds], "processor_seconds": [2 * seconds] * 3}
    return SideResult(values, {"size": size, "peak_anonymous_mb": 100 + size / 10_000})


def record(seconds):
    return slopes.record_of(slopes.STEPS["windows"], [side(size, seconds(size / 1e6)) for size in SIZES])


@pytest.fixture
def measured():
    """1 s and 6 s per million passages; and the square of the millions."""
    found = {"windows": record(lambda millions: 1 + 6 * millions), "epoch": record(lambda millions: millions**2)}
    return {"cpu": "a processor", "cores": 2, "commit": "abc", "repeats": 3, "scale": 1.0, "steps": found}


def test_a_step_has_the_line_of_its_medians(measured):
    linear, square = measured["steps"].values()
    assert linear["seconds_per_million"] == pytest.approx(6)
    assert linear["seconds_at_zero"] == pytest.approx(1)
    assert linear["processor_seconds_per_million"] == pytest.approx(12)
    assert (linear["mb_at_zero"], linear["mb_per_million"]) == (pytest.approx(100), pytest.approx(100))
    assert linear["linear"]
    assert linear["largest_deviation"] < 1e-9
    assert not square["linear"]
    assert square["exponent"] == pytest.approx(2)


def test_the_table_projects_what_is_linear_alone(measured):
    """12 processor seconds per million: (2 + 120,000) / 3,600 core-hours for 10 billion."""
    lines = slopes.tables(measured).splitlines()
    (row,) = [line for line in lines if line.startswith("| windows | windows")]
    assert row.endswith("| 250,000 to 2,000,000 passages | 6 | 12 | 0.0% | yes | 100 + 100 |")
    assert "| windows | 0.0339 | 3.33 | 33.3 |" in lines
    assert [line.split("|")[1].strip() for line in lines if line.startswith("| epoch")] == ["epoch"]


def test_the_page_gets_the_table_between_its_markers_and_nothing_else_changes(measured, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    for _ in range(2):
        slopes.write_page(page, measured)
        text = page.read_text()
        assert text.startswith(f"before\n{BEGIN}\n")
        assert text.endswith(f"{END}\nafter\n")
        assert text.count("| windows | 0.0339") == 1
        assert "old" not in text
    page.write_text("no place")
    with pytest.raises(InputError, match="no place for a table"):
        slopes.write_page(page, measured)


def test_the_page_of_the_docs_shows_the_result_that_is_kept():
    """Without a result the page says so."""
    page, kept = (ROOT / "docs" / "scale.md").read_text(), ROOT / "benchmarks" / "results" / "slopes.json"
    shown = page.partition(BEGIN)[2].partition(END)[0].strip()
    assert shown == (slopes.tables(json.loads(kept.read_text())) if kept.exists() else "Not measured yet.")
