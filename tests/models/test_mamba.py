"""Our Mamba-2 block is transformers' with the same weights; its parts agree with naive loops."""

import pytest
import torch
from transformers import Mamba2Config, Mamba2Model

from segue.models.mamba import Mamba, causal_convolution, scan

CONFIGS = [
    {"hidden_size": 32, "num_heads": 4, "state_size": 16, "n_groups": 1, "num_hidden_layers": 2},
    {"hidden_size": 32, "num_heads": 8, "state_size": 8, "n_groups": 2, "num_hidden_layers": 1},
    {"hidden_size": 24, "num_heads": 6, "state_size": 12, "n_groups": 6, "num_hidden_layers": 3, "expand": 3},
    {"hidden_size": 16, "num_heads": 4, "state_size": 4, "n_groups": 4, "num_hidden_layers": 2, "conv_kernel": 2},
]


def _theirs(config):
    expand = config.get("expand", 2)
    head_dim = config["hidden_size"] * expand // config["num_heads"]
    torch.manual_seed(1)
    model = Mamba2Model(Mamba2Config(**config, head_dim=head_dim, chunk_size=8, vocab_size=2)).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # the skip and the norms start at one: move them
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def _ours(config, theirs):
    net = Mamba(
        config["hidden_size"],
        5,
        width=config["hidden_size"],
        blocks=config["num_hidden_layers"],
        d_state=config["state_size"],
        heads=config["num_heads"],
        groups=config["n_groups"],
        conv=config.get("conv_kernel", 4),
        expand=config.get("expand", 2),
    )
    net.blocks.load_state_dict(theirs.layers.state_dict())
    net.norm.load_state_dict(theirs.norm_f.state_dict())
    return net.eval()


def _states(net, inputs, mask):
    for block in net.blocks:
        inputs = block(inputs, mask)
    return net.norm(inputs)


@pytest.mark.parametrize("places", [1, 3, 5, 11])
@pytest.mark.parametrize("config", CONFIGS)
def test_same_weights_give_the_same_states_as_transformers(config, places):
    theirs = _theirs(config)
    inputs = torch.randn(3, places, config["hidden_size"])
    mask = torch.ones(3, places, dtype=torch.bool)
    with torch.no_grad():
        ours = _states(_ours(config, theirs), inputs, mask)
        torch.testing.assert_close(ours, theirs(inputs_embeds=inputs).last_hidden_state, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("config", CONFIGS)
def test_same_weights_give_the_same_gradients_as_transformers(config):
    theirs = _theirs(config)
    net = _ours(config, theirs)
    inputs = torch.randn(3, 5, config["hidden_size"])
    direction = torch.randn(config["hidden_size"])
    (_states(net, inputs, torch.ones(3, 5, dtype=torch.bool))[:, -1] @ direction).sum().backward()
    (theirs(inputs_embeds=inputs).last_hidden_state[:, -1] @ direction).sum().backward()
    expected = dict(theirs.layers.named_parameters())
    for name, parameter in net.blocks.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name].grad, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("length", [1, 2, 4])
def test_padding_at_the_front_leaves_the_state_untouched(length):
    torch.manual_seed(1)
    net = Mamba(24, 5, width=16, blocks=2, d_state=8, heads=4, groups=2).eval()
    short = torch.randn(2, length, 24)
    padded = torch.cat([torch.zeros(2, 5 - length, 24), short], dim=1)
    mask = torch.arange(5).expand(2, 5) >= 5 - length
    unpadded = net(short, torch.ones(2, length, dtype=torch.bool))
    torch.testing.assert_close(net(padded, mask), unpadded)


def test_scan_is_the_recurrence_step_by_step():
    torch.manual_seed(1)
    inputs, steps = torch.randn(2, 6, 4, 3), torch.rand(2, 6, 4)
    decay, keys, queries = -torch.rand(4), torch.randn(2, 6, 2, 5), torch.randn(2, 6, 2, 5)
    expected = torch.zeros(2, 6, 4, 3)
    for row in range(2):
        for head in range(4):
            state, group = torch.zeros(5, 3), head // 2
            for place in range(6):
                step = steps[row, place, head]
                write = torch.outer(keys[row, place, group], inputs[row, place, head])
                state = torch.exp(step * decay[head]) * state + step * write
                expected[row, place, head] = queries[row, place, group] @ state
    torch.testing.assert_close(scan(inputs, steps, decay, keys, queries), expected)


def test_convolution_is_torchs_grouped_one():
    torch.manual_seed(1)
    inputs, weight, bias = torch.randn(2, 5, 7), torch.randn(7, 4), torch.randn(7)
    padded = torch.nn.functional.pad(inputs.transpose(1, 2), (3, 0))
    expected = torch.nn.functional.conv1d(padded, weight[:, None], bias, groups=7).transpose(1, 2)
    torch.testing.assert_close(causal_convolution(inputs, weight, bias), expected)


def test_long_sequences_do_not_overflow():
    torch.manual_seed(1)
    steps = torch.full((1, 64, 1), 50.0)
    out = scan(torch.ones(1, 64, 1, 1), steps, torch.tensor([-16.0]), torch.ones(1, 64, 1, 1), torch.ones(1, 64, 1, 1))
    assert out.flatten().tolist() == [50.0] * 64


def test_computing_the_last_place_alone_changes_nothing():
    torch.manual_seed(1)
    block = Mamba(24, 5, width=16, blocks=1, d_state=8, heads=4, groups=2).blocks[0]
    states = torch.randn(4, 5, 16)
    mask = torch.arange(5).expand(4, 5) >= torch.arange(4)[:, None]
    torch.testing.assert_close(block(states, mask, last=True), block(states, mask)[:, -1:])
