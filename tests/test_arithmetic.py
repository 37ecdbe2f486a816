"""Arithmetic is chosen by measured speed, kept, and overridden by one variable; ranks do not depend on it."""

import itertools
import json
from collections import Counter

import numpy as np
import pytest
from worlds import noise_world, unit

from segue import arithmetic
from segue.errors import SettingsError
from segue.ranking.exact import target_ranks, top_k
from segue.ranking.pool import Pool

SLOW = {"encoder": {"float32": 75.0, "bfloat16": 9.0}, "loss": {"float32": 65.0, "bfloat16": 9.0},
        "scores": {"numpy": 82.0, "float32": 79.0},
        "ranks": {"float32": 82.0, "bfloat16": 9.0, "int8": 60.0}}  # fmt: skip
"""An EPYC without AVX-512, where bfloat16 is emulated."""
FAST = {"encoder": {"float32": 160.0, "bfloat16": 350.0}, "loss": {"float32": 160.0, "bfloat16": 350.0},
        "scores": {"numpy": 150.0, "float32": 160.0},
        "ranks": {"float32": 160.0, "bfloat16": 350.0, "int8": 340.0}}  # fmt: skip
MIXED = {"encoder": {"float32": 162.0, "bfloat16": 84.0}, "loss": {"float32": 162.0, "bfloat16": 84.0},
         "scores": {"numpy": 298.0, "float32": 162.0},
         "ranks": {"float32": 298.0, "bfloat16": 84.0, "int8": 620.0}}  # fmt: skip
"""A Xeon whose flags name bfloat16 units."""


@pytest.fixture(autouse=True)
def fresh(monkeypatch, tmp_path):
    """Nothing is known of the machine before a test, nor after it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(arithmetic.VARIABLE, raising=False)
    forget()
    yield
    forget()


def forget():
    arithmetic.choices.cache_clear()
    arithmetic.measured.cache_clear()


@pytest.mark.parametrize(
    ("speeds", "chosen"),
    [
        (SLOW, {"encoder": "float32", "loss": "float32", "scores": "numpy", "ranks": "float32"}),
        (FAST, {"encoder": "bfloat16", "loss": "bfloat16", "scores": "float32", "ranks": "bfloat16"}),
        (MIXED, {"encoder": "float32", "loss": "float32", "scores": "numpy", "ranks": "int8"}),
    ],
)
def test_the_quickest_is_chosen_whatever_the_flags_say(speeds, chosen, monkeypatch):
    monkeypatch.setattr(arithmetic, "_time_kinds", speeds.__getitem__)
    assert arithmetic.choices() == chosen
    assert arithmetic.has_fast_bfloat16("cpu", "encoder") == (chosen["encoder"] == "bfloat16")


def test_no_choice_is_slower_than_another_kind_by_more_than_five_per_cent():
    for work, speeds in arithmetic.measured().items():
        assert 1.05 * speeds[arithmetic.choices()[work]] >= max(speeds.values()), work


def test_the_machine_is_measured_once_and_a_broken_answer_is_measured_again(monkeypatch, tmp_path):
    timed = Counter()
    monkeypatch.setattr(arithmetic, "_time_kinds", lambda work: timed.update([work]) or SLOW[work])
    for _ in range(2):
        assert arithmetic.measured() == SLOW
        forget()
    assert timed == {"encoder": 1, "loss": 1, "scores": 1, "ranks": 1}
    (kept,) = (tmp_path / "cache" / "segue").glob("*.json")
    assert json.loads(kept.read_text())["gflops_of_one_thread"] == SLOW
    for broken in ("", "[]", '{"gflops_of_one_thread": {"encoder": {}}}'):
        kept.write_text(broken)
        assert arithmetic.measured() == SLOW
        forget()
    assert timed == {"encoder": 4, "loss": 4, "scores": 4, "ranks": 4}


def test_a_folder_that_cannot_be_written_costs_only_the_memory(monkeypatch, tmp_path):
    (tmp_path / "cache").write_text("a file")
    monkeypatch.setattr(arithmetic, "_time_kinds", SLOW.__getitem__)
    assert arithmetic.measured() == SLOW


def test_the_variable_overrides_single_choices_and_is_what_other_processes_get(monkeypatch):
    monkeypatch.setattr(arithmetic, "_time_kinds", SLOW.__getitem__)
    monkeypatch.setenv(arithmetic.VARIABLE, "ranks=bfloat16, encoder=bfloat16")
    expected = {"encoder": "bfloat16", "loss": "float32", "scores": "numpy", "ranks": "bfloat16"}
    assert arithmetic.choices() == expected
    monkeypatch.setenv(arithmetic.VARIABLE, arithmetic.as_variable())
    monkeypatch.setattr(arithmetic, "_time_kinds", lambda work: pytest.fail("measured again"))
    forget()
    assert arithmetic.choices() == expected


@pytest.mark.parametrize("wrong", ["ranks=numpy", "loss=int8", "bfloat16", "everything=float32"])
def test_a_wrong_variable_names_what_is_known(wrong, monkeypatch):
    monkeypatch.setenv(arithmetic.VARIABLE, wrong)
    with pytest.raises(SettingsError, match=rf"SEGUE_ARITHMETIC is wrong: got {wrong}, expected encoder=float32 or"):
        arithmetic.choices()


def test_every_kind_gives_the_same_ranks_and_the_same_best(monkeypatch):
    """The oracle is float64; 600 queries, so that vectors are rounded where that is chosen."""
    bank = noise_world(documents=30, length=20, dimension=32)
    generator = np.random.default_rng(0)
    queries, targets = unit(generator.standard_normal((600, 32))), generator.integers(len(bank), size=600)
    nothing = np.full((600, 1), -1)
    scores = queries.astype(np.float64) @ bank.vectors.astype(np.float64).T
    above = scores > scores[np.arange(600), targets][:, None] - 1e-6
    for kind in itertools.product(("numpy", "float32"), ("float32", "bfloat16", "int8")):
        monkeypatch.setenv(arithmetic.VARIABLE, "encoder=float32,loss=float32,scores={},ranks={}".format(*kind))
        forget()
        ranks = target_ranks(queries, Pool(bank), targets, exclude=nothing)
        assert ranks.tolist() == above.sum(axis=1).tolist(), kind
        best = top_k(queries, Pool(bank), 5, exclude=nothing).rows
        assert (np.sort(best) == np.sort(np.argsort(-scores, axis=1)[:, :5])).all(), kind
