import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from worlds import MemoryBank, make_bank, noise_world

from segue.errors import InputError
from segue.windows.windows import (
    MISSING,
    NOT_QUERIED,
    REPEATED,
    SHARED,
    TOO_SHORT,
    WindowSettings,
    every_nth,
    following_rows,
    gather_contexts,
    in_several_groups,
    make_windows,
    target_vectors,
)


def all_documents(bank: MemoryBank) -> np.ndarray:
    return np.arange(len(bank.first_row))


def small_bank(lengths, texts=None, dead=()) -> MemoryBank:
    vectors = np.random.default_rng(0).standard_normal((sum(lengths), 4))
    return make_bank(vectors, lengths, texts, dead=dead)


@st.composite
def banks(draw):
    lengths = draw(st.lists(st.integers(1, 9), min_size=1, max_size=5))
    rows = sum(lengths)
    texts = draw(st.lists(st.sampled_from("abcdefghijklmnop"), min_size=rows, max_size=rows))
    dead = draw(st.sets(st.integers(0, rows - 1), max_size=3))
    return small_bank(lengths, texts, sorted(dead))


def naive_windows(bank, documents, context, fewest):
    """The definition, one passage at a time."""
    windows, dropped = [], {TOO_SHORT: 0, MISSING: 0, REPEATED: 0}
    for document in documents:
        first, length = bank.first_row[document], bank.num_rows[document]
        dropped[TOO_SHORT] += length <= fewest
        for position in range(fewest, length):
            rows = [first + p for p in range(max(0, position - context), position)]
            target = first + position
            if not all(bank.alive[row] for row in [*rows, target]):
                dropped[MISSING] += 1
            elif bank.passage_texts[target] in [bank.passage_texts[row] for row in rows]:
                dropped[REPEATED] += 1
            else:
                windows.append(([-1] * (context - len(rows)) + rows, target))
    return windows, {reason: count for reason, count in dropped.items() if count}


def test_the_context_ends_one_row_before_the_target():
    windows = make_windows(small_bank([4, 3]), np.array([0, 1]), WindowSettings(context=2))
    assert windows.context.tolist() == [[0, 1], [1, 2], [4, 5]]
    assert windows.target.tolist() == [2, 3, 6]
    assert windows.dropped == {}


@given(banks(), st.integers(1, 4))
def test_every_nth_window_of_each_document_is_kept_and_the_others_are_counted(bank, n):
    windows = make_windows(bank, all_documents(bank), WindowSettings(context=2))
    some = every_nth(bank, windows, n)
    expected, seen = [], {}
    for target in windows.target.tolist():
        document = int(bank.document_of[target])
        if seen.get(document, 0) % n == 0:
            expected.append(target)
        seen[document] = seen.get(document, 0) + 1
    assert some.target.tolist() == expected
    assert some.dropped.get(NOT_QUERIED, 0) == len(windows) - len(some)
    assert {name: count for name, count in some.dropped.items() if name != NOT_QUERIED} == windows.dropped


def test_shorter_contexts_are_padded_in_front():
    windows = make_windows(small_bank([4]), np.array([0]), WindowSettings(context=3, minimum_context=1))
    assert windows.context.tolist() == [[-1, -1, 0], [-1, 0, 1], [0, 1, 2]]
    assert windows.target.tolist() == [1, 2, 3]


@settings(deadline=None, max_examples=60)
@given(banks(), st.integers(1, 4), st.data())
def test_windows_equal_the_naive_loop(bank, context, data):
    fewest = data.draw(st.integers(1, context))
    documents = np.array(data.draw(st.permutations(range(len(bank.first_row)))))
    windows = make_windows(bank, documents, WindowSettings(context=context, minimum_context=fewest))
    expected, dropped = naive_windows(bank, documents, context, fewest)
    assert list(zip(windows.context.tolist(), windows.target.tolist(), strict=True)) == expected
    assert windows.dropped == dropped


@settings(deadline=None, max_examples=25)
@given(banks(), st.integers(1, 4))
def test_windows_cross_no_document_and_hold_no_deleted_passage(bank, context):
    windows = make_windows(bank, all_documents(bank), WindowSettings(context=context, minimum_context=1))
    for rows, target in zip(windows.context, windows.target, strict=True):
        read = rows[rows >= 0]
        assert set(bank.document_of[read]) == {bank.document_of[target]}
        assert bank.alive[read].all()
        assert bank.alive[target]
        assert (np.diff([*read, target]) == 1).all()


def test_a_gap_in_the_positions_is_not_read_over():
    bank = small_bank([5])
    bank.position[3:] += 1
    windows = make_windows(bank, np.array([0]), WindowSettings(context=1))
    assert windows.target.tolist() == [1, 2, 4]
    assert windows.dropped == {MISSING: 1}


def test_no_documents_give_no_windows():
    windows = make_windows(small_bank([4]), np.array([], dtype=np.int64), WindowSettings(context=2))
    assert len(windows) == 0
    assert windows.context.shape == (0, 2)


def test_unknown_documents_are_refused_with_their_numbers():
    with pytest.raises(InputError, match=r"0 to 7.*0 to 1"):
        make_windows(small_bank([4, 3]), np.array([0, 7]), WindowSettings())


def test_a_minimum_above_the_context_is_refused():
    with pytest.raises(ValidationError, match="minimum_context is 6"):
        WindowSettings(context=5, minimum_context=6)


def test_many_windows_are_made_in_a_moment():
    bank = make_bank(np.ones((400_000, 1)), [100] * 4000)
    windows = make_windows(bank, all_documents(bank), WindowSettings(context=5))
    assert len(windows) == 4000 * 95


def test_gathered_vectors_are_the_banks_rows_and_zero_where_masked():
    bank = noise_world(documents=3, length=5)
    windows = make_windows(bank, all_documents(bank), WindowSettings(context=3, minimum_context=1))
    contexts = gather_contexts(bank, windows)
    for window in range(len(windows)):
        for place in range(3):
            row = windows.context[window, place]
            assert contexts.mask[window, place] == (row >= 0)
            expected = bank.vectors[row] if row >= 0 else np.zeros(bank.dimension)
            assert np.array_equal(contexts.vectors[window, place], expected)
    assert contexts.vectors.dtype == np.float32
    assert contexts.texts is None


def test_exclusions_are_the_context_the_prefix_or_nothing():
    bank = small_bank([2, 5], dead=[3])
    windows = make_windows(bank, all_documents(bank), WindowSettings(context=1))
    assert windows.target.tolist() == [1, 5, 6]
    assert gather_contexts(bank, windows).exclude.tolist() == [[0], [4], [5]]
    prefix = gather_contexts(bank, windows, exclude="prefix").exclude
    assert [sorted(set(rows) - {-1}) for rows in prefix.tolist()] == [[0], [2, 4], [2, 4, 5]]
    assert gather_contexts(bank, windows, exclude="none").exclude.shape == (3, 0)


def test_texts_come_without_padding_oldest_first():
    bank = small_bank([3], texts=["a", "b", "c"])
    windows = make_windows(bank, np.array([0]), WindowSettings(context=2, minimum_context=1))
    assert gather_contexts(bank, windows, texts=True).texts == [("a",), ("a", "b")]


def test_a_bank_of_vectors_only_gives_no_texts():
    bank = small_bank([3])
    windows = make_windows(bank, np.array([0]), WindowSettings(context=2))
    assert gather_contexts(bank, windows, texts=True).texts is None


def test_an_empty_batch_can_be_gathered():
    bank = small_bank([3], texts=["a", "b", "c"])
    windows = make_windows(bank, np.array([0]), WindowSettings(context=2)).take(slice(0, 0))
    contexts = gather_contexts(bank, windows, exclude="prefix", texts=True)
    assert contexts.vectors.shape == (0, 2, 4)
    assert contexts.texts == []


def test_boilerplate_is_no_target_of_evaluation_and_is_counted():
    # Documents 0 and 1 are copies (one group); all three hold passage "b".
    bank = small_bank([4, 4, 4], [*"abcd", *"abcd", *"xbyz"])
    windows = make_windows(bank, np.arange(3), WindowSettings(context=1), groups=np.array([0, 0, 2]))
    assert windows.target.tolist() == [2, 3, 6, 7, 10, 11]
    assert windows.dropped == {SHARED: 3}
    assert len(make_windows(bank, np.arange(3), WindowSettings(context=1))) == 9
    assert in_several_groups(bank, np.array([0, 0, 2])).tolist() == [text == "b" for text in "abcdabcdxbyz"]


def test_a_gap_ends_what_follows():
    bank = small_bank([6])
    bank.position[3:] += 1  # position 3 is missing
    windows = make_windows(bank, np.arange(1), WindowSettings(context=1))
    assert windows.target.tolist() == [1, 2, 4, 5]
    assert following_rows(bank, windows).tolist() == [[1, 2, -1], [2, -1, -1], [4, 5, -1], [5, -1, -1]]


def test_a_horizon_target_that_was_read_before_does_not_follow():
    bank = small_bank([5], texts=["a", "b", "c", "a", "d"])
    windows = make_windows(bank, np.arange(1), WindowSettings(context=1))
    first = windows.take(slice(0, 1))  # read "a"; then follow "b", "c" and "a" again
    assert following_rows(bank, first).tolist() == [[1, 2, -1]]


def test_the_vectors_of_targets_are_those_of_their_rows():
    bank = noise_world(documents=3, length=5)
    windows = make_windows(bank, all_documents(bank), WindowSettings(context=3))
    rows = [int(row) for row in windows.target]
    assert target_vectors(bank, windows).tolist() == [bank.vectors[row].tolist() for row in rows]
    assert rows == [3, 4, 8, 9, 13, 14]
