"""Claims are as wide as their evidence: existence, under-trained entries, seeds, folds, gates, resumed runs."""

import pytest
from records import COPY, entry, record

from segue.reports.contrasts import repeats, winner
from segue.reports.sections.advice import meanwhile, what_to_train
from segue.reports.sections.appendix import seconds_table
from segue.reports.sections.header import facts
from segue.reports.sections.hypotheses import hypotheses, hypothesis_table
from segue.reports.sections.metrics import tags
from segue.reports.sections.summary import headline
from segue.reports.text import to_text

BETTER, WORSE, OPEN = (0.05, 0.02, 0.01), (-0.05, 0.02, 0.01), (0.01, 0.02, 0.5)
LATE = {"status": "under-trained"}


def finding(start, comparison):
    return next(found for found in hypotheses(comparison) if found.statement.startswith(start))


def judged(start, comparison):
    found = finding(start, comparison)
    return found.verdict, found.late


@pytest.mark.parametrize(
    ("mean", "weighted", "verdict"),
    [(WORSE, BETTER, "supported"), (WORSE, OPEN, "undecided"), (WORSE, WORSE, "contradicted"),
     (OPEN, OPEN, "undecided"), (BETTER, OPEN, "supported")],
)  # fmt: skip
def test_that_there_is_one_is_contradicted_only_by_all(mean, weighted, verdict):
    rows = (entry("mean", 0.3, against={"copy-last": mean}), entry("exp-mean", 0.3, against={"copy-last": weighted}))
    assert judged("Earlier passages", record(COPY, *rows)) == (verdict, False)
    losses = (entry("infonce-ar", 0.3, against={"ar-cosine": mean}),
              entry("infonce", 0.3, against={"ar-cosine": weighted}))  # fmt: skip
    assert judged("A contrastive", record(entry("ar-cosine", 0.3), *losses)) == (verdict, False)


def test_verdict_says_at_these_steps_where_it_rests_on_an_under_trained_row():
    raw = entry("infonce-ar", 0.2)
    pure = entry("infonce", 0.3, against={"infonce-ar": BETTER})
    assert judged("The AR term", record(raw, pure)) == ("supported", False)
    assert judged("The AR term", record(raw, pure | LATE)) == ("supported", True)
    assert judged("The AR term", record(raw | LATE, pure)) == ("supported", True)


def test_one_fully_trained_pair_is_enough_for_that_there_is_one():
    ar, late = entry("ar-cosine", 0.3), entry("infonce-ar", 0.2, against={"ar-cosine": WORSE}) | LATE
    pure = entry("infonce", 0.4, against={"ar-cosine": BETTER})
    assert judged("A contrastive", record(ar, late, pure)) == ("supported", False)
    assert judged("A contrastive", record(ar | LATE, late, pure)) == ("supported", True)
    assert judged("A contrastive", record(ar, late)) == ("contradicted", True)


def test_difference_between_rows_rests_on_the_under_trained_one_only_without_another():
    rows = [entry("infonce-ar", 0.4), entry("infonce-ar-tau-0.05", 0.3), entry("infonce-ar-tau-0.10", 0.2)]
    assert judged("The temperature", record(*rows)) == ("supported", False)
    assert judged("The temperature", record(*rows[:2], rows[2] | LATE)) == ("supported", False)
    assert judged("The temperature", record(rows[0], rows[2] | LATE)) == ("supported", True)


@pytest.mark.parametrize(
    ("seeds", "folds", "said"),
    [
        ([1], 1, "Trained with 1 training seed:"),
        ([1, 2, 3], 3, "Trained with 1 training seed on each of 3 folds (folds are other documents, not repeats):"),
        ([1, 2, 3], 1, "Trained with 3 training seeds:"),
    ],
)
def test_caption_of_the_hypotheses_prints_seeds_and_steps(seeds, folds, said):
    rows = (entry("infonce-ar", 0.2) | LATE, entry("infonce", 0.3, training={"model": "gru"}))
    comparison = record(*rows, seeds=seeds, folds=folds)
    table = hypothesis_table(comparison, hypotheses(comparison))
    assert said in table.caption
    assert "a claim about a method in general needs 3 seeds" in table.caption
    assert "At these steps" in table.caption
    assert "at these steps" in {line.cells[1].detail for line in table.groups[0].rows}


def test_seeds_of_folds_are_no_repeats():
    assert [repeats(record(seeds=s, folds=f)) for s, f in (([1, 2, 3], 3), ([1], 3), ([1] * 6, 3), ([1, 2], 1))] == [
        1, 1, 2, 2,
    ]  # fmt: skip
    assert dict(facts(record(seeds=[1, 2, 3], folds=3)))["Seeds"] == "1, 2 and 3, one per fold"


def anchored_pair(losses, bare_losses, **more):
    bare = entry("infonce", 0.2, training={"model": "gru", "anchor": False, "losses": bare_losses})
    model = entry("gru", 0.3, training={"model": "gru", "anchor": True, "losses": losses})
    return [found for found in hypotheses(record(bare, model, **more)) if found.statement.startswith("The anchor")]


def test_anchor_is_judged_only_where_losses_agree_on_all_folds():
    assert anchored_pair(["InfoNCE", "InfoNCE"], ["InfoNCE", "InfoNCE"])
    assert not anchored_pair(["InfoNCE", "AR"], ["InfoNCE", "InfoNCE"])
    assert not anchored_pair(["AR", "InfoNCE"], ["InfoNCE", "InfoNCE"])


def test_anchor_says_when_article_dropout_differs_too():
    said = "Article dropout differs too (0 with the anchor, 0.2 without)"
    pair = (["InfoNCE"], ["InfoNCE"])
    assert said in anchored_pair(*pair)[0].evidence
    assert said in anchored_pair(*pair, article_dropout={"anchored": 0.0, "bare": 0.2})[0].evidence
    same = anchored_pair(*pair, article_dropout={"anchored": 0.1, "bare": 0.1})
    assert "dropout" not in same[0].evidence


def folded(own, again, **more):
    """A winner with its own paired test, and the procedure with one of its own, over three folds."""
    value, half, p = again
    delta = {"copy-last": {"R@5": {"value": value, "low": value - half, "high": value + half, "p": p}}}
    procedure = {"chosen": ["gru", "gru", "amn"], "metrics": {"R@5": {"value": 0.3}}, "delta": delta}
    chosen = entry("gru", 0.35, against={"copy-last": own})
    return record(COPY, chosen, winner="gru", **{"folds": 3, "procedure": procedure, **more})


def test_with_folds_the_headline_and_the_tag_follow_the_procedure():
    clear = folded(OPEN, BETTER)
    assert to_text(headline(clear)).startswith("The winner is gru")
    assert "choosing again in each fold has +5.0 points" in headline(clear)
    assert tags(clear, winner(clear)) == ("winner",)
    flattered = folded(BETTER, OPEN)
    assert to_text(headline(flattered)).startswith("The choice on validation does not clearly beat copying")
    assert "gru alone does" in to_text(headline(flattered))
    assert "this many documents do not decide it" in headline(flattered)
    assert tags(flattered, winner(flattered)) == ("chosen",)


def test_without_folds_or_without_its_own_test_the_procedure_gives_way_to_the_winner():
    for found in (
        folded(BETTER, OPEN, folds=1),
        folded(BETTER, OPEN, procedure={"chosen": ["gru"] * 3, "metrics": {}, "delta": {}}),
    ):
        assert to_text(headline(found)).startswith("The winner is gru")
        assert "choosing again" not in headline(found)


def test_with_folds_serving_follows_the_procedure():
    ship = [{"name": "ship", "outcome": "pass", "candidate": "gru"}]
    assert meanwhile(folded(OPEN, BETTER, gates=ship))[0].startswith("Serve `gru`")
    said = meanwhile(folded(BETTER, OPEN, gates=ship))
    assert said[0].startswith("Serve `copy-last`")
    assert "is not established, choosing again in each fold has +1.0 points" in said[1]


def test_failed_ship_gate_names_whom_it_judged():
    gates = [{"name": "ship", "outcome": "fail", "candidate": "gru"}]
    one = record(COPY, entry("gru", 0.31, against={"copy-last": OPEN}), winner="gru", gates=gates)
    assert "The ship gate judged `gru`, which fails it; `copy-last` itself was not judged" in meanwhile(one)[-1]
    assert "judged the choice made inside each fold, which fails it" in meanwhile(folded(OPEN, OPEN, gates=gates))[-1]
    same = record(entry("copy-last", 0.3, validation=0.9), winner="copy-last", gates=gates)
    assert "judged `copy-last`, which fails it: show" in meanwhile(same)[-1]


def test_advice_on_the_loss_is_held_to_the_steps_it_was_trained_for():
    model = {"training": {"model": "gru"}}
    ar = entry("ar-cosine", 0.2, validation=0.1, **model)
    pure = entry("infonce", 0.3, against={"ar-cosine": (0.1, 0.02, 0.01)}, **model)
    assert "at these steps" not in what_to_train(record(ar, pure))[0]
    assert what_to_train(record(ar | LATE, pure))[0].endswith("against `ar-cosine`, at these steps.")


def test_training_of_earlier_sessions_is_no_part_of_this_session():
    whole = seconds_table(record(seconds={"reading": 90, "comparing": 100, "of which training": 60}))
    assert [line.cells[2].text for line in whole.groups[0].rows] == ["47", "53", "32", "100"]
    resumed = seconds_table(record(seconds={"reading": 90, "comparing": 10, "of which training": 60}))
    assert [cell.text for cell in resumed.groups[0].rows[2].cells] == ["of which training", "–", "–"]
    assert "The run was resumed" in resumed.caption
    assert "(training 1 min 00 s)" in resumed.caption
    later = {"kind": "jsonl", "name": "later", "documents": 3, "windows": 9}
    fresh = seconds_table(
        record(
            seconds={"comparing": 10, "of which training": 60},
            fresh=later,
        )
    )
    assert "The trained run was read back" in fresh.caption
