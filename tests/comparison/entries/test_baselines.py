"""What was fitted is fitted once, unless what it depends on changes or the file is broken."""

import numpy as np

from segue.comparison.entries.baselines import read_or_fit


class Counting:
    """Fits, and counts how often."""

    def __init__(self):
        self.times = 0

    def __call__(self):
        self.times += 1
        return {"weights": np.arange(3.0), "alpha": np.array(10.0)}


def test_the_second_time_it_is_read_back(tmp_path):
    fit = Counting()
    first = read_or_fit(tmp_path / "ridge.npz", key="bank a", fit=fit)
    second = read_or_fit(tmp_path / "ridge.npz", key="bank a", fit=fit)
    assert fit.times == 1
    assert second.keys() == first.keys()
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_another_key_and_a_broken_file_are_fitted_again(tmp_path):
    fit = Counting()
    read_or_fit(tmp_path / "ridge.npz", key="bank a", fit=fit)
    read_or_fit(tmp_path / "ridge.npz", key="bank b", fit=fit)
    assert fit.times == 2
    (tmp_path / "ridge.npz").write_bytes(b"cut short")
    read_or_fit(tmp_path / "ridge.npz", key="bank b", fit=fit)
    assert fit.times == 3
