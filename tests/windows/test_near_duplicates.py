"""Near-duplicates: copies with changed words, twins without texts, excerpts; no templates, licences, other orders."""

import dataclasses
from itertools import combinations

import numpy as np
import pytest
from worlds import make_bank, unit

from segue.windows.near_duplicates import document_groups
from segue.windows.vector_copies import _match, most_holders, vector_pairs

VOCABULARY = np.array([f"word{number}" for number in range(3000)])
DIMENSION = 64


def article(seed, passages=12, words=40):
    generator = np.random.default_rng((seed, 1))
    return [" ".join(generator.choice(VOCABULARY, size=words)) for _ in range(passages)]


def reworded(passages, every):
    """Change one in so many words of each passage, drawn at random."""
    generator = np.random.default_rng(5)
    return [" ".join("new" + word if generator.random() < 1 / every else word for word in text.split())
            for text in passages]  # fmt: skip


def groups_of_texts(documents, threshold=0.5):
    """Groups by words alone: the vectors are noise."""
    texts = [text for passages in documents for text in passages]
    vectors = np.random.default_rng(0).standard_normal((len(texts), DIMENSION))
    return document_groups(make_bank(vectors, [len(passages) for passages in documents], texts), threshold).tolist()


def drift(seed, passages=12):
    """Unit vectors with a cosine of about 0.5 to the one before, like passages of an article."""
    generator = np.random.default_rng((seed, 2))
    steps = [generator.standard_normal(DIMENSION)]
    for _ in range(passages - 1):
        steps.append(0.5 * steps[-1] + 0.75**0.5 * generator.standard_normal(DIMENSION))
    return unit(np.array(steps))


def near(vectors, cosine, seed=0):
    """Return other vectors with about this cosine to ``vectors``."""
    noise = unit(np.random.default_rng((seed, 3)).standard_normal(vectors.shape))
    return unit(cosine * vectors + (1 - cosine**2) ** 0.5 * noise)


def bank_of_vectors(documents):
    return make_bank(np.concatenate(documents), [len(vectors) for vectors in documents])


def groups_of_vectors(documents):
    return document_groups(bank_of_vectors(documents), 0.5).tolist()


def apart(count):
    return list(range(count))


# Words


@pytest.mark.parametrize("letters", ["天地人水火木金土日月山川雪雨風雲花草石玉", "กขคงจฉชซดตถทนบปผพฟมย"])
def test_copies_are_found_in_scripts_without_spaces(letters):
    """Most clauses of 40 characters differ somewhere where one character in 30 is changed."""
    generator = np.random.default_rng(7)
    clauses = [["".join(generator.choice([*letters], 40)) for _ in range(24)] for _ in range(6)]
    documents = [["。".join(own[start : start + 4]) for start in range(0, 24, 4)] for own in clauses]
    spoilt = ["".join("x" if generator.random() < 1 / 30 else one for one in text) for text in documents[0]]
    assert groups_of_texts([*documents, spoilt]) == [*apart(6), 0]


def test_invisible_characters_do_not_tell_copies_apart():
    documents = [article(seed) for seed in range(3)]
    hyphenated = [text.replace("rd", "r\u00add").replace(" ", "\u200b ") for text in documents[1]]
    assert groups_of_texts([*documents, hyphenated]) == [0, 1, 2, 1]


def fives(passages):
    words = " ".join(passages).split()
    return {tuple(words[start : start + 5]) for start in range(len(words) - 4)}


@pytest.mark.parametrize(("every", "left"), [(10, 0.42), (6, 0.25)])
def test_copies_with_changed_words_are_one_group(every, left):
    """A 5-gram survives with probability s = (1 - 1/every)^5, so s / (2 - s) of the union is left: below 0.5."""
    survives = (1 - 1 / every) ** 5
    assert survives / (2 - survives) == pytest.approx(left, abs=0.005)
    documents = [article(seed) for seed in range(12)]
    copies = [reworded(passages, every) for passages in documents[:5]]
    for one, other in zip(documents, copies, strict=False):
        shared, union = fives(one) & fives(other), fives(one) | fives(other)
        assert 0.15 < len(shared) / len(union) < 0.5
    assert groups_of_texts(documents + copies) == [*apart(12), *apart(5)]


def test_the_lower_threshold_follows_the_setting():
    """Every sixth word changed leaves 1 of 6 5-grams, 1/11 of the union; every twelfth leaves 7 of 12, 7/17 = 0.41."""
    words = [text.split() for text in article(0, words=60)]
    documents = [article(seed, words=60) for seed in range(6)]
    for every, groups in ((6, {0.5: 6, 0.09: 0}), (12, {0.5: 0, 1.0: 0})):
        copy = [" ".join("new" if place % every == 0 else word for place, word in enumerate(text)) for text in words]
        for threshold, group in groups.items():
            assert groups_of_texts([*documents, copy], threshold)[6] == group


def test_short_documents_need_the_threshold_itself():
    """7 of 13 words are a stock phrase: 3 of 15 5-grams, 0.2, of two passages."""
    long = [article(seed) for seed in range(10)]
    short = [["a b c d e f g " + " ".join(VOCABULARY[6 * number : 6 * number + 6])] for number in range(2)]
    assert groups_of_texts(long + short) == apart(12)


def test_an_excerpt_is_in_the_group_of_its_document():
    documents = [article(seed, passages=30) for seed in range(6)]
    assert groups_of_texts([*documents, reworded(documents[2][10:16], 10), documents[3][5:7]]) == [*apart(6), 2, 7]


@pytest.mark.parametrize("documents", [8, 30, 60])
@pytest.mark.parametrize("values", [5, 1000])
def test_templated_reports_are_apart(documents, values):
    """Nine words in ten are the template's, so all documents share most 5-grams."""
    template, generator = np.array([text.split() for text in article(0)]), np.random.default_rng(1)
    reports = []
    for _ in range(documents):
        filled = template.astype(object)
        for place in (5, 15, 25, 35):
            filled[:, place] = [f"value{place}-{row}-{generator.integers(values)}" for row in range(len(filled))]
        reports.append([" ".join(words) for words in filled])
    assert groups_of_texts(reports) == apart(documents)


def test_a_template_of_whole_passages_ties_nothing_together():
    shared = article(0, passages=8)
    assert groups_of_texts([[*shared, *article(seed, passages=3)] for seed in range(1, 31)]) == apart(30)


def test_a_shared_licence_ties_nothing_together_and_hides_no_copy():
    licence = article(99, passages=14)
    documents = [[*article(seed, passages=8), *licence] for seed in range(30)]
    copies = [[*reworded(passages[:8], 10), *licence] for passages in documents[:3]]
    assert groups_of_texts(documents) == apart(30)
    assert groups_of_texts(documents + copies) == [*apart(30), 0, 1, 2]


def test_dialogues_with_stock_phrases_are_apart():
    generator, stock = np.random.default_rng(4), [f"{word} and then {word} if you please" for word in VOCABULARY[:40]]
    dialogues = []
    for seed in range(60):
        turns = [text if generator.random() < 0.5 else stock[generator.integers(40)] for text in article(seed, words=9)]
        dialogues.append(turns)
    assert groups_of_texts(dialogues) == apart(60)


def test_documents_that_quote_each_other_are_apart():
    """A third of each document is quoted from four others."""
    laws = [article(seed) for seed in range(30)]
    quoting = [[*law, *(laws[(number + 7 * k) % 30][k] for k in range(1, 5))] for number, law in enumerate(laws)]
    assert groups_of_texts(quoting) == apart(30)


def test_more_near_copies_than_the_limit_of_boilerplate_are_still_one_group_if_hardly_a_word_differs():
    versions = [[*article(0)[:-1], article(0)[-1] + f" version{number}"] for number in range(25)]
    assert groups_of_texts([*versions, *(article(seed) for seed in range(1, 26))]) == [*[0] * 25, *range(25, 50)]


def test_equal_documents_are_one_group_however_many_there_are():
    assert groups_of_texts([article(0)] * 30 + [article(1), article(2)]) == [*[0] * 30, 30, 31]


# Vectors


def test_twins_without_texts_are_one_group():
    documents = [drift(seed) for seed in range(12)]
    assert groups_of_vectors(documents + documents[:5]) == [*apart(12), *apart(5)]


def test_rows_with_equal_vectors_count_as_passages_word_for_word():
    """Two of three passages are over half; nearness is not examined in documents of fewer than three passages."""
    vectors = np.random.default_rng(0).standard_normal((10, DIMENSION))
    vectors[2:4] = vectors[:2]
    bank = make_bank(vectors, [2] * 5)
    assert document_groups(bank, 0.5).tolist() == apart(5)
    known = dataclasses.replace(bank, duplicate_group=np.array([0, 1, 0, 1, 4, 5, 6, 7, 8, 9]))
    assert document_groups(known, 0.5).tolist() == [0, 0, 2, 3, 4]


@pytest.mark.parametrize("texts", [False, True])
def test_near_copies_by_vectors_are_one_group_with_and_without_texts(texts):
    documents = [drift(seed) for seed in range(12)]
    copies = [near(vectors, 0.9, seed) for seed, vectors in enumerate(documents[:5])]
    bank = bank_of_vectors(documents + copies)
    if texts:
        bank = dataclasses.replace(bank, passage_texts=[text for seed in range(17) for text in article(seed)])
    assert document_groups(bank, 0.5).tolist() == [*apart(12), *apart(5)]


def test_neighbours_are_no_copies():
    documents = [drift(seed) for seed in range(12)]
    assert groups_of_vectors(documents + [near(vectors, 0.6) for vectors in documents[:5]]) == apart(17)


def test_the_same_passages_in_another_order_are_no_copy():
    documents = [drift(seed) for seed in range(12)]
    shuffled = near(documents[0], 0.9)[[7, 2, 11, 4, 9, 0, 6, 3, 10, 1, 8, 5]]  # longest in order: 4 of 12
    assert groups_of_vectors([*documents, shuffled, near(documents[1], 0.9)[::-1]]) == apart(14)


def test_an_excerpt_is_found_by_vectors_from_three_passages_on():
    documents = [drift(seed) for seed in range(12)]
    parts = [near(documents[0][4:8], 0.9), near(documents[1][4:6], 0.9)]
    assert groups_of_vectors([*documents, *parts]) == [*apart(12), 0, 13]


def test_half_of_the_shorter_document_is_not_enough():
    documents = [drift(seed) for seed in range(12)]
    half, most = (np.concatenate([near(documents[0][:n], 0.9), drift(50)[n:]]) for n in (6, 7))
    assert groups_of_vectors([*documents, half]) == apart(13)
    assert groups_of_vectors([*documents, most]) == [*apart(12), 0]


def test_passages_near_those_of_many_documents_are_boilerplate():
    """Documents of 4 own passages and 6 that all share; a copy of one of them is found by its own passages."""
    common = drift(99, passages=6)
    documents = [np.concatenate([drift(seed, 4), near(common, 0.95, seed)]) for seed in range(30)]
    assert groups_of_vectors(documents) == apart(30)
    copy = np.concatenate([near(documents[3][:4], 0.9), near(common, 0.95, 77)])
    assert groups_of_vectors([*documents, copy]) == [*apart(30), 3]


@pytest.mark.parametrize("dimension", [3, 8, 16])
@pytest.mark.parametrize("passages", [3, 5, 12])
def test_noise_of_few_dimensions_is_apart(dimension, passages):
    vectors = np.random.default_rng(dimension).standard_normal((100 * passages, dimension))
    assert document_groups(make_bank(vectors, [passages] * 100), 0.5).tolist() == apart(100)


def test_broken_and_deleted_vectors_are_no_copies():
    documents = [drift(seed) for seed in range(6)]
    bank = bank_of_vectors([*documents, near(documents[0], 0.9), documents[1]])
    bank.vectors[12 * 2 : 12 * 3] = np.nan
    bank.vectors[12 * 3 : 12 * 4] = 0.0
    bank.alive[12 * 7 :] = False
    assert document_groups(bank, 0.5).tolist() == [*apart(6), 0, 7]


def test_groups_do_not_depend_on_the_order_of_documents_and_repeat():
    documents = [drift(seed) for seed in range(12)] + [near(drift(seed), 0.85) for seed in range(5)]
    order = np.random.default_rng(1).permutation(17)
    first, again = groups_of_vectors(documents), groups_of_vectors(documents)
    moved = groups_of_vectors([documents[number] for number in order])
    assert first == again
    together = np.equal.outer(first, first)[np.ix_(order, order)]
    np.testing.assert_array_equal(np.equal.outer(moved, moved), together)


def test_pairs_known_already_are_not_compared():
    bank = bank_of_vectors([drift(0), drift(1), drift(2), near(drift(0), 0.9)])
    assert vector_pairs(bank, np.arange(4), 3) == [(0, 3)]
    assert vector_pairs(bank, np.array([0, 1, 2, 0]), 3) == []


def test_the_limit_of_boilerplate():
    assert [most_holders(documents) for documents in (1, 10, 40, 400, 1000, 4000, 10**6)] == [
        3,
        5,
        20,
        20,
        50,
        200,
        200,
    ]


def test_a_passage_as_near_in_its_own_document_as_its_match_is_no_match():
    once, twice = np.eye(4)[:3], np.eye(4)[[0, 0, 1, 1, 2, 2]]
    assert _match(once, once, 0.75).tolist() == [[0, 0], [1, 1], [2, 2]]
    assert _match(once, twice, 0.75).tolist() == []
    assert _match(twice, once, 0.75).tolist() == []


def test_documents_of_boilerplate_that_are_only_similar_are_apart():
    """Each leaves out two of twenty common passages: signatures propose such pairs, the whole sets refuse them."""
    common = article(0, passages=20)
    left_out = [pair for pair in combinations(range(20), 2) if sum(pair) % 6 == 0][:30]
    documents = [[text for place, text in enumerate(common) if place not in pair] for pair in left_out]
    grams = [fives(passages) for passages in documents]
    similarity = [len(one & other) / len(one | other) for one, other in combinations(grams, 2)]
    assert 0.75 < min(similarity) < max(similarity) < 0.95
    assert groups_of_texts(documents) == apart(30)
