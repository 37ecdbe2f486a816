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
from records import COPY, TRAINING, entry
from records import record as compared
from rich.console import Console

from segue.comparison.record import Record
from segue.errors import InputError
from segue.reports import document, public_json, report_content, summary_lines, terminal_table, write_report
from segue.reports.public import PUBLIC_METRICS
from segue.reports.render import render_html, render_markdown
from segue.reports.sections.metrics import overview_table
from segue.reports.svg import ROLES

SAMPLE = json.loads(Path(__file__).with_name("sample_triage.json").read_text(encoding="utf-8"))
HOSTILE = '<script>alert(1)</script><img src=x onerror=y>| **b** `c` $x^2$ "q" \n# h'


@pytest.fixture
def sample():
    return copy.deepcopy(SAMPLE)


@pytest.fixture
def no_drawing(monkeypatch):
    """Run all plotting code but the drawing itself, which takes most of the time."""
    monkeypatch.setattr(document, "to_svg", lambda figure, name: '<svg viewBox="0 0 1 1"></svg>')


def record(values):
    return Record.model_validate(values)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    run = tmp_path_factory.mktemp("run")
    (run / "triage.json").write_text(json.dumps(SAMPLE), encoding="utf-8")
    return write_report(run)


def option(triage, name):
    return next(row for row in triage["entries"] if row["name"] == name)


def small(triage, *names):
    """The triage with few options, in the given order, and few checks, so that little is drawn."""
    triage["entries"] = [option(triage, name) for name in names]
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
    console.print(terminal_table(record(triage)))
    texts = [path.read_text(encoding="utf-8") for path in (paths.markdown, paths.html, paths.json)]
    return "\n".join([*texts, console.export_text(), *summary_lines(record(triage))])


def test_all_parts_of_the_report_are_there(written):
    text = written.markdown.read_text(encoding="utf-8")
    titles = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert titles == [
        "TL;DR", "What was compared", "Recommendation", "All options, all metrics", "Gates", "Hypotheses and evidence",
        "Integrity: may these numbers be printed?", "Why is it not better?",
        "What each option does, and its training", "From validation to test", "Projection-head compatibility",
        "Other rules, other metrics, tuning", "Files", "Definitions", "Data, settings, machine and time",
    ]  # fmt: skip
    page = written.html.read_text(encoding="utf-8")
    assert [re.sub("<.*?>", "", title) for title in re.findall(r"<h2>(.*?)</h2>", page)] == titles


class FirstPart(HTMLParser):
    """Collects the words, the links, the tables and the plots that are seen before anything is opened."""

    def __init__(self, text):
        super().__init__()
        self.words, self.links, self.tables, self.plots, self.hidden, self.is_over = [], [], [], 0, 0, False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.is_over = self.is_over or tag == "details"
        self.hidden += tag in ("style", "script", "title", "svg")
        if not self.is_over:
            self.links += [found["href"]] if tag == "a" else []
            self.tables += [found["id"]] if tag == "figure" and "table" in found["class"] else []
            self.plots += tag == "svg"

    def handle_endtag(self, tag):
        self.hidden -= tag in ("style", "script", "title", "svg")

    def handle_data(self, data):
        self.words += [] if self.is_over or self.hidden else data.split()


def test_the_page_is_short_and_all_else_is_closed_behind_it(written):
    page = FirstPart(written.html.read_text(encoding="utf-8"))
    assert 150 < len(page.words) <= 600
    assert page.tables == ["table-overview"]
    assert page.plots == 3
    text = written.html.read_text(encoding="utf-8")
    assert "<details open" not in text
    closed = re.findall(r"<details>\n<summary><h2>.*?</h2></summary>\n<section id=\"([\w-]+)\">", text)
    assert page.links == ["#metrics"]
    assert {"metrics", "gates", "hypotheses", "integrity", "diagnosis", "files", "machine"} <= {*closed}
    assert text.count("<details>") == len(closed)  # a link to a section inside opens what it is in


def test_the_overview_has_the_winner_first_and_then_by_recall(sample):
    table = overview_table(record(sample))
    names = [line.cells[0].text.strip("`") for line in table.groups[0].rows]
    assert names[0] == sample["winner"]
    assert {"copy-last", "ar-cosine", "infonce-projected", "infonce"} <= {*names}
    assert len(names) <= 8
    recall = [option(sample, name)["metrics"]["R@5"]["value"] for name in names[1:]]
    assert recall == sorted(recall, reverse=True)


def test_the_overview_shows_the_same_reranker_without_the_model():
    alone = entry("copy-last-rerank", 0.54, family="rerank")
    chosen = entry("rerank", 0.55, validation=0.9, family="rerank", training=TRAINING)
    single = entry("gru", 0.4, training=TRAINING | {"anchor": True})
    table = overview_table(compared(COPY, alone, chosen, single, winner="rerank"))
    assert [line.cells[0].text for line in table.groups[0].rows] == [
        "`rerank`", "`copy-last-rerank`", "`gru`", "`copy-last`",
    ]  # fmt: skip


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
    assert render_html(report_content(record(few))) == render_html(report_content(record(copy.deepcopy(few))))


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
    numbers = [[re.findall(r"[\d.]+", cell) for cell in row] for row in rendered.rows if len(row) == 9]
    expected = [[re.findall(r"[\d.]+", cell) for cell in row] for row in page.rows if len(row) == 9]
    assert [row[1:] for row in numbers if any(row[1:])] == [row[1:] for row in expected if any(row[1:])]


def marked(value):
    """The same structure with every number replaced by one that is easy to spot."""
    if isinstance(value, bool):
        return value
    if isinstance(value, float):
        return 0.98765
    if isinstance(value, dict):
        return {key: marked(part) for key, part in value.items()}
    return [marked(part) for part in value] if isinstance(value, list) else value


def test_blocked_run_prints_no_measured_number_anywhere(sample, tmp_path):
    triage = small(sample, "oracle", "copy-last", "ar-cosine", "infonce-projected", "gru")
    for key in ("entries", "gates", "procedure", "diagnosis"):
        triage[key] = marked(triage[key])
    triage["audit"] = [finding for finding in triage["audit"] if finding["threshold"] != 0.98]
    triage["gates"] = [gate | {"threshold": 0.5} for gate in triage["gates"]]
    spotted = re.compile(r"98\.8|0\.98|0\.99|98765")
    assert spotted.search(everything_shown(triage, tmp_path / "run"))
    triage["audit"][0] |= {"outcome": "issue"}
    shown = everything_shown(triage | {"blocked": ["SG101"], "winner": "gru"}, tmp_path / "run")
    assert not spotted.search(shown)
    assert "SG101" in shown
    assert "build the index over the bank" in shown
    assert "<svg" not in shown
    assert not (tmp_path / "run" / "report_files").exists()


def test_unsafe_numbers_are_labelled(sample, tmp_path):
    triage = small(sample, "copy-last", "ar-cosine") | {"blocked": ["SG104"], "unsafe": True}
    shown = everything_shown(triage, tmp_path / "run")
    assert shown.count("UNSAFE") >= 3
    assert f"{100 * SAMPLE['entries'][2]['metrics']['R@5']['value']:.1f}" in shown


def test_json_keeps_its_keys_and_says_null_for_what_is_not_there(sample):
    public = public_json(record(sample))
    assert list(public) == ["pool", "windows", "documents", "blocked", "unsafe", "winner", "choice", "run", "gates",
                            "options"]  # fmt: skip
    assert set(public["gates"][0]) == {"name", "outcome", "value", "low", "high", "threshold"}
    assert all(tuple(row["metrics"]) == PUBLIC_METRICS for row in public["options"])
    bm25 = next(row for row in public["options"] if row["name"] == "bm25")
    assert bm25["metrics"]["cosine"] == {
        "value": None,
        "low": None,
        "high": None,
    }
    blocked = public_json(record(sample | {"blocked": ["SG101"]}))
    assert blocked["winner"] is None
    assert {value for row in blocked["options"] for metric in row["metrics"].values() for value in metric.values()} == {
        None
    }
    assert {gate["outcome"] for gate in blocked["gates"]} == {None}


def hostile(value):
    """The same structure with every text replaced by one that tries to break out; what is looked up by name stays."""
    if isinstance(value, dict):
        kept = ("family", "intent", "status", "outcome", "size", "code", "risk", "exclude")
        return {key: part if key in kept else hostile(part) for key, part in value.items()}
    if isinstance(value, list):
        return [hostile(part) for part in value]
    return HOSTILE if isinstance(value, str) else value


def test_hostile_texts_stay_texts(sample):
    triage = hostile(small(sample, "copy-last", "ar-cosine", "infonce-projected", "gru"))
    report = report_content(record(triage))
    page = render_html(report)
    assert Page(page).tags.count("script") == 1
    assert "img" not in Page(page).tags
    assert "&lt;script&gt;alert(1)" in page
    markdown = render_markdown(report)
    rendered = Page(MarkdownIt("gfm-like", {"linkify": False}).render(markdown))
    assert "script" not in rendered.tags
    assert rendered.tags.count("img") == len(report.figures)
    assert rendered.tags.count("h1") == 1


FEW = small(copy.deepcopy(SAMPLE), "chance", "copy-last", "ar-cosine", "infonce-projected", "gru")


def rendered(triage):
    found = record(triage)
    report = report_content(found)
    for width in (80, 120):
        Console(width=width, file=io.StringIO()).print(terminal_table(found, width=width))
    public_json(found)
    summary_lines(found)
    text = render_markdown(report)
    assert "None" not in text
    assert "nan" not in re.findall(r"[a-z]+", text)
    return render_html(report)


@pytest.mark.parametrize("key", ["procedure", "winner", "winning_losses", "gates", "audit", "diagnosis", "causes",
                                 "muted", "files", "confidence", "seconds", "entries"])  # fmt: skip
def test_any_part_of_a_record_may_be_missing(key, no_drawing):
    empty = {"procedure": None, "winner": None, "winning_losses": None, "confidence": None, "seconds": {}}
    rendered(FEW | {key: empty.get(key, [])})


OPTIONAL = ("reason", "validation", "training", "compatibility", "metrics", "macro", "in_document", "context_left_in",
            "prefix", "fresh", "latency", "recall_curve", "rank_histogram", "delta")  # fmt: skip


@pytest.mark.parametrize("key", OPTIONAL)
def test_any_part_of_all_entries_may_be_missing(key, no_drawing):
    rendered(FEW | {"entries": [{name: row[name] for name in row if name != key} for row in FEW["entries"]]})


@settings(deadline=None, max_examples=10)
@given(st.sets(st.sampled_from(OPTIONAL), min_size=3), st.integers(0, 4))
def test_any_parts_of_an_entry_may_be_missing_together(keys, place):
    entries = list(FEW["entries"])
    entries[place] = {name: value for name, value in entries[place].items() if name not in keys}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(document, "to_svg", lambda figure, name: '<svg viewBox="0 0 1 1"></svg>')
        rendered(FEW | {"entries": entries})


@settings(deadline=None, max_examples=10)
@given(st.sets(st.sampled_from([*SAMPLE["entries"][-1]["metrics"]])))
def test_any_metrics_may_be_missing(names):
    entries = [row | {"metrics": {name: found for name, found in row["metrics"].items() if name not in names}}
               for row in FEW["entries"]]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(document, "to_svg", lambda figure, name: '<svg viewBox="0 0 1 1"></svg>')
        rendered(FEW | {"entries": entries})


def test_nothing_measured_is_a_report_too(no_drawing):
    failed = entry("a", status="failed", reason="no memory", validation=None)
    assert "No candidate was measured" in rendered(FEW | {"entries": [failed], "winner": None})


def test_run_without_measurements_is_named(tmp_path):
    with pytest.raises(InputError, match=r"triage\.json does not exist"):
        write_report(tmp_path)
    (tmp_path / "triage.json").write_text("[]", encoding="utf-8")
    with pytest.raises(InputError, match="expected a JSON object"):
        write_report(tmp_path)


@pytest.mark.parametrize(("width", "metrics"), [(60, 1), (80, 5), (100, 7), (120, 8)])
def test_terminal_table_fits_and_cuts_no_name_and_no_number(sample, width, metrics):
    found = copy.deepcopy(sample)
    found["entries"][-1]["name"] = "a-name-longer-than-all-others"
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(terminal_table(record(found), width=width))
    text = console.export_text()
    assert "…" not in text
    assert all(entry["name"] in text for entry in found["entries"])
    head, *lines = [line.rstrip() for line in text.splitlines()]
    assert len(head.removesuffix("ΔR@5 vs copy").replace("P95 ms", "P95").split()) == metrics
    assert max(map(len, lines)) <= width


def test_terminal_table_has_the_winner_first_then_candidates_by_recall_then_what_cannot_win(sample):
    console = Console(width=300, record=True, file=io.StringIO())
    console.print(terminal_table(record(sample)))
    lines = console.export_text().splitlines()[1:]
    assert lines[0].split()[:2] == ["★", sample["winner"]]
    at = next(place for place, line in enumerate(lines) if line.startswith("Cannot win"))
    names = [line.split()[0].rstrip("ᵖᵘᶜ") for line in lines[1:at]]
    recall = [option(sample, name)["metrics"]["R@5"]["value"] for name in names]
    assert len(recall) > 15
    assert recall == sorted(recall, reverse=True)
    assert {option(sample, name)["intent"] for name in names} == {"candidate"}


def test_terminal_table_fits_120_columns_and_marks_the_winner(sample):
    console = Console(width=300, record=True, file=io.StringIO())
    console.print(terminal_table(record(sample)))
    lines = [line.rstrip() for line in console.export_text().splitlines()]
    assert max(map(len, lines)) <= 120
    assert [line.split()[1] for line in lines if line.startswith("★")] == [sample["winner"]]
    recall = option(sample, "copy-last")["metrics"]["R@5"]
    shown = f"{100 * recall['value']:.1f} ±{50 * (recall['high'] - recall['low']):.1f}"
    assert any(shown in line for line in lines if "copy-last" in line)


def test_summary_names_gates_and_winner(sample):
    text = "\n".join(summary_lines(record(sample)))
    assert f"The winner is {sample['winner']}" in text
    assert "Gates: phase-1, contain, recall and ship pass" in text


def test_what_a_check_declares_to_bear_on_the_winner_stands_beside_its_number(sample, no_drawing):
    for finding in sample["diagnosis"]:
        if finding["code"] == "SG217":
            finding |= {"outcome": "tip", "caveats": {sample["winner"]: "Without it R@5 is 9.9 %.", "bm25": "Other."}}
        if finding["code"] == "SG218":
            finding |= {"outcome": "passed", "caveats": {sample["winner"]: "Nothing to say."}}
    found = record(sample)
    terminal = summary_lines(found)
    headline = next(place for place, line in enumerate(terminal) if line.startswith("The winner is"))
    assert "- Without it R@5 is 9.9 %. (SG217)" in terminal[headline + 1 :]
    first, _ = render_markdown(report_content(found)).split("## What was compared")
    assert "- Without it R@5 is 9.9 %. (`SG217`)" in first
    assert "Other." not in "".join([first, *terminal])
    assert "Nothing to say" not in "".join([first, *terminal])


def test_under_trained_options_and_small_sizes_are_caveats_once(sample):
    text = "\n".join(summary_lines(record(sample)))
    assert text.count("2 of 17 trained options are under-trained") == 1
    assert text.count("Models are of size demo") == 1
