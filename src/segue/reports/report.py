"""Content of the report, built from a record section by section, in reading order."""

from __future__ import annotations

import dataclasses

from segue.comparison.record import Record
from segue.errors import InputError
from segue.reports.document import Block, Figure, Gallery, Link, Paragraph, Report, Section, Table
from segue.reports.plots.headline import curves_figure, intervals_figure, ranks_figure, recall_figure, scatter_figure
from segue.reports.sections.advice import recommendation_section
from segue.reports.sections.appendix import definitions_section, files_section, machine_section
from segue.reports.sections.checks import blocked_section, diagnosis_section, integrity_section
from segue.reports.sections.confidence import confidence_section
from segue.reports.sections.header import brief_facts, footer, notices
from segue.reports.sections.hypotheses import hypotheses_section
from segue.reports.sections.metrics import (
    compatibility_table,
    difference_table,
    drop_table,
    gate_table,
    metric_table,
    more_metrics_table,
    option_table,
    overview_table,
    pools_table,
    tuning_table,
)
from segue.reports.sections.summary import procedure_sentence, summary_section
from segue.reports.svg import Plot
from segue.reports.text import UNSAFE, of_things, plain, strong

WITHOUT_NUMBERS = ("integrity", "files", "definitions", "machine")
"""Sections without a measured number of an option."""
_DIAGNOSED, _CONFIDENCE = "what {} measures (`segue diagnose`)", "a winner whose confidence was measured"
PLOTS = {
    "intervals": "at least two measured options",
    "recall": "an option with recall at two cutoffs",
    "scatter": "at least three measured options with a cosine",
    "gradients": _DIAGNOSED.format("SG204"),
    "weights": _DIAGNOSED.format("SG204"),
    "spectrum": _DIAGNOSED.format("SG206"),
    "hubs": _DIAGNOSED.format("SG208"),
    "offsets": _DIAGNOSED.format("SG209"),
    "truth": _DIAGNOSED.format("SG210"),
    "order": _DIAGNOSED.format("SG213"),
    "data": _DIAGNOSED.format("SG215"),
    "ceiling": _DIAGNOSED.format("SG216"),
    "confidence-curve": _CONFIDENCE,
    "confidence-reliability": _CONFIDENCE,
    "curves": "an option that was trained here",
    "ranks": "an option with a histogram of ranks",
}
"""Names of all plots in the order of the report, and what each is drawn from."""


def report_content(record: Record) -> Report:
    """Return the report's content; a blocked comparison gives one without any measured number."""
    if record.refused:
        sections = [blocked_section(record), integrity_section(record), files_section(record), machine_section(record)]
    else:
        sections = _measured(record)
    report = Report(
        plain(record.title),
        brief_facts(record),
        notices(record),
        tuple(section for section in sections if section.blocks),
        footer(record),
    )
    return label_unsafe(report) if record.unsafe else report


def draw_plot(record: Record, name: str) -> Plot:
    """Return one plot of the report as a matplotlib figure.

    Raises:
        InputError: there is no plot of this name, or nothing to draw on it.
    """
    if name not in PLOTS:
        raise InputError("there is no such plot", got=repr(name), expected=f"one of {', '.join(PLOTS)}")
    figures = {figure.name: figure for figure in report_content(record).figures}
    if name not in figures:
        raise InputError(f"the plot {name!r} has nothing to draw: it needs {PLOTS[name]}",
                         fix=f"draw one of {', '.join(figures)}" if figures else "compare more options")  # fmt: skip
    return figures[name].draw()


def _measured(record: Record) -> list[Section]:
    return [
        summary_section(record),
        _overview(record),
        recommendation_section(record),
        _section("metrics", "All options, all metrics", metric_table(record), difference_table(record)),
        _section("gates", "Gates", gate_table(record), _procedure(record)),
        hypotheses_section(record),
        integrity_section(record),
        diagnosis_section(record),
        confidence_section(record),
        _section("options", "What each option does, and its training", option_table(record), curves_figure(record)),
        _section("drop", "From validation to test", drop_table(record)),
        _section("compatibility", "Projection-head compatibility", compatibility_table(record)),
        _section("more", "Other rules, other metrics, tuning", ranks_figure(record), pools_table(record),
                 more_metrics_table(record), tuning_table(record)),
        files_section(record),
        definitions_section(),
        machine_section(record),
    ]  # fmt: skip


def _overview(record: Record) -> Section:
    """Return the entries that matter, and three plots of all."""
    drawn = (intervals_figure(record), recall_figure(record), scatter_figure(record))
    figures = tuple(figure for figure in drawn if figure is not None)
    link = Link("metrics", f"All {of_things(len(record.entries), 'option')} with all metrics")
    blocks = (overview_table(record), link, Gallery(figures) if figures else None)
    return dataclasses.replace(_section("overview", "What was compared", *blocks), detail=False)


def _procedure(record: Record) -> Paragraph | None:
    text = procedure_sentence(record)
    return Paragraph(text) if text else None


def _section(name: str, title: str, *blocks: Block | None) -> Section:
    return Section(name, title, tuple(block for block in blocks if block is not None))


def label_unsafe(report: Report) -> Report:
    """Label the title, and each section, table and plot with a number, since each may be pasted alone."""
    sections = [
        section
        if section.name in WITHOUT_NUMBERS
        else dataclasses.replace(
            section, title=f"{section.title} ({UNSAFE})", blocks=tuple(_labelled(block) for block in section.blocks)
        )
        for section in report.sections
    ]
    return dataclasses.replace(report, title=f"{UNSAFE}: {report.title}", sections=tuple(sections))


def _labelled(block: Block) -> Block:
    if isinstance(block, Gallery):
        return Gallery(tuple(_labelled_figure(figure) for figure in block.figures))
    if isinstance(block, Table):
        return dataclasses.replace(block, caption=f"{strong(f'{UNSAFE}.')} {block.caption}")
    return _labelled_figure(block) if isinstance(block, Figure) else block


def _labelled_figure(figure: Figure) -> Figure:
    caption, alternative = f"{strong(f'{UNSAFE}.')} {figure.caption}", f"{UNSAFE}: {figure.alternative}"
    return dataclasses.replace(figure, caption=caption, alternative=alternative, stamp=UNSAFE)
