"""Plots of a comparison as matplotlib figures: what they show, and what is refused."""

import io
import itertools
import json
import re
from pathlib import Path

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure
from PIL import Image

import segue
from segue.comparison.record import Record
from segue.errors import BlockedError, InputError
from segue.reports import report_content, write_report
from segue.reports.render import render_html
from segue.reports.report import PLOTS

SAMPLE = json.loads(Path(__file__).with_name("sample_triage.json").read_text(encoding="utf-8"))
CONFIDENCE = ("confidence-curve", "confidence-reliability")


def comparison(**changes):
    return segue.Comparison(Path("run"), Record.model_validate(SAMPLE | changes))


def texts(figure):
    return [text.get_text() for text in figure.findobj(mpl.text.Text)]


def picture(figure, **how):
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", **how)
    return Image.open(buffer)


def test_every_plot_of_the_report_has_its_name_and_the_documentation_lists_it():
    assert [figure.name for figure in report_content(comparison().record).figures] == [
        name for name in PLOTS if name not in CONFIDENCE
    ]
    assert set(re.findall(r"``([\w-]+)``", segue.Comparison.plot.__doc__.split("Args:")[1])) == set(PLOTS)


@pytest.mark.parametrize("name", [name for name in PLOTS if name not in CONFIDENCE])
def test_each_plot_is_a_figure_that_says_what_it_shows(name):
    figure = comparison().plot(name)
    assert isinstance(figure, Figure)
    assert len(figure.get_suptitle()) > 10
    assert figure.caption.endswith(".")
    assert not re.search(r"[`*]", figure.caption)
    assert figure.get_facecolor() == (1.0, 1.0, 1.0, 1.0)


def test_a_plot_holds_the_numbers_of_the_record():
    found = comparison()
    drawn = [line.get_ydata().tolist() for line in found.plot("recall").axes[0].lines]
    for name in ("copy-last", "gru"):
        values = [100 * value for value in by_name(name)["recall_curve"]["value"]]
        assert any(line == pytest.approx(values) for line in drawn)
    (axes,) = found.plot().axes
    assert axes.get_xlabel() == "R@5, % of windows"
    assert f"{100 * found.metric('gru', 'R@5'):.1f}" in texts(axes)


def by_name(name):
    return next(entry for entry in SAMPLE["entries"] if entry["name"] == name)


def test_a_plot_is_changed_and_saved_without_an_effect_on_the_report():
    found = comparison(entries=SAMPLE["entries"][:6], diagnosis=[])
    before = render_html(report_content(found.record))
    figure = found.plot("recall")
    figure.suptitle("Recall of my options")
    figure.axes[0].set_ylabel("recall, %")
    assert picture(figure).size == (750, 460)
    assert picture(figure, dpi=200).size == (1500, 920)
    assert render_html(report_content(found.record)) == before
    assert "Recall of my options" not in texts(found.plot("recall"))


def test_a_notebook_shows_the_plot_as_a_picture():
    assert Image.open(io.BytesIO(comparison().plot("offsets")._repr_png_())).size == (560, 360)


def test_labels_of_lines_are_apart_at_any_resolution():
    figure = comparison().plot("ceiling")
    figure.draw_without_rendering()
    labels = figure.axes[0].texts
    heights = sorted(mpl.text.Text.get_window_extent(label).y0 for label in labels)
    gaps = [high - low for low, high in itertools.pairwise(heights)]
    assert len(gaps) > 2
    assert min(gaps) >= 10 * figure.dpi / 72  # the letters are 10 points high


def test_an_unknown_name_is_answered_with_all_names():
    with pytest.raises(InputError, match=r"got 'bars', expected one of intervals, recall, .*, ranks"):
        comparison().plot("bars")


def test_a_plot_of_what_was_not_measured_names_what_it_needs_and_the_others():
    found = comparison(diagnosis=[], confidence=None)
    with pytest.raises(InputError, match=r"needs what SG208 measures .* one of intervals, recall, scatter, curves"):
        found.plot("hubs")
    with pytest.raises(InputError, match="needs a winner whose confidence was measured"):
        found.plot("confidence-curve")
    untrained = [entry | {"training": None} for entry in SAMPLE["entries"]]
    with pytest.raises(InputError, match="needs an option that was trained"):
        comparison(entries=untrained).plot("curves")
    with pytest.raises(InputError, match="compare more options"):
        comparison(entries=[], winner=None, diagnosis=[]).plot()


def test_blocked_numbers_are_no_plot_and_unsafe_ones_are_labelled_in_the_plot():
    with pytest.raises(BlockedError, match="SG104"):
        comparison(blocked=["SG104"]).plot()
    for name in ("intervals", "ceiling"):
        figure = comparison(blocked=["SG104"], unsafe=True).plot(name)
        assert "UNSAFE" in texts(figure)
        assert figure.caption.startswith("UNSAFE.")


def test_a_report_draws_each_plot_once(tmp_path, monkeypatch):
    drawn = []
    original = Figure.draw

    def draw(figure, renderer):
        drawn.append(figure)
        original(figure, renderer)

    monkeypatch.setattr(Figure, "draw", draw)
    (tmp_path / "triage.json").write_text(json.dumps(SAMPLE | {"entries": SAMPLE["entries"][:6]}), encoding="utf-8")
    write_report(tmp_path)
    assert len(drawn) == len(set(drawn)) == len(list((tmp_path / "report_files").glob("*.svg"))) > 10
