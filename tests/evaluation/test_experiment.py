"""An experiment keeps near-copies of a document on one side of every split, and resamples them as one unit."""

import numpy as np
import pytest
from worlds import MemoryBank, make_bank

from segue.evaluation.experiment import build_experiment
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
