"""Sentences of the report: their markup, and how numbers are printed.

Sentences are written once, in a little Markdown (``code`` and **strong**), and shown three times: HTML, Markdown,
terminal. Whatever comes from a run (titles, names, paths) goes through ``plain`` or ``code``, so that it cannot act as
markup. Rates are fractions in files and per cent in print; what is absent is a dash, never 0.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from markdown_it import MarkdownIt

from segue.printable import printable_line
from segue.types import Interval

_MARKDOWN = MarkdownIt("zero").enable(["escape", "backticks", "emphasis"])
_MARKS = re.compile(r"([\\`*_\[\]<>&~$])")
DASH = "–"
UNSAFE = "UNSAFE"
"""Label of numbers that an integrity check blocks or did not examine."""
LOPSIDED = 3.0
"""Intervals whose longer side exceeds this many times the shorter one are not printed as ``±``."""


def one_line(value: object) -> str:
    """Return a text on one line, without control characters and controls of the writing direction."""
    text = "".join(" " if unicodedata.category(char) == "Cc" else char for char in str(value))
    return printable_line(" ".join(text.split()))


def plain(value: object) -> str:
    r"""Return a value from outside as text without markup.

    >>> plain("a*b\n c")
    'a\\*b c'
    """
    return _MARKS.sub(r"\\\1", one_line(value))


def code(value: object) -> str:
    """Return a name from outside in code type.

    >>> code("ar-cosine"), code("a`b")
    ('`ar-cosine`', '`` a`b ``')
    """
    content = one_line(value)
    longest = max((len(run) for run in re.findall("`+", content)), default=0)
    fence = "`" * (longest + 1)
    return f"{fence} {content} {fence}" if longest else f"`{content}`" if content else ""


def strong(text: str) -> str:
    """Return emphasised text; it has to be safe and without other markup."""
    return f"**{text}**"


def to_html(text: str) -> str:
    """Render a sentence as HTML; all text is escaped.

    >>> to_html("`<b>` & **more**")
    '<code>&lt;b&gt;</code> &amp; <strong>more</strong>'
    """
    return str(_MARKDOWN.renderInline(text))


def to_markdown(text: str) -> str:
    """Render a sentence as Markdown that is safe in a table's cell, where a bar ends a cell even in code."""
    return text.replace("|", "\\|")


def to_text(text: str) -> str:
    """Render a sentence as plain text.

    >>> to_text("of `x` **now**")
    'of x now'
    """
    return "".join(token.content for inline in _MARKDOWN.parseInline(text) for token in inline.children or ())


@dataclass(frozen=True)
class Scale:
    """Format of a metric.

    Attributes:
        factor: what the stored value is multiplied with.
        places: digits after the point.
        unit: follows a value in a sentence.
        difference_unit: follows a difference in a sentence.
    """

    factor: float = 1.0
    places: int = 3
    unit: str = ""
    difference_unit: str = ""

    def number(self, value: int | float | None) -> str:
        """Print a value without its unit.

        >>> PERCENT.number(0.4123), SCORE.number(None)
        ('41.2', '–')
        """
        return DASH if value is None else _minus(f"{value * self.factor:,.{self.places}f}")

    def signed(self, value: int | float | None) -> str:
        """Print a difference with its sign.

        >>> PERCENT.signed(0.029), PERCENT.signed(-0.029), PERCENT.signed(0.0)
        ('+2.9', '−2.9', '0.0')
        """
        if value is None:
            return DASH
        text = f"{value * self.factor:+,.{self.places}f}"
        return text[1:] if float(text.replace(",", "")) == 0 else _minus(text)

    def span(self, interval: Interval | None) -> str:
        """Print the ends of an interval, or nothing where it has none.

        >>> PERCENT.span(Interval(0.4, 0.38, 0.43))
        '38.0–43.0'
        """
        if interval is None or interval.low is None or interval.high is None:
            return ""
        return f"{self.number(interval.low)}–{self.number(interval.high)}"

    def signed_span(self, interval: Interval | None) -> str:
        """Print the ends of a difference's interval; *to* keeps minus signs apart from the dash.

        >>> PERCENT.signed_span(Interval(0.01, -0.01, 0.03))
        '−1.0 to +3.0'
        """
        if interval is None or interval.low is None or interval.high is None:
            return ""
        return f"{self.signed(interval.low)} to {self.signed(interval.high)}"

    def sentence(self, interval: Interval | None) -> str:
        """Print value, unit and interval for a sentence.

        >>> PERCENT.sentence(Interval(0.4, 0.38, 0.43))
        '40.0 % (38.0–43.0)'
        """
        if interval is None:
            return DASH
        span = self.span(interval)
        return f"{self.number(interval.value)}{self.unit}" + (f" ({span})" if span else "")

    def half_width(self, interval: Interval | None) -> str:
        """Print half the interval's width as ``±``, or only its far end where it is lopsided.

        >>> PERCENT.half_width(Interval(0.4, 0.38, 0.43)), PERCENT.half_width(Interval(1.0, 0.83, 1.0))
        ('±2.5', '≥83.0')
        """
        if interval is None or interval.low is None or interval.high is None:
            return ""
        below, above = interval.value - interval.low, interval.high - interval.value
        if max(below, above) > LOPSIDED * min(below, above):
            return f"≥{self.number(interval.low)}" if below > above else f"≤{self.number(interval.high)}"
        return f"±{self.number((interval.high - interval.low) / 2)}"


PERCENT = Scale(100.0, 1, " %", " points")
SCORE = Scale()
RATIO = Scale(places=2)
MILLISECONDS = Scale(places=2, unit=" ms", difference_unit=" ms")

SCALES = {
    **dict.fromkeys(("R@1", "R@5", "R@10", "R@20", "Contain@50"), PERCENT),
    **dict.fromkeys(("horizon R@1", "horizon R@5", "horizon R@10"), PERCENT),
    **dict.fromkeys(("MRR", "nDCG@10", "cosine", "contrastive accuracy", "copying ratio"), SCORE),
    **dict.fromkeys(("search_p95_ms", "total_p95_ms"), MILLISECONDS),
    "Eff@5": RATIO,
    "median rank": Scale(places=0),
}


def scale_of(metric: str) -> Scale:
    """Return how a metric is printed; one of your own as a plain number."""
    return SCALES.get(metric, SCORE)


def _minus(text: str) -> str:
    return text.replace("-", "−")


def count(value: int | float | None) -> str:
    """Print a whole number with thousands apart.

    >>> count(6900)
    '6,900'
    """
    return DASH if value is None else f"{value:,.0f}"


def of_things(value: int | float | None, thing: str) -> str:
    """Print a number of things, in the singular for one.

    >>> of_things(1, "fold"), of_things(3, "fold"), of_things(2, "entry")
    ('1 fold', '3 folds', '2 entries')
    """
    if value == 1:
        return f"1 {thing}"
    return f"{count(value)} {thing[:-1]}ies" if thing.endswith("ry") else f"{count(value)} {thing}s"


def magnitude(value: int | float | None) -> str:
    """Print a number of parameters.

    >>> magnitude(1_510_000), magnitude(384), magnitude(53_200)
    ('1.51 M', '384', '53 k')
    """
    if value is None:
        return DASH
    if value >= 999_500:
        return f"{value / 1e6:.2f} M" if value < 1e7 else f"{value / 1e6:.1f} M"
    return f"{value / 1e3:.0f} k" if value >= 1e4 else count(value)


def p_value(p: float | None) -> str:
    """Print a p-value, nothing where there is none.

    >>> p_value(0.0001), p_value(0.0314)
    ('p < 0.001', 'p = 0.031')
    """
    if p is None:
        return ""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def listing(words: Sequence[str], last: str = "and") -> str:
    """Join words as a sentence does.

    >>> listing(["a", "b", "c"])
    'a, b and c'
    """
    return f" {last} ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)
