import itertools
import json
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from clocks import clock_of
from processes import environment
from worlds import make_bank, transition_world

from segue import files
from segue.errors import InputError, StorageError
from segue.models import ModelSettings, build_model
from segue.training import loop
from segue.training.losses.loss import LOSSES, LossSettings, LossTerm, build_loss
from segue.training.losses.mining import HardNegatives
from segue.training.state import save_state
from segue.training.train import TrainingSettings, steps_per_second, train
from segue.windows.windows import WindowSettings, gather_contexts, make_windows

BANK = transition_world(documents=30, length=12, dimension=8)
TRAIN = make_windows(BANK, np.arange(24), WindowSettings(context=3))
VALIDATION = make_windows(BANK, np.arange(24, 30), WindowSettings(context=3))
FAST = TrainingSettings(
    batch_size=32, steps=30, evaluations=5, patience=None, learning_rate=1e-2, span_corruption=0.0, precision="float32"
)


def predictor(name="mlp", seed=1, dropout=0.1, anchor=True):
    torch.manual_seed(seed)
    return build_model(ModelSettings(name=name, size="toy", dropout=dropout, anchor=anchor), dimension=8, context=3)


def validation_score(model):
    contexts = gather_contexts(BANK, VALIDATION)
    scores = model(torch.from_numpy(contexts.vectors), torch.from_numpy(contexts.mask)).numpy() @ BANK.vectors.T
    truth = scores[np.arange(len(scores)), VALIDATION.target]
    ranks = (scores > truth[:, None]).sum(axis=1) + 1
    return {"MRR": float((1 / ranks).mean()), "R@5": float((ranks <= 5).mean())}


def run(folder, *, settings=FAST, loss="infonce-projected", model=None, **options):
    model = model or predictor()
    head = build_loss(loss if isinstance(loss, LossSettings) else LOSSES[loss], 8)
    result = train(model, head, BANK, TRAIN, settings=settings, score=validation_score, folder=folder, **options)
    return model, head, result


def same_weights(one, other):
    pairs = zip(one.state_dict().items(), other.state_dict().items(), strict=True)
    return all(name == same and torch.equal(a, b) for (name, a), (same, b) in pairs)


def timeless(curve):
    return [{key: value for key, value in record.items() if key != "seconds"} for record in curve]


def test_a_known_transition_is_learnt(tmp_path):
    settings = FAST.model_copy(update={"steps": 250, "article_dropout": 0.0})
    _, _, result = run(tmp_path, settings=settings, loss="infonce", model=predictor(dropout=0.0))
    assert result.best_score["R@5"] > 0.95
    assert result.curve[0]["MRR"] < 0.5 < result.best_score["MRR"]


@pytest.mark.parametrize("loss", [name for name in LOSSES if "bank" in name or name.endswith(
    ("sampled", "tau-0.05", "mined"))])  # fmt: skip
def test_every_kind_of_negatives_learns_a_known_transition(tmp_path, loss):
    settings = FAST.model_copy(update={"steps": 100, "evaluations": 2})
    _, _, result = run(tmp_path, settings=settings, loss=loss, model=predictor(dropout=0.0))
    assert result.curve[0]["MRR"] + 0.2 < result.best_score["MRR"]


def test_a_run_ends_with_its_best_weights_and_their_loss(tmp_path):
    seen = []

    def score(model):
        seen.append([{name: value.clone() for name, value in part.state_dict().items()} for part in (model, head)])
        return {"MRR": [0.1, 0.3, 0.9, 0.2, 0.4, 0.5][len(seen) - 1]}

    model, head = predictor(), build_loss(LOSSES["infonce-projected"], 8)
    result = train(model, head, BANK, TRAIN, settings=FAST, score=score, folder=tmp_path)
    assert (result.best_step, result.best_score["MRR"], result.steps) == (12, 0.9, 30)
    for part, best in zip((model, head), seen[2], strict=True):
        assert all(torch.equal(value, best[name]) for name, value in part.state_dict().items())
    assert not model.training


def test_the_untrained_predictor_takes_part(tmp_path):
    model, before = predictor(), predictor()
    scores = iter([0.9, 0.1, 0.1, 0.1, 0.1, 0.1])
    result = train(
        model, build_loss(LOSSES["mse"], 8), BANK, TRAIN, settings=FAST, score=lambda _: {"MRR": next(scores)},
        folder=tmp_path,
    )  # fmt: skip
    assert result.best_step == 0
    assert same_weights(model, before)


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(tmp_path):
    first, head, result = run(tmp_path / "a")
    torch.manual_seed(12345)  # what the global generator stands at plays no part
    again, other_head, same = run(tmp_path / "b")
    assert same_weights(first, again)
    assert same_weights(head, other_head)
    assert timeless(result.curve) == timeless(same.curve)
    other, _, _ = run(tmp_path / "c", settings=FAST.model_copy(update={"seed": 2}))
    assert not same_weights(first, other)


def test_training_leaves_the_global_generator_alone(tmp_path):
    model = predictor()
    before = torch.get_rng_state()
    run(tmp_path, model=model)
    assert torch.equal(before, torch.get_rng_state())


class Stop(Exception):
    pass


SMALL_ROUNDS = LossSettings(negatives=(HardNegatives(kind="mined", refresh=7),))


@pytest.mark.parametrize(
    ("name", "loss"),
    [("mlp", "infonce-projected"), ("gru", "infonce-projected"), ("amn", "infonce-projected"), ("mlp", "infonce-bank"),
     ("mlp", "infonce-sampled"), ("mlp", SMALL_ROUNDS)],
)  # fmt: skip
def test_interrupted_anywhere_it_ends_in_the_same_bits(tmp_path, monkeypatch, name, loss):
    whole, head, result = run(tmp_path / "whole", model=predictor(name), loss=loss)
    monkeypatch.setattr(loop, "STATE_SECONDS", 0.0)
    monkeypatch.setattr(loop, "STATE_SHARE", 1e9)
    calls = 0
    for stop_after in (1, 2, 3, 9, 1, 8, 100):

        def interrupt(done, total, note, left=[stop_after]):  # noqa: B006
            left[0] -= 1
            if left[0] < 0:
                raise Stop

        model = predictor(name)
        try:
            model, other_head, resumed = run(tmp_path / "cut", model=model, loss=loss, progress=interrupt)
        except Stop:
            calls += 1
    assert calls == 6
    assert same_weights(whole, model)
    assert same_weights(head, other_head)
    assert timeless(resumed.curve) == timeless(result.curve)
    assert (resumed.best_step, resumed.best_score, resumed.under_trained) == (
        result.best_step, result.best_score, result.under_trained,
    )  # fmt: skip
    lines = [json.loads(line) for line in (tmp_path / "cut" / "metrics.jsonl").read_text().splitlines()]
    assert lines == resumed.curve


CHILD = """
import sys
sys.path.insert(0, sys.argv[2])
import torch; torch.set_num_threads(1)
from pathlib import Path
from processes import CallCounter
import test_train as t
from segue.training import loop
loop.STATE_SECONDS, loop.EVALUATION_SECONDS, loop.STATE_SHARE = 0.0, 0.0, 1e9
CallCounter(int(sys.argv[3])).start()
t.run(Path(sys.argv[1]), settings=t.SLOW)
"""
SLOW = FAST.model_copy(update={"steps": 400, "evaluations": 8})
CALLS = 200_000
"""Latest call at which a training is killed; 400 steps, the state saved after each, take 3.4 million."""


def test_killed_at_random_moments_it_ends_in_the_same_bits(tmp_path):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        whole, head, result = run(tmp_path / "whole", settings=SLOW)
        for calls in np.random.default_rng().integers(1, CALLS, 2).tolist():
            command = [sys.executable, "-c", CHILD, str(tmp_path / "cut"), str(Path(__file__).parent), str(calls)]
            assert subprocess.run(command, env=environment(), check=False).returncode == -signal.SIGKILL, calls
        model, other_head, resumed = run(tmp_path / "cut", settings=SLOW)
    finally:
        torch.set_num_threads(threads)
    assert same_weights(whole, model)
    assert same_weights(head, other_head)
    assert timeless(resumed.curve) == timeless(result.curve)


def test_a_finished_folder_is_only_read(tmp_path):
    model, head, result = run(tmp_path)
    before = (tmp_path / "state.safetensors").read_bytes()

    def never(_):
        raise AssertionError("scored again")

    again, other = predictor(seed=7), build_loss(LOSSES["infonce-projected"], 8, seed=7)
    same = train(again, other, BANK, TRAIN, settings=FAST, score=never, folder=tmp_path)
    assert same == result
    assert same_weights(model, again)
    assert same_weights(head, other)
    assert (tmp_path / "state.safetensors").read_bytes() == before


def test_the_same_training_in_another_folder_is_copied_if_it_is_finished(tmp_path, monkeypatch):
    done, head, expected = run(tmp_path / "done")
    run(tmp_path / "another", settings=FAST.model_copy(update={"seed": 2}))
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "state.safetensors").write_bytes(b"no state")
    unfinished = tmp_path / "unfinished"
    monkeypatch.setattr(loop.TrainingLoop, "_finish", lambda _: (_ for _ in ()).throw(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        run(unfinished)
    monkeypatch.setattr(loop.TrainingLoop, "_step", lambda _: pytest.fail("it was trained"))
    others = [tmp_path / name for name in ("missing", "damaged", "another", "unfinished", "done")]
    model, other_head, result = run(tmp_path / "new", others=others)
    assert same_weights(model, done)
    assert same_weights(head, other_head)
    assert result == expected
    model, _, result = run(tmp_path / "new")  # it is a training of its own now
    assert same_weights(model, done)
    assert result == expected


@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: b"no state"])
def test_a_damaged_state_is_one_clear_error(tmp_path, damage):
    run(tmp_path)
    path = tmp_path / "state.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=r"cannot be read as a training state.*delete that folder"):
        run(tmp_path)


@pytest.mark.parametrize("change", [{"seed": 2}, {"steps": 31}, {"learning_rate": 0.5}])
def test_the_folder_of_another_training_is_refused(tmp_path, change):
    run(tmp_path)
    with pytest.raises(InputError, match="belongs to another training"):
        run(tmp_path, settings=FAST.model_copy(update=change))
    with pytest.raises(InputError, match="loss ="):
        run(tmp_path, loss="mse")


def test_patience_ends_it_and_that_is_not_under_trained(tmp_path):
    scores = iter([0.1, 0.5, 0.4, 0.4, 0.9, 0.9])
    settings = FAST.model_copy(update={"patience": 2})
    result = train(predictor(), build_loss(LOSSES["mse"], 8), BANK, TRAIN, settings=settings,
                   score=lambda _: {"MRR": next(scores)}, folder=tmp_path)  # fmt: skip
    assert result.stopped_early
    assert (result.steps, result.best_step, result.under_trained) == (18, 6, False)


@pytest.mark.parametrize(("last", "under_trained"), [(0.6, True), (0.501, False)])
def test_under_trained_means_that_the_plan_ended_it_while_it_rose(tmp_path, last, under_trained):
    scores = iter([0.1, 0.2, 0.3, 0.4, 0.5, last])
    result = train(predictor(), build_loss(LOSSES["mse"], 8), BANK, TRAIN, settings=FAST,
                   score=lambda _: {"MRR": next(scores)}, folder=tmp_path)  # fmt: skip
    assert result.under_trained is under_trained


def test_the_curve_has_means_of_every_part(tmp_path):
    _, _, result = run(tmp_path)
    assert [record["step"] for record in result.curve] == [0, 6, 12, 18, 24, 30]
    assert result.curve[0]["loss"] is None
    for record in result.curve[1:]:
        weighted = 0.7 * record["loss/infonce"] + 0.3 * record["loss/ar-cosine"]
        assert record["loss"] == pytest.approx(weighted, rel=1e-5)
        assert record["temperature"] == 0.07
        assert record["grad_norm"] > 0
        assert {"MRR", "R@5", "seconds", "learning_rate"} <= set(record)


def test_a_learnt_temperature_is_logged_and_moves(tmp_path):
    loss = build_loss(LossSettings(terms=(LossTerm(kind="infonce", learn_temperature=True),)), 8)
    result = train(predictor(), loss, BANK, TRAIN, settings=FAST, score=validation_score, folder=tmp_path)
    assert result.curve[0]["temperature"] == pytest.approx(0.07)
    assert result.curve[-1]["temperature"] != pytest.approx(0.07)


def test_progress_counts_steps_and_says_loss_and_score(tmp_path):
    calls = []
    run(tmp_path, progress=lambda *call: calls.append(call))
    assert [done for done, _, _ in calls] == [0, *range(31), 30]
    assert {total for _, total, _ in calls} == {30}
    assert calls[-1][2].startswith("loss ")
    assert "validation MRR 0." in calls[-1][2]


@pytest.mark.parametrize(("spoil", "named"), [
    (lambda weight: torch.nn.init.constant_(weight, float("nan")), "loss = nan"),
    (lambda weight: torch.nn.init.constant_(weight, float("inf")), "loss = nan"),
    (lambda weight: weight.register_hook(lambda gradient: gradient * float("inf")), r"got grad_norm = (nan|inf)"),
], ids=["a weight is NaN", "a weight is infinite", "a gradient is infinite"])  # fmt: skip
def test_what_is_not_finite_names_step_and_batch_and_keeps_the_last_good_state(tmp_path, monkeypatch, spoil, named):
    monkeypatch.setattr(loop, "STATE_SECONDS", 0.0)
    monkeypatch.setattr(loop, "STATE_SHARE", 1e9)
    model, steps = predictor(), []

    def poison(done, total, note):
        steps.append(done)
        if done == 5:
            spoil(next(model.parameters()))

    epoch, place = divmod(5, len(TRAIN) // 32)
    batch = f"batch {place + 1} of {len(TRAIN) // 32} in epoch {epoch + 1}"
    with pytest.raises(InputError, match=rf"diverged at step 6: .*{named}.* in {batch}, .*learning_rate"):
        run(tmp_path, model=model, progress=poison)
    assert steps[-1] == 5
    _, _, resumed = run(tmp_path)  # goes on from step 5 with healthy weights
    _, _, whole = run(tmp_path / "whole")
    assert timeless(resumed.curve) == timeless(whole.curve)


def test_vectors_that_are_not_finite_are_the_banks_fault(tmp_path):
    sick = make_bank(BANK.vectors, [12] * 30)
    sick.vectors[17] = np.inf
    name = sick.passage_ids(np.array([17]))[0]
    batch = rf"training step \d, batch \d of {len(TRAIN) // 32} in epoch 1"
    with pytest.raises(InputError, match=rf"not finite: got passage {name} \(row 17\) in {batch}"):
        train(predictor(), build_loss(LOSSES["mse"], 8), sick, TRAIN, settings=FAST, score=lambda _: {"MRR": 0.1},
              folder=tmp_path)  # fmt: skip


def test_no_windows_is_one_clear_error(tmp_path):
    with pytest.raises(InputError, match="nothing to train on"):
        train(predictor(), build_loss(LOSSES["mse"], 8), BANK, TRAIN.take(slice(0, 0)), settings=FAST,
              score=validation_score, folder=tmp_path)  # fmt: skip


def test_a_full_disk_is_a_storage_error_and_keeps_the_state_before(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "STATE_SECONDS", 0.0)
    monkeypatch.setattr(loop, "STATE_SHARE", 1e9)
    sync, synced = files.disk.sync, []

    def fill_up(path):
        synced.append(path)
        if len(synced) > 10:
            path.write_bytes(b"half")
            raise OSError(28, "No space left on device")
        sync(path)

    monkeypatch.setattr(files.disk, "sync", fill_up)
    with pytest.raises(StorageError, match="No space left on device"):
        run(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["metrics.jsonl", "state.safetensors"]
    monkeypatch.undo()
    resumed, _, _ = run(tmp_path)
    whole, _, _ = run(tmp_path / "whole")
    assert same_weights(resumed, whole)


def test_calibration_changes_nothing(monkeypatch):
    model, loss = predictor(), build_loss(LOSSES["infonce-projected"], 8)
    before, state = predictor(), torch.get_rng_state()
    # Three steps warm up; of the others, which end once all steps took 30 s, the median counts: 2.5 s.
    monkeypatch.setattr("segue.training.train.time", clock_of(9.0, 9.0, 9.0, 1.0, 4.0))
    assert steps_per_second(model, loss, BANK, TRAIN, settings=FAST, seconds=30.0) == 0.4
    assert same_weights(model, before)
    assert torch.equal(state, torch.get_rng_state())
    assert model.training


def test_bfloat16_trains_and_leaves_float32_weights(tmp_path):
    model, _, result = run(tmp_path, settings=FAST.model_copy(update={"precision": "bfloat16"}))
    assert all(weight.dtype == torch.float32 for weight in model.parameters())
    assert np.isfinite(result.curve[-1]["loss"])


def test_article_dropout_is_the_originals_without_an_anchor_and_off_with_one():
    assert TrainingSettings().dropout(anchored=False) == 0.2
    assert TrainingSettings().dropout(anchored=True) == 0.0
    assert TrainingSettings(article_dropout=0.3).dropout(anchored=True) == 0.3


def test_seconds_add_up_and_states_are_as_far_apart_as_writing_them_takes_time(tmp_path, monkeypatch):
    """The clock moves one second a look: a state takes one to write, and a twentieth of the time is for writing."""
    looks, written = itertools.count(100.0), []

    def save(folder, state, tensors, *, identity):
        written.append(state.step)
        save_state(folder, state, tensors, identity=identity)

    monkeypatch.setattr(loop, "time", SimpleNamespace(perf_counter=lambda: next(looks)))
    monkeypatch.setattr(loop, "save_state", save)
    monkeypatch.setattr(loop, "STATE_SECONDS", 0.0)
    monkeypatch.setattr(loop, "EVALUATION_SECONDS", 0.0)
    _, _, result = run(tmp_path)
    seconds = [record["seconds"] for record in result.curve]
    assert seconds == sorted(seconds)
    assert seconds[0] > 0
    # A step takes two looks, or three where it is scored: 20 seconds are 8 to 10 steps.
    pauses = np.diff(written[:-1])
    assert len(pauses) >= 2
    assert ((pauses >= 8) & (pauses <= 10)).all()
