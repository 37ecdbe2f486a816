"""The report says what was measured, nothing else, and is safe to paste anywhere."""

import base64
import copy
import hashlib
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.console import Console

from segue.errors import InputError
from segue.reports import (
    checks_tables,
    context,
    details_plots,
    plots,
    public_json,
    report_context,
    small_plots,
    summary_lines,
    terminal_table,
    write_report,
)
from segue.reports.plots.svg import ROLES
from segue.reports.public import PUBLIC_METRICS
from segue.reports.render import render_html, render_markdown

SAMPLE = json.loads(Path(__file__).with_name("sample_triage.json").read_text(encoding="utf-8"))
HOSTILE = '<script>alert(1)</script><img src=x onerror=y>| **b** `c` $x^2$ "q" \n# h'


@pytest.fixture
def sample():
    return copy.deepcopy(SAMPLE)


def undrawn(patch):
    """Run all plotting code but the drawing itself, which takes most of the time."""
    for module in (plots, details_plots, small_plots):
        patch.setattr(module, "to_svg", lambda figure, name: '<svg viewBox="0 0 1 1"></svg>')


@pytest.fixture
def no_drawing(monkeypatch):
    undrawn(monkeypatch)


@pytest.fixture
def no_plots(monkeypatch):
    for name in ("intervals", "recall", "scatter", "curves", "ranks"):
        monkeypatch.setattr(context, f"{name}_figure", lambda comparison: None)
    monkeypatch.setattr(checks_tables, "diagnosis_gallery", lambda comparison, findings: None)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    run = tmp_path_factory.mktemp("run")
    (run / "triage.json").write_text(json.dumps(SAMPLE), encoding="utf-8")
    return write_report(run)


def option(triage, name):
    return next(row for row in triage["options"] if row["name"] == name)


def small(triage, *names):
    """The triage with few options, in the given order, and few checks, so that little is drawn."""
    triage["options"] = [option(triage, name) for name in names]
    triage["diagnosis"] = [finding for finding in triage["diagnosis"] if finding["code"] in ("SG201", "SG216", "SG218")]
    return triage


class Page(HTMLParser):
    """Collects what a browser would act upon: addresses, ids, tags, and the rows of each table."""

    def __init__(self, text):
        super().__init__()
        self.addresses, self.ids, self.tags, self.rows, self.cell = [], [], [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.tags.append(tag)
        self.ids += [found["id"]] if "id" in found else []
        self.addresses += [found[name] for name in ("src", "href", "xlink:href", "action", "data") if name in found]
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self.cell = True

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.cell = None

    def handle_data(self, data):
        if self.cell:
            self.rows[-1][-1] += data.strip() + " "


def everything_shown(triage, run):
    """All that a person or a script gets to see."""
    run.mkdir(exist_ok=True)
    (run / "triage.json").write_text(json.dumps(triage), encoding="utf-8")
    paths = write_report(run)
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(terminal_table(triage))
    texts = [path.read_text(encoding="utf-8") for path in (paths.markdown, paths.html, paths.json)]
    return "\n".join([*texts, console.export_text(), *summary_lines(triage)])


def test_all_parts_of_the_report_are_there(written):
    text = written.markdown.read_text(encoding="utf-8")
    titles = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert titles == [
        "TL;DR", "Integrity", "Metrics", "Gates", "From validation to test", "Projection-head compatibility",
        "Why is it not better?", "Hypotheses and evidence", "Options", "Recommendation", "Key learnings", "Files",
        "Next steps", "Appendix: all differences, other rules, other metrics", "Definitions", "Machine and time",
    ]  # fmt: skip
    page = written.html.read_text(encoding="utf-8")
    assert [re.sub("<.*?>", "", title) for title in re.findall(r"<h2>(.*?)</h2>", page)] == titles


def test_markdown_shows_every_plot_as_a_file(written):
    links = re.findall(r"!\[[^]]*\]\(([^)]+)\)", written.markdown.read_text(encoding="utf-8"))
    of_checks = {"gradients", "weights", "spectrum", "hubs", "offsets", "truth", "order", "data", "ceiling"}
    assert {Path(link).stem for link in links} == {"intervals", "recall", "scatter", "curves", "ranks", *of_checks}
    assert all((written.markdown.parent / link).read_text(encoding="utf-8").startswith("<svg") for link in links)


def test_page_loads_nothing_and_runs_only_its_own_script(written):
    text = written.html.read_text(encoding="utf-8")
    page = Page(text)
    assert all(address.startswith("#") for address in page.addresses)
    assert "http:" not in text
    assert "https:" not in text
    assert "@import" not in text
    assert set(re.findall(r"url\((.)", text)) <= {"#"}
    script = re.search(r"<script>(.*?)</script>", text, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in text


def test_ids_of_the_page_are_unique_and_all_inner_links_lead_somewhere(written):
    page = Page(written.html.read_text(encoding="utf-8"))
    assert len(page.ids) == len(set(page.ids))
    assert {address.removeprefix("#") for address in page.addresses} <= set(page.ids)


def test_plots_in_the_page_follow_the_theme_and_plots_in_files_do_not_need_one(written):
    figures = re.findall(r"<svg.*?</svg>", written.html.read_text(encoding="utf-8"), re.DOTALL)
    colours = {colour for figure in figures for colour in re.findall(r"(?:fill|stroke): (#\w+)", figure)}
    assert colours == set()
    for path in (written.html.parent / "report_files").iterdir():
        assert "var(" not in path.read_text(encoding="utf-8")
    assert len({light for light, _ in ROLES.values()}) == len(ROLES)


def test_report_is_the_same_for_the_same_measurements(sample):
    few = small(sample, "copy-last", "ar-cosine", "gru")
    assert render_html(report_context(few)) == render_html(report_context(copy.deepcopy(few)))


def test_every_number_of_the_metric_table_stands_in_the_json(written):
    public = {row["name"]: row["metrics"] for row in json.loads(written.json.read_text(encoding="utf-8"))["options"]}
    page = written.html.read_text(encoding="utf-8")
    table = page[page.index('id="table-metrics"') :]
    rows = [row for row in Page(table[: table.index("</table>")]).rows if len(row) > 1][1:]
    names = ["R@1", "R@5", "R@10", "Contain@50", "Eff@5", "MRR", "cosine", "total_p95_ms"]
    factor = dict.fromkeys(("R@1", "R@5", "R@10", "Contain@50"), 100)
    places = {"Eff@5": 2, "MRR": 3, "cosine": 3, "total_p95_ms": 2}
    assert len(rows) == len(public)
    for row in rows:
        for name, cell in zip(names, row[1:], strict=False):
            ends = [public[row[0].split()[0]][name][end] for end in ("value", "low", "high")]
            shown = [f"{factor.get(name, 1) * end:.{places.get(name, 1)}f}" for end in ends if end is not None]
            assert re.findall(r"\d+\.\d+", cell) == shown, (row[0], name)


def test_markdown_tables_are_whole_and_hold_the_same_numbers(written):
    text = written.markdown.read_text(encoding="utf-8")
    rendered = Page(MarkdownIt("commonmark").enable("table").render(text))
    page = Page(written.html.read_text(encoding="utf-8"))
    numbers = [[re.findall(r"[\d.]+", cell) for cell in row] for row in rendered.rows if len(row) == 11]
    expected = [[re.findall(r"[\d.]+", cell) for cell in row] for row in page.rows if len(row) == 11]
    assert [row[1:] for row in numbers if any(row[1:])] == [row[1:] for row in expected if any(row[1:])]


def marked(value):
    """The same structure with every number replaced by one that is easy to spot."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return 0.98765
    if isinstance(value, dict):
        return {key: marked(part) for key, part in value.items()}
    return [marked(part) for part in value] if isinstance(value, list) else value


def test_blocked_run_prints_no_measured_number_anywhere(sample, tmp_path):
    triage = small(sample, "oracle", "copy-last", "ar-cosine", "infonce-projected", "gru")
    for key in ("options", "gates", "procedure", "diagnosis"):
        triage[key] = marked(triage[key])
    triage["audit"] = [finding for finding in triage["audit"] if finding["threshold"] != 0.98]
    triage["gates"] = [gate | {"threshold": 0.5} for gate in triage["gates"]]
    spotted = re.compile(r"98\.8|0\.98|0\.99|98765")
    assert spotted.search(everything_shown(triage, tmp_path / "run"))
    shown = everything_shown(triage | {"blocked": ["SG101", "SG999"], "winner": "gru"}, tmp_path / "run")
    assert not spotted.search(shown)
    assert "SG101" in shown
    assert "build the index over the bank" in shown
    assert "<svg" not in shown
    assert not (tmp_path / "run" / "report_files").exists()


def test_unsafe_numbers_are_labelled(sample, tmp_path):
    triage = small(sample, "copy-last", "ar-cosine") | {"blocked": ["SG104"], "unsafe": True}
    shown = everything_shown(triage, tmp_path / "run")
    assert shown.count("UNSAFE") >= 3
    assert f"{100 * SAMPLE['options'][2]['metrics']['R@5']['value']:.1f}" in shown


def test_json_keeps_its_keys_and_says_null_for_what_is_not_there(sample):
    public = public_json(sample)
    assert list(public) == ["pool", "windows", "documents", "blocked", "unsafe", "winner", "run", "gates", "options"]
    assert set(public["gates"][0]) == {"name", "outcome", "value", "low", "high", "threshold"}
    assert all(tuple(row["metrics"]) == PUBLIC_METRICS for row in public["options"])
    assert option(public, "bm25")["metrics"]["cosine"] == {"value": None, "low": None, "high": None}
    blocked = public_json(sample | {"blocked": ["SG101"]})
    assert blocked["winner"] is None
    assert {value for row in blocked["options"] for metric in row["metrics"].values() for value in metric.values()} == {
        None
    }
    assert {gate["outcome"] for gate in blocked["gates"]} == {None}


def hostile(value):
    """The same structure with every text replaced by one that tries to break out; what is looked up by name stays."""
    if isinstance(value, dict):
        kept = ("family", "intent", "status", "outcome", "size", "code")
        return {key: part if key in kept else hostile(part) for key, part in value.items()}
    if isinstance(value, list):
        return [hostile(part) for part in value]
    return HOSTILE if isinstance(value, str) else value


def test_hostile_texts_stay_texts(sample):
    triage = hostile(small(sample, "copy-last", "ar-cosine", "infonce-projected", "gru"))
    report = report_context(triage)
    page = render_html(report)
    assert Page(page).tags.count("script") == 1
    assert "img" not in Page(page).tags
    assert "&lt;script&gt;alert(1)" in page
    markdown = render_markdown(report)
    rendered = Page(MarkdownIt("gfm-like", {"linkify": False}).render(markdown))
    assert "script" not in rendered.tags
    assert rendered.tags.count("img") == len(report.figures)
    assert rendered.tags.count("h1") == 1


def every_path(value, path=()):
    """Paths of all keys, lists aside."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield (*path, key)
            yield from every_path(part, (*path, key))
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for number in range(len(value)):
            yield from every_path(value[number], (*path, number))


def without(value, path, put=None):
    """A copy without the key at the path (or with ``put`` in its place)."""
    value = copy.deepcopy(value)
    inner = value
    for key in path[:-1]:
        inner = inner[key]
    del inner[path[-1]]
    return value if put is None else (inner.__setitem__(path[-1], put[0]), value)[1]


FEW = small(copy.deepcopy(SAMPLE), "chance", "copy-last", "ar-cosine", "infonce-projected", "gru")
PATHS = list(every_path(FEW))


def rendered(triage):
    report = report_context(triage)
    Console(width=120, file=io.StringIO()).print(terminal_table(triage))
    public_json(triage)
    summary_lines(triage)
    text = render_markdown(report)
    assert "None" not in text
    assert "nan" not in re.findall(r"[a-z]+", text)
    return render_html(report)


PLOTTED = ("family", "intent", "metrics", "name", "rank_histogram", "recall_curve", "training", "validation")


@pytest.mark.parametrize("key", list(SAMPLE))
def test_any_top_level_part_may_be_missing(key, no_plots):
    rendered(without(FEW, (key,)))


@pytest.mark.parametrize("key", sorted({*SAMPLE["options"][-1]} - {*PLOTTED}))
def test_any_part_of_all_options_may_be_missing(key, no_plots):
    rendered(FEW | {"options": [{name: row[name] for name in row if name != key} for row in FEW["options"]]})


@pytest.mark.parametrize("key", PLOTTED)
def test_any_part_that_is_plotted_may_be_missing(key, no_drawing):
    rendered(FEW | {"options": [{name: row[name] for name in row if name != key} for row in FEW["options"]]})


@settings(deadline=None, max_examples=10)
@given(st.lists(st.sampled_from(PATHS), min_size=3, max_size=25), st.sampled_from([None, (None,), ("text",), ([],)]))
def test_any_parts_may_be_missing_together(paths, put):
    triage = FEW
    for path in paths:
        try:
            triage = without(triage, path, put)
        except (KeyError, TypeError, IndexError):
            continue
    with pytest.MonkeyPatch.context() as patch:
        undrawn(patch)
        rendered(triage)


def test_nothing_measured_is_a_report_too(no_drawing):
    assert "No candidate was measured" in rendered({})
    rendered({"options": [{"name": "a", "status": "failed", "reason": "no memory", "family": "loss"}]})


def test_run_without_measurements_is_named(tmp_path):
    with pytest.raises(InputError, match=r"triage\.json does not exist"):
        write_report(tmp_path)
    (tmp_path / "triage.json").write_text("[]", encoding="utf-8")
    with pytest.raises(InputError, match="expected a JSON object"):
        write_report(tmp_path)


def test_terminal_table_fits_120_columns_and_marks_the_winner(sample):
    console = Console(width=300, record=True, file=io.StringIO())
    console.print(terminal_table(sample))
    lines = [line.rstrip() for line in console.export_text().splitlines()]
    assert max(map(len, lines)) <= 120
    assert [line.split()[1] for line in lines if line.startswith("★")] == [sample["winner"]]
    recall = option(sample, "copy-last")["metrics"]["R@5"]
    shown = f"{100 * recall['value']:.1f} ±{50 * (recall['high'] - recall['low']):.1f}"
    assert any(shown in line for line in lines if "copy-last" in line)


def test_summary_names_gates_and_winner(sample):
    text = "\n".join(summary_lines(sample))
    assert f"The winner is {sample['winner']}" in text
    assert "Gates: phase-1, contain, recall and ship pass" in text
