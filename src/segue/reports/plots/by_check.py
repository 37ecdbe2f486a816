"""Which check's details are drawn as which picture, in the order of the codes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from segue.reports.document import Figure, Gallery
from segue.reports.findings import CheckFinding
from segue.reports.plots.answers import (
    ceiling_figure,
    hubs_figure,
    offsets_figure,
    spectrum_figure,
    truth_figure,
)
from segue.reports.plots.training import data_figure, gradients_figure, order_figure, weights_figure
from segue.reports.record import Comparison

PICTURES: tuple[tuple[str, Callable[[Comparison, CheckFinding], Figure | None]], ...] = (
    ("SG204", gradients_figure),
    ("SG204", weights_figure),
    ("SG206", spectrum_figure),
    ("SG208", hubs_figure),
    ("SG209", offsets_figure),
    ("SG210", truth_figure),
    ("SG213", order_figure),
    ("SG215", data_figure),
    ("SG216", ceiling_figure),
)


def diagnosis_gallery(comparison: Comparison, findings: Sequence[CheckFinding]) -> Gallery | None:
    """Draw what the findings' details hold; None where there is nothing to draw."""
    known = {finding.code: finding for finding in findings}
    drawn = [draw(comparison, known[code]) for code, draw in PICTURES if code in known]
    figures = tuple(figure for figure in drawn if figure is not None)
    return Gallery(figures) if figures else None
