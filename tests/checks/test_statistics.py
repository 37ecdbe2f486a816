"""Which entries the checks compare, and in which order."""

from check_cases import by_hand, small_case, with_rows
from worlds import noise_world

from segue.checks.statistics import baselines, shown_evaluations

CASE = small_case(noise_world(documents=6, length=6))


def rows(subject):
    families = {"mean": "baseline", "copy-last": "baseline", "zebra": "architecture"}
    return with_rows(CASE, *(by_hand(CASE, name, 1, family=of) for name, of in families.items()), subject=subject)


def test_baselines_are_the_untrained_rows_besides_the_subject():
    assert [entry.name for entry in baselines(rows("zebra"))] == ["mean", "copy-last"]
    assert [entry.name for entry in baselines(rows("mean"))] == ["copy-last"]


def test_the_subject_is_shown_first():
    assert next(iter(shown_evaluations(rows("zebra")))) == "zebra"
    assert len(shown_evaluations(rows("zebra"))) > 1
