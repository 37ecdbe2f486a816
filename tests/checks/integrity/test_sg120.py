"""SG120: words and vectors agree about neighbours, or rows are out of step."""

import dataclasses
import math
from collections import Counter

import numpy as np
import pytest
from check_cases import bank_case
from worlds import essay_texts_and_vectors, noise_world

from segue.checks import Case
from segue.checks.integrity.sg116_vectors_of_their_texts import CHECK as SG116
from segue.checks.integrity.sg120_rows_in_step import (
    ALIKE,
    CHECK,
    agrees_shifted,
    nearer_than_all,
    nearer_than_document,
    nearest_by_words,
)
from segue.ranking.pool import Pool

TEXTS, VECTORS = essay_texts_and_vectors()
FLAT = VECTORS.reshape(-1, VECTORS.shape[-1])


def case_of(vectors=VECTORS, texts=TEXTS):
    return bank_case(vectors.reshape(VECTORS.shape), texts)


def test_sound_data_pass():
    verdict = CHECK.examine(case_of())
    assert verdict.outcome == "passed"
    assert verdict.details["all"]["value"] > 0.8
    assert all(share["high"] < 0.5 for share in verdict.details["shifted"].values())


SPOILT = {
    "one on": np.roll(FLAT, 1, axis=0),
    "two back": np.roll(FLAT, -2, axis=0),
    "shuffled": np.random.default_rng(0).permutation(FLAT),
    "shuffled inside documents": np.stack([np.random.default_rng(1).permutation(one) for one in VECTORS]),
}


@pytest.mark.parametrize("how", SPOILT)
def test_rows_out_of_step_are_found(how):
    assert CHECK.examine(case_of(SPOILT[how])).outcome == "issue"


@pytest.mark.parametrize("how", ["one on", "shuffled"])
def test_they_are_found_in_documents_of_two_passages_which_sg116_cannot_judge(how):
    texts = [passages[first : first + 2] for passages in TEXTS for first in (0, 2, 4)]
    vectors = VECTORS[:, :6].reshape(len(texts), 2, -1)
    assert CHECK.examine(bank_case(vectors, texts)).outcome == "passed"
    flat = vectors.reshape(len(texts) * 2, -1)
    spoilt = np.roll(flat, 1, axis=0) if how == "one on" else np.random.default_rng(2).permutation(flat)
    case = bank_case(spoilt.reshape(vectors.shape), texts)
    assert CHECK.examine(case).outcome == "issue"
    assert SG116.examine(case).outcome == "not-applicable"


def test_words_that_say_nothing_judge_nothing():
    bank = noise_world(documents=20, length=8)
    assert CHECK.examine(Case(bank, Pool(bank))).outcome == "not-applicable"


def test_a_bank_that_names_its_encoder_is_left_to_sg106():
    case = case_of(SPOILT["shuffled"])
    space = dataclasses.replace(case.bank.space, declared=False)
    bank = dataclasses.replace(case.bank, space=space)
    assert CHECK.examine(Case(bank, Pool(bank))).outcome == "not-applicable"


def test_constant_components_are_a_tip_and_one_vector_for_many_texts_an_issue():
    padded = np.concatenate([VECTORS, np.zeros_like(VECTORS[..., :3])], axis=2)
    verdict = CHECK.examine(bank_case(padded, TEXTS))
    assert (verdict.outcome, verdict.details["constant"]) == ("tip", 3)
    filled = FLAT.copy()
    filled[::10] = FLAT[0]
    verdict = CHECK.examine(case_of(filled))
    assert (verdict.outcome, verdict.measured) == ("issue", 0.1)
    alike = [["the same words"] * len(passages) for passages in TEXTS]
    assert CHECK.examine(case_of(filled, alike)).outcome != "issue"  # texts that are equal may have equal vectors


def by_hand(texts: list[str]) -> np.ndarray:
    """Return the cosines of (1 + ln tf) · idf, idf in Lucene's form, one pair at a time."""
    counts = [Counter(text.split()) for text in texts]
    holders = Counter(word for count in counts for word in count)
    idf = {word: math.log(1 + (len(texts) - held + 0.5) / (held + 0.5)) for word, held in holders.items()}
    weights = [{word: (1 + math.log(times)) * idf[word] for word, times in count.items()} for count in counts]
    length = [math.sqrt(sum(weight**2 for weight in one.values())) for one in weights]
    return np.array([[sum(weight * other.get(word, 0.0) for word, weight in one.items()) / (length[i] * length[j])
                      for j, other in enumerate(weights)] for i, one in enumerate(weights)])  # fmt: skip


def test_pairs_and_shares_are_those_of_naive_loops():
    texts, vectors = [passages[:4] for passages in TEXTS[:15]], VECTORS[:15, :4]
    case = bank_case(vectors, texts)
    flat, documents = vectors.reshape(60, -1).astype(np.float64), np.arange(60) // 4
    cosines = by_hand([text for passages in texts for text in passages])
    cosines[documents[:, None] == documents[None, :]] = 0.0
    best = {}
    for row in range(60):
        near = int(cosines[row].argmax())
        if cosines[row, near] >= ALIKE and cosines[row, near] > best.get(near, (0.0, 0))[0]:
            best[near] = (cosines[row, near], row)
    query, nearest = nearest_by_words(case)
    assert sorted(zip(query.tolist(), nearest.tolist(), strict=True)) == sorted(
        (row, near) for near, (_, row) in best.items()
    )
    among = nearer_than_all(case, query, nearest)
    inside = nearer_than_document(case, query, nearest)
    moved = agrees_shifted(case, query, nearest, 1)
    for place, (row, near) in enumerate(zip(query.tolist(), nearest.tolist(), strict=True)):
        own = flat[row] @ flat[near]
        others = [other for other in range(60) if documents[other] != documents[row] and other != near]
        assert among[place] == pytest.approx(np.mean([flat[row] @ flat[other] < own for other in others]))
        rest = [other for other in range(60) if documents[other] == documents[row] and other != row]
        assert inside[place] == pytest.approx(np.mean([flat[other] @ flat[near] < own for other in rest]))
        if max(row, near) < 59:
            assert moved[place] == (flat[row + 1] @ flat[near + 1] > own)
        else:
            assert np.isnan(moved[place])
