"""The report's content as one self-contained HTML page and as GitHub-flavoured Markdown."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from segue.reports.document import Cell, Figure, Report
from segue.reports.svg import inline_svg, theme_variables
from segue.reports.text import to_html, to_markdown, to_text

_UNBROKEN = re.compile(r"(?<=\d) (?=%)|(?<=\bp) (?=[=&])|(?<=p =) (?=\d)|(?<=τ) (?=\d)")
"""Spaces at which no line may break."""
FILES_FOLDER = "report_files"

SCRIPT = """
const reveal = () => {
  const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const fold = target && target.closest("details");
  if (fold && !fold.open) { fold.open = true; target.scrollIntoView(); }
};
addEventListener("hashchange", reveal);
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach(fold => { fold.open = true; }));
reveal();
document.querySelectorAll("table").forEach(table => table.querySelectorAll("thead th").forEach((head, column) => {
  head.tabIndex = 0;
  head.addEventListener("keydown", event => event.key === "Enter" && head.click());
  head.addEventListener("click", () => {
    const falling = head.ariaSort !== "descending";
    table.querySelectorAll("thead th").forEach(other => other.removeAttribute("aria-sort"));
    head.ariaSort = falling ? "descending" : "ascending";
    const value = row => row.cells[column].dataset.sort ?? row.cells[column].textContent.trim();
    const words = (a, b) => isNaN(value(a)) || isNaN(value(b));
    const compare = (a, b) => words(a, b) ? value(b).localeCompare(value(a)) : value(b) - value(a);
    table.querySelectorAll("tbody").forEach(body => {
      const rows = [...body.rows].filter(row => !row.querySelector("th[colspan]"));
      body.append(...rows.sort((a, b) => falling ? compare(a, b) : compare(b, a)));
    });
  });
}));
"""
"""Script that sorts each group of lines. It opens details that a link leads into, and all before printing, where the
browser does not; the page is complete without it."""
SCRIPT_HASH = f"sha256-{base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()}"
"""Names the script in a policy of content that allows no other."""


def _environment(*, autoescape: bool) -> Environment:
    templates = PackageLoader("segue.reports", "templates")
    return Environment(loader=templates, autoescape=autoescape, undefined=StrictUndefined, trim_blocks=True,
                       lstrip_blocks=True)  # fmt: skip


def render_html(report: Report) -> str:
    """Return the page: style, plots and script inline, no request to anywhere."""
    environment = _environment(autoescape=True)
    environment.filters["inline"] = lambda text: Markup(_UNBROKEN.sub("\u00a0", to_html(text)))
    environment.filters["plain"] = to_text
    style = resources.files("segue.reports").joinpath("templates", "report.css").read_text(encoding="utf-8")
    for theme, dark in (("light", False), ("dark", True)):
        style = style.replace(f"/* {theme} plots */", theme_variables(dark))
    return environment.get_template("report.html.jinja").render(
        report=report, style=Markup(style), script=Markup(SCRIPT), script_hash=SCRIPT_HASH, draw=_draw
    )


def _draw(figure: Figure) -> Markup:
    return Markup(inline_svg(figure.svg, label=html.escape(to_text(figure.alternative))))


def render_markdown(report: Report) -> str:
    """Return the same content as Markdown; plots are files in ``report_files/``."""
    environment = _environment(autoescape=False)
    environment.filters["inline"] = to_markdown
    environment.filters["cell"] = _markdown_cell
    text = environment.get_template("report.md.jinja").render(report=report, folder=FILES_FOLDER)
    lines = [line.rstrip() for line in text.splitlines()]
    kept = [line for place, line in enumerate(lines) if line or (place and lines[place - 1])]
    return "\n".join(kept).strip() + "\n"


def _markdown_cell(cell: Cell) -> str:
    text = to_markdown(cell.text)
    shown = f"**{text}**" if cell.tone == "best" else text
    return f"{shown} ({to_markdown(cell.detail)})" if cell.detail else shown
