"""Several ranks take the steps of a single process, and end together."""

import json

import command_line
import numpy as np
import pytest
import torch
from rank_processes import commands, run_ranks
from training_of_ranks import BANK, CASES, FOR_FOUR, TRAIN, curve, everything, gradient, killed

from segue.errors import InputError, OtherRankError
from segue.files import read_json
from segue.training.batches import Batches
from segue.training.losses.whole_bank import TrainingBank
from segue.training.ranks import ALONE, ProcessGroup, joined


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Return what each rank of 4 and of 2 found; the 4 leave one training in the middle, which the 2 continue."""
    folder = tmp_path_factory.mktemp("ranks")
    return {size: run_ranks(size, everything, folder, stop) for size, stop in ((4, 5), (2, None))}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Return gradient and curve of each case in a single process."""
    folder, threads = tmp_path_factory.mktemp("alone"), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return {case: (gradient(case, ALONE), curve(case, folder / case, ALONE)) for case in CASES}
    finally:
        torch.set_num_threads(threads)


def numbers(points, names):
    return np.array([[point[name] for name in names] for point in points])


@pytest.mark.parametrize(("size", "case"), [*((2, case) for case in CASES), *((4, case) for case in FOR_FOUR)])
def test_gradient_and_curve_are_those_of_a_single_process(found, alone, case, size):
    (gradients, points), *others = [of_rank[case] for of_rank in found[size]]
    np.testing.assert_allclose(gradients, alone[case][0], atol=1e-6, rtol=0)
    names = ["step", "loss", "learning_rate", "MRR", "cosine"]
    np.testing.assert_allclose(numbers(points[1:], names), numbers(alone[case][1][1:], names), atol=2e-5, rtol=0)
    assert all(np.array_equal(gradients, other[0]) for other in others), "all ranks take the same step"


@pytest.mark.parametrize("size", [2, 4])
def test_in_bfloat16_the_curve_is_that_of_a_single_process_but_for_rounding(found, alone_in_bfloat16, size):
    points = found[size][0]["bfloat16"]
    np.testing.assert_allclose(numbers(points[1:], ["loss"]), numbers(alone_in_bfloat16[1:], ["loss"]), atol=0.02)


@pytest.fixture(scope="module")
def alone_in_bfloat16(tmp_path_factory):
    return curve("whole bank", tmp_path_factory.mktemp("alone"), ALONE, precision="bfloat16")


def test_two_ranks_continue_what_four_began(found, alone):
    assert [of_rank["resumed"] for of_rank in found[4]] == [[]] * 4
    points = found[2][0]["resumed"]
    assert [point["step"] for point in points] == [0, 2, 4, 6, 8, 10]
    wanted = numbers(alone["mined"][1][1:], ["loss", "MRR"])
    np.testing.assert_allclose(numbers(points[1:], ["loss", "MRR"]), wanted, atol=1e-5)


def test_when_a_rank_dies_the_others_say_so_and_a_single_process_continues(tmp_path, alone):
    message, of_the_dead = run_ranks(2, killed, tmp_path)
    assert of_the_dead is None
    assert message.startswith("another rank of this training ended, or cannot be reached: got ")
    assert "run the same command again" in message
    points = curve("whole bank", tmp_path, ALONE)
    assert [point["step"] for point in points] == [0, 2, 4, 6, 8, 10]
    np.testing.assert_allclose(numbers(points[1:], ["loss"]), numbers(alone["whole bank"][1][1:], ["loss"]), atol=1e-5)


def test_the_command_line_prints_writes_and_uploads_once(tmp_path, capsys):
    recipe, unready = command_line.write_corpus(tmp_path), tmp_path / "unready.toml"
    unready.write_text(recipe.read_text().replace(str(tmp_path / "bank"), str(tmp_path / "nothing")))
    assert command_line.run("train", str(recipe), "--out", str(tmp_path / "alone"), "--quiet", "--json") == 0
    wanted = json.loads(capsys.readouterr().out)
    lines = [["bank", "build", str(unready)], ["train", str(unready), "--out", str(tmp_path / "unready")],
             ["train", str(recipe), "--out", "memory://run", "--json"]]  # fmt: skip
    (first, uploaded), (second, by_the_second) = run_ranks(2, commands, lines, str(tmp_path / "cache"))
    assert [code for code, _, _ in first] == [code for code, _, _ in second] == [2, 2, 0]
    assert [(out, err) for _, out, err in second] == [("", "")] * 3
    assert "`segue bank` is no work for several ranks" in first[0][2]
    assert "the recipe's bank is not built" in first[1][2]
    printed = json.loads(first[2][1])
    assert printed["validation"]["copy-last"] == wanted["validation"]["copy-last"]
    assert printed["validation"]["model"] == pytest.approx(wanted["validation"]["model"], abs=1e-5)
    assert printed["steps"] == wanted["steps"] == 10
    alone, together = (read_json(tmp_path / run / "options/model/fold-0/training.json")
                       for run in ("alone", "cache/remote/memory/run"))  # fmt: skip
    of_steps = [numbers(one["curve"][1:], ["step", "loss", "MRR"]) for one in (alone, together)]
    np.testing.assert_allclose(*of_steps, atol=1e-5)
    kept = {f"/{path.relative_to(tmp_path / 'alone')}" for path in (tmp_path / "alone").rglob("*") if path.is_file()}
    assert {name.removeprefix("/run") for name in uploaded} == {name for name in kept if "/." not in name}
    assert by_the_second == [], "the first rank alone uploads"


def test_shares_are_equal_or_refused():
    with pytest.raises(InputError, match=r"got 48 windows a step and 5 ranks.*multiple of 5, at most 216"):
        Batches(BANK, TRAIN, batch_size=48, seed=1, ranks=ProcessGroup(0, 5))
    shards = [TrainingBank(BANK, TRAIN, ranks=ProcessGroup(number, 5)) for number in range(5)]
    parts = [(first, vectors) for shard in shards for first, vectors in shard.blocks()]
    (_, whole), *_ = TrainingBank(BANK, TRAIN).blocks()
    assert [first for first, _ in parts] == np.cumsum([0, *(len(part) for _, part in parts)])[:-1].tolist()
    assert torch.equal(torch.cat([part for _, part in parts]), whole)


def test_an_error_that_every_rank_meets_is_reported_by_the_first():
    for number, expected in enumerate((InputError, OtherRankError)):
        with pytest.raises(expected) as raised, ProcessGroup(number, 2).reported_once():
            raise InputError("it diverged")
        assert raised.type is expected
        assert raised.value.exit_code == 2


def test_a_process_that_torchrun_did_not_start_is_alone(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    with joined("cpu") as ranks:
        assert ranks == ALONE


def test_ranks_that_cannot_meet_end_in_one_error(monkeypatch):
    for name, value in {"RANK": "0", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(InputError, match=r"the ranks did not find each other.*MASTER_ADDR"), joined("cpu"):
        pass
    with pytest.raises(InputError, match="several ranks cannot train on this device: got mps"), joined("mps"):
        pass
