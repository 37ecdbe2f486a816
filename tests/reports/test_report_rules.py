"""The report's sentences follow from entries by rules, and its words and labels from their inputs."""

import html
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from records import COPY, entries_of, entry, record

from segue.reports.contrasts import against, leader, winner
from segue.reports.plots.small import spread
from segue.reports.public import public_json
from segue.reports.sections.advice import meanwhile, next_steps, what_to_train
from segue.reports.sections.appendix import files_section
from segue.reports.sections.hypotheses import hypotheses
from segue.reports.sections.metrics import gate_table, overview_entries, tags
from segue.reports.sections.summary import headline, same_reranker
from segue.reports.terminal import summary_lines
from segue.reports.text import plain, to_html, to_markdown, to_text
from segue.workflows.triage import Comparison

LINES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=40)


@pytest.mark.parametrize(
    ("difference", "said"),
    [
        ((0.05, 0.02, 0.001), "The winner is gru"),
        ((0.01, 0.02, 0.4), "No option clearly beats copying the last passage. Best on validation: gru"),
        ((-0.05, 0.02, 0.001), "No option clearly beats copying the last passage. Best on validation: gru"),
        ((0.05, 0.02, 0.06), "No option clearly beats copying the last passage."),
    ],
)
def test_headline_names_a_winner_only_where_the_paired_test_does(difference, said):
    found = record(COPY, entry("gru", 0.35, against={"copy-last": difference}), winner="gru")
    assert to_text(headline(found)).startswith(said)


def test_headline_does_not_say_none_when_an_option_that_was_not_chosen_is_above():
    chosen = entry("gru", 0.31, validation=0.9, against={"copy-last": (0.01, 0.02, 0.5)})
    other = entry("amn", 0.36, against={"copy-last": (0.06, 0.02, 0.01)})
    said = to_text(headline(record(COPY, chosen, other, winner="gru")))
    assert said.startswith("The best option on validation does not clearly beat copying the last passage. amn does")


def test_row_is_called_the_winner_only_where_it_clearly_beats_copying():
    for difference, tag in (((0.05, 0.02, 0.01), "winner"), ((0.01, 0.02, 0.5), "chosen")):
        found = record(COPY, entry("gru", 0.35, against={"copy-last": difference}), winner="gru")
        assert tags(found, winner(found)) == (tag,)


@pytest.mark.parametrize(
    ("difference", "said"),
    [
        ((0.05, 0.02, 0.001), "the model adds to what reranking alone achieves"),
        ((0.0, 0.006, 0.9), "may come from the reranker alone"),
        ((-0.05, 0.02, 0.001), "reranking without the model is better"),
    ],
)
def test_a_reranked_winner_stands_beside_the_same_reranker_without_its_model(difference, said):
    beside = {"copy-last": (0.17, 0.02, 0.001), "copy-last-rerank": difference}
    chosen = entry("rerank", 0.54, validation=0.9, against=beside, family="rerank")
    alone = entry("copy-last-rerank", 0.54, validation=0.5, family="rerank")
    assert said in to_text(same_reranker(record(COPY, alone, chosen, winner="rerank")))
    assert same_reranker(record(COPY, alone, winner="copy-last-rerank")) == ""
    assert same_reranker(record(COPY, chosen, winner="rerank")) == ""


def test_headline_when_copying_did_best_on_validation():
    found = record(entry("copy-last", 0.3, validation=0.5), entry("gru", 0.28), winner="copy-last")
    assert "No option does better on validation than copying" in to_text(headline(found))


def test_without_a_winner_the_best_on_validation_is_described_not_the_best_on_test():
    found = record(COPY, entry("gru", 0.90, half=0.7, validation=0.1), entry("amn", 0.31, validation=0.6))
    assert "amn" in headline(found)
    assert "gru" not in headline(found)


def chosen_for(best, saved, **more):
    """Return the choice of a cheaper winner: 0.01 below the best in validation MRR."""
    difference = {"value": -0.01, "low": -0.03, "high": 0.01}
    return {"winner": more["winner"], "choice": {"winner": more["winner"], "best": best, "difference": difference,
                                                 "saved": saved}}  # fmt: skip


def test_a_winner_that_is_cheaper_than_the_best_says_so_in_every_place():
    alone = entry("copy-last-rerank", 0.54, validation=0.40, family="rerank", against={"copy-last": (0.2, 0.02, 0.001)})
    model = entry("rerank", 0.55, validation=0.41, family="rerank", against={"copy-last": (0.21, 0.02, 0.001)})
    about = chosen_for("rerank", "without a trained model", winner="copy-last-rerank")
    found = record(COPY, alone, model, **about)
    why = "on validation as good as rerank (MRR −0.010, −0.030 to +0.010), without a trained model"
    assert to_text(headline(found)).startswith(f"The winner is copy-last-rerank: {why}.")
    assert f"It is {why}." in [to_text(line) for line in meanwhile(found)]
    assert tags(found, winner(found)) == ("winner", "as good as the best")
    assert [one.name for one in overview_entries(found)] == ["copy-last-rerank", "rerank", "copy-last"]
    assert public_json(found)["choice"] == {
        "best": "rerank", "difference": {"value": -0.01, "low": -0.03, "high": 0.01}, "why": why}  # fmt: skip
    assert any(why in line for line in summary_lines(found))
    assert Comparison(Path("run"), found).why == why
    refused = record(COPY, alone, model, blocked=["SG101"], **about)
    assert (public_json(refused)["choice"], Comparison(Path("run"), refused).why) == (None, "")


def test_a_winner_that_is_the_best_says_how_the_others_fared():
    gru = entry("gru", 0.35, against={"copy-last": (0.05, 0.02, 0.001)})
    best = {"winner": "gru", "best": "gru"}
    assert "every cheaper option is clearly worse" in headline(record(COPY, gru, winner="gru", choice=best))
    old = headline(record(COPY, gru, winner="gru"))
    assert to_text(old).startswith("The winner is gru: the best MRR on validation.")
    alone = headline(record(COPY, gru, winner="gru", choice=best | {"fallback": "no ranks"}))
    assert "the best MRR on validation, which alone decided: no ranks." in alone


def test_copying_that_is_as_good_as_the_best_is_served_with_that_reason():
    gru = entry("gru", 0.31, validation=0.5, against={"copy-last": (0.01, 0.02, 0.4)})
    found = record(COPY, gru, **chosen_for("gru", "without a trained model", winner="copy-last"))
    assert "No option clearly does better on validation than copying" in to_text(headline(found))
    assert "as good as gru (MRR −0.010" in to_text(headline(found))
    assert "Serve copy-last, R@5 30.0 % (28.0–32.0): on validation as good as gru" in to_text(meanwhile(found)[0])


def test_the_baseline_that_was_chosen_is_served_not_the_one_with_the_best_mrr():
    mean = entry("mean", 0.31, validation=0.4, against={"copy-last": (0.01, 0.005, 0.01)})
    ridge = entry("ridge", 0.31, validation=0.5, family="baseline", against={"copy-last": (0.01, 0.02, 0.4)})
    found = record(COPY, mean, ridge, **chosen_for("ridge", "with fewer learnt weights", winner="mean"))
    assert to_text(meanwhile(found)[0]).startswith("Serve mean, R@5 31.0 % (29.0–33.0): on validation as good as ridge")


def test_a_control_cannot_be_shown_as_the_winner():
    found = record(COPY, entry("oracle", 1.0, validation=0.9) | {"intent": "control"}, winner="oracle")
    assert winner(found) is None
    assert leader(found).name == "copy-last"


def served(*rows, ship, winner="gru"):
    return " ".join(meanwhile(record(*rows, winner=winner, gates=[{"name": "ship", "outcome": ship}])))


def test_winner_is_served_only_when_clearly_above_the_best_baseline_and_past_the_ship_gate():
    clear = entry("gru", 0.40, against={"copy-last": (0.1, 0.02, 0.001)})
    open_ = entry("gru", 0.31, against={"copy-last": (0.01, 0.02, 0.5)})
    assert served(COPY, clear, ship="pass").startswith("Serve `gru`")
    assert served(COPY, clear, ship="not-enough-evidence").startswith("Serve `copy-last`")
    assert "the ship gate lacks evidence" in served(COPY, clear, ship="not-enough-evidence")
    assert served(COPY, open_, ship="pass").startswith("Serve `copy-last`")
    assert "is not established" in served(COPY, open_, ship="pass")
    assert "show its answers as suggestions" in served(COPY, open_, ship="fail")


def test_best_baseline_is_taken_from_validation():
    assert served(COPY, entry("mean", 0.2, validation=0.4), ship="pass").startswith("Serve `mean`")


def test_loss_is_replaced_only_on_a_decided_difference():
    model = {"training": {"model": "gru"}}
    plain_ar = entry("ar-cosine", 0.2, validation=0.1, **model)
    better = entry("infonce", 0.3, against={"ar-cosine": (0.1, 0.02, 0.01)}, **model)
    undecided = entry("infonce", 0.21, against={"ar-cosine": (0.01, 0.02, 0.5)}, **model)
    assert what_to_train(record(plain_ar, better))[0].startswith("Replace the cosine loss by that of `infonce`")
    assert what_to_train(record(plain_ar, undecided))[0].startswith("Do not change the loss on this evidence")
    assert what_to_train(record(entry("ar-cosine", 0.2, validation=0.9, **model), better))[0].startswith(
        "Keep the cosine loss"
    )


def test_document_estimate_follows_the_square_root():
    found = record(COPY, entry("gru", 0.31, validation=0.9, against={"copy-last": (0.01, 0.02, 0.4)}))
    assert "about 400 test documents instead of 100" in next_steps(found)[0]  # (0.02 / 0.01)² × 100


def verdicts(*rows):
    return {finding.statement.split(":")[0].split(" with ")[0]: finding for finding in hypotheses(record(*rows))}


def test_hypotheses_without_their_rows_are_silent():
    assert hypotheses(record(COPY)) == []


@pytest.mark.parametrize(
    ("raw", "pure", "verdict"),
    [(0.30, 0.31, "supported"), (0.10, 0.11, "contradicted"), (0.21, 0.20, "undecided"), (0.30, 0.10, "mixed")],
)
def test_split_objective_is_judged_by_intervals_where_no_pairing_is_on_record(raw, pure, verdict):
    rows = (entry("infonce-projected", 0.2, intent="projected"), entry("infonce-ar", raw), entry("infonce", pure))
    found = verdicts(*rows)["InfoNCE behind a projection head"]
    assert found.verdict == verdict
    assert "not paired" in found.evidence


def test_paired_record_beats_intervals_and_is_turned_round():
    pure = entry("infonce", 0.21)
    projected = entry("infonce-projected", 0.20, intent="projected", against={"infonce": (-0.01, 0.004, 0.01)})
    contrast = against(*entries_of(pure, projected))
    assert (contrast.paired, contrast.outcome, contrast.difference.value) == (True, "better", 0.01)
    assert contrast.difference.low == pytest.approx(0.006)
    assert verdicts(pure, projected)["InfoNCE behind a projection head"].verdict == "supported"


def test_anchor_pairs_the_same_architecture_under_the_same_loss():
    bare = entry("infonce", 0.2, training={"model": "gru", "anchor": False, "loss": "InfoNCE"})
    other = entry("ar-cosine", 0.1, training={"model": "gru", "anchor": False, "loss": "AR"})
    anchored = entry("gru", 0.3, training={"model": "gru", "anchor": True, "losses": ["InfoNCE", "InfoNCE"]})
    same = {"article_dropout": {"anchored": 0.1, "bare": 0.1}}
    (found,) = [one for one in hypotheses(record(bare, other, anchored, **same)) if "anchor" in one.statement]
    assert found.verdict == "supported"
    assert "ar-cosine" not in found.evidence


def test_gate_prints_the_condition_that_decided():
    text = "R@5 ≥ 0.3, or MRR ≥ 0.2"
    ship = {"name": "ship", "outcome": "pass", "text": text, "value": 0.25, "low": 0.22, "high": 0.28}
    gates = [ship | {"threshold": bar} for bar in (0.2, 0.3)]
    lines = gate_table(record(gates=gates)).groups[0].rows
    assert [line.cells[3].text for line in lines] == ["0.250", "25.0 %"]
    phase = {
        "name": "phase-1",
        "text": "ΔR@5 over ar-cosine ≥ 0.1, or ΔMRR over ar-cosine ≥ 0.05",
        "value": -0.12,
        "threshold": 0.1,
    }
    assert gate_table(record(gates=[phase])).groups[0].rows[0].cells[3].text == "−12.0 points"
    sourced = gate_table(record(gates=[phase | {"source": "a contract of ours"}]))
    assert sourced.groups[0].rows[0].cells[5].text == "a contract of ours"
    latency = {"name": "latency", "text": "search_p95_ms ≤ 1.45", "value": 0.5, "threshold": 1.45}
    assert gate_table(record(gates=[latency])).groups[0].rows[0].cells[3].text == "0.50 ms"


def test_files_of_many_options_take_one_line():
    names = ("ar-cosine", "gru")
    files = [{"path": f"options/{name}/run.trec.gz", "what": f"rankings of {name}"} for name in names]
    table = files_section(record(*(entry(name, 0.2) for name in names), files=files)).blocks[0]
    first = table.groups[0].rows[0].cells
    assert (first[0].text, first[1].text) == ("`options/OPTION/run.trec.gz`", "rankings of OPTION, for 2 options")


def visible(markup):
    return html.unescape(re.sub("<[^>]*>", "", markup))


@settings(deadline=None, max_examples=200)
@given(LINES)
def test_texts_from_outside_survive_every_rendering(text):
    expected = " ".join(text.split())
    assert to_text(plain(text)) == expected
    assert visible(to_html(plain(text))) == expected
    shown = MarkdownIt("commonmark").renderInline("x " + to_markdown(plain(text)) + " x")
    assert visible(shown) == f"x {expected} x"


@settings(deadline=None, max_examples=100)
@given(LINES)
def test_names_in_markdown_code_stay_one_cell(text):
    cell = to_markdown(f"`{plain(text)}`")
    rows = MarkdownIt("commonmark").enable("table").render(f"| a | b |\n| --- | --- |\n| {cell} | z |\n")
    assert rows.count("<td>") == 2


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 100), min_size=1, max_size=12), st.integers(1, 9))
def test_spread_labels_keep_order_and_distance_and_move_none_without_need(heights, gap):
    wished = np.array(heights, dtype=np.float64)
    placed = spread(wished, float(gap))
    order = np.argsort(wished, kind="stable")
    assert np.all(np.diff(placed[order]) >= gap - 1e-9)
    if np.all(np.diff(wished[order]) >= gap):
        assert np.array_equal(placed, wished)
