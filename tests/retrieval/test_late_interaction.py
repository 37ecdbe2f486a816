"""Features of sentences against naive loops; they know nothing of rows, pads, order or batches."""

from dataclasses import replace

import numpy as np
import pytest
from fake_encoder import HashEncoder
from worlds import all_windows, make_bank, reverse_documents, unit

from segue.bank.sentences import build_sentences, split_sentences
from segue.errors import InputError
from segue.ranking.pool import Pool
from segue.retrieval.rerank import CandidateLists
from segue.retrieval.rerank.features import ALL_GROUPS, GROUPS, Features
from segue.retrieval.rerank.late_interaction import NAMES, LateInteraction
from segue.windows.windows import gather_contexts

ENCODER = HashEncoder(dimension=16)


def sentence(row, place):
    return f"Here is a sentence of passage {row} at place {place}, long enough."


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """Return a bank of passages of 1 to 4 sentences, its sentences, windows, contexts, and lists with pads."""
    texts = [" ".join(sentence(row, place) for place in range(1 + row * 7 % 4)) for row in range(60)]
    bank = replace(make_bank(ENCODER.encode(texts), [20, 25, 15], texts), space=ENCODER.space)
    sentences = build_sentences(bank, lambda: ENCODER, tmp_path_factory.mktemp("sentences"))
    windows = all_windows(bank, minimum=1).take(slice(None, None, 3))
    generator = np.random.default_rng(2)
    rows = np.full((len(windows), 12), -1)
    for number in range(len(windows)):
        size = generator.integers(0, 13)
        rows[number, :size] = generator.choice(60, size, replace=False)
    queries = unit(generator.standard_normal((len(windows), 16)))
    candidates = CandidateLists(rows, np.where(rows >= 0, 0.0, -np.inf), queries)
    return bank, sentences, windows, gather_contexts(bank, windows, texts=True), candidates


def columns(sentences, bank, contexts, candidates):
    vectors = bank.gather(np.maximum(candidates.rows, 0).ravel()).reshape(*candidates.rows.shape, -1)
    return LateInteraction(sentences, 3).columns(contexts, candidates, vectors.astype(np.float64))


def stored(text):
    """Return the vectors of a text's sentences as float64."""
    return ENCODER.vectors(split_sentences(text)).astype(np.float16).astype(np.float64)


def by_hand(read, candidate, vector, query):
    """Return every feature of one candidate; ``read`` are texts, oldest first."""
    passages, theirs = [stored(text) for text in read], stored(candidate)
    newest = passages[-1]
    with_newest = [[float(a @ b) for b in theirs] for a in newest]
    everything = np.concatenate(passages)
    prediction = [float(query @ b) for b in theirs]
    return {
        "tail - head": with_newest[-1][0],
        "tail - best sentence": max(with_newest[-1]),
        "tail - tail": with_newest[-1][-1],
        "head - head": with_newest[0][0],
        "tail - candidate": float(newest[-1] @ vector),
        "best newest sentence - head": max(row[0] for row in with_newest),
        "best second sentence - head": max(float(a @ theirs[0]) for a in passages[-2]) if len(read) > 1 else np.nan,
        "best context sentence - head": max(float(a @ theirs[0]) for a in everything),
        "best pair with newest": max(max(row) for row in with_newest),
        "late interaction of newest": sum(max(row) for row in with_newest) / len(newest),
        "late interaction with context": sum(max(float(a @ b) for a in everything) for b in theirs) / len(theirs),
        "prediction - best sentence": max(prediction),
        "prediction - mean sentence": sum(prediction) / len(prediction),
    }


def test_every_feature_equals_a_naive_loop(case):
    bank, sentences, windows, contexts, candidates = case
    found = columns(sentences, bank, contexts, candidates)
    assert set(found) == set(NAMES)
    for number, rows in enumerate(candidates.rows):
        read = [bank.passage_texts[row] for row in windows.context[number] if row >= 0]
        for place, row in enumerate(rows):
            if row < 0:
                assert all(np.isnan(values[number, place]) for values in found.values())
                continue
            expected = by_hand(read, bank.passage_texts[row], bank.vectors[row], candidates.queries[number])
            for name, value in expected.items():
                assert found[name][number, place] == pytest.approx(value, abs=1e-12, nan_ok=True), name


def test_values_are_the_same_to_the_bit_whatever_the_rows_pads_order_and_batch(case, tmp_path):
    bank, sentences, windows, contexts, candidates = case
    found = columns(sentences, bank, contexts, candidates)
    other, moved = reverse_documents(bank, windows)
    other = replace(other, space=bank.space)
    place = np.array([other.passage_texts.index(text) for text in bank.passage_texts])
    turned = np.where(candidates.rows >= 0, place[candidates.rows], -1)[:, ::-1]
    again = gather_contexts(other, moved, texts=True)
    order = np.argsort(turned < 0, axis=1, kind="stable")  # pads stand at the end
    turned = np.take_along_axis(turned, order, axis=1)
    there = CandidateLists(np.pad(turned, ((0, 0), (0, 2)), constant_values=-1), np.zeros((len(turned), 14)),
                       candidates.queries)  # fmt: skip
    one_by_one = []
    for number in range(len(windows)):
        one = slice(number, number + 1)
        one_by_one.append(columns(sentences.over(other), other, again.take(one), there.take(one)))
    for name, values in found.items():
        alone = np.concatenate([part[name] for part in one_by_one])[:, :12]
        expected = np.take_along_axis(values[:, ::-1], order, axis=1)
        if name == "tail - candidate" or name.startswith("prediction"):  # one side is a float32 vector
            assert np.allclose(alone, expected, rtol=0, atol=1e-14, equal_nan=True)
        else:
            assert np.array_equal(alone, expected, equal_nan=True), name


def test_a_context_that_the_bank_does_not_hold_is_read_from_its_texts(case):
    bank, sentences, _, contexts, candidates = case
    known = columns(sentences, bank, contexts, candidates)
    sent = replace(contexts, rows=np.full_like(contexts.rows, -1))
    for name, values in columns(sentences, bank, sent, candidates).items():
        assert np.array_equal(values, known[name], equal_nan=True), name


def test_without_sentences_features_are_missing(case):
    bank, sentences, _, contexts, candidates = case
    blank = [("", *texts[1:]) if len(texts) > 1 else ("",) for texts in contexts.texts]
    for texts in (None, blank):
        sent = replace(contexts, rows=np.full_like(contexts.rows, -1), texts=texts)
        found = columns(sentences, bank, sent, candidates)
        alone = contexts.mask.sum(axis=1) == 1  # the query has no passages but the blank
        for name, values in found.items():
            if not name.startswith("prediction"):
                assert np.isnan(values[alone] if texts else values).all(), name
    unpredicted = columns(sentences, bank, contexts, replace(candidates, queries=None))
    assert all(np.isnan(values).all() for name, values in unpredicted.items() if name.startswith("prediction"))


@pytest.mark.parametrize("width", [0, 12])
def test_empty_lists_have_no_features(case, width):
    _, sentences, _, contexts, candidates = case
    shape = (len(candidates), width)
    empty = replace(candidates, rows=np.full(shape, -1), first=np.full(shape, -np.inf))
    vectors = np.zeros((len(candidates), width, 16))
    found = LateInteraction(sentences, 3).columns(contexts, empty, vectors)
    assert all(values.shape == (len(candidates), width) and np.isnan(values).all() for values in found.values())


def test_features_have_the_group_with_places_and_less_the_neighbours(case):
    bank, sentences, _, contexts, candidates = case
    features = Features(bank, Pool(bank), context=3, groups=(*GROUPS, "sentences"), pieces={"sentences": sentences})
    values = features.compute(contexts, candidates)
    of = {name: values[:, :, place] for place, name in enumerate(features.names)}
    found = columns(sentences, bank, contexts, candidates)
    for name, column in found.items():
        assert np.array_equal(of[name], column.astype(np.float32), equal_nan=True)
    corrected = of["tail - candidate - neighbour 10"]
    assert np.allclose(corrected, of["tail - candidate"] - of["neighbour 10"], atol=1e-6, equal_nan=True)
    assert np.nanmin(of["rank of tail - head"]) == 0
    without = Features(bank, Pool(bank), context=3, groups=GROUPS)
    kept = [place for place, name in enumerate(features.names) if name in without.names]
    assert np.array_equal(values[:, :, kept], without.compute(contexts, candidates), equal_nan=True)
    assert features.reads_text


def test_features_over_another_bank_take_its_sentences(case):
    bank, sentences, windows, contexts, candidates = case
    features = Features(bank, Pool(bank), context=3, groups=("sentences",), pieces={"sentences": sentences})
    other, moved = reverse_documents(bank, windows)
    other = replace(other, space=bank.space)
    place = np.array([other.passage_texts.index(text) for text in bank.passage_texts])
    turned = replace(candidates, rows=np.where(candidates.rows >= 0, place[candidates.rows], -1))
    again = features.over(other).compute(gather_contexts(other, moved, texts=True), turned)
    assert np.allclose(again, features.compute(contexts, candidates), rtol=0, atol=1e-7, equal_nan=True)
    counted = features.counting(np.array([0])).compute(contexts, candidates)
    assert np.array_equal(counted, features.compute(contexts, candidates), equal_nan=True)


def test_the_group_without_vectors_of_sentences_is_refused(case):
    bank = case[0]
    with pytest.raises(InputError, match="'sentences'"):
        Features(bank, Pool(bank), context=3, groups=ALL_GROUPS)
