"""From a triage's JSON to the report's content, section by section, in the order a reader asks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from segue.comparison.record import Record
from segue.reports.document import Block, Figure, Report, Section, Table
from segue.reports.plots.curves import curves_figure, ranks_figure
from segue.reports.plots.headline import intervals_figure, recall_figure, scatter_figure
from segue.reports.record import Comparison
from segue.reports.sections.advice import next_steps_section, recommendation_section
from segue.reports.sections.appendix import definitions_section, files_section, machine_section
from segue.reports.sections.confidence import confidence_section
from segue.reports.sections.header import facts, footer, notices
from segue.reports.sections.summary import hypotheses, hypothesis_table, learnings_section, summary_section
from segue.reports.tables.checks import blocked_section, diagnosis_section, integrity_section
from segue.reports.tables.metrics import (
    compatibility_table,
    difference_table,
    drop_table,
    gate_table,
    metric_table,
    more_metrics_table,
    option_table,
    pools_table,
    tuning_table,
)
from segue.reports.text.markup import plain
from segue.reports.unsafe import label_report


def report_context(triage: Record | Mapping[str, Any]) -> Report:
    """Return the report's content; a blocked triage gives one without any measured number.

    Args:
        triage: the content of ``triage.json``; whatever is absent in it is left out here.
    """
    comparison = Comparison.of(triage)
    sections = _blocked(comparison) if comparison.refused else _measured(comparison)
    report = Report(
        plain(comparison.data.get("title") or "Triage report"),
        facts(comparison),
        notices(comparison),
        tuple(section for section in sections if section.blocks),
        footer(comparison),
    )
    return label_report(report) if comparison.unsafe else report


def _blocked(comparison: Comparison) -> list[Section]:
    return [
        blocked_section(comparison),
        integrity_section(comparison),
        files_section(comparison),
        machine_section(comparison),
    ]


def _measured(comparison: Comparison) -> list[Section]:
    return [
        summary_section(comparison),
        integrity_section(comparison),
        _section("metrics", "Metrics", _metrics(comparison)),
        _section("gates", "Gates", [gate_table(comparison)]),
        confidence_section(comparison),
        _section("drop", "From validation to test", [drop_table(comparison)]),
        _section("compatibility", "Projection-head compatibility", [compatibility_table(comparison)]),
        diagnosis_section(comparison),
        _section("hypotheses", "Hypotheses and evidence", _hypotheses(comparison)),
        _section("options", "Options", [option_table(comparison), curves_figure(comparison)]),
        recommendation_section(comparison),
        learnings_section(comparison),
        files_section(comparison),
        next_steps_section(comparison),
        _section("more", "Appendix: all differences, other rules, other metrics", _appendix(comparison)),
        definitions_section(),
        machine_section(comparison),
    ]


def _section(name: str, title: str, blocks: list[Block | None]) -> Section:
    return Section(name, title, tuple(block for block in blocks if block is not None and not _empty(block)))


def _empty(block: Block) -> bool:
    return isinstance(block, Table) and not any(group.rows for group in block.groups)


def _metrics(comparison: Comparison) -> list[Block | None]:
    figures: list[Figure | None] = [intervals_figure(comparison), recall_figure(comparison), scatter_figure(comparison)]
    return [metric_table(comparison), *figures]


def _hypotheses(comparison: Comparison) -> list[Block | None]:
    findings = hypotheses(comparison)
    return [hypothesis_table(comparison, findings)] if findings else []


def _appendix(comparison: Comparison) -> list[Block | None]:
    return [
        difference_table(comparison),
        ranks_figure(comparison),
        pools_table(comparison),
        more_metrics_table(comparison),
        tuning_table(comparison),
    ]
