"""Features of tokens against naive loops; they know nothing of rows, pads, order or batches."""

import math
from dataclasses import replace

import numpy as np
import pytest
from fake_encoder import HashEncoder, token_number
from worlds import all_windows, make_bank, reverse_documents, unit

from segue.bank.tokens import build_tokens, rounded
from segue.ranking.pool import Pool
from segue.retrieval.rerank import CandidateLists
from segue.retrieval.rerank.features import GROUPS, Features
from segue.retrieval.rerank.token_interaction import NAMES, TokenInteraction, token_rarity
from segue.windows.windows import gather_contexts

ENCODER = HashEncoder(dimension=16)


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """Return a bank of passages of 1 to 120 words, its tokens and their reduction, contexts, and lists with pads."""
    generator = np.random.default_rng(3)
    texts = [" ".join(f"w{n}" for n in generator.integers(0, 90, 1 + row * 37 % 120)) for row in range(60)]
    bank = replace(make_bank(ENCODER.encode(texts), [20, 25, 15], texts), space=ENCODER.space)
    folder = tmp_path_factory.mktemp("tokens")
    tokens = build_tokens(bank, lambda: ENCODER, folder)
    windows = all_windows(bank, minimum=1).take(slice(None, None, 4))
    rows = np.full((len(windows), 12), -1)
    for number in range(len(windows)):
        size = generator.integers(0, 13)
        rows[number, :size] = generator.choice(60, size, replace=False)
    queries = unit(generator.standard_normal((len(windows), 16)))
    candidates = CandidateLists(rows, np.where(rows >= 0, 0.0, -np.inf), queries)
    reduction = np.load(next(folder.glob("reduction-*.npy")))
    return bank, tokens, windows, gather_contexts(bank, windows, texts=True), candidates, reduction


def columns(tokens, contexts, candidates):
    return TokenInteraction(tokens, token_rarity(tokens, Pool(tokens.bank))).columns(contexts, candidates)


def by_hand(newest, candidate, texts, reduction):
    """Return every feature of one candidate, from the texts of both sides and of the bank."""
    known = [{token_number(word) for word in (text.split()[:32] + text.split()[-48:])} for text in texts]

    def rarity(word):
        count = sum(token_number(word) in some for some in known)
        return math.log(1 + (len(texts) - count + 0.5) / (count + 0.5))

    def vector(word):
        whole = rounded(ENCODER.vectors([word]) @ reduction)[0].astype(float)
        return whole / math.sqrt(sum(whole**2))

    end, beginning = newest.split()[-48:], candidate.split()[:32]
    cosine = [[float(vector(a) @ vector(b)) for b in beginning] for a in end]
    of_end = [max(row) for row in cosine]
    of_beginning = [max(row[place] for row in cosine) for place in range(len(beginning))]
    weight_end, weight_beginning = [rarity(word) for word in end], [rarity(word) for word in beginning]

    def mean(values, weights=None):
        weights = weights or [1.0] * len(values)
        return sum(v * w for v, w in zip(values, weights, strict=True)) / sum(weights)

    return {
        "end in beginning": mean(of_end),
        "rare end in beginning": mean(of_end, weight_end),
        "last in beginning": mean(of_end[-16:]),
        "beginning in end": mean(of_beginning),
        "rare beginning in end": mean(of_beginning, weight_beginning),
        "first in end": mean(of_beginning[:8]),
        "first in last": mean([max(row[place] for row in cosine[-16:]) for place in range(len(beginning[:8]))]),
        "best pair of tokens": max(of_end),
        "best rare pair of tokens": max(v * w for v, w in zip(of_end, weight_end, strict=True)),
    }


def test_every_feature_equals_a_naive_loop(case):
    bank, tokens, windows, contexts, candidates, reduction = case
    found = columns(tokens, contexts, candidates)
    assert tuple(found) == NAMES
    for number in range(0, len(windows), 3):
        newest = bank.passage_texts[windows.context[number][-1]]
        for place, row in enumerate(candidates.rows[number][:8]):
            expected = dict.fromkeys(NAMES, np.nan)
            if row >= 0:
                expected = by_hand(newest, bank.passage_texts[row], bank.passage_texts, reduction)
            for name, value in expected.items():
                assert found[name][number, place] == pytest.approx(value, abs=1e-6, nan_ok=True), name


def test_values_are_the_same_to_the_bit_whatever_the_rows_pads_order_and_batch(case):
    bank, tokens, windows, contexts, candidates, _ = case
    found = columns(tokens, contexts, candidates)
    other, moved = reverse_documents(bank, windows)
    other = replace(other, space=bank.space)
    place = np.array([other.passage_texts.index(text) for text in bank.passage_texts])
    turned = np.where(candidates.rows >= 0, place[candidates.rows], -1)[:, ::-1]
    order = np.argsort(turned < 0, axis=1, kind="stable")  # pads stand at the end
    turned = np.take_along_axis(turned, order, axis=1)
    there = CandidateLists(np.pad(turned, ((0, 0), (0, 2)), constant_values=-1), np.zeros((len(turned), 14)))
    again, moved_tokens = gather_contexts(other, moved, texts=True), tokens.over(other)
    alone = [
        columns(moved_tokens, again.take(slice(n, n + 1)), there.take(slice(n, n + 1))) for n in range(len(turned))
    ]
    for name, values in found.items():
        one_by_one = np.concatenate([part[name] for part in alone])[:, :12]
        expected = np.take_along_axis(values[:, ::-1], order, axis=1)
        assert np.array_equal(one_by_one, expected, equal_nan=True), name


def test_a_passage_that_the_bank_does_not_hold_is_read_from_its_text_or_is_missing(case):
    _, tokens, _, contexts, candidates, _ = case
    known = columns(tokens, contexts, candidates)
    sent = replace(contexts, rows=np.full_like(contexts.rows, -1))
    for name, values in columns(tokens, sent, candidates).items():
        assert np.array_equal(values, known[name], equal_nan=True), name
    for texts in (None, [(*some[:-1], "") for some in contexts.texts]):
        found = columns(tokens, replace(sent, texts=texts), candidates)
        assert all(np.isnan(values).all() for values in found.values())


def test_rarity_is_counted_over_some_documents(case):
    bank, tokens, *_ = case
    counted = token_rarity(tokens, Pool(bank, np.array([1])))
    texts = [set(map(token_number, text.split()[:32] + text.split()[-48:])) for text in bank.passage_texts[20:45]]
    for number in (token_number("w5"), token_number("w61")):
        known = sum(number in some for some in texts)
        assert counted[number] == pytest.approx(math.log(1 + (25 - known + 0.5) / (known + 0.5)))
    assert counted[-1] == pytest.approx(math.log(1 + 25.5 / 0.5))  # in no passage


def test_features_have_the_group_with_places_and_count_the_bank(case):
    bank, tokens, _, contexts, candidates, _ = case
    features = Features(bank, Pool(bank), context=3, groups=(*GROUPS, "tokens"), pieces={"tokens": tokens})
    values = features.compute(contexts, candidates)
    of = {name: values[:, :, place] for place, name in enumerate(features.names)}
    for name, column in columns(tokens, contexts, candidates).items():
        assert np.array_equal(of[name], column.astype(np.float32), equal_nan=True)
    assert np.nanmin(of["rank of rare end in beginning"]) == 0
    assert features.reads_text
    alone = Features(bank, Pool(bank), context=3, groups=("tokens",), pieces={"tokens": tokens})
    assert alone.counts_bank
    recounted = alone.counting(np.array([1])).compute(contexts, candidates)[..., NAMES.index("rare end in beginning")]
    assert not np.array_equal(recounted, of["rare end in beginning"], equal_nan=True)
