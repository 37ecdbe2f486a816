"""Four cases of a test window, counted by hand."""

from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import limits


def test_every_window_is_in_one_case():
    """Two documents of 10 passages; the targets are row 7 of the first and row 15 of the second."""
    document_of, lengths = np.repeat([0, 1], 10), np.array([10, 10])
    found = SimpleNamespace(
        targets=np.array([7, 7, 15, 15]),
        rankings=np.array([[7, 1, 2, 3, 4], [1, 12, 13, 14, 15], [0, 1, 2, 3, -1], [0, 1, 2, 3, 4]]),
        ranks=np.array([1, 8, 50, 51]),
        ranks_by_pool={"in-document": np.array([1, 3, 5, 6])},
        groups=np.array([0, 0, 1, 1]),
    )
    table = {name: one["value"] for name, one in limits.cases(found, document_of, lengths, 2).items()}
    assert table == pytest.approx({
        "hit": 0.25, "order": 0.25, "document": 0.25, "far": 0.25, "first answer is of the document": 0.5,
        "in document, R@1": 0.25, "in document, R@5": 0.75, "in document, R@5 by chance": 5 / 8})  # fmt: skip
