"""How the numbered checks are shown: the same words in every form, marks beside colours, labels on unsafe numbers."""

import copy
import io
import json
import re
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from rich.console import Console

from segue.comparison.record import Cause, Finding, Record
from segue.reports import (
    causes_lines,
    document,
    findings_table,
    report_content,
    summary_lines,
    terminal_table,
    write_report,
)
from segue.reports.plots.diagnosis import PLOTS, ceiling_figure, diagnosis_gallery, offsets_figure
from segue.reports.render import render_html, render_markdown
from segue.reports.sections.checks import OUTCOMES, quantity, unproven
from segue.reports.text import plain

SAMPLE = json.loads(Path(__file__).with_name("sample_triage.json").read_text(encoding="utf-8"))
CHECK_KEYS = ("audit", "diagnosis", "causes", "muted")
BLOCKING = {
    "code": "SG101", "title": "Targets in the index", "question": "Is it there?", "outcome": "issue",
    "statement": "Of 900 targets 810 are not candidates.", "measured": 0.9, "threshold": 0.0,
    "unit": "share of targets",
    "healthy": "no target missing", "fix": "build the index again", "seconds": 0.1, "details": {},
}  # fmt: skip


@pytest.fixture
def sample():
    return copy.deepcopy(SAMPLE)


@pytest.fixture
def undrawn(monkeypatch):
    monkeypatch.setattr(document, "to_svg", lambda figure, name: '<svg viewBox="0 0 10 10"></svg>')


@pytest.fixture
def blocked(sample):
    return sample | {"blocked": ["SG101"], "audit": [BLOCKING, *sample["audit"][1:]]}


def few(triage):
    """The same triage with three options, so that little has to be drawn."""
    kept = [row for row in triage["entries"] if row["name"] in ("copy-last", "ar-cosine", "gru")]
    return triage | {"entries": kept}


def of(values):
    return Record.model_validate(values)


def findings(*values):
    return [Finding.model_validate(one) for one in values]


def both(triage):
    report = report_content(of(triage))
    return render_markdown(report), render_html(report)


@pytest.fixture(scope="module")
def shown():
    """The sample as Markdown and as a page."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(document, "to_svg", lambda figure, name: '<svg viewBox="0 0 10 10"></svg>')
        return both(few(SAMPLE))


def section(text, title):
    """One section of a Markdown report."""
    return re.search(rf"^## {re.escape(title)}.*?\n(.*?)(?=^## |\Z)", text, re.M | re.S)[1]


def printed(table, width=120):
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(table)
    return console.export_text()


@pytest.mark.parametrize("finding", SAMPLE["audit"], ids=lambda finding: finding["code"])
def test_every_integrity_check_has_a_line_with_figures_and_outcome(finding, shown):
    text = section(shown[0], "Integrity: may these numbers be printed?")
    line = next(line for line in text.splitlines() if f"`{finding['code']}`" in line)
    told = OUTCOMES[finding["outcome"]]
    assert f"{told.mark} {told.word}" in line
    assert plain(finding["healthy"]) in line
    assert quantity(finding["measured"], finding["unit"]) in line
    assert quantity(finding["threshold"], finding["unit"]) in line


def test_diagnosis_prints_causes_then_loud_checks_then_the_quiet_ones(shown):
    text = section(shown[0], "Why is it not better?")
    places = [text.index(part) for part in ("### 1. The loss terms", "### 2. Predictions copy", "✕ issue", "! tip",
                                            "✓ 6 passed", "» skipped", "∅ muted",
                                            "– not applicable")]  # fmt: skip
    assert places == sorted(places)
    assert "Evidence: `SG204` (issue) and `SG203`." in text
    assert "Options that address it: `infonce-ar` and `infonce`." in text
    for finding in SAMPLE["diagnosis"]:
        assert finding["statement"].split(";")[0].replace("_", r"\_") in text


def test_that_no_cause_was_found_is_printed(undrawn):
    text = section(both(few(SAMPLE | {"causes": []}))[0], "Why is it not better?")
    assert "**No cause found.**" in text
    assert "### " not in text
    assert causes_lines([])[0].startswith("No cause found")


def test_quiet_checks_are_counted_above_their_table(shown):
    for text in shown:
        assert "✓ 6 passed. Checks that found nothing wrong." in text
        assert "Contain@50 is 86.1" in text


def test_a_cause_does_not_repeat_what_its_checks_state(shown):
    evidence = {code for cause in SAMPLE["causes"] for code in cause["evidence"]}
    stated = [finding["statement"] for finding in SAMPLE["diagnosis"] if finding["code"] in evidence]
    assert stated
    assert {shown[0].count(plain(statement)) for statement in stated} == {1}


def test_without_findings_there_is_neither_section(sample, undrawn):
    bare = {key: value for key, value in few(sample).items() if key not in CHECK_KEYS}
    for text in both(bare):
        assert "Integrity" not in text
        assert "Why is it not better?" not in text


def test_blocked_report_speaks_in_the_findings_words(blocked, undrawn):
    markdown, page = both(blocked)
    for text in (markdown, page, printed(terminal_table(of(blocked)), 200)):
        assert BLOCKING["statement"] in text
        assert BLOCKING["fix"] in text
        assert "90.0 %" in text.replace("\u00a0", " ")
    assert "Why is it not better?" not in markdown
    assert "<svg" not in page
    assert "✓ passed" in section(markdown, "Integrity: may these numbers be printed?")


def test_blocked_report_names_only_causes_that_rest_on_what_failed(blocked, undrawn):
    cause = {"name": "target-not-searched", "title": "The truth is not searched", "statement": "It is not there.",
             "evidence": ["SG101"], "options": [], "fix": "build the index again"}  # fmt: skip
    text, _ = both(blocked | {"causes": [*blocked["causes"], cause]})
    assert "### 1. The truth is not searched" in text
    assert "loss terms" not in text


def test_unsafe_is_said_wherever_a_number_is(sample, tmp_path):
    unsafe = few(sample) | {"blocked": ["SG104"], "unsafe": True}
    (tmp_path / "triage.json").write_text(json.dumps(unsafe), encoding="utf-8")
    paths = write_report(tmp_path)
    markdown, page = paths.markdown.read_text(encoding="utf-8"), paths.html.read_text(encoding="utf-8")
    assert markdown.startswith("# UNSAFE: ")
    assert "<title>UNSAFE: " in page
    assert "## TL;DR (UNSAFE)" in markdown
    assert "## All options, all metrics (UNSAFE)" in markdown
    captions = re.findall(r"^\*(?!\*\*UNSAFE)(?!\*).*\*$", markdown, re.M)
    assert all("UNSAFE" in caption or is_without_numbers(caption) for caption in captions), captions
    assert all("UNSAFE" in figure for figure in re.findall(r"<svg.*?</svg>", page, re.S))
    assert all("UNSAFE" in path.read_text(encoding="utf-8") for path in (tmp_path / "report_files").iterdir())
    assert printed(terminal_table(of(unsafe))).startswith("UNSAFE")
    told = [line for line in summary_lines(of(unsafe)) if re.search(r"\d\.\d %|Gates", line)]
    assert told
    assert all(line.startswith("UNSAFE") for line in told)


def is_without_numbers(caption):
    return any(part in caption for part in ("Integrity checks", "Paths are", "time went", "As recorded"))


def test_a_safe_report_never_says_unsafe(shown):
    assert "UNSAFE" not in "".join([*shown, *summary_lines(of(SAMPLE)), printed(terminal_table(of(SAMPLE)))])


def test_checks_that_were_not_carried_out_are_named_above_all_numbers(sample, shown, undrawn):
    sample["audit"][3] |= {"outcome": "muted"}
    sample["audit"][4] |= {"outcome": "skipped"}
    triage = few(sample) | {"muted": ["SG104", "SG214"], "unsafe": True}
    assert unproven(of(triage)) == {"skipped": ["SG105"], "muted": ["SG104"]}
    said = "**Not examined:** 2 integrity checks. `SG105` was skipped and `SG104` was muted."
    assert said in both(triage)[0].split("## ")[0]
    assert any("SG105 was skipped" in line for line in summary_lines(of(triage)))
    assert "Not examined" not in shown[0]


def test_terminal_lists_issues_first_with_figures_and_what_to_do():
    text = printed(findings_table(findings(*SAMPLE["audit"], *SAMPLE["diagnosis"])))
    assert max(map(len, text.splitlines())) <= 120
    order = [line.split()[2] for line in text.splitlines()[1:] if re.match(r"SG\d", line)]
    assert order == sorted(order, key=["issue", "tip", "passed", "skipped", "muted", "not"].index)
    assert "measured −0.360 cosine · threshold 0 · healthy: not below 0 early in" in text
    assert "→ drop a term, or train both in one space" in text
    assert text.count("→") == 4


def test_terminal_prints_causes_with_evidence_fix_and_options():
    lines = causes_lines([Cause.model_validate(cause) for cause in SAMPLE["causes"]])
    assert lines[0] == "1. The loss terms oppose each other (SG204 and SG203)"
    assert "   → train with one objective in the space that is searched" in lines
    assert "   options: infonce-ar and infonce" in lines


def test_terminal_keeps_control_characters_out():
    text = printed(findings_table(findings(BLOCKING | {"statement": "a\x1b[31mb\nc"})))
    assert "\x1b" not in text
    assert "a [31mb c" in text


def test_every_picture_is_drawn_from_the_sample_and_says_what_is_seen():
    gallery = diagnosis_gallery(of(SAMPLE))
    assert len(gallery.figures) == len(PLOTS)
    for figure in gallery.figures:
        assert re.search(r"\d", figure.alternative)
        shown = re.sub(r"\s+", " ", " ".join(re.findall(r">([^<>]+)</", figure.svg)))
        assert figure.alternative.split()[0] in shown
        assert re.search(r"%|steps|rank|direction|documents", shown)


@pytest.mark.parametrize(("code", "draw"), PLOTS)
@pytest.mark.parametrize(
    "details", [{}, {"rows": {}}, {"rows": {"a": {}}}, {"rows": None}, {"arms": {"true order": None}}]
)
def test_without_its_details_a_picture_is_left_out(code, draw, details):
    (finding,) = findings(BLOCKING | {"code": code, "details": details})
    assert draw(of(SAMPLE), finding) is None


def test_pictures_need_no_options_on_record():
    gallery = diagnosis_gallery(of(SAMPLE | {"entries": [], "winner": None}))
    assert len(gallery.figures) == len(PLOTS)
    assert all(figure.draw().axes for figure in gallery.figures)


def mangled(value, kept):
    """The same structure with one key's values, wherever it stands, replaced by what no picture expects."""
    if isinstance(value, dict):
        return {key: [None, "text"] if key == kept else mangled(part, kept) for key, part in value.items()}
    return [mangled(part, kept) for part in value] if isinstance(value, list) else value


@pytest.mark.parametrize("key", ["rows", "pairs", "control", "steps", "low", "spectrum_targets", "rank_predictions",
                                 "share_of_top_1_percent", "slots", "nearest", "edges", "share", "impostors",
                                 "median_rank", "pareto", "losses", "arms", "probe", "documents", "R@5",
                                 "contain", "k"])  # fmt: skip
def test_any_part_of_a_picture_may_be_something_else(key):
    changed = [finding | {"details": mangled(finding["details"], key)} for finding in SAMPLE["diagnosis"]]
    concerned = [new for new, old in zip(changed, SAMPLE["diagnosis"], strict=True) if new != old]
    assert concerned
    gallery = diagnosis_gallery(of(SAMPLE | {"diagnosis": concerned}))
    assert all(figure.draw().axes for figure in (gallery.figures if gallery else ()))


def test_offsets_leave_out_a_row_that_always_copies():
    finding = next(f for f in of(SAMPLE).diagnosis if f.code == "SG209")
    figure = offsets_figure(of(SAMPLE), finding)
    assert "Not drawn, always at the same offset: `copy-last`." in figure.caption
    assert "29.0 %" in figure.alternative


def test_gap_to_the_ceiling_is_the_difference_of_two_measured_numbers():
    (finding,) = findings(BLOCKING | {"details": {"rows": {"a": {"k": [5, 50], "contain": [0.4, 0.75]}}}})
    assert "at most 35.0 points over R@5" in ceiling_figure(of(SAMPLE), finding).caption


def test_markdown_of_the_checks_is_whole(shown):
    rendered = MarkdownIt("commonmark").enable("table").render(shown[0])
    for finding in [*SAMPLE["audit"], *SAMPLE["diagnosis"]]:
        assert f"<td><code>{finding['code']}</code>" in rendered


def test_while_numbers_are_refused_only_what_blocks_them_is_quoted(blocked):
    first, second, *rest = blocked["audit"]
    audit = [first, second | {"outcome": "passed", "statement": "validation R@5 28.4 % raw"}, *rest]
    for text in both(few(blocked | {"audit": audit})):
        assert "28.4" not in text
        assert BLOCKING["statement"].split(".")[0] in text
