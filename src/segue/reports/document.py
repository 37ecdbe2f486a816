"""The content of a report, before its layout: sections of paragraphs, lists, tables and figures.

The same blocks are rendered as HTML and as Markdown, so both always agree. The first sections are the page that is
read; those marked as details follow behind it, closed on the HTML page until they are opened. Every ``text`` is a
sentence in the markup of ``text.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, Literal

from matplotlib.figure import Figure as Canvas

from segue.reports.svg import Plot, draw_canvas, to_svg
from segue.reports.text import to_text

Tone = Literal["", "best", "better", "worse", "undecided", "pass", "fail", "warn", "muted"]


@dataclass(frozen=True)
class Paragraph:
    """A paragraph of sentences."""

    text: str
    kind: ClassVar[str] = "paragraph"


@dataclass(frozen=True)
class Notice:
    """A highlighted paragraph."""

    text: str
    tone: Tone = "warn"
    kind: ClassVar[str] = "notice"


@dataclass(frozen=True)
class Link:
    """A link of the page to another of its sections; Markdown, where everything is open, leaves it out."""

    section: str
    text: str
    kind: ClassVar[str] = "link"


@dataclass(frozen=True)
class Bullets:
    """A list of sentences."""

    items: tuple[str, ...]
    kind: ClassVar[str] = "bullets"


@dataclass(frozen=True)
class Cards:
    """Short titled lists, side by side."""

    cards: tuple[tuple[str, tuple[str, ...]], ...]
    kind: ClassVar[str] = "cards"


@dataclass(frozen=True)
class Terms:
    """Names and what they mean."""

    items: tuple[tuple[str, str], ...]
    kind: ClassVar[str] = "terms"


@dataclass(frozen=True)
class Figure:
    """A plot, drawn when it is needed.

    Attributes:
        name: unique in the report.
        fill: draws it on an empty canvas.
        size: width and height in inches of 72 points.
        caption: how to read it; a sentence with markup.
        alternative: text for readers who cannot see the plot; plain text.
        stamp: label in its corner.
    """

    name: str
    fill: Callable[[Canvas], None]
    size: tuple[float, float]
    caption: str
    alternative: str
    stamp: str = ""
    kind: ClassVar[str] = "figure"

    def draw(self) -> Plot:
        """Draw it on white, with its title above it."""
        plot = draw_canvas(self.fill, self.size, title=self.alternative, stamp=self.stamp, dpi=100.0)
        plot.caption = to_text(self.caption)
        plot.set_facecolor("white")
        return plot

    @cached_property
    def svg(self) -> str:
        """The plot as SVG in the light palette; ``svg.py`` turns it into one that follows the page's theme."""
        return to_svg(draw_canvas(self.fill, self.size, stamp=self.stamp), self.name)


@dataclass(frozen=True)
class Gallery:
    """Small plots, side by side where there is room."""

    figures: tuple[Figure, ...]
    kind: ClassVar[str] = "gallery"


@dataclass(frozen=True)
class Cell:
    """One value of a table.

    Attributes:
        text: the value.
        detail: its interval, shown smaller.
        tone: its meaning at a glance; never by colour alone.
        sort: the number to sort by.
    """

    text: str
    detail: str = ""
    tone: Tone = ""
    sort: int | float | None = None


@dataclass(frozen=True)
class Column:
    """A column of a table; numeric ones are aligned right."""

    head: str
    numeric: bool = True
    unit: str = ""


@dataclass(frozen=True)
class TableRow:
    """One line of a table; ``style`` is ``winner``, ``control`` or nothing; ``tags`` follow the first cell."""

    cells: tuple[Cell, ...]
    style: str = ""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Group:
    """Lines that belong together under a title (empty: no title)."""

    title: str
    rows: tuple[TableRow, ...]


@dataclass(frozen=True)
class Table:
    """Groups of lines under the same columns.

    Attributes:
        name: unique in the report.
        caption: what it shows and how to read it.
        stacked: whether each line becomes a card on a narrow page; for tables of sentences.
    """

    name: str
    caption: str
    columns: tuple[Column, ...]
    groups: tuple[Group, ...]
    stacked: bool = field(default=False, kw_only=True)
    kind: ClassVar[str] = "table"


Block = Paragraph | Notice | Link | Bullets | Cards | Terms | Figure | Gallery | Table


@dataclass(frozen=True)
class Section:
    """A titled part of the report; sections without blocks are left out.

    Attributes:
        name: anchor on the page.
        detail: whether it stands behind the page, closed.
    """

    name: str
    title: str
    blocks: tuple[Block, ...]
    detail: bool = True


@dataclass(frozen=True)
class Report:
    """The whole document.

    Attributes:
        facts: what was measured on what, in few words, as name and value.
        notices: paragraphs above everything else (unsafe, synthetic, small sizes).
        footer: how the report came about.
    """

    title: str
    facts: tuple[tuple[str, str], ...]
    notices: tuple[Notice, ...]
    sections: tuple[Section, ...]
    footer: str = ""

    @property
    def figures(self) -> list[Figure]:
        """All plots in reading order."""
        found: list[Figure] = []
        for block in (block for section in self.sections for block in section.blocks):
            found += block.figures if isinstance(block, Gallery) else [block] if isinstance(block, Figure) else []
        return found


def single(rows: Sequence[TableRow]) -> tuple[Group, ...]:
    """Return one untitled group."""
    return (Group("", tuple(rows)),)
