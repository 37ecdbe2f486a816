import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from worlds import MemoryBank, make_bank, noise_world

from segue.errors import InputError
from segue.windows.near_duplicates import document_groups
from segue.windows.splits import SplitSettings, make_splits

WORDS = [f"word{number}" for number in range(400)]


def text_bank(documents: list[list[str]], dead=()) -> MemoryBank:
    texts = [text for passages in documents for text in passages]
    vectors = np.random.default_rng(0).standard_normal((len(texts), 3))
    return make_bank(vectors, [len(passages) for passages in documents], texts, dead=dead)


def article(seed: int, passages: int = 6, words: int = 30) -> list[str]:
    generator = np.random.default_rng(seed)
    return [" ".join(generator.choice(WORDS, size=words)) for _ in range(passages)]


def bank_of_lengths(lengths) -> MemoryBank:
    return make_bank(np.ones((sum(lengths), 1)), lengths)


def parts(split):
    return split.train.tolist(), split.validation.tolist(), split.test.tolist()


@st.composite
def cases(draw):
    lengths = draw(st.lists(st.integers(1, 60), min_size=6, max_size=40))
    groups = np.arange(len(lengths))
    for _ in range(draw(st.integers(0, 3))):
        groups[draw(st.integers(0, len(lengths) - 1))] = groups[draw(st.integers(0, len(lengths) - 1))]
    folds = draw(st.none() | st.integers(2, 4))
    return lengths, groups, SplitSettings(folds=folds, seed=draw(st.integers(0, 99)))


@settings(deadline=None, max_examples=80)
@given(cases())
def test_parts_are_disjoint_cover_everything_and_never_split_a_group(case):
    lengths, groups, config = case
    if len(np.unique(groups)) < 4:
        return
    bank = bank_of_lengths(lengths)
    splits = make_splits(bank, config, groups=groups)
    assert [split.fold for split in splits] == list(range(config.folds or 1))
    for split in splits:
        train, validation, test = parts(split)
        assert sorted(train + validation + test) == list(range(len(lengths)))
        assert min(len(train), len(validation), len(test)) > 0
        for one, other in ((train, validation), (train, test), (validation, test)):
            assert not set(groups[one]) & set(groups[other])


@settings(deadline=None, max_examples=40)
@given(cases())
def test_with_folds_every_document_is_a_test_document_once(case):
    lengths, groups, config = case
    if config.folds and len(np.unique(groups)) >= 4:
        splits = make_splits(bank_of_lengths(lengths), config, groups=groups)
        assert sorted(np.concatenate([split.test for split in splits]).tolist()) == list(range(len(lengths)))


def test_the_seed_decides_and_repeats():
    bank = noise_world(documents=60)
    first, again, other = (make_splits(bank, SplitSettings(seed=seed))[0] for seed in (1, 1, 2))
    assert parts(first) == parts(again)
    assert parts(first) != parts(other)


@pytest.mark.parametrize("giant", [0, 3000])
def test_shares_hold_for_documents_and_for_passages(giant):
    lengths = np.random.default_rng(5).integers(10, 120, size=200)
    lengths[7] += giant
    bank = bank_of_lengths(lengths.tolist())
    for seed in range(5):
        split = make_splits(bank, SplitSettings(seed=seed))[0]
        for documents in (split.validation, split.test):
            assert 15 <= len(documents) <= 25
            assert 0.07 < lengths[documents].sum() / (lengths.sum() - giant) < 0.13


def test_folds_are_balanced_and_a_giant_stands_nearly_alone():
    lengths = [400] + [20] * 44
    splits = make_splits(bank_of_lengths(lengths), SplitSettings(folds=5))
    passages = sorted(sum(lengths[number] for number in split.test) for split in splits)
    assert passages[-1] <= 440
    assert passages[0] >= 180


def test_every_document_has_about_the_same_chance_to_be_tested():
    lengths = list(range(5, 55))
    bank = bank_of_lengths(lengths)
    tested = np.zeros(50)
    for seed in range(300):
        tested[make_splits(bank, SplitSettings(test=0.2, seed=seed), groups=np.arange(50))[0].test] += 1
    chance = tested / 300
    assert abs(chance.mean() - 0.2) < 0.03
    assert 0.1 < chance[:25].mean() < 0.3
    assert 0.1 < chance[25:].mean() < 0.3


@pytest.mark.parametrize(
    ("documents", "config", "expected"),
    [
        (1, SplitSettings(), "at least 3 groups"),
        (2, SplitSettings(), "at least 3 groups"),
        (3, SplitSettings(folds=2), "at least 4 groups"),
        (4, SplitSettings(folds=5), "at least 5 groups"),
    ],
)
def test_too_few_documents_are_refused_with_numbers(documents, config, expected):
    with pytest.raises(InputError, match=f"got {documents} groups.*{expected}"):
        make_splits(noise_world(documents=documents), config)


@pytest.mark.parametrize(
    ("documents", "config"), [(3, SplitSettings()), (4, SplitSettings(folds=2)), (5, SplitSettings(folds=5))]
)
def test_as_few_documents_as_allowed_fill_every_part(documents, config):
    for split in make_splits(noise_world(documents=documents), config):
        assert min(map(len, parts(split))) >= 1


def test_documents_without_a_live_passage_are_in_no_part():
    bank = make_bank(np.ones((8, 1)), [2] * 4, dead=[2, 3])
    assert sorted(np.concatenate(parts(make_splits(bank, SplitSettings())[0]))) == [0, 2, 3]


def test_shares_that_leave_no_training_are_refused():
    with pytest.raises(ValidationError, match="leave nothing to train on"):
        SplitSettings(test=0.6, validation=0.4)
    with pytest.raises(ValidationError, match="leave nothing to train on"):
        SplitSettings(folds=2, validation=0.5)


def test_documents_with_few_changed_words_are_one_group():
    original = article(1)
    edited = [original[0].replace("word1", "changed"), *original[1:]]
    assert document_groups(text_bank([original, article(2), edited, article(3)]), 0.5).tolist() == [0, 1, 0, 3]


def test_a_chain_of_near_duplicates_is_one_group():
    base = " ".join(article(1, passages=1, words=300)).split()
    chain = [[" ".join(base[start : start + 200])] for start in (0, 50, 100)]  # neighbours 0.59, ends 0.32
    assert document_groups(text_bank([*chain, article(9)]), 0.5).tolist() == [0, 0, 0, 3]


def test_documents_that_share_most_passages_are_one_group_though_their_lengths_differ():
    long = article(1, passages=20)
    part = [*long[3:7], *article(2, passages=2)]
    assert document_groups(text_bank([long, part, article(3)]), 0.5).tolist() == [0, 0, 2]


def test_one_common_boilerplate_passage_ties_nothing_together():
    licence = "This page is licensed under the terms that are printed on the last page"
    documents = [[*article(seed), licence] for seed in range(5)]
    assert document_groups(text_bank([[licence], *documents]), 0.5).tolist() == list(range(6))


def test_deleted_passages_tie_nothing_together():
    bank = text_bank([article(1), article(1), article(2)], dead=range(6, 12))
    assert document_groups(bank, 0.5).tolist() == [0, 1, 2]


def test_short_and_empty_documents_are_compared_whole():
    bank = text_bank([["Two words"], ["two WORDS!"], ["..."], ["other words"]])
    assert document_groups(bank, 0.5).tolist() == [0, 0, 2, 3]


def test_without_texts_documents_of_other_vectors_are_apart():
    assert document_groups(bank_of_lengths([2, 3, 1]), 0.5).tolist() == [0, 1, 2]


def naive_similar(left: list[str], right: list[str]) -> float:
    def grams(passages):
        words = " ".join(passages).casefold().split()
        return {tuple(words[start : start + 5]) for start in range(max(1, len(words) - 4))}

    return len(grams(left) & grams(right)) / len(grams(left) | grams(right))


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.8])
def test_pairs_are_those_of_the_full_sets(threshold):
    documents = []
    for seed in range(40):
        base = article(seed % 10, passages=1, words=300)[0].split()
        kept = np.random.default_rng(seed + 100).random(300) < [1.0, 0.99, 0.95, 0.9][seed // 10]
        documents.append([" ".join(word if keep else "new" for word, keep in zip(base, kept, strict=True))])
    groups = document_groups(text_bank(documents), threshold)
    for one in range(40):
        for other in range(one):
            if naive_similar(documents[one], documents[other]) >= threshold:
                assert groups[one] == groups[other]
            elif one % 10 != other % 10:
                assert groups[one] != groups[other]


def test_nothing_depends_on_pythons_hash_seed():
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import numpy as np\n"
        "from worlds import make_bank\n"
        "from segue.windows.splits import SplitSettings, document_groups, make_splits\n"
        "texts = [f'a b c d {n // 2} e f g h i {n // 2} {n % 2}' for n in range(20)]\n"
        "bank = make_bank(np.ones((20, 1)), [1] * 20, texts)\n"
        "splits = make_splits(bank, SplitSettings(folds=3))\n"
        "print(document_groups(bank, 0.3).tolist(), [split.test.tolist() for split in splits])"
    )
    answers = {
        subprocess.run(
            [sys.executable, "-c", script, str(Path(__file__).parents[1])],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("0", "1")
    }
    assert len(answers) == 1
    assert "[0, 0, 2, 2" in answers.pop()


def test_a_group_counts_the_passages_of_all_its_documents():
    """Six groups of ten long documents hold half of the passages: no part of a tenth has room for two of them."""
    lengths = np.array([60] * 60 + [18] * 200)
    groups = np.concatenate([np.repeat(np.arange(6), 10), np.arange(6, 206)])
    for seed in range(10):
        split = make_splits(bank_of_lengths(lengths.tolist()), SplitSettings(seed=seed), groups=groups)[0]
        for documents in (split.validation, split.test):
            assert lengths[documents].sum() <= 1.25 * 0.1 * lengths.sum()
