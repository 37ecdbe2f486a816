"""Cut a context at its beginning, or a text at its end, to the length that an encoder reads.

Encoders cut long texts at the end, but the end of a context is most informative about what follows. So the text is cut
before the encoder reads it, in the same way in training and in serving.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

WRITTEN_UNITS = re.compile(r"[A-Za-z]+|\d+|\w|[^\w\s]")
"""Runs of Latin letters, runs of digits, other letters one by one, signs one by one."""

USED_SHARE = 0.95
"""Share of the encoder's length that the estimate fills; leaves 3 % of texts over it, by 7 tokens at most."""


def keep_end(texts: Sequence[str], *, maximum_tokens: int | None) -> str:
    """Join texts and cut words off the beginning until the rest should fit into ``maximum_tokens``.

    >>> keep_end(["Snow reflects light.", "Ice melts."], maximum_tokens=6)
    'Ice melts.'
    """
    joined = " ".join(text.strip() for text in texts)
    if maximum_tokens is None or len(joined) <= maximum_tokens // 2:
        return joined
    room = int(USED_SHARE * (maximum_tokens - 2))  # two are the encoder's own
    start = len(joined)
    for unit in reversed(list(WRITTEN_UNITS.finditer(joined))):
        room -= _estimate_tokens(unit.group())
        if room < 0:
            break
        start = unit.start()
    else:
        start = 0
    return joined[start:] or joined[-maximum_tokens:]  # one word longer than the limit


def keep_start(text: str, *, maximum_tokens: int) -> str:
    """Cut words off the end of a text until the rest should fit into ``maximum_tokens``.

    >>> keep_start("Snow reflects light. Ice melts.", maximum_tokens=6)
    'Snow reflects'
    """
    if len(text) <= maximum_tokens // 2:
        return text
    room, end = int(USED_SHARE * (maximum_tokens - 2)), 0
    for unit in WRITTEN_UNITS.finditer(text):
        room -= _estimate_tokens(unit.group())
        if room < 0:
            return text[:end] or text[:maximum_tokens]  # one word longer than the limit
        end = unit.end()
    return text


def _estimate_tokens(unit: str) -> int:
    """Estimate the word pieces of a written unit: one per six letters begun, one per two digits, one per sign.

    >>> [_estimate_tokens(unit) for unit in ("ice", "feedback", "1969", "北", ".")]
    [1, 2, 2, 1, 1]
    """
    if unit.isascii() and unit.isalpha():
        return 1 + (len(unit) - 1) // 6
    return (len(unit) + 1) // 2 if unit.isdigit() else 1
