"""Where labels go so that none covers another, in the plot's own pixels."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

Box = tuple[float, float, float, float]
"""Left, bottom, right, top."""
Point = tuple[float, float]

_ANGLES = np.deg2rad([0, 180, 90, 270, 30, 150, 330, 210, 60, 120, 300, 240])
_DISTANCES = (7.0, 14.0, 24.0, 38.0, 55.0, 75.0, 100.0, 130.0)


def spread(heights: Float[np.ndarray, "label"], gap: float) -> Float[np.ndarray, "label"]:
    """Move heights apart until neighbours are ``gap`` apart, each as little as its pile allows.

    >>> spread(np.array([5.0, 5.0, 9.0]), 2.0).tolist()
    [4.0, 6.0, 9.0]
    """
    order = np.argsort(heights, kind="stable")
    piles: list[list[float]] = []  # sum of wished positions of the pile's first label, number of labels
    for height in heights[order]:
        piles.append([float(height), 1.0])
        while len(piles) > 1 and _first(piles[-1]) < _first(piles[-2]) + gap * piles[-2][1]:
            wished, many = piles.pop()
            piles[-1][0] += wished - many * gap * piles[-1][1]
            piles[-1][1] += many
    placed = [_first(pile) + gap * place for pile in piles for place in range(int(pile[1]))]
    result = np.empty_like(heights)
    result[order] = placed
    return result


def _first(pile: list[float]) -> float:
    return pile[0] / pile[1]


def place_labels(points: Sequence[Point], sizes: Sequence[Point], bounds: Box, *, radius: float = 5.0) -> list[Box]:
    """Find a box for each point's label: near it, inside ``bounds``, over no point and no other label.

    Crowded points choose first; where nothing is free the least covered place is taken.

    Args:
        points: in pixels.
        sizes: width and height of each label, in pixels.
        bounds: where labels may stand.
        radius: how far a point's mark reaches.
    """
    marks = [(x - radius, y - radius, x + radius, y + radius) for x, y in points]
    placed: dict[int, Box] = {}
    for index in sorted(range(len(points)), key=lambda i: -_crowding(points, i)):
        boxes = [*_around(points[index], sizes[index], radius)]
        taken = [*placed.values(), *marks]
        costs = [_cost(box, taken, bounds, step) for step, box in enumerate(boxes)]
        placed[index] = boxes[int(np.argmin(costs))]
    return [placed[index] for index in range(len(points))]


def _crowding(points: Sequence[Point], index: int) -> float:
    x, y = points[index]
    return sum(1.0 / (1.0 + np.hypot(x - a, y - b)) for i, (a, b) in enumerate(points) if i != index)


def _around(point: Point, size: Point, radius: float) -> list[Box]:
    """Boxes around a point, near ones first."""
    boxes = []
    for distance, angle in itertools.product(_DISTANCES, _ANGLES):
        reach = radius + distance - _DISTANCES[0] / 2
        x = point[0] + np.cos(angle) * (reach + size[0] / 2)
        y = point[1] + np.sin(angle) * (reach + size[1] / 2)
        boxes.append((x - size[0] / 2, y - size[1] / 2, x + size[0] / 2, y + size[1] / 2))
    return boxes


def _cost(box: Box, taken: Sequence[Box], bounds: Box, step: int) -> float:
    """Covered area counts most, then leaving the bounds, then distance."""
    outside = max(bounds[0] - box[0], 0) + max(bounds[1] - box[1], 0)
    outside += max(box[2] - bounds[2], 0) + max(box[3] - bounds[3], 0)
    return 1000.0 * sum(overlap(box, other) for other in taken) + 1000.0 * outside + step


def overlap(one: Box, other: Box) -> float:
    """Area that two boxes share.

    >>> overlap((0.0, 0.0, 2.0, 2.0), (1.0, 1.0, 3.0, 3.0)), overlap((0.0, 0.0, 1.0, 1.0), (1.0, 0.0, 2.0, 1.0))
    (1.0, 0.0)
    """
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return width * height if width > 0 and height > 0 else 0.0
