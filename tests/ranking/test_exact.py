import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import MemoryBank, cycle_world, make_bank, noise_world, transition_matrix, transition_world, unit

from segue import hardware
from segue.errors import InputError
from segue.ranking import blocks, counting
from segue.ranking.exact import ranks_of_several, target_cosines, target_ranks, top_k
from segue.ranking.given_scores import in_document_ranks, ranks_of_scores, ranks_of_several_scores, top_k_of_scores
from segue.ranking.pool import TIE, Pool, rounding_bound
from segue.ranking.shards import over_shards

NOTHING = np.empty((1, 0), dtype=np.int64)


def nothing(count: int) -> np.ndarray:
    return np.empty((count, 0), dtype=np.int64)


def naive_candidates(bank, scores, documents, excluded):
    """One query: {duplicate group: (best score, lowest best row)} of what may be answered, one row at a time."""
    gone = {bank.duplicate_group[row] for row in excluded if row >= 0}
    best: dict[int, tuple[float, int]] = {}
    for row in range(len(bank)):
        group = bank.duplicate_group[row]
        if bank.alive[row] and bank.document_of[row] in documents and group not in gone:
            score, leader = best.get(group, (-np.inf, -1))
            best[group] = (scores[row], row) if scores[row] > score else (score, leader)
    return best


def naive_rank(bank, scores, documents, target, excluded):
    own = bank.duplicate_group[target]
    candidates = naive_candidates(bank, scores, documents, [])
    kept = naive_candidates(bank, scores, documents, excluded)
    others = [score for group, (score, _) in kept.items() if group != own]
    return 1 + sum(score > candidates[own][0] - TIE for score in others)


def naive_top_k(bank, scores, documents, k, excluded):
    kept = naive_candidates(bank, scores, documents, excluded).values()
    return [row for _, row in sorted(kept, key=lambda pair: (-pair[0], pair[1]))][:k]


@st.composite
def questions(draw):
    """A small bank with duplicates, deletions and ties, queries, targets, exclusions, and some of its documents."""
    lengths = draw(st.lists(st.integers(1, 7), min_size=1, max_size=5))
    rows = sum(lengths)
    generator = np.random.default_rng(draw(st.integers(0, 10_000)))
    few = unit(generator.standard_normal((draw(st.integers(1, 8)), 5)))  # few vectors for many rows: exact ties
    vectors = few[generator.integers(len(few), size=rows)].astype(np.float64)
    # Some rows stand off by about the tie margin, some not at all.
    vectors += generator.choice([0, 3e-8, 4e-7, 3e-6], size=(rows, 1)) * generator.standard_normal((rows, 5))
    texts = [f"text {number}" for number in generator.integers(draw(st.integers(1, 2 * rows)), size=rows)]
    dead = sorted(draw(st.sets(st.integers(0, rows - 1), max_size=rows // 3)))
    bank = make_bank(vectors, lengths, texts, dead=dead)
    documents = np.flatnonzero(generator.random(len(lengths)) < 0.7)
    documents = documents if bank.alive[np.isin(bank.document_of, documents)].any() else np.arange(len(lengths))
    inside = np.flatnonzero(bank.alive & np.isin(bank.document_of, documents))
    if len(inside) == 0:
        bank.alive[:] = True
        inside = np.flatnonzero(np.isin(bank.document_of, documents))
    targets = generator.choice(inside, size=draw(st.integers(1, 6)))
    queries = unit(
        few[generator.integers(len(few), size=len(targets))] + 0.1 * generator.standard_normal((len(targets), 5))
    )
    exclude = generator.integers(-1, rows, size=(len(targets), draw(st.integers(0, 4))))
    return bank, documents, queries, targets, exclude


def exact(bank, queries):
    return queries.astype(np.float64) @ bank.vectors.astype(np.float64).T


def clear(scores):
    """Tell whether no two scores differ by the tie margin to within float64 rounding, where naive loops may differ."""
    distance = np.abs(scores[:, :, None] - scores[:, None, :])
    return not (np.abs(distance - TIE) < 1e-14).any()


@settings(deadline=None, max_examples=150)
@given(questions())
def test_ranks_equal_the_naive_loop(question):
    bank, documents, queries, targets, exclude = question
    scores = exact(bank, queries)
    if clear(scores):
        expected = [
            naive_rank(bank, *part[:1], documents, *part[1:]) for part in zip(scores, targets, exclude, strict=True)
        ]
        pool = Pool(bank, documents)
        assert target_ranks(queries, pool, targets, exclude=exclude).tolist() == expected
        thirds = over_shards(pool, 3)  # one may hold no row, or only later members of duplicate groups
        assert target_ranks(queries, pool, targets, exclude=exclude, count=thirds).tolist() == expected
        assert ranks_of_scores(scores, pool, targets, exclude=exclude).tolist() == expected


@settings(deadline=None, max_examples=100)
@given(questions(), st.integers(1, 9))
def test_top_k_equals_the_naive_sort(question, k):
    bank, documents, queries, _, exclude = question
    scores = np.stack([np.einsum("d,bd->b", query, bank.vectors, dtype=np.float64) for query in queries])
    pool = Pool(bank, documents)
    for rankings in (
        top_k(queries, pool, k, exclude=exclude),
        top_k_of_scores(scores, pool, k, exclude=exclude),
    ):
        for query, excluded in enumerate(exclude):
            expected = naive_top_k(bank, scores[query], documents, k, excluded)
            assert rankings.rows[query].tolist() == expected + [-1] * (k - len(expected))
            assert np.allclose(rankings.scores[query, : len(expected)], scores[query][expected], atol=1e-7)
            assert np.isneginf(rankings.scores[query, len(expected) :]).all()


@settings(deadline=None, max_examples=60)
@given(questions())
def test_in_document_ranks_equal_the_ranks_in_a_pool_of_that_document(question):
    bank, _, queries, targets, exclude = question
    ranks = in_document_ranks(queries, bank, targets, exclude=exclude)
    for window, target in enumerate(targets):
        pool = Pool(bank, np.array([bank.document_of[target]]))
        one = slice(window, window + 1)
        if clear(exact(bank, queries[one])):
            assert ranks[window] == target_ranks(queries[one], pool, targets[one], exclude=exclude[one])[0]


def permuted(bank: MemoryBank, order: np.ndarray) -> MemoryBank:
    """The same passages in other rows, each a document of its own."""
    texts = [bank.passage_texts[row] for row in order]
    dead = np.flatnonzero(~bank.alive[order]).tolist()
    return make_bank(bank.vectors[order].astype(np.float64), [1] * len(order), texts, dead=dead)


@settings(deadline=None, max_examples=40)
@given(questions(), st.randoms(use_true_random=False))
def test_ranks_do_not_depend_on_the_order_of_the_rows(question, random):
    bank, _, queries, targets, exclude = question
    order = np.array(random.sample(range(len(bank)), len(bank)))
    new_row = np.argsort(order)
    moved = permuted(bank, order)
    moved.vectors[:] = bank.vectors[order]
    ranks = target_ranks(queries, Pool(bank), targets, exclude=exclude)
    moved_exclude = np.where(exclude >= 0, new_row[exclude], -1)
    assert np.array_equal(target_ranks(queries, Pool(moved), new_row[targets], exclude=moved_exclude), ranks)


def test_ranks_do_not_depend_on_the_blocks(monkeypatch):
    bank = noise_world(documents=30, length=20, dimension=32)
    bank.duplicate_group[100:140] = np.repeat(np.arange(100, 140, 4), 4)
    generator = np.random.default_rng(0)
    queries = unit(generator.standard_normal((50, 32)))
    targets = generator.integers(len(bank), size=50)
    exclude = generator.integers(-1, len(bank), size=(50, 5))
    pool = Pool(bank)
    ranks = target_ranks(queries, pool, targets, exclude=exclude)
    rankings = top_k(queries, pool, 30, exclude=exclude)
    for rows, some in ((3, 7), (64, 50), (599, 1)):
        monkeypatch.setattr(blocks, "ROWS_PER_BLOCK", rows)
        monkeypatch.setattr(blocks, "QUERIES_PER_BLOCK", some)
        assert np.array_equal(target_ranks(queries, pool, targets, exclude=exclude), ranks)
        again = top_k(queries, pool, 30, exclude=exclude)
        assert np.array_equal(again.rows, rankings.rows)
        assert np.array_equal(again.scores, rankings.scores)


def test_ties_count_against_the_target_also_when_the_passages_have_one_vector():
    bank = make_bank(np.tile([1.0, 0.0], (6, 1)), [6], list("abcdef"))
    ranks = target_ranks(unit([[1.0, 0.2]]), Pool(bank), np.array([3]), exclude=NOTHING)
    assert ranks.tolist() == [6]


def test_scores_nearer_than_the_margin_are_ties_and_farther_ones_are_not():
    # Angles whose cosines to the query stand 0, 0.4e-6, 0.9e-6, 1.2e-6, 3e-6 below the first.
    cosines = 0.6 - np.array([0, 0.4e-6, 0.9e-6, 1.2e-6, 3e-6])
    vectors = np.stack([cosines, np.sqrt(1 - cosines**2)], axis=1)
    bank = make_bank(vectors, [5])
    query = np.array([[1.0, 0.0]], dtype=np.float32)
    ranks = [target_ranks(query, Pool(bank), np.array([row]), exclude=NOTHING)[0] for row in range(5)]
    assert ranks == [3, 4, 4, 4, 5]


def test_a_target_stands_for_its_group_whichever_member_it_is():
    vectors = [[1.0, 0.0], [0.9, 0.4], [0.0, 1.0], [0.1, 1.0]]
    bank = make_bank(vectors, [2, 2], ["same", "other", "same", "third"])
    query = unit([[1.0, 0.1]])
    for target in (0, 2):
        assert target_ranks(query, Pool(bank), np.array([target]), exclude=NOTHING).tolist() == [1]
    assert Pool(bank).size == 3


def test_excluding_the_targets_own_group_leaves_it_in():
    bank = make_bank([[1.0, 0.0], [0.9, 0.4], [0.0, 1.0]], [3], ["same", "other", "same"])
    query = unit([[1.0, 0.1]])
    assert target_ranks(query, Pool(bank), np.array([2]), exclude=np.array([[0]])).tolist() == [1]


def test_excluded_rows_that_are_duplicates_of_each_other_leave_once():
    bank = make_bank([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.5, 1.0]], [4], ["same", "same", "target", "other"])
    query, target = unit([[1.0, 0.0]]), np.array([2])
    assert target_ranks(query, Pool(bank), target, exclude=np.array([[0, 1, -1, 0]])).tolist() == [2]
    assert top_k(query, Pool(bank), 4, exclude=np.array([[0, 1, -1, 0]])).rows.tolist() == [[3, 2, -1, -1]]


def test_excluding_a_deleted_passage_takes_its_living_duplicates_along():
    bank = make_bank([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]], [2, 1], ["same", "same", "target"], dead=[0])
    query = unit([[1.0, 0.0]])
    assert target_ranks(query, Pool(bank), np.array([2]), exclude=np.array([[0]])).tolist() == [1]


def test_a_target_outside_the_pool_is_refused():
    bank = noise_world(documents=3, length=4)
    query = bank.vectors[:1]
    with pytest.raises(InputError, match="target 5 is not among the candidates"):
        target_ranks(query, Pool(bank, np.array([0, 2])), np.array([5]), exclude=NOTHING)
    with pytest.raises(InputError, match="target -1 is not among the candidates"):
        target_ranks(query, Pool(bank), np.array([-1]), exclude=NOTHING)
    with pytest.raises(InputError, match="not among the candidates"):
        ranks_of_scores(np.zeros((1, 12)), Pool(bank, np.array([0])), np.array([5]), exclude=NOTHING)


def test_a_deleted_target_is_refused():
    bank = make_bank(np.eye(3), [3], dead=[1])
    for ranks in (target_ranks, lambda q, pool, t, exclude: in_document_ranks(q, pool.bank, t, exclude=exclude)):
        with pytest.raises(InputError, match="target 1 is not among the candidates"):
            ranks(bank.vectors[:1], Pool(bank), np.array([1]), exclude=NOTHING)


def test_queries_that_are_not_finite_or_of_another_dimension_are_refused():
    bank = noise_world()
    broken = bank.vectors[:3].copy()
    broken[1, 2] = np.nan
    with pytest.raises(InputError, match="query 1 has components that are not finite"):
        target_ranks(broken, Pool(bank), np.arange(3), exclude=nothing(3))
    with pytest.raises(InputError, match="query 1 has components that are not finite"):
        top_k(broken, Pool(bank), 2, exclude=nothing(3))
    with pytest.raises(InputError, match="got 7, expected 16"):
        target_ranks(np.ones((1, 7), dtype=np.float32), Pool(bank), np.array([0]), exclude=NOTHING)


def test_scores_with_nan_are_refused():
    bank = noise_world(documents=1, length=3)
    with pytest.raises(InputError, match="NaN"):
        ranks_of_scores(np.array([[0, np.nan, 1.0]]), Pool(bank), np.array([0]), exclude=NOTHING)


def test_rows_outside_the_bank_are_refused():
    bank = noise_world(documents=2, length=3)
    with pytest.raises(InputError, match="a row is not in the bank"):
        target_ranks(bank.vectors[:1], Pool(bank), np.array([0]), exclude=np.array([[6]]))


def test_a_pool_without_a_living_passage_is_refused():
    bank = make_bank(np.eye(3), [2, 1], dead=[2])
    with pytest.raises(InputError, match="no passage is left"):
        Pool(bank, np.array([1]))


def test_an_empty_batch_has_no_ranks():
    bank = noise_world()
    queries, none = bank.vectors[:0], np.empty(0, dtype=np.int64)
    assert target_ranks(queries, Pool(bank), none, exclude=nothing(0)).shape == (0,)
    assert in_document_ranks(queries, bank, none, exclude=nothing(0)).shape == (0,)
    assert top_k(queries, Pool(bank), 3, exclude=nothing(0)).rows.shape == (0, 3)


def test_a_target_that_is_never_answered_ranks_last():
    bank = noise_world(documents=1, length=4)
    scores = np.array([[-np.inf, -np.inf, 2.0, 1.0]])
    assert ranks_of_scores(scores, Pool(bank), np.array([0]), exclude=np.array([[3]])).tolist() == [3]


def test_noise_ranks_are_uniform_over_the_pool():
    bank = noise_world(seed=1, documents=40, length=10)
    queries = unit(np.random.default_rng(2).standard_normal((400, 16)))
    ranks = target_ranks(queries, Pool(bank), np.arange(400), exclude=nothing(400))
    assert abs(ranks.mean() - 200.5) < 4 * 400 / np.sqrt(12 * 400)


def test_the_transition_world_is_solved_by_its_matrix():
    bank = transition_world(seed=3)
    targets = np.flatnonzero(bank.position > 0)
    queries = unit(bank.vectors[targets - 1] @ transition_matrix(3, 16).T)
    ranks = target_ranks(queries, Pool(bank), targets, exclude=(targets - 1)[:, None])
    assert (ranks == 1).all()
    assert np.allclose(target_cosines(queries, bank, targets), 1, atol=1e-6)


def test_ties_of_a_whole_topic_are_answered_by_rising_row():
    bank = cycle_world(noise=0.0)
    rankings = top_k(bank.vectors[:1], Pool(bank), 5, exclude=NOTHING)
    assert rankings.rows[0].tolist() == np.flatnonzero((bank.vectors == bank.vectors[0]).all(axis=1))[:5].tolist()


def test_cosines_do_not_depend_on_the_length_of_the_query():
    bank = make_bank([[1.0, 0.0], [0.6, 0.8]], [2])
    queries = np.array([[3.0, 0.0], [0.0, 0.0]], dtype=np.float32)
    assert target_cosines(queries, bank, np.array([1, 1])) == pytest.approx([0.6, 0.0])


def test_a_target_that_is_excluded_does_not_count_before_the_others():
    """Scores 0.96, 0.8, 0.6 and 0.28; the second target is excluded, but for its own rank."""
    pool = Pool(make_bank(np.array([[0.96, 0.28], [0.8, 0.6], [0.6, 0.8], [0.28, 0.96]]), [4]))
    query, targets = np.array([[1.0, 0.0]]), np.array([[2, 0, 3]])
    nothing, best = np.empty((1, 0), dtype=np.int64), np.array([[0]])
    assert ranks_of_several(query, pool, targets, exclude=nothing).tolist() == [[3, 1, 4]]
    assert ranks_of_several(query, pool, targets, exclude=best).tolist() == [[2, 1, 3]]


def test_a_text_in_several_shards_counts_once_by_its_best_member():
    """Cosines 0.9, 0.5, 0.7, 0.9, 0.2 and 0.8; rows 0, 3 and 4 have the same text, and so have rows 1 and 5.

    In shards of two rows, the candidate of row 1 is counted in the first, though only its member in the third is above
    row 2. Left: the texts of rows 0 and 1 before row 2. Without the text of row 4, which is that of row 0: one.
    """
    cosines = np.array([0.9, 0.5, 0.7, 0.9, 0.2, 0.8])
    bank = make_bank(np.stack([cosines, np.sqrt(1 - cosines**2)], axis=1), [6], ["a", "b", "c", "a", "a", "b"])
    pool, query, target = Pool(bank), np.array([[1.0, 0.0]], dtype=np.float32), np.array([2])
    assert [pool.part(first, first + 2).size for first in (0, 2, 4)] == [2, 1, 0]
    with ThreadPoolExecutor(1) as elsewhere:
        for thirds in (over_shards(pool, 3), over_shards(pool, 3, elsewhere)):
            assert target_ranks(query, pool, target, exclude=NOTHING, count=thirds).tolist() == [3]
            assert target_ranks(query, pool, target, exclude=np.array([[4]]), count=thirds).tolist() == [2]
        less = Pool(make_bank(bank.vectors, [3, 3]), np.array([0]))  # another pool, of a document: rows 0 to 2
        assert target_ranks(query, less, target, exclude=NOTHING, count=over_shards(less, 3, elsewhere)).tolist() == [2]


def test_targets_of_one_candidate_count_once_among_several():
    # Cosines 0.9, 0.8 and 0.7; rows 0 and 3 have the same text, and the rival of row 2 is named twice.
    cosines = np.array([0.9, 0.8, 0.7, 0.9])
    bank = make_bank(np.stack([cosines, np.sqrt(1 - cosines**2)], axis=1), [4], ["same", "b", "c", "same"])
    targets = np.array([[0, 3, 1, 2, 0, -1]])
    ranks = ranks_of_several(np.array([[1.0, 0.0]], dtype=np.float32), Pool(bank), targets, exclude=NOTHING)
    assert ranks.tolist() == [[1, 1, 2, 3, 1, -1]]


def test_blocks_of_duplicates_read_no_more_rows_than_their_limit(monkeypatch):
    """30 groups of two: in blocks of 8 rows there are four groups a block."""
    texts = [f"text {row // 2}" for row in range(60)]
    bank = make_bank(np.random.default_rng(0).standard_normal((60, 4)), [60], texts)
    pool, gathered = Pool(bank), []
    gather = MemoryBank.gather

    def counted(self, rows):
        gathered.append(len(rows))
        return gather(self, rows)

    monkeypatch.setattr(blocks, "ROWS_PER_BLOCK", 8)
    monkeypatch.setattr(MemoryBank, "gather", counted)
    none = (np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))
    widths: list[int] = []
    blocks.visit_blocks(bank.vectors[:3], pool, none, lambda block: widths.append(block.scores.shape[1]))
    assert gathered == [8] * 7 + [4]
    assert widths == [4] * 7 + [2]


@pytest.mark.parametrize("kind", ["numpy", "float32", "bfloat16", "int8"])
def test_blocks_of_different_queries_are_counted_side_by_side_with_the_same_ranks(kind, monkeypatch):
    """The oracle is float64; 90 queries in blocks of 16 on three threads, and the limit of threads is restored."""
    bank = noise_world(documents=30, length=20, dimension=16)
    monkeypatch.setattr(blocks, "QUERIES_PER_BLOCK", 16)
    rounds = kind in counting.MINIMUM_QUERIES
    chosen = {"scores": "numpy" if rounds else kind, "ranks": kind if rounds else "float32"}
    monkeypatch.setattr(counting, "MINIMUM_QUERIES", dict.fromkeys(counting.MINIMUM_QUERIES, 64))
    for module in (blocks, counting):
        monkeypatch.setattr(module, "choices", lambda: chosen)
    generator, used = np.random.default_rng(0), set()
    queries, targets = unit(generator.standard_normal((90, 16))), generator.integers(len(bank), size=90)
    name = "product" if rounds else "_product"
    product = getattr(blocks, name)

    def noted(*given, **named):
        used.add(threading.current_thread().name)
        return product(*given, **named)

    monkeypatch.setattr(blocks, name, noted)
    scores = queries.astype(np.float64) @ bank.vectors.astype(np.float64).T
    above = scores > scores[np.arange(90), targets][:, None] - 1e-6
    with hardware.threads(3):
        ranks = target_ranks(queries, Pool(bank), targets, exclude=np.full((90, 1), -1))
        assert torch.get_num_threads() == 3
    assert ranks.tolist() == above.sum(axis=1).tolist()
    assert used
    assert all(name.startswith("ThreadPoolExecutor") for name in used)


def test_the_bound_of_rounding_is_that_of_the_formula():
    # Dimension 8: 16 steps of 2^-24; rows are taken to be at most 1.01 long, queries at least 1.
    queries = np.array([[1.0] + [0.0] * 7, [4.0] + [0.0] * 7, [0.25] + [0.0] * 7], dtype=np.float32)
    unit_bound = 1.01 * 2.0**-20 / (1 - 2.0**-20)
    assert rounding_bound(queries) == pytest.approx([unit_bound, 4 * unit_bound, unit_bound], rel=1e-12)


def test_a_deleted_first_row_is_refused_as_a_target_of_given_scores():
    bank = make_bank(np.eye(3), [3], dead=[0])
    with pytest.raises(InputError, match="target 0 is not among the candidates"):
        ranks_of_several_scores(np.zeros((1, 3)), Pool(bank), np.array([[1, 0]]), exclude=NOTHING)
