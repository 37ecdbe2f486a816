"""What can be known before training is checked before training."""

import dataclasses

import numpy as np
import pytest
from command_line import write_corpus

import segue
from segue.errors import BlockedError
from segue.evaluation import experiment
from segue.ranking.pool import Pool
from segue.workflows.check_record import CheckPolicy


@pytest.fixture
def untrained(monkeypatch):
    """Whatever is trained or evaluated fails the test."""
    monkeypatch.setattr("segue.workflows.triage.run_triage", lambda *_, **__: pytest.fail("the comparison began"))
    monkeypatch.setattr("segue.workflows.train.ensure_trained", lambda *_, **__: pytest.fail("a training began"))


def leaked_split(bank, settings, *, groups=None):
    """Split as usual, and then train on a test document too."""
    splits = make_splits(bank, settings, groups=groups)
    return [dataclasses.replace(split, train=np.append(split.train, split.test[:1])) for split in splits]


make_splits = experiment.make_splits


@pytest.mark.parametrize("verb", [segue.triage, segue.train])
def test_a_leaked_split_ends_the_command_before_the_first_step(verb, untrained, monkeypatch, tmp_path):
    monkeypatch.setattr(experiment, "make_splits", leaked_split)
    with pytest.raises(BlockedError, match=r"nothing was trained.*SG104 Leaked documents: The split trains on 1 of"):
        verb(write_corpus(tmp_path), tmp_path / "run")
    assert not (tmp_path / "run" / "split.json").exists()


def test_targets_that_are_not_in_the_index_end_it_too(untrained, monkeypatch, tmp_path):
    monkeypatch.setattr(experiment, "Pool", lambda bank: Pool(bank, np.arange(len(bank.first_row) // 4)))
    with pytest.raises(BlockedError, match=r"SG101.*the right answer is not in the index"):
        segue.triage(write_corpus(tmp_path), tmp_path / "run")


def test_who_insists_gets_labelled_numbers(monkeypatch, tmp_path):
    monkeypatch.setattr(experiment, "make_splits", leaked_split)
    comparison = segue.triage(write_corpus(tmp_path), tmp_path / "run", policy=CheckPolicy(unsafe=True))
    assert comparison.record.blocked == ("SG104",)
    assert comparison.record.unsafe
