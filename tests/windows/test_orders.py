"""Windows in other orders have the same targets; every arm by hand."""

import numpy as np
from worlds import drift_world, make_bank

from segue.windows.orders import ARMS, make_arms, neighbours
from segue.windows.windows import WindowSettings, make_windows


def test_the_arms_ask_for_the_same_targets_and_exclude_the_same_passages():
    bank = drift_world(documents=5, length=9)
    arms = make_arms(bank, make_windows(bank, np.arange(5), WindowSettings(context=2)), np.random.default_rng(0))
    # of nine passages those with two before and two after: 2 … 6
    assert list(arms.windows) == list(ARMS)
    for windows in arms.windows.values():
        assert (windows.target % 9).reshape(5, 5).tolist() == [[2, 3, 4, 5, 6]] * 5
        assert (windows.context // 9 == windows.target[:, None] // 9).all()
        assert (windows.context != windows.target[:, None]).all()
        assert all(set(read) <= set(left) for read, left in zip(windows.context, arms.exclude, strict=True))
    assert arms.windows["document reversed"].context[0].tolist() == [4, 3]
    true, permuted = arms.windows["true order"].context, arms.windows["context permuted"].context
    assert (np.sort(true, axis=1) == np.sort(permuted, axis=1)).all()
    shuffled = arms.windows["passages shuffled"].context
    assert all(len(set(row)) == len(row) for row in shuffled.tolist())


def test_deleted_passages_and_repeated_texts_break_an_arm():
    vectors = np.random.default_rng(0).standard_normal((8, 4))
    texts = ["a", "b", "c", "d", "e", "c", "g", "h"]
    bank = make_bank(vectors, [8], texts, dead=[7])
    windows = make_windows(bank, np.array([0]), WindowSettings(context=2))
    arms = make_arms(bank, windows, np.random.default_rng(0))
    # targets 2 … 6; 2 ("c") is not followed by its copy within two, 3 is followed by e and c; 5 meets the deleted 7
    assert arms.windows["true order"].target.tolist() == [2, 3, 4]


def test_neighbours_stand_side_by_side():
    bank = drift_world(documents=1, length=5)
    windows = make_windows(bank, np.array([0]), WindowSettings(context=2))
    assert neighbours(bank, windows).tolist() == [[0, 1, 2], [1, 2, 3], [2, 3, 4]]
    alone = make_windows(bank, np.array([0]), WindowSettings(context=1))
    assert neighbours(bank, alone).shape == (0, 3)
