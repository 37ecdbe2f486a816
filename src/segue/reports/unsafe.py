"""The label of numbers that nothing vouches for: on every title, table and picture, since each may be pasted alone."""

from __future__ import annotations

import dataclasses
import re

from segue.reports.document import Block, Figure, Gallery, Report, Section, Table
from segue.reports.plots.svg import ROLES
from segue.reports.text.markup import strong

UNSAFE = "UNSAFE"
WITHOUT_NUMBERS = ("integrity", "files", "next", "definitions", "machine")
"""Sections that hold no measured number of an option."""


def label_report(report: Report) -> Report:
    """Label the title, and each section, table and picture that shows a number."""
    sections = tuple(s if s.name in WITHOUT_NUMBERS else _label_section(s) for s in report.sections)
    return dataclasses.replace(report, title=f"{UNSAFE}: {report.title}", sections=sections)


def _label_section(section: Section) -> Section:
    blocks = tuple(_label_block(block) for block in section.blocks)
    return Section(section.name, f"{section.title} ({UNSAFE})", blocks)


def _label_block(block: Block) -> Block:
    if isinstance(block, Gallery):
        return Gallery(tuple(_label_figure(figure) for figure in block.figures))
    if isinstance(block, Table):
        return dataclasses.replace(block, caption=f"{strong(f'{UNSAFE}.')} {block.caption}")
    return _label_figure(block) if isinstance(block, Figure) else block


def _label_figure(figure: Figure) -> Figure:
    """Write the word into the picture too: as a file it stands alone."""
    caption = f"{strong(f'{UNSAFE}.')} {figure.caption}"
    alternative = f"{UNSAFE}: {figure.alternative}"
    return dataclasses.replace(figure, svg=stamp(figure.svg), caption=caption, alternative=alternative)


def stamp(svg: str) -> str:
    """Write the label into the lower left corner of a picture.

    >>> "UNSAFE" in stamp('<svg viewBox="0 0 400 200"><g/></svg>')
    True
    """
    height = re.search(r'viewBox="[\d.]+ [\d.]+ [\d.]+ ([\d.]+)"', svg)
    if height is None or not svg.endswith("</svg>"):
        return svg
    style = f"font: 700 13px 'DejaVu Sans'; fill: {ROLES['architecture'][0]}"
    text = f'<text x="4" y="{float(height[1]) - 6:g}" style="{style}">{UNSAFE}</text>'
    return f"{svg.removesuffix('</svg>')}{text}</svg>"
