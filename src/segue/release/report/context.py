"""From a triage's JSON to the report's content, section by section, in the order a reader asks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from segue.release.report.advice import recommendation_section
from segue.release.report.appendix import definitions_section, files_section, machine_section
from segue.release.report.checks_tables import diagnosis_section, integrity_section
from segue.release.report.confidence import confidence_section
from segue.release.report.details_plots import curves_figure, ranks_figure
from segue.release.report.document import Block, Figure, Report, Section, Table
from segue.release.report.facts import Comparison
from segue.release.report.findings import hypothesis_table
from segue.release.report.gates_table import gate_table
from segue.release.report.header import facts, footer, notices
from segue.release.report.hypotheses import hypotheses
from segue.release.report.inline import plain
from segue.release.report.integrity import blocked_section
from segue.release.report.learnings import learnings_section
from segue.release.report.more_tables import compatibility_table, drop_table, more_metrics_table, pools_table
from segue.release.report.next_steps import next_steps_section
from segue.release.report.option_table import option_table
from segue.release.report.plots import intervals_figure, recall_figure, scatter_figure
from segue.release.report.summary import summary_section
from segue.release.report.tables import difference_table, metric_table
from segue.release.report.tuning_table import tuning_table
from segue.release.report.unsafe import label_report


def report_context(triage: Mapping[str, Any]) -> Report:
    """Return the report's content; a blocked triage gives one without any measured number.

    Args:
        triage: the content of ``triage.json``; whatever is absent in it is left out here.
    """
    comparison = Comparison(triage)
    sections = _blocked(comparison) if comparison.refused else _measured(comparison)
    report = Report(
        plain(triage.get("title") or "Triage report"),
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
