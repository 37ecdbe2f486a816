"""Every architecture keeps the contract; sizes, structures and errors are those that are documented."""

import random

import numpy as np
import pytest
import torch
from model_rules import OF_VECTORS, check_rules
from pydantic import ValidationError
from torch import nn
from torch.nn import functional

from segue.errors import InputError, SettingsError
from segue.models import ModelSettings, anchor_weights, build_model, num_parameters
from segue.models.amn import Amn
from segue.models.architecture import pad_at_front
from segue.models.build import ARCHITECTURES
from segue.models.conformance import as_if_trained, example_batch
from segue.models.recurrent import BidirectionalGru, Gru, Lstm, start_at_front
from segue.models.settings import ARCHITECTURE_NAMES
from segue.models.transformer import Transformer

PUBLISHED_MILLIONS = {
    "amn": 1.51,
    "bidirectional-gru": 4.7,
    "lstm": 5.1,
    "gru": 7.1,
    "transformer": 17.9,
    "mamba": 53.0,
}


def _toy(name, *, anchor=True, dimension=24, context=5, **more):
    torch.manual_seed(1)
    settings = ModelSettings(name=name, size="toy", anchor=anchor, **more)
    return build_model(settings, dimension=dimension, context=context)


@pytest.mark.parametrize("anchor", [True, False])
@pytest.mark.parametrize("name", OF_VECTORS)
def test_every_architecture_keeps_the_contract(name, anchor):
    check_rules(ModelSettings(name=name, size="toy", anchor=anchor))


def test_the_names_of_the_settings_are_those_that_can_be_built():
    assert set(ARCHITECTURE_NAMES) == set(ARCHITECTURES)


@pytest.mark.parametrize("name", PUBLISHED_MILLIONS)
def test_full_size_has_the_published_number_of_parameters(name):
    settings = ModelSettings(name=name, size="full", anchor=False)
    with torch.device("meta"):
        predictor = build_model(settings, dimension=768, context=5)
    assert num_parameters(predictor) / 1e6 == pytest.approx(PUBLISHED_MILLIONS[name], rel=0.03)


def test_amn_has_exactly_the_parameters_of_its_description():
    mlp = (1536 * 512 + 512) + (512 * 256 + 256) + (256 * 768 + 768)
    projections = 2 * (768 * 256 + 256)
    assert num_parameters(Amn(768, 5)) == mlp + projections == 1_509_376


def test_the_two_tower_query_net_has_exactly_the_parameters_of_its_description():
    direction = 3 * 512 * (768 + 512) + 6 * 512
    assert num_parameters(BidirectionalGru(768, 5)) == 2 * direction + (1024 * 768 + 768) == 4_725_504


def test_an_anchor_adds_one_parameter_per_place():
    assert num_parameters(_toy("gru")) == num_parameters(_toy("gru", anchor=False)) + 5


@pytest.mark.parametrize(
    "net",
    [Gru(24, 5, width=16, blocks=2), Lstm(24, 5, width=16, layers=2), BidirectionalGru(24, 5, width=16, layers=2)],
)
@pytest.mark.parametrize("length", [1, 2, 4])
def test_a_short_context_is_read_as_the_unpadded_sequence(net, length):
    context, _ = example_batch()
    short = context[4:5, :length]
    padded = torch.cat([torch.zeros(1, 5 - length, 24), short], dim=1)
    mask = torch.tensor([[False] * (5 - length) + [True] * length])
    unpadded = net(short, torch.ones(1, length, dtype=torch.bool))
    torch.testing.assert_close(net(padded, mask), unpadded)


def test_a_gru_block_is_the_recurrence_of_the_textbook():
    torch.manual_seed(1)
    net = Gru(6, 3, width=4, blocks=1)
    context = torch.randn(1, 3, 6)
    states, gru = net.project(context)[0], net.grus[0]
    hidden = torch.zeros(4)
    for state in net.norms[0](states):
        ir, iz, inn = (gru.weight_ih_l0 @ state + gru.bias_ih_l0).chunk(3)
        hr, hz, hn = (gru.weight_hh_l0 @ hidden + gru.bias_hh_l0).chunk(3)
        update = torch.sigmoid(iz + hz)
        hidden = (1 - update) * torch.tanh(inn + torch.sigmoid(ir + hr) * hn) + update * hidden
    expected = net.head(states[-1] + hidden)
    torch.testing.assert_close(net(context, torch.ones(1, 3, dtype=torch.bool))[0], expected)


def test_a_bidirectional_gru_is_the_mean_of_both_recurrences():
    torch.manual_seed(1)
    net = BidirectionalGru(6, 3, width=4)
    context = torch.randn(1, 3, 6)
    states = [[], []]
    for direction, suffix in enumerate(("l0", "l0_reverse")):
        weights = {
            name: getattr(net.gru, f"{name}_{suffix}") for name in ("weight_ih", "bias_ih", "weight_hh", "bias_hh")
        }
        hidden = torch.zeros(4)
        for passage in context[0] if direction == 0 else context[0].flip(0):
            ir, iz, inn = (weights["weight_ih"] @ passage + weights["bias_ih"]).chunk(3)
            hr, hz, hn = (weights["weight_hh"] @ hidden + weights["bias_hh"]).chunk(3)
            update = torch.sigmoid(iz + hz)
            hidden = (1 - update) * torch.tanh(inn + torch.sigmoid(ir + hr) * hn) + update * hidden
            states[direction].append(hidden)
    mean = torch.cat([torch.stack(part).mean(0) for part in states])
    torch.testing.assert_close(net(context, torch.ones(1, 3, dtype=torch.bool))[0], net.head(mean))


def test_amn_attends_as_its_formula_says():
    torch.manual_seed(1)
    net = Amn(4, 3, query_width=2, hidden=(5, 3), add_mean=True)
    context = torch.randn(3, 4)
    mean = (context[0] + context[1] + context[2]) / 3
    scores = torch.stack([net.key(passage) @ net.query(mean) for passage in context]) / 2**0.5
    weights = scores.exp() / scores.exp().sum()
    attended = sum(weight * passage for weight, passage in zip(weights, context, strict=True))
    expected = mean + net.head(net.mlp(torch.cat([mean, attended])))
    torch.testing.assert_close(net(context[None], torch.ones(1, 3, dtype=torch.bool))[0], expected)


def test_amn_without_anchor_is_the_mean_where_nothing_is_corrected():
    predictor = _toy("amn", anchor=False)
    nn.init.zeros_(predictor.correction.head.weight)
    nn.init.zeros_(predictor.correction.head.bias)
    context, mask = example_batch()
    expected = functional.normalize(context.sum(1), dim=-1)
    torch.testing.assert_close(predictor(context, mask), expected)


def test_computing_the_last_place_alone_changes_nothing():
    torch.manual_seed(1)
    block = Transformer(24, 5, width=16, layers=1, heads=2, hidden=8).blocks[0]
    context, mask = example_batch(dimension=16)
    torch.testing.assert_close(block(context, mask, last=True), block(context, mask, last=False)[:, -1:])


@pytest.mark.parametrize("name", ["bidirectional-gru", "lstm", "gru", "transformer", "mamba", "mlp"])
def test_the_order_of_the_passages_matters(name):
    context, _ = example_batch()
    whole, mask = context[4:5], torch.ones(1, 5, dtype=torch.bool)
    predictor = as_if_trained(_toy(name, anchor=False))
    swapped = whole[:, [1, 0, 2, 3, 4]]
    assert not torch.allclose(predictor(whole, mask), predictor(swapped, mask), atol=1e-4)


@pytest.mark.parametrize("anchor", [True, False])
@pytest.mark.parametrize("name", OF_VECTORS)
def test_a_known_transition_is_learnt(name, anchor):
    # A ring of 20 passages, each followed by the next: where to go depends on the newest passage alone.
    torch.manual_seed(3)
    ring = functional.normalize(torch.randn(20, 16), dim=-1)
    rows = torch.arange(20)[:, None] + torch.arange(4)
    context, target = ring[rows[:, :3] % 20], rows[:, 3] % 20
    mask = torch.ones(20, 3, dtype=torch.bool)
    predictor = _toy(name, anchor=anchor, dimension=16, context=3)
    optimiser = torch.optim.AdamW(predictor.parameters(), lr=1e-2)
    for _ in range(100):
        loss = functional.cross_entropy(predictor(context, mask) @ ring.T / 0.1, target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    found = (predictor.eval()(context, mask) @ ring.T).argmax(1)
    assert (found == target).float().mean() > 0.95


def test_the_same_seed_gives_the_same_weights():
    first, second = _toy("mamba").state_dict(), _toy("mamba").state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("name", OF_VECTORS)
def test_dropout_acts_in_training_only(name):
    predictor = as_if_trained(_toy(name, dropout=0.5))
    context, mask = example_batch()
    assert torch.equal(predictor(context, mask), predictor(context, mask))
    predictor.train()
    assert not torch.equal(predictor(context, mask), predictor(context, mask))


@pytest.mark.parametrize("name", OF_VECTORS)
def test_bfloat16_autocast_stays_near_float32(name):
    predictor = as_if_trained(_toy(name))
    context, mask = example_batch()
    with torch.autocast("cpu", torch.bfloat16):
        rounded = predictor(context, mask)
    assert rounded.dtype == torch.float32
    assert functional.cosine_similarity(rounded, predictor(context, mask)).min() > 0.99


def test_amn_reads_bfloat16_contexts_too():
    predictor = as_if_trained(_toy("amn"))
    context, mask = example_batch()
    with torch.autocast("cpu", torch.bfloat16):
        short = predictor(context.bfloat16(), mask)
    assert functional.cosine_similarity(short.float(), predictor(context, mask)).min() > 0.99


def test_anchor_weights_by_hand():
    assert anchor_weights("mean", 4).tolist() == [0.25] * 4
    assert anchor_weights("exp-mean", 2, decay=0.25).tolist() == pytest.approx([0.2, 0.8])
    assert anchor_weights("exp-mean", 3, decay=1.0).tolist() == pytest.approx(anchor_weights("mean", 3).tolist())


def test_an_anchor_leaves_its_start_at_once():
    predictor = _toy("mlp")
    context, mask = example_batch()
    target = functional.normalize(context.sum(1), dim=-1)
    (1 - (predictor(context, mask) * target).sum(-1)).mean().backward()
    assert (predictor.anchor.weights.grad[:-1] < 0).all(), "more weight on the older passages is what helps"


def test_an_anchor_passes_over_dropped_passages():
    predictor = _toy("gru")
    context, _ = example_batch()
    dropped = context[4:5].clone()
    dropped[:, -2:] = 0  # article dropout
    mask = torch.ones(1, 5, dtype=torch.bool)
    answer = predictor(dropped, mask)
    torch.testing.assert_close(answer, context[4:5, 2])
    (1 - (answer * context[4:5, 0]).sum()).backward()
    assert max(parameter.grad.abs().max() for parameter in predictor.parameters()) < 10


def test_padding_moves_to_the_front_and_to_the_back():
    context = torch.arange(1.0, 5.0).reshape(1, 4, 1)
    moved, mask = pad_at_front(context, torch.tensor([[True, False, True, False]]))
    assert moved.flatten().tolist() == [0, 0, 1, 3]
    rolled, newest = start_at_front(moved, mask)
    assert rolled.flatten().tolist() == [1, 3, 0, 0]
    assert newest.tolist() == [1]


def test_a_context_without_passages_is_refused():
    context, mask = example_batch()
    with pytest.raises(AssertionError, match="without any passage"):
        _toy("gru")(context, torch.zeros_like(mask))


class Own(nn.Module):
    """What a user would write."""

    def __init__(self, dimension, context, *, width=8):
        super().__init__()
        self.inner = nn.Linear(dimension, width)
        self.head = nn.Linear(width, dimension)

    def forward(self, context, mask):
        return self.head(torch.tanh(self.inner(context[:, -1])))


class Headless(Own):
    def __init__(self, dimension, context):
        super().__init__(dimension, context)
        self.head = nn.Sequential(self.head)


def _own(name, **options):
    return ModelSettings(name=f"{__name__}:{name}", options=options)


def test_an_own_architecture_keeps_the_contract():
    check_rules(_own("Own", width=4))


class Draws(Own):
    """Draws from every generator when it is called."""

    def forward(self, context, mask):
        np.random.rand(), random.random(), torch.rand(1)
        return super().forward(context, mask)


def test_checking_the_rules_of_an_own_architecture_draws_no_number_of_the_training():
    def built_and_drawn():
        torch.manual_seed(4)
        np.random.seed(4)
        random.seed(4)
        predictor = build_model(_own("Draws", width=5), dimension=12, context=4)
        return [*predictor.parameters(), torch.rand(2), torch.tensor([np.random.rand(), random.random()])]

    checked, known = built_and_drawn(), built_and_drawn()  # the second one is not checked again
    assert all(torch.equal(one, other) for one, other in zip(checked, known, strict=True))


def test_an_own_architecture_that_breaks_a_rule_is_not_built():
    with pytest.raises(InputError, match=r"Copies' breaks the rule 'rows_are_independent'.*To fix it"):
        build_model(_own("Copies"), dimension=12, context=1)


def test_an_error_of_an_own_architecture_names_it():
    predictor = build_model(_own("Own"), dimension=12, context=3)
    predictor.correction.inner = nn.Linear(5, 8)
    with pytest.raises(InputError, match=r"test_models:Own' fails on contexts of shape \(2, 3, 12\) in float32"):
        predictor(torch.ones(2, 3, 12), torch.ones(2, 3, dtype=torch.bool))


class Copies(Own):
    def forward(self, context, mask):
        return super().forward(context, mask) + context.mean(0)[-1:]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (ModelSettings(name="no.such.package:Net"), "cannot be imported"),
        (ModelSettings(name=f"{__name__}:Missing"), "cannot be imported"),
        (ModelSettings(name="subprocess:Popen"), "is not an architecture"),
        (_own("Own", depth=3), "got an unexpected keyword argument 'depth'"),
        (ModelSettings(name=f"{__name__}:Own", dropout=0.5), "unexpected keyword argument 'dropout'"),
        (_own("Headless"), "name the last layer 'head'"),
        (ModelSettings(name="gru", options={"widht": 3}), "widht"),
        (ModelSettings(name="transformer", options={"heads": 3}), "do not divide evenly"),
        (ModelSettings(name="mamba", options={"groups": 3}), "do not divide evenly"),
    ],
)
def test_what_cannot_be_built_is_one_clear_error(settings, message):
    with pytest.raises(SettingsError, match=message):
        build_model(settings, dimension=24, context=5)


@pytest.mark.parametrize(("name", "nearest"), [("gur", "gru"), ("Transfomer", "transformer"), ("manba", "mamba")])
def test_an_unknown_name_is_answered_with_the_nearest(name, nearest):
    with pytest.raises(ValidationError, match=f"write '{nearest}'"):
        ModelSettings(name=name)


def test_options_override_the_size():
    predictor = _toy("mlp", options={"width": 7})
    assert predictor.correction.head.in_features == 7


def test_amn_weighs_passages_by_their_keys():
    """The net computes no keys; a loop over the passages, each with its key, has to give the same."""
    torch.manual_seed(3)
    net = Amn(6, 4, query_width=5, hidden=(8, 7)).double()
    context, mean = torch.randn(2, 3, 6, dtype=torch.float64), torch.randn(2, 6, dtype=torch.float64)
    mask = torch.tensor([[True, True, True], [False, True, True]])
    found = net._attend(mean, context, mask)
    for row in range(2):
        query = net.query(mean[row])
        real = [passage for passage, there in zip(context[row], mask[row], strict=True) if there]
        grades = torch.stack([net.key(passage) @ query / 5**0.5 for passage in real]).exp()
        expected = sum(grade / grades.sum() * passage for grade, passage in zip(grades, real, strict=True))
        assert torch.allclose(found[row], expected, atol=1e-12)
