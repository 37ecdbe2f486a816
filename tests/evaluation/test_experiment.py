"""An experiment: windows of each part from its own documents, near-copies in one part, tied to its bank."""

import dataclasses

import numpy as np
import pytest
from worlds import MemoryBank, make_bank, noise_world

from segue.errors import InputError
from segue.evaluation.experiment import build_experiment, lock_split, require_same_bank
from segue.windows.splits import SplitSettings, make_splits
from segue.windows.windows import WindowSettings

WORDS = [f"word{number}" for number in range(900)]
ARTICLES, LENGTH = 14, 5


def bank_with_copies() -> MemoryBank:
    """Return fourteen articles, and after them a copy of each of the first six with its first word changed."""
    generator = np.random.default_rng(3)
    articles = [[" ".join(generator.choice(WORDS, size=25)) for _ in range(LENGTH)] for _ in range(ARTICLES)]
    copies = [[f"changed {article[0].split(' ', 1)[1]}", *article[1:]] for article in articles[:6]]
    texts = [text for article in articles + copies for text in article]
    return make_bank(generator.standard_normal((len(texts), 8)), [LENGTH] * 20, texts)


BANK = bank_with_copies()
OF_WHICH = np.array([*range(ARTICLES), *range(6)])  # the article that each document is


@pytest.mark.parametrize("folds", [None, 3])
def test_a_copy_is_in_the_part_of_its_original_with_every_seed(folds):
    for seed in range(4):
        settings = SplitSettings(test=0.3, validation=0.2, seed=seed, folds=folds)
        of_bank = make_splits(BANK, settings)
        of_experiment = [fold.split for fold in build_experiment(BANK, settings, WindowSettings(context=2)).folds]
        for split in (*of_bank, *of_experiment):
            parts = [set(OF_WHICH[documents]) for documents in (split.train, split.validation, split.test)]
            assert sum(map(len, parts)) == ARTICLES, "an article is in two parts"


def test_a_copy_and_its_original_are_one_unit_of_resampling():
    experiment = build_experiment(BANK, SplitSettings(test=0.3, validation=0.2), WindowSettings(context=2))
    assert experiment.groups.tolist() == OF_WHICH.tolist()


PLAIN = noise_world(documents=20, length=6)


def test_each_part_has_the_windows_of_its_own_documents():
    experiment = build_experiment(PLAIN, SplitSettings(test=0.2, validation=0.1), WindowSettings(context=3))
    (fold,) = experiment.folds
    for part, number in (("train", 14), ("validation", 2), ("test", 4)):
        windows, documents = getattr(fold, part), getattr(fold.split, part)
        assert len(documents) == number
        assert np.unique(PLAIN.document_of[windows.target]).tolist() == documents.tolist()
        assert len(windows) == 3 * number  # six passages, three of them read first
    assert experiment.test_documents.tolist() == fold.split.test.tolist()


@pytest.mark.parametrize(("context", "fits"), [(5, True), (6, False)])
def test_a_part_without_a_window_is_refused_and_one_window_will_do(context, fits):
    bank = noise_world(documents=3, length=6)
    if fits:
        (fold,) = build_experiment(bank, SplitSettings(), WindowSettings(context=context)).folds
        assert [len(fold.train), len(fold.validation), len(fold.test)] == [1, 1, 1]
    else:
        with pytest.raises(InputError, match=r"documents of fold 0 yield no windows.*at least 7 passages"):
            build_experiment(bank, SplitSettings(), WindowSettings(context=context))


def test_a_run_goes_on_with_its_own_bank_alone(tmp_path):
    path = tmp_path / "split.json"
    require_same_bank(PLAIN, path)  # nothing was written yet
    lock_split(build_experiment(PLAIN, SplitSettings(), WindowSettings(context=3)), path)
    require_same_bank(PLAIN, path)
    with pytest.raises(InputError, match="the bank has changed"):
        require_same_bank(dataclasses.replace(PLAIN, hash="another"), path)
