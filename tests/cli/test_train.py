"""``segue train`` prints what the model is worth beside copying, and what it means that no step improved it."""

import json
import re

import numpy as np
import pytest
from command_line import run, write_corpus

import segue

CONTEXT = 3


def trained(folder, capsys, *changes):
    """Train on a small world with a changed recipe; return what is printed and the record."""
    recipe = write_corpus(folder)
    text = recipe.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    recipe.write_text(text)
    words = ("train", str(recipe), "--out", str(folder / "run"), "--quiet")
    assert run(*words) == 0
    printed = capsys.readouterr().out
    assert run(*words, "--json") == 0  # reads the finished training
    return printed, json.loads(capsys.readouterr().out)


def copied_ranks(folder) -> np.ndarray:
    """Rank the next passage of each validation window by its cosine to the last passage, in a plain loop."""
    bank = segue.PassageBank.open(folder / "bank")
    names = json.loads((folder / "run" / "split.json").read_text())["folds"][0]["validation"]
    vectors = bank.gather(np.arange(len(bank))).astype(np.float64)
    ranks = []
    for name in names:
        number = bank.document_ids.index(name)
        for target in range(bank.first_row[number] + CONTEXT, bank.first_row[number] + bank.num_rows[number]):
            scores = vectors @ vectors[target - 1]
            scores[target - CONTEXT : target] = -np.inf
            ranks.append(int((scores >= scores[target]).sum()))
    return np.array(ranks)


def test_scores_are_printed_beside_those_of_copying_with_the_model_and_its_card(tmp_path, capsys):
    printed, record = trained(tmp_path, capsys)
    ranks = copied_ranks(tmp_path)
    assert record["validation_windows"] == len(ranks)
    assert record["validation"]["copy-last"]["R@5"] == pytest.approx((ranks <= 5).mean())
    assert record["validation"]["copy-last"]["MRR"] == pytest.approx((1 / ranks).mean())
    rows = dict(re.findall(r"^  (\S+) +(R@5 .*)$", printed, flags=re.MULTILINE))
    assert rows.keys() == {"model", "copy-last"}
    assert rows["copy-last"] == f"R@5 {100 * (ranks <= 5).mean():5.1f} %   MRR {(1 / ranks).mean():.3f}"
    best = record["validation"]["model"]
    assert rows["model"] == f"R@5 {100 * best['R@5']:5.1f} %   MRR {best['MRR']:.3f}"
    checkpoint, card = (re.search(rf"^{name}: +(.+)$", printed, flags=re.MULTILINE)[1] for name in ("model", "card"))
    assert (tmp_path / "run" / "options" / "model" / "fold-0" / "checkpoint").samefile(checkpoint)
    metrics = (tmp_path / "run" / "options" / "model" / "fold-0" / "checkpoint" / "README.md").read_text()
    assert card == f"{checkpoint}/README.md"
    assert "validation MRR" in metrics


NO_LEARNING = ("[training]\n", "[training]\nlearning_rate = 1e-30\n")


def test_a_model_that_learnt_nothing_is_said_to_be_its_anchor(tmp_path, capsys):
    """One passage is read, so all anchors are copies of it."""
    printed, record = trained(tmp_path, capsys, NO_LEARNING, ("context = 3", "context = 1"))
    assert (record["best_step"], record["anchor"]) == (0, "copy-last")
    assert record["validation"]["model"] == pytest.approx(record["validation"]["copy-last"])
    assert "the model is its anchor, so it answers as copy-last does" in printed


def test_without_an_anchor_it_is_said_to_be_untrained(tmp_path, capsys):
    printed, record = trained(tmp_path, capsys, NO_LEARNING, ("[model]\n", "[model]\nanchor = false\n"))
    assert (record["best_step"], record["anchor"]) == (0, None)
    assert "no training step improved the random weights" in printed
    assert "its anchor" not in printed
