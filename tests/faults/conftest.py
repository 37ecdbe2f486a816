"""The matrix runs every check on over a hundred cases that differ in one thing each: what is alike is done once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from replay import Known, trained_once


@pytest.fixture(scope="session")
def known() -> Known:
    return {}


@pytest.fixture(scope="module", autouse=True)
def each_short_training_once(known: Known) -> Iterator[None]:
    """Most faults leave bank, windows and settings as they were."""
    with trained_once(known):
        yield
    known.clear()  # hundreds of nets
