import bm25s
import numpy as np
import pytest
from words_by_hand import FIVE, bm25_by_hand
from worlds import all_windows, make_bank, messy_world, reverse_documents, unit

from segue.ranking.pool import Pool
from segue.retrieval.rerank import CandidateLists
from segue.retrieval.rerank.features import GROUPS, Features, neighbour_cosines
from segue.retrieval.rerank.words import count_again, count_words, cut_words, overlaps
from segue.types import Windows
from segue.windows.windows import gather_contexts


def test_words_are_cut_as_bm25s_cuts_them():
    texts = [*FIVE, "", "A be-all, end_all: 42 of THE naïve street’s x_2 …", "it's not the other's"]
    expected = bm25s.tokenize(texts, stopwords="english", return_ids=False, show_progress=False)
    assert [list(words) for words in cut_words(texts)] == expected


def test_words_of_every_script_are_counted():
    texts = ("हिन्दी में लिखो", "雪是白的", "ภาษาไทย", "Die STRASSE")
    counted = count_words(make_bank(np.eye(4), [4], texts), Pool(make_bank(np.eye(4), [4], texts)))
    assert [len(counted.counted(tokens).numbers) for tokens in cut_words(texts)] == [3, 3, 6, 2]
    for query, row in (("लिखो", 0), ("白的雪", 1), ("ไทย", 2), ("Straße", 3)):
        found = overlaps(counted, [counted.counted(cut_words([query])[0])], np.arange(4))[:, 0]
        assert np.flatnonzero(found).tolist() == [row]


def test_overlaps_equal_the_formula_of_bm25():
    bank = make_bank(np.eye(5), [5], FIVE)
    words = count_words(bank, Pool(bank))
    context = [words.counted(tokens) for tokens in cut_words([FIVE[2], FIVE[1]])]
    found = overlaps(words, context, np.array([4, 3, 0]))
    for column, passage in enumerate((2, 1)):
        expected = bm25_by_hand(FIVE[passage], FIVE)
        assert np.allclose(found[:, column], [expected[row] for row in (4, 3, 0)], atol=1e-9)
    assert np.allclose(found[:, 2], [bm25_by_hand(FIVE[row], FIVE)[2] for row in (4, 3, 0)], atol=1e-9)
    ice = np.log(1 + (5 - 3 + 0.5) / (3 + 0.5))  # three of five passages hold it; the only word shared with "snow …"
    assert np.allclose(found[:, 3], [ice, ice, 0.0], atol=1e-9)
    own = {row: bm25_by_hand(FIVE[row], FIVE)[row] for row in (3,)}
    assert np.allclose(found[1, 4], bm25_by_hand("ice", FIVE)[3] / own[3], atol=1e-9)


def test_counting_again_equals_counting_the_texts():
    bank = messy_world()
    pool, some = Pool(bank), Pool(bank, np.array([0, 2]))
    again, expected = count_again(count_words(bank, pool), pool, some), count_words(bank, pool, some)
    assert again.words == expected.words
    for name in ("rarity", "ends", "word", "times", "weights", "total", "length"):
        assert np.array_equal(getattr(again, name), getattr(expected, name)), name


def test_neighbours_equal_a_naive_loop_and_leave_duplicates_out():
    bank = messy_world()
    found = neighbour_cosines(bank, Pool(bank))
    assert found.shape == (len(bank), 3)
    for row in range(len(bank)):
        if not bank.alive[row]:
            assert np.isnan(found[row]).all()
            continue
        best: dict[int, float] = {}
        for other in np.flatnonzero(bank.alive):
            group = int(bank.duplicate_group[other])
            if group != bank.duplicate_group[row]:
                best[group] = max(best.get(group, -2.0), float(bank.vectors[row] @ bank.vectors[other]))
        falling = sorted(best.values(), reverse=True)
        expected = [falling[n - 1] if n <= len(falling) else np.nan for n in (1, 10, 50)]
        assert np.allclose(found[row], expected, atol=1e-6, equal_nan=True)


def case(minimum=1):
    """Return a bank, windows, contexts with texts, and lists of all sizes with pads."""
    bank = messy_world()
    windows = all_windows(bank, minimum=minimum).take(slice(None, None, 4))
    contexts = gather_contexts(bank, windows, texts=True)
    generator = np.random.default_rng(3)
    pool = Pool(bank)
    rows = np.full((len(windows), 15), -1)
    for number in range(len(windows)):
        size = generator.integers(0, 16)
        rows[number, :size] = pool.members[pool.start[generator.choice(pool.size, size, replace=False)]]
    first = np.where(rows >= 0, generator.standard_normal(rows.shape), -np.inf)
    queries = unit(generator.standard_normal((len(windows), bank.dimension)))
    return bank, windows, contexts, CandidateLists(rows, first, queries)


def test_cosines_and_lengths_equal_a_naive_loop():
    bank, windows, contexts, candidates = case()
    features = Features(bank, Pool(bank), context=3)
    values = features.compute(contexts, candidates)
    of = {name: values[:, :, place] for place, name in enumerate(features.names)}
    assert values.dtype == np.float32
    for window, list_rows in enumerate(candidates.rows):
        read = windows.context[window][windows.context[window] >= 0][::-1]
        for place, row in enumerate(list_rows):
            if row < 0:
                assert np.isnan(values[window, place]).all()
                continue
            cosines = [float(bank.vectors[row] @ bank.vectors[other]) for other in read]
            expected = {
                "prediction cosine": float(bank.vectors[row] @ candidates.queries[window]),
                "newest cosine": cosines[0],
                "cosine 2 back": cosines[2] if len(read) > 2 else np.nan,
                "best context cosine": max(cosines),
                "mean context cosine": sum(cosines) / len(cosines),
                "least context cosine": min(cosines),
                "newest cosine - oldest": cosines[0] - cosines[-1],
                "newest cosine - second": cosines[0] - cosines[1] if len(read) > 1 else np.nan,
                "characters": len(bank.passage_texts[row]),
                "length ratio": len(bank.passage_texts[row]) / len(bank.passage_texts[read[0]]),
            }
            for name, value in expected.items():
                assert of[name][window, place] == pytest.approx(value, abs=1e-5, nan_ok=True), name


def test_places_and_likeness_within_the_list_equal_a_naive_loop():
    bank, _, contexts, candidates = case()
    features = Features(bank, Pool(bank), context=3)
    values = features.compute(contexts, candidates)
    of = {name: values[:, :, place] for place, name in enumerate(features.names)}
    for window in range(len(contexts)):
        there = np.flatnonzero(candidates.there[window])
        vectors = bank.vectors[candidates.rows[window][there]]
        order = np.argsort(-candidates.first[window][there], kind="stable")
        centre = unit(vectors[order[:10]].mean(axis=0)) if len(there) else None
        for place, number in enumerate(there):
            others = sorted((float(vectors[place] @ vectors[o]) for o in order[:20] if o != place), reverse=True)[:3]
            assert of["centre cosine"][window, number] == pytest.approx(float(vectors[place] @ centre), abs=1e-5)
            expected = np.mean(others) if others else np.nan
            assert of["likest candidates"][window, number] == pytest.approx(expected, abs=1e-5, nan_ok=True)
        cosine = of["prediction cosine"][window][there]
        for place, number in enumerate(there):
            assert of["rank of prediction cosine"][window, number] == (cosine > cosine[place] + 1e-6).sum()
            distance = of["distance of prediction cosine"][window, number]
            assert distance == pytest.approx(cosine[place] - cosine.max(), abs=1e-6)


def test_features_do_not_depend_on_rows_pads_order_or_the_batch():
    bank, windows, contexts, candidates = case()
    features = Features(bank, Pool(bank), context=3)
    values = features.compute(contexts, candidates)
    other, moved = reverse_documents(bank, windows)
    place = np.array([int(np.flatnonzero((other.vectors == vector).all(axis=1))[0]) for vector in bank.vectors])
    rows = np.where(candidates.rows >= 0, place[candidates.rows], -1)
    elsewhere = Features(other, Pool(other), context=3)
    again = elsewhere.compute(
        gather_contexts(other, moved, texts=True), CandidateLists(rows, candidates.first, candidates.queries)
    )
    assert np.array_equal(values, again, equal_nan=True)
    turned = np.argsort(np.where(candidates.there, -np.arange(15), 99), axis=1)
    one = CandidateLists(
        np.take_along_axis(candidates.rows, turned, 1),
        np.take_along_axis(candidates.first, turned, 1),
        candidates.queries,
    )
    again = features.compute(contexts, one)
    assert np.array_equal(np.take_along_axis(values, turned[:, :, None], 1), again, equal_nan=True)
    for number in range(len(windows)):
        part = slice(number, number + 1)
        size = max(1, int(candidates.there[number].sum()))
        alone = CandidateLists(candidates.rows[part, :size], candidates.first[part, :size], candidates.queries[part])
        found = features.compute(contexts.take(part), alone)[0]
        assert np.array_equal(found, values[number, :size], equal_nan=True)


def test_groups_can_be_left_out_and_say_what_they_need():
    bank, _, contexts, candidates = case()
    everything = Features(bank, Pool(bank), context=3)
    values = everything.compute(contexts, candidates)
    assert len(set(everything.names)) == len(everything.names) == values.shape[2]
    for group in GROUPS:
        less = Features(bank, Pool(bank), context=3, groups=[name for name in GROUPS if name != group])
        kept = [everything.names.index(name) for name in less.names]
        assert len(kept) < len(everything.names)
        assert np.array_equal(less.compute(contexts, candidates), values[:, :, kept], equal_nan=True)
    vectors_only = Features(bank, Pool(bank), context=3, groups=["prediction", "context", "list", "places"])
    assert (vectors_only.reads_text, vectors_only.counts_bank) == (False, False)
    assert Features(bank, Pool(bank), context=3, groups=["length"]).reads_text
    assert Features(bank, Pool(bank), context=3, groups=["density"]).counts_bank


def test_statistics_can_be_counted_over_some_documents_only():
    bank, _, contexts, candidates = case()
    pool, some = Pool(bank), np.array([0, 1])
    values = Features(bank, pool, context=3).counting(some).compute(contexts, candidates)
    counted = Pool(bank, some)
    words, density = count_words(bank, pool, counted), neighbour_cosines(bank, pool, counted)
    by_hand = Features(bank, pool, context=3, words=words, density=density).compute(contexts, candidates)
    assert np.array_equal(values, by_hand, equal_nan=True)
    assert not np.array_equal(values, Features(bank, pool, context=3).compute(contexts, candidates), equal_nan=True)


def test_what_is_not_known_is_missing():
    bank, windows, _, candidates = case()
    silent = gather_contexts(bank, windows)
    features = Features(bank, Pool(bank), context=5)
    values = features.compute(silent, CandidateLists(candidates.rows, candidates.first))
    missing = {name for place, name in enumerate(features.names) if np.isnan(values[:, :, place]).all()}
    assert {"prediction cosine", "words sum", "rank of words sum", "length ratio", "cosine 4 back"} <= missing
    assert not missing & {"newest cosine", "cosine 2 back", "characters", "neighbour 1"}
    without = make_bank(np.eye(4), [4])
    few = CandidateLists(np.array([[2, 3]]), np.zeros((1, 2)))
    contexts = gather_contexts(without, Windows(np.array([[0]]), np.array([1])), texts=True)
    blind = Features(without, Pool(without), context=1)
    assert not blind.reads_text
    assert np.isnan(blind.compute(contexts, few)[:, :, blind.names.index("words sum")]).all()
