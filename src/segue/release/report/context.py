"""From a triage's JSON to the report's content, section by section, in the order a reader asks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from segue.release.report.advice import next_steps_section, recommendation_section
from segue.release.report.appendix import definitions_section, files_section, machine_section
from segue.release.report.details_plots import curves_figure, ranks_figure
from segue.release.report.document import Block, Figure, Notice, Report, Section, Table
from segue.release.report.facts import Comparison, mapping, number, sequence
from segue.release.report.gates_table import gate_table
from segue.release.report.hypotheses import hypotheses, hypothesis_table
from segue.release.report.inline import code, plain, strong
from segue.release.report.integrity import blocked_section
from segue.release.report.learnings import learnings_section
from segue.release.report.more_tables import compatibility_table, drop_table, more_metrics_table, pools_table
from segue.release.report.option_table import option_table
from segue.release.report.plots import intervals_figure, recall_figure, scatter_figure
from segue.release.report.summary import summary_section
from segue.release.report.tables import difference_table, metric_table
from segue.release.report.wording import DASH, count, listing, of_things


def report_context(triage: Mapping[str, Any]) -> Report:
    """Return the report's content; a blocked triage gives one without any measured number.

    Args:
        triage: the content of ``triage.json``; whatever is absent in it is left out here.
    """
    comparison = Comparison(triage)
    sections = _blocked(comparison) if comparison.refused else _measured(comparison)
    return Report(
        plain(triage.get("title") or "Triage report"),
        facts(comparison),
        notices(comparison),
        tuple(section for section in sections if section.blocks),
        _footer(comparison),
    )


def _blocked(comparison: Comparison) -> list[Section]:
    return [blocked_section(comparison), files_section(comparison), machine_section(comparison)]


def _measured(comparison: Comparison) -> list[Section]:
    return [
        summary_section(comparison),
        _section("metrics", "Metrics", _metrics(comparison)),
        _section("gates", "Gates", [gate_table(comparison)]),
        _section("drop", "From validation to test", [drop_table(comparison)]),
        _section("compatibility", "Projection-head compatibility", [compatibility_table(comparison)]),
        _section("hypotheses", "Hypotheses and evidence", _hypotheses(comparison)),
        _section(
            "options", "Options: question, cost, risk, outcome", [option_table(comparison), curves_figure(comparison)]
        ),
        recommendation_section(comparison),
        learnings_section(comparison),
        files_section(comparison),
        next_steps_section(comparison),
        _section("more", "Appendix: other rules, other metrics", _appendix(comparison)),
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
    return [hypothesis_table(findings)] if findings else []


def _appendix(comparison: Comparison) -> list[Block | None]:
    return [
        difference_table(comparison),
        ranks_figure(comparison),
        pools_table(comparison),
        more_metrics_table(comparison),
    ]


def facts(comparison: Comparison) -> tuple[tuple[str, str], ...]:
    """What was measured on what; what is not known is left out."""
    found = (
        ("Corpus", _corpus(comparison)),
        ("Pool", _things(comparison, "pool", "candidate")),
        ("Windows", _windows(comparison)),
        ("Test documents", _documents(comparison)),
        ("Encoder", _encoder(comparison)),
        ("Seeds", listing([plain(seed) for seed in sequence(comparison.data.get("seeds"))])),
        ("Model sizes", code(comparison.data["size"]) if comparison.data.get("size") else ""),
        ("Segue", _version(comparison)),
    )
    return tuple((name, value) for name, value in found if value)


def _things(comparison: Comparison, key: str, thing: str) -> str:
    value = comparison.amount(key)
    return "" if value is None else of_things(value, thing)


def _corpus(comparison: Comparison) -> str:
    corpus = mapping(comparison.data.get("corpus"))
    sizes = [
        of_things(value, thing)
        for key, thing in (("documents", "document"), ("passages", "passage"), ("characters", "character"))
        if (value := number(corpus.get(key))) is not None
    ]
    skipped = [
        f"{count(value)} {plain(reason)}"
        for reason, raw in mapping(corpus.get("skipped")).items()
        if (value := number(raw))
    ]
    named = " ".join(
        part
        for part in (plain(corpus.get("name") or ""), f"({code(corpus['kind'])})" if corpus.get("kind") else "")
        if part
    )
    parts = [part for part in (named, listing(sizes)) if part]
    return ": ".join(parts) + (f"; skipped: {', '.join(skipped)}" if skipped else "")


def _windows(comparison: Comparison) -> str:
    context, exclude = comparison.amount("context"), comparison.data.get("exclude")
    parts = [_things(comparison, "windows", "window")]
    parts += [f"{of_things(context, 'passage')} of context"] if context is not None else []
    excluded = {
        "context": "context excluded from the candidates",
        "prefix": "all that was read excluded",
        "none": "nothing excluded",
    }
    parts += [excluded.get(str(exclude), "")] if exclude else []
    return ", ".join(part for part in parts if part)


def _documents(comparison: Comparison) -> str:
    folds = comparison.amount("folds")
    tested = comparison.amount("documents")
    if tested is None:
        return ""
    if folds is not None and folds > 1:
        return f"{count(tested)}, each tested once in {of_things(folds, 'fold')}"
    return count(tested) + (", one split" if folds == 1 else "")


def _encoder(comparison: Comparison) -> str:
    encoder = mapping(comparison.data.get("encoder"))
    dimension, longest = number(encoder.get("dimension")), number(encoder.get("maximum_tokens"))
    parts = [code(encoder["encoder"])] if encoder.get("encoder") else []
    parts += [f"{count(dimension)} dimensions"] if dimension is not None else []
    parts += [f"{plain(encoder['pooling'])} pooling"] if encoder.get("pooling") else []
    parts += [plain(encoder["precision"])] if encoder.get("precision") else []
    parts += [f"at most {count(longest)} tokens"] if longest is not None else []
    return ", ".join(parts)


def _version(comparison: Comparison) -> str:
    parts = [plain(comparison.data["segue"])] if comparison.data.get("segue") else []
    parts += [f"commit {code(str(comparison.data['commit'])[:12])}"] if comparison.data.get("commit") else []
    return ", ".join(parts)


def notices(comparison: Comparison) -> tuple[Notice, ...]:
    """What must be read before any number."""
    found = []
    if comparison.unsafe:
        failed = listing([code(name) for name in comparison.blocked])
        reason = f"{failed} failed" if failed else "a blocking integrity check was muted or skipped"
        found.append(
            Notice(
                f"{strong('UNSAFE.')} {reason}, and the numbers are printed all the same. Do not quote them.", "fail"
            )
        )
    size = str(comparison.data.get("size") or "")
    if size not in ("", "full") and not comparison.refused:
        found.append(
            Notice(
                f"Model sizes are {code(size)}: small enough to be trained in minutes. They compare the options with each "
                "other; they do not say what the full sizes would reach.",
                "muted",
            )
        )
    return tuple(found)


def _footer(comparison: Comparison) -> str:
    created = plain(comparison.data.get("created") or DASH)
    return f"Measured {created}. Every number and sentence above is written from {code('triage.json')} by fixed rules."
