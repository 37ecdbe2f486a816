import math

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from pydantic import ValidationError
from worlds import noise_world

from segue.errors import InputError
from segue.models import ModelSettings
from segue.training.losses import in_batch, loss
from segue.training.losses.in_batch import contrast_logits, info_nce, not_negatives, num_negatives
from segue.training.losses.loss import (
    LOSSES,
    LossSettings,
    LossTerm,
    ar_cosine,
    build_loss,
    mse,
)
from segue.training.losses.whole_bank import TrainingBank, bfloat16_bound
from segue.training.settings import TrainingSettings
from segue.training.train import begin_short_run
from segue.windows.windows import WindowSettings, make_windows


def unit_batch(seed: int, batch: int = 6, dim: int = 4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(batch, dim, generator=generator), dim=-1)


def naive_info_nce(prediction, target, temperature, groups=None, context_groups=None):
    """The formula, window by window, in plain Python and float64."""
    prediction, target = prediction.double().tolist(), target.double().tolist()
    losses = []
    for i, p in enumerate(prediction):
        weights = []
        for j, t in enumerate(target):
            same_text = groups is not None and i != j and groups[i] == groups[j]
            read = context_groups is not None and i != j and groups[j] in context_groups[i]
            if not (same_text or read):
                weights.append((j, math.exp(sum(a * b for a, b in zip(p, t, strict=True)) / temperature)))
        losses.append(-math.log(dict(weights)[i] / sum(weight for _, weight in weights)))
    return sum(losses) / len(losses)


def test_mse_and_ar_cosine_are_the_same_number_on_unit_vectors():
    """The axes are at right angles, 0.6 and 0.8: cosines 0, 0.6 and -1, so 1 - cosine is 1, 0.4 and 2."""
    prediction = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    target = torch.tensor([[0.0, 1.0], [0.6, 0.8], [-1.0, 0.0]])
    assert ar_cosine(prediction, target).item() == pytest.approx(3.4 / 3)
    assert mse(prediction, target).item() == pytest.approx(3.4 / 3)


def test_ar_cosine_ignores_lengths_and_mse_does_not():
    prediction, target = unit_batch(1), unit_batch(2)
    torch.testing.assert_close(ar_cosine(3 * prediction, target), ar_cosine(prediction, target))
    assert mse(3 * prediction, target) > mse(prediction, target)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.floats(0.05, 1.0), st.lists(st.integers(0, 4), min_size=6, max_size=6))
def test_info_nce_equals_the_formula_window_by_window(seed, temperature, groups):
    prediction, target = unit_batch(seed), unit_batch(seed + 1)
    context = np.random.default_rng(seed).integers(-1, 5, size=(6, 2))
    ours = info_nce(
        prediction,
        target,
        temperature=temperature,
        groups=torch.tensor(groups),
        context_groups=torch.from_numpy(context),
    )
    assert float(ours) == pytest.approx(naive_info_nce(prediction, target, temperature, groups, context), rel=1e-4)


def textbook(prediction, target, temperature, groups, context_groups, margin):
    """All logits at once, for autograd in float64."""
    normalised = [torch.nn.functional.normalize(one.double(), dim=-1) for one in (prediction, target)]
    logits = normalised[0] @ normalised[1].T / temperature
    logits = logits - torch.eye(len(logits)) * margin / temperature
    for i, own in enumerate(groups):
        for j, other in enumerate(groups):
            if i != j and (own == other or other in context_groups[i]):
                logits[i, j] = -math.inf
    return torch.nn.functional.cross_entropy(logits, torch.arange(len(logits)))


@pytest.mark.parametrize("temperature", [0.015, 0.05, 1.0])
@pytest.mark.parametrize("groups", [list(range(12)), [0, 0, 1, 1, 2, 3, 4, 5, 0, 6, 7, 8]])
@pytest.mark.parametrize("pull", [1.0, -9.0])
def test_gradients_with_fixed_targets_are_those_of_the_textbook(temperature, groups, pull, monkeypatch):
    monkeypatch.setattr(in_batch, "ROWS_PER_BLOCK", 5)
    monkeypatch.setattr(in_batch, "contrast_logits", None)  # the other way, for targets that learn
    target = unit_batch(2, batch=12)
    prediction = (3 * unit_batch(1, batch=12) + pull * target).requires_grad_()
    learnt, context = torch.tensor(temperature, requires_grad=True), np.random.default_rng(3).integers(-1, 9, (12, 2))
    how = {"groups": torch.tensor(groups), "context_groups": torch.from_numpy(context), "margin": 0.1}
    found = info_nce(prediction, target, temperature=learnt, **how)
    expected = textbook(prediction, target, learnt.double(), groups, context.tolist(), 0.1)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    for ours, theirs in zip(torch.autograd.grad(found, (prediction, learnt)),
                            torch.autograd.grad(expected, (prediction, learnt)), strict=True):  # fmt: skip
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("dtype", "relative"), [(torch.float16, 1e-2), (torch.float64, 1e-12)])
def test_other_types_than_float32_are_computed_as_they_are(dtype, relative):
    prediction, target = (torch.nn.functional.normalize(unit_batch(seed).to(dtype), dim=-1) for seed in (1, 2))
    found = info_nce(prediction, target, temperature=0.02)
    assert found.dtype == dtype
    assert float(found) == pytest.approx(naive_info_nce(prediction, target, 0.02), rel=relative)


@pytest.mark.parametrize("space", [{}, {"space": "projected", "projection": (8, 8)}], ids=["raw", "projected"])
def test_training_in_bfloat16_multiplies_the_batch_in_bfloat16(space, monkeypatch):
    asked = []

    def watched(*pair, products, **how):
        asked.append(products)
        return info_nce(*pair, products=products, **how)

    monkeypatch.setattr(loss, "info_nce", watched)
    bank = noise_world(documents=6, length=9, dimension=8)
    windows = make_windows(bank, np.arange(6), WindowSettings(context=2))
    for precision in ("float32", "bfloat16"):
        run = begin_short_run(bank, windows, model=ModelSettings(name="mlp", size="toy"),
                    loss=LossSettings(terms=(LossTerm(kind="infonce", **space),)),
                    training=TrainingSettings(batch_size=8, steps=1, precision=precision))  # fmt: skip
        run.advance()
    assert asked == [torch.float32, torch.bfloat16]


@pytest.mark.parametrize("temperature", [0.05, 0.2])
def test_bfloat16_products_keep_their_bound(temperature):
    prediction, target = unit_batch(1, batch=64, dim=32).requires_grad_(), unit_batch(2, batch=64, dim=32)
    exact = info_nce(prediction, target, temperature=temperature)
    rounded = info_nce(prediction, target, temperature=temperature, products=torch.bfloat16)
    assert 0 < abs(rounded.item() - exact.item()) <= bfloat16_bound(temperature)
    assert abs(rounded.item() - exact.item()) < 0.01  # in fact it is far nearer than the bound
    gradients = [torch.autograd.grad(loss, prediction)[0] for loss in (rounded, exact)]
    assert float((gradients[0] - gradients[1]).norm() / gradients[1].norm()) < 0.03


def test_the_lowest_temperature_of_info_nce_is_exact_however_far_the_target():
    target = unit_batch(2, batch=5)
    exact = naive_info_nce(-target, target, 0.011)
    assert float(info_nce(-target, target, temperature=0.011)) == pytest.approx(exact, rel=1e-5)


def test_equal_vectors_score_chance_whatever_the_temperature():
    same = torch.ones(8, 3)
    for temperature in (0.05, 1.0):
        assert float(info_nce(same, same, temperature=temperature)) == pytest.approx(math.log(8))


def test_symmetric_is_the_mean_of_both_directions():
    prediction, target = unit_batch(3), unit_batch(4)
    both = info_nce(prediction, target, temperature=0.1, symmetric=True)
    forth, back = naive_info_nce(prediction, target, 0.1), naive_info_nce(target, prediction, 0.1)
    assert both.item() == pytest.approx((forth + back) / 2, rel=1e-5)


def test_duplicates_and_read_passages_are_no_negatives_and_get_no_gradient():
    prediction, target = unit_batch(5, batch=3), unit_batch(6, batch=3).requires_grad_()
    groups, context = torch.tensor([7, 7, 8]), torch.tensor([[8, -1], [1, 2], [-1, -1]])
    logits = contrast_logits(prediction, target, temperature=0.1, groups=groups, context_groups=context)
    assert num_negatives(logits).tolist() == [0, 1, 2]
    # Window 0 sees neither its duplicate nor the passage it has read: nothing pushes it anywhere.
    (gradient,) = torch.autograd.grad(torch.nn.functional.cross_entropy(logits[:1], torch.tensor([0])), target)
    assert gradient.abs().max() == 0


def test_padding_matches_no_passage():
    assert not not_negatives(torch.tensor([0, 1]), torch.full((2, 3), -1)).any()


def test_a_duplicate_of_the_target_in_the_batch_changes_nothing():
    """Logits are the cosines 0.6, 0 and 0.8 over τ = 0.2: 3, 0 and 4. A fourth window has the target of the first."""
    prediction = torch.tensor([[0.6, 0.0, 0.8]] * 4)
    target = torch.eye(3)[[0, 1, 2, 0]]
    groups = torch.tensor([0, 1, 2, 0])
    weights = [math.exp(3), math.exp(0), math.exp(4)]
    own = [-math.log(weight / sum(weights)) for weight in weights]  # of one window of each target, nothing repeated
    # The second and the third window have the repeated target as two negatives.
    both = [-math.log(weight / (sum(weights) + weights[0])) for weight in weights[1:]]
    logits = contrast_logits(prediction, target, temperature=0.2, groups=groups)
    found = torch.nn.functional.cross_entropy(logits, torch.arange(4), reduction="none")
    assert found.tolist() == pytest.approx([own[0], *both, own[0]], rel=1e-5)
    assert float(info_nce(prediction, target, temperature=0.2, groups=groups)) == pytest.approx(found.mean().item())


def test_the_sum_is_weighted_and_the_parts_are_not():
    prediction, target = unit_batch(1), unit_batch(2)
    total, parts = build_loss(LOSSES["infonce-ar"], 4)(prediction, target)
    assert list(parts) == ["infonce", "ar-cosine"]
    cosine, contrast = 1 - (prediction * target).sum(dim=1).mean().item(), naive_info_nce(prediction, target, 0.07)
    assert parts["ar-cosine"].item() == pytest.approx(cosine, rel=1e-5)
    assert parts["infonce"].item() == pytest.approx(contrast, rel=1e-5)
    assert total.item() == pytest.approx(0.85 * contrast + 0.15 * cosine, rel=1e-5)


def ready(settings: LossSettings):
    """A loss with a bank of 40 passages, and what its forward pass takes beside predictions and targets."""
    bank = noise_world(documents=4, length=10, dimension=4)
    loss = build_loss(settings, 4)
    loss.attach(TrainingBank(bank, make_windows(bank, np.arange(4), WindowSettings(context=2))), seed=1)
    return loss, {"groups": torch.arange(6), "context_groups": torch.full((6, 2), -1)}


@pytest.mark.parametrize("name", LOSSES)
def test_every_preset_is_finite_and_moves_the_prediction(name):
    prediction = unit_batch(1).requires_grad_()
    loss, given = ready(LOSSES[name])
    total, parts = loss(prediction, unit_batch(2), **given)
    total.backward()
    assert torch.isfinite(total)
    assert all(value.ndim == 0 for value in parts.values())
    assert prediction.grad is not None
    assert prediction.grad.abs().max() > 0


def test_each_loss_prefers_the_truth_to_another_guess():
    target = unit_batch(2)
    for name in LOSSES:
        loss, given = ready(LOSSES[name])
        assert loss(target, target, **given)[0] < loss(target.roll(1, 0), target, **given)[0], name


@pytest.mark.parametrize(
    ("name", "missing"),
    [("infonce-bank", "training bank"), ("infonce-sampled", "training bank")],
)
def test_a_loss_without_the_bank_it_needs_says_so(name, missing):
    with pytest.raises(InputError, match=missing):
        build_loss(LOSSES[name], 4)(unit_batch(1), unit_batch(2), torch.arange(6))


def test_a_margin_is_taken_off_the_cosine_with_the_target():
    """Both ways to compute it: with fixed targets, and with all logits at once, which targets that learn need."""
    prediction, target = unit_batch(1), unit_batch(2)
    logits = (prediction @ target.T - 0.2 * torch.eye(6)) / 0.1
    expected = torch.nn.functional.cross_entropy(logits, torch.arange(6))
    back = torch.nn.functional.cross_entropy(logits.T, torch.arange(6))
    how = {"temperature": 0.1, "margin": 0.2}
    torch.testing.assert_close(info_nce(prediction, target, **how), expected)
    learning = target.clone().requires_grad_()
    torch.testing.assert_close(info_nce(prediction, learning, **how), expected)
    torch.testing.assert_close(info_nce(prediction, target, symmetric=True, **how), (expected + back) / 2)


def test_the_head_learns_from_predictions_only():
    loss = build_loss(LOSSES["infonce-projected"], 4)
    prediction, target = unit_batch(1).requires_grad_(), unit_batch(2).requires_grad_()
    loss(prediction, target)[1]["infonce"].backward()
    assert target.grad is None
    assert prediction.grad is not None
    assert all(weight.grad is not None for weight in loss.projection.parameters())


def test_project_gives_unit_vectors_of_the_heads_size_and_without_a_head_the_raw_space():
    projected = build_loss(LOSSES["infonce-projected"], 4)
    assert projected.space == "projected"
    assert projected.project(unit_batch(1)).shape == (6, 256)
    torch.testing.assert_close(projected.project(unit_batch(1)).norm(dim=-1), torch.ones(6))
    raw = build_loss(LOSSES["infonce"], 4)
    assert raw.space == "raw"
    torch.testing.assert_close(raw.project(unit_batch(1)), unit_batch(1))


def test_a_learnt_temperature_starts_where_told_moves_and_stays_in_its_range():
    term = LossTerm(kind="infonce", temperature=0.2, learn_temperature=True)
    loss = build_loss(LossSettings(terms=(term,)), 4)
    assert loss.temperatures == pytest.approx({"infonce": 0.2})
    optimizer = torch.optim.SGD(loss.parameters(), lr=1000.0)
    loss(unit_batch(1), unit_batch(1))[0].backward()  # right answers: a smaller temperature lowers the loss
    optimizer.step()
    loss.clamp()
    assert loss.temperatures["infonce"] == pytest.approx(0.01)


def test_the_loss_is_float32_inside_autocast_and_for_bfloat16_predictions():
    prediction, target = unit_batch(1), unit_batch(2)
    for name in ("infonce-projected", "mse", "infonce"):
        loss = build_loss(LOSSES[name], 4)
        with torch.autocast("cpu", torch.bfloat16):
            inside, _ = loss(prediction, target)
        assert inside.dtype == torch.float32
        torch.testing.assert_close(inside, loss(prediction, target)[0], rtol=0, atol=0)
        assert loss(prediction.bfloat16(), target)[0].dtype == torch.float32


def test_mask_context_false_is_the_textbook_loss():
    term = LossTerm(kind="infonce", mask_context=False)
    loss = build_loss(LossSettings(terms=(term,)), 4)
    prediction, target = unit_batch(1), unit_batch(2)
    groups = torch.arange(6)
    total, _ = loss(prediction, target, groups, groups.roll(1)[:, None])
    assert total.item() == pytest.approx(naive_info_nce(prediction, target, 0.07), rel=1e-5)
    masked, _ = build_loss(LOSSES["infonce"], 4)(prediction, target, groups, groups.roll(1)[:, None])
    assert masked < total


def test_building_is_seeded_and_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    first, again, other = (build_loss(LOSSES["infonce-projected"], 4, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(next(first.parameters()), next(other.parameters()))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"terms": [{"kind": "mse", "space": "projected"}]}, "only for kind = 'infonce'"),
        ({"terms": [{"kind": "ar-cosine", "symmetric": True}]}, "symmetric"),
        ({"terms": [{"kind": "infonce", "temperature": 0}]}, "greater than or equal to 0.01"),
        ({"terms": []}, "at least 1"),
        ({"terms": [{"kind": "infonce-bank", "symmetric": True}]}, "only for kind = 'infonce', not for"),
        ({"terms": [{"kind": "infonce-bank", "samples": 5}]}, "only for kind = 'infonce-sampled'"),
        ({"terms": [{"kind": "mse", "margin": 0.1}]}, "margin"),
        ({"terms": [{"kind": "infonce-bank"}], "negatives": [{"kind": "mined"}]}, "have their own"),
        ({"negatives": [{"kind": "mined"}, {"kind": "mined", "count": 2}]}, "at most 1"),
        ({"negatives": [{"kind": "same-document", "refresh": 5}]}, "removed in version 0.2"),
        ({"terms": [{"kind": "context-push"}]}, "'context-push' was removed in version 0.2"),
        ({"negatives": [{"kind": "queue"}]}, "'queue' was removed in version 0.2"),
        ({"negatives": [{"kind": "nearby-documents", "documents": 3}]}, "removed in version 0.2"),
        (
            {
                "terms": [
                    {"kind": "infonce", "space": "projected"},
                    {"kind": "infonce", "space": "projected", "projection": [8, 4]},
                ]
            },
            "share one head",
        ),
    ],
)
def test_settings_without_meaning_are_refused(given, said):
    with pytest.raises(ValidationError, match=said):
        LossSettings.model_validate(given)


def test_negatives_recorded_by_version_0_1_are_read():
    recorded = {"kind": "mined", "count": 4, "documents": 10, "refresh": 200, "guard": 0.95}
    assert LossSettings.model_validate({"negatives": [recorded]}) == LOSSES["infonce-mined"].model_copy(
        update={"terms": LossSettings().terms}
    )


def test_a_margin_is_taken_off_where_both_sides_are_queries_and_where_targets_learn():
    prediction, target = unit_batch(1), unit_batch(2).requires_grad_()
    logits = (prediction @ target.T - 0.2 * torch.eye(6)) / 0.1
    there, back = (torch.nn.functional.cross_entropy(one, torch.arange(6)) for one in (logits, logits.T))
    torch.testing.assert_close(info_nce(prediction, target, temperature=0.1, margin=0.2), there)
    both = info_nce(prediction, target, temperature=0.1, margin=0.2, symmetric=True)
    torch.testing.assert_close(both, (there + back) / 2)
