"""The report says when to abstain, how to choose a threshold, and when the confidence must not be used."""

import json
from pathlib import Path

import numpy as np
import pytest

from segue.comparison.record import Record
from segue.evaluation.confidence.judge import THRESHOLDS
from segue.reports import document, report_content
from segue.reports.document import Report
from segue.reports.render import render_markdown
from segue.reports.sections.confidence import confidence_section

SAMPLE = json.loads(Path(__file__).with_name("sample_triage.json").read_text(encoding="utf-8"))


def span(value, width=0.02):
    return {"value": value, "low": value - width, "high": value + width}


def cutoff(base, *, usable=True):
    """A confidence whose share answered falls evenly, and whose share right rises as it does."""
    curve = [
        {"threshold": t, "answered": span(1 - t), "right": span(base + t * (1 - base)) if t < 0.9 else None}
        for t in THRESHOLDS
    ]
    told = {
        "separation": span(0.61),
        "curve": [{"threshold": t, "answered": span(0.5 - t / 2)} for t in THRESHOLDS],
    }
    together = {
        "right": span(base),
        "auroc": span(0.7 if usable else 0.5),
        "brier": span(0.15),
        "brier_constant": 0.2,
        "calibration_error": span(0.03),
        "curve": curve,
        "reliability": [{"confidence": c, "right": span(c)} for c in np.linspace(0.1, 0.9, 9).tolist()],
    }
    return {"together": together, "answerable": together, "absent": told, "ended": told, "usable": usable}


def measured(five=True, one=True):
    record = {"option": "gru", "mix": {"answerable": 2 / 3, "absent": 1 / 6, "ended": 1 / 6}, "groups": 90,
              "queries": {"test": {"answerable": 1000, "absent": 500, "ended": 90}}}  # fmt: skip
    return record | {"judged": {"R@1": cutoff(0.15, usable=one), "R@5": cutoff(0.3, usable=five)}}


@pytest.fixture
def no_drawing(monkeypatch):
    monkeypatch.setattr(document, "to_svg", lambda figure, name: '<svg viewBox="0 0 1 1"></svg>')


def of(confidence, **more):
    return Record.model_validate(SAMPLE | {"confidence": confidence} | more)


def markdown(record):
    section = confidence_section(of(record))
    return render_markdown(Report("Title", (), (), (section,)))


def test_it_says_how_to_choose_a_threshold(no_drawing):
    text = markdown(measured())
    assert "66.7 % are answerable (1,000 queries)" in text
    assert "For example, answering from 0.5 on answers 50.0 % (48.0–52.0) of all queries" in text
    assert "65.0 % (63.0–67.0) of these answers are right within the first five, instead of 30.0 %" in text
    assert "still answers 25.0 % of those that had their next passage taken out of the bank" in text
    assert "| 0.5 | 65.0 (63.0–67.0) | 50.0 (48.0–52.0) | 50.0 | 25.0 | 25.0 |" in text
    assert "| 0.9 | – |" in text
    assert "Not to be used" not in text


def test_a_confidence_that_tells_nothing_is_not_recommended(no_drawing):
    text = markdown(measured(five=False, one=False))
    assert "**Not to be used** for answers within the first five and at rank 1" in text
    assert "To choose a threshold" not in text
    assert "| Answer from |" not in text


def test_one_that_helps_at_rank_1_only_has_only_that_table(no_drawing):
    text = markdown(measured(five=False))
    assert "**Not to be used** for answers within the first five:" in text
    assert text.count("**At rank 1**") == 1
    assert "**Within the first five**" not in text


def test_without_one_or_without_anything_answered_there_is_no_picture():
    assert not confidence_section(of(None)).blocks
    record = measured(five=False, one=False)
    for judged in record["judged"].values():
        for entry in judged["together"]["curve"][1:]:
            entry |= {"answered": span(0.0, 0.0), "right": None}
        judged["together"] |= {"auroc": None, "reliability": judged["together"]["reliability"][:1]}
        judged["absent"]["separation"] = None
    kinds = [block.kind for block in confidence_section(of(record)).blocks]
    assert kinds == ["paragraph", "notice", "table"]


def test_both_pictures_are_drawn():
    section = confidence_section(of(measured()))
    gallery = next(block for block in section.blocks if block.kind == "gallery")
    assert all(figure.draw().axes for figure in gallery.figures)
    assert [figure.name for figure in gallery.figures] == ["confidence-curve", "confidence-reliability"]
    assert gallery.figures[0].alternative == (
        "Answering the surest 50 %: 65 % right within the first five, instead of 30 %"
    )


def test_a_blocked_report_says_nothing_of_it():
    report = report_content(of(measured(), blocked=["SG101"], unsafe=False))
    assert "confidence" not in [section.name for section in report.sections]
