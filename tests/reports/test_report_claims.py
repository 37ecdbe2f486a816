"""Claims are as wide as their evidence: existence, under-trained entries, seeds, folds, gates, resumed runs."""

import pytest
from records import COPY, entries_of, entry, record

from segue.reports.contrasts import against, repeats, winner
from segue.reports.sections.advice import meanwhile, next_steps, what_to_train
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
    return finding(start, comparison).verdict


@pytest.mark.parametrize(
    ("mean", "weighted", "verdict"),
    [(WORSE, BETTER, "supported"), (WORSE, OPEN, "undecided"), (WORSE, WORSE, "contradicted"),
     (OPEN, OPEN, "undecided"), (BETTER, OPEN, "supported")],
)  # fmt: skip
def test_that_there_is_one_is_contradicted_only_by_all(mean, weighted, verdict):
    rows = (entry("mean", 0.3, against={"copy-last": mean}), entry("exp-mean", 0.3, against={"copy-last": weighted}))
    assert judged("Earlier passages", record(COPY, *rows)) == verdict
    losses = (entry("infonce-ar", 0.3, against={"ar-cosine": mean}),
              entry("infonce", 0.3, against={"ar-cosine": weighted}))  # fmt: skip
    assert judged("A contrastive", record(entry("ar-cosine", 0.3), *losses)) == verdict


def test_no_verdict_rests_on_an_under_trained_entry():
    raw = entry("infonce-ar", 0.2)
    pure = entry("infonce", 0.3, against={"infonce-ar": BETTER})
    assert judged("The AR term", record(raw, pure)) == "supported"
    for pair in ((raw, pure | LATE), (raw | LATE, pure), (raw | LATE, pure | LATE)):
        found = finding("The AR term", record(*pair))
        assert found.verdict == "not enough evidence"
        assert "is under-trained" in found.evidence
        assert "points" not in found.evidence


def test_one_pair_that_converged_is_enough_for_that_there_is_one_and_only_all_contradict_it():
    ar, late = entry("ar-cosine", 0.3), entry("infonce-ar", 0.2, against={"ar-cosine": WORSE}) | LATE
    pure = entry("infonce", 0.4, against={"ar-cosine": BETTER})
    worse = entry("infonce", 0.2, against={"ar-cosine": WORSE})
    assert judged("A contrastive", record(ar, late, pure)) == "supported"
    assert judged("A contrastive", record(ar | LATE, late, pure)) == "not enough evidence"
    assert judged("A contrastive", record(ar, late, worse)) == "undecided"
    assert "Left out: `infonce-ar` is under-trained." in finding("A contrastive", record(ar, late, worse)).evidence


def test_difference_between_rows_counts_those_that_converged():
    rows = [entry("infonce-ar", 0.4), entry("infonce-ar-tau-0.05", 0.3), entry("infonce-ar-tau-0.10", 0.2)]
    assert judged("The temperature", record(*rows)) == "supported"
    some = finding("The temperature", record(*rows[:2], rows[2] | LATE))
    assert some.verdict == "supported"
    assert "τ 0.10" not in some.evidence
    assert judged("The temperature", record(rows[0], rows[2] | LATE)) == "not enough evidence"


def test_training_is_judged_by_single_models_from_the_anchor_alone():
    """A reranked list and a model that never was a copy differ from copying in more than training."""
    anchored = {"model": "gru", "anchor": True}
    cascade = entry("rerank", 0.5, family="rerank", training=anchored, against={"copy-last": BETTER})
    bare = entry("infonce", 0.4, training={"model": "gru"}, against={"copy-last": BETTER})
    model = entry("gru", 0.31, training=anchored, against={"copy-last": OPEN})
    found = finding("Training finds more", record(COPY, cascade, bare, model))
    assert found.verdict == "undecided"
    assert "rerank" not in found.evidence
    assert not [one for one in hypotheses(record(COPY, cascade, bare)) if one.statement.startswith("Training")]
    alone = entry("copy-last-rerank", 0.5, family="rerank")
    reranked = entry("rerank", 0.5, family="rerank", training=anchored, against={"copy-last-rerank": OPEN})
    assert judged("Under the same reranker", record(COPY, alone, reranked)) == "undecided"


def test_a_cascade_is_not_compared_with_a_bare_model_for_the_anchor():
    bare = entry("infonce-bank", 0.1, training={"model": "gru", "loss": "InfoNCE"})
    cascade = entry("rerank", 0.5, family="rerank", training={"model": "gru", "anchor": True, "loss": "InfoNCE"})
    assert not [one for one in hypotheses(record(bare, cascade)) if one.statement.startswith("The anchor")]


@pytest.mark.parametrize("other", [{"size": "full"}, {"batch_size": 99}, {"model": "mlp"}])
def test_losses_are_compared_only_where_all_else_is_the_same(other):
    raw = entry("infonce-ar", 0.2, training={"loss": "A"})
    pure = entry("infonce", 0.3, training={"loss": "B"} | other, against={"infonce-ar": BETTER})
    found = finding("The AR term", record(raw, pure))
    assert found.verdict == "not enough evidence"
    assert "differ in" in found.evidence


def test_words_are_compared_with_embeddings_of_the_same_passages():
    rows = (entry("bm25", 0.2, against={"copy-last": WORSE}), entry("bm25-context", 0.9, against={"copy-last": BETTER}))
    assert judged("Shared words", record(COPY, *rows)) == "contradicted"


def test_an_under_trained_entry_is_never_worse_and_never_beaten():
    late, done = entries_of(entry("infonce", 0.1, against={"gru": WORSE}) | LATE, entry("gru", 0.5))
    assert (against(late, done).outcome, against(late, done).late) == ("undecided", True)
    assert (against(done, late).outcome, against(done, late).late) == ("undecided", True)
    ahead, behind = entries_of(entry("infonce", 0.6, against={"gru": BETTER}) | LATE, entry("gru", 0.5))
    assert against(ahead, behind).outcome == "better"  # a lower bound that is above


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


def test_anchor_has_no_verdict_where_article_dropout_differs_too():
    pair = (["InfoNCE"], ["InfoNCE"])
    (found,) = anchored_pair(*pair, article_dropout={"anchored": 0.0, "bare": 0.2})
    assert found.verdict == "not enough evidence"
    assert found.evidence == "`gru` and `infonce` differ in article dropout too."
    (same,) = anchored_pair(*pair, article_dropout={"anchored": 0.1, "bare": 0.1})
    assert same.verdict == "supported"


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


def test_advice_on_the_loss_needs_both_to_have_converged_and_not_to_lose_to_copying():
    model = {"training": {"model": "gru"}}
    ar = entry("ar-cosine", 0.2, validation=0.1, **model)
    pure = entry("infonce", 0.3, against={"ar-cosine": (0.1, 0.02, 0.01)}, **model)
    assert what_to_train(record(ar, pure))[0].startswith("Replace the cosine loss by that of `infonce`")
    assert what_to_train(record(ar | LATE, pure)) == []
    assert what_to_train(record(ar, pure | LATE)) == []
    beaten = entry("infonce", 0.06, against={"ar-cosine": (0.05, 0.02, 0.01), "copy-last": (-0.4, 0.02, 0.01)}, **model)
    assert what_to_train(record(COPY, ar, beaten)) == []


def test_advice_on_architectures_rests_on_those_that_converged():
    late = entry("gru", 0.2, training={"model": "gru", "anchor": True}) | LATE
    assert what_to_train(record(COPY, late)) == []
    assert what_to_train(record(COPY, entry("gru", 0.2)))[0].startswith("No anchored architecture clearly beats")


def test_without_a_ship_gate_a_recipes_own_gates_decide_what_is_served():
    chosen = entry("gru", 0.40, against={"copy-last": (0.1, 0.02, 0.001)})

    def served(**gate):
        return meanwhile(record(COPY, chosen, winner="gru", gates=[{"name": "mine"} | gate] if gate else []))

    assert served(outcome="pass")[0].startswith("Serve `gru`")
    assert served()[0].startswith("Serve `gru`")
    assert "Not yet `gru`" in served(outcome="fail")[1]
    assert "the gates fail" in served(outcome="fail")[1]


def test_a_reranked_winner_is_advised_beside_the_same_reranker_without_a_model():
    beside = {"copy-last": (0.2, 0.02, 0.001), "copy-last-rerank": OPEN}
    chosen = entry("rerank", 0.5, validation=0.9, family="rerank", against=beside)
    alone = entry("copy-last-rerank", 0.49, family="rerank")
    said = meanwhile(record(COPY, alone, chosen, winner="rerank"))
    assert said[1] == "`copy-last-rerank` needs no trained model, and `rerank` is not clearly above it."


def test_next_steps_do_not_ask_to_fix_what_was_skipped_for_its_cost():
    skipped = entry("cross-encoder", validation=None, status="skipped", reason="too expensive")
    broken = entry("gru", validation=None, status="failed", reason="no memory")
    said = " ".join(next_steps(record(COPY, skipped, broken)))
    assert "`gru`" in said
    assert "cross-encoder" not in said


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
