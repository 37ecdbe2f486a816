"""Comparisons of these tests draw no plots."""

import pytest


@pytest.fixture(scope="module", autouse=True)
def _quick(quick_comparisons):
    """Apply to every test of the folder."""
