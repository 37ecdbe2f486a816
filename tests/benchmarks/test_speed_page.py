"""The page of speeds shows the records that are kept, and says of each row what it is compared with."""

from pathlib import Path

from benchmarks.pages import markers
from benchmarks.speed import page

ROOT = Path(__file__).parents[2]


def test_the_page_shows_the_kept_records():
    begin, end = markers("speed")
    shown = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8").partition(begin)[2].partition(end)[0]
    assert shown.strip() == page.tables(page.records())


def test_every_row_of_a_record_has_its_words():
    for record in page.records():
        assert {row["name"] for row in record["rows"]} <= page.ROWS.keys()


def test_a_cell_shows_ratio_spread_and_both_sides_and_is_bold_where_the_target_is_met():
    row = {
        "name": "whole-bank-step",
        "ratio": 3.5869,
        "target": 3.0,
        "met": True,
        "better": "higher",
        "ratio_spread": {"low": 3.41, "high": 3.83},
        "ours": {"seconds": {"median": 0.1077}, "arithmetic": "bfloat16"},
        "theirs": {"seconds": {"median": 0.4023}},
        "about": {"growth": {"candidates": [10, 20], "processor_seconds": [0.5, 1.0], "slope": 1.0}},
    }
    machine = {"date": "2026-01-02", "arithmetic": {"chosen": {"loss": "float32"}, "gflops_of_one_thread": {}}}
    first = {"environment": {"cpu": "first", **machine}, "rows": [row]}
    second = {"environment": {"cpu": "second", **machine}, "rows": [{**row, "met": False, "target": 2.0}]}
    lines = page.tables([first, second]).splitlines()
    cell = "3.59 (3.41 to 3.83)\N{NO-BREAK SPACE}×{}; 0.108 against 0.402\N{NO-BREAK SPACE}s; bfloat16"
    assert lines[0] == "| work | against | target | first, 2026-01-02 | second, 2026-01-02 |"
    (shown,) = [line for line in lines if line.startswith("| whole-bank step")]
    assert shown.endswith(f" | ≥ 2 × | **{cell.format('**')} | {cell.format('')} |")
    assert "| whole-bank-step | 10 to 20 candidates | 0.5 to 1 s, exponent 1.00 | 0.5 to 1 s, exponent 1.00 |" in lines
    assert "| first, 2026-01-02 | loss | float32 | – | – | – | – |" in lines
