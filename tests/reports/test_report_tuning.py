"""The table of tuned options says what was tried, what was kept and what that gained."""

import pytest
from records import record

from segue.reports.sections.metrics import tuning_table

OWN = {"learning_rate": 0.001, "weight_decay": 0.02, "dropout": 0.0, "temperature": None, "width": 1.0,
       "article_dropout": True, "span_corruption": True}  # fmt: skip


def entry(**more):
    return {
        "option": "ar-cosine", "fold": 0, "trials": 8, "pruned": 3, "failed": 0, "steps": 120, "own": OWN,
        "loss": "infonce", "best_trial": 2,
        "settings": {**OWN, "learning_rate": 0.0031, "width": 2.0, "article_dropout": False},
        "validation_mrr": {"before": 0.2, "after": 0.234}, "seconds": 61.0, **more,
    }  # fmt: skip


def lines(*entries):
    table = tuning_table(record(tuning=entries))
    assert table is not None
    return [[cell.text for cell in row.cells] for row in table.groups[0].rows]


def test_a_line_says_what_was_tried_and_what_it_gained():
    (line,) = lines(entry())
    assert line[1:7] == ["8", "3", "120", "0.200", "0.234", "+0.034"]
    assert line[7] == "learning rate 0.0031, width × 2 and article dropout off"


def test_with_folds_each_has_its_line():
    names = [line[0] for line in lines(entry(), entry(fold=1))]
    assert [name.endswith(f"fold {number}") for number, name in enumerate(names, start=1)] == [True, True]


@pytest.mark.parametrize(
    ("more", "place", "text"),
    [
        ({"settings": OWN}, 7, "nothing: the recipe’s own settings were best"),
        ({"validation_mrr": {"before": None, "after": 0.3}}, 4, "–"),
        ({"validation_mrr": {"before": None, "after": 0.3}}, 6, "–"),
    ],
)
def test_what_did_not_change_or_is_not_known_is_said(more, place, text):
    assert lines(entry(**more))[0][place] == text


def test_nothing_tuned_gives_no_table():
    assert tuning_table(record()) is None
