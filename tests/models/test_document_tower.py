"""Document towers: they start at the identity, share what they say they share, and travel with their checkpoint."""

import json

import pytest
import torch
from model_rules import OF_VECTORS, check_rules
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

from segue.errors import InputError, SettingsError
from segue.files import read_json
from segue.models import ModelCard, ModelSettings, anchor_weights, build_model, num_parameters
from segue.models.checkpoint import load_predictor, save_predictor
from segue.models.conformance import as_if_trained, example_batch
from segue.models.document_tower import weights_hash

LEARNT = ("linear", "mlp", "shared")


def toy(name="gru", documents="linear", *, seed=1, dimension=24, **more):
    torch.manual_seed(seed)
    settings = ModelSettings(name=name, size="toy", documents=documents, **more)
    return build_model(settings, dimension=dimension, context=5)


def passages(count=6, dimension=24, seed=4):
    generator = torch.Generator().manual_seed(seed)
    return functional.normalize(torch.randn(count, dimension, generator=generator), dim=-1)


@pytest.mark.parametrize("documents", LEARNT)
@pytest.mark.parametrize("name", OF_VECTORS)
def test_every_tower_keeps_the_contract(name, documents):
    check_rules(ModelSettings(name=name, size="toy", documents=documents))


@pytest.mark.parametrize("documents", LEARNT)
def test_an_untrained_two_tower_is_its_anchor(documents):
    predictor = toy(documents=documents).eval()
    predictor.start_anchor(anchor_weights("copy-last", 5))
    context, mask = example_batch()
    copied, target = context[:, -1], passages(10)
    scores = predictor(context, mask) @ predictor.encode_documents(target).T
    torch.testing.assert_close(scores, copied @ target.T, atol=1e-6, rtol=0)


def test_identity_leaves_the_vectors_to_the_bit():
    vectors = passages()
    predictor = toy(documents="identity")
    assert predictor.documents is None
    assert predictor.encode_documents(vectors) is vectors


def test_the_linear_tower_by_hand():
    predictor = toy(dimension=2)
    with torch.no_grad():
        predictor.documents.head.weight.copy_(torch.tensor([[0.0, 1.0], [0.0, 0.0]]))
        predictor.documents.head.bias.copy_(torch.tensor([0.0, 2**0.5]))
    # v = (0, 1): v + (1, 0) + (0, 1) = (1, 2), the bias counted in components of size √dim
    encoded = predictor.encode_documents(torch.tensor([[0.0, 1.0]]))
    torch.testing.assert_close(encoded, torch.tensor([[1.0, 2.0]]) / 5**0.5)


def test_the_mlp_tower_by_its_formula():
    predictor = as_if_trained(toy(documents="mlp"))
    vectors, tower = passages(), predictor.documents
    scaled = vectors * 24**0.5
    hidden = functional.gelu(scaled @ tower.net[0].weight.T + tower.net[0].bias)
    total = scaled + hidden @ tower.head.weight.T + tower.head.bias
    torch.testing.assert_close(predictor.encode_documents(vectors), total / total.norm(dim=1, keepdim=True))


@pytest.mark.parametrize("name", OF_VECTORS)
def test_siamese_reads_a_passage_as_a_context_of_one(name):
    predictor = as_if_trained(toy(name, documents="shared"))
    vectors = passages()
    context = torch.zeros(len(vectors), 5, 24)
    context[:, -1] = vectors
    mask = torch.zeros(len(vectors), 5, dtype=torch.bool)
    mask[:, -1] = True
    with torch.no_grad():  # the query's head in the place of the tower's: the same features give the query's correction
        predictor.documents.head.weight.copy_(predictor.correction.head.weight)
        predictor.documents.head.bias.copy_(predictor.correction.head.bias)
        predictor.anchor.weights.copy_(anchor_weights("copy-last", 5))
    torch.testing.assert_close(predictor.encode_documents(vectors), predictor(context, mask), atol=2e-6, rtol=1e-5)


def test_siamese_shares_the_net_and_separates_the_heads():
    predictor, alone = toy(documents="shared"), toy(documents="identity")
    head = predictor.documents.head
    assert num_parameters(predictor) - num_parameters(alone) == head.weight.numel() + head.bias.numel()
    as_if_trained(predictor).encode_documents(passages())[:, 0].sum().backward()
    assert predictor.correction.project.weight.grad.abs().max() > 0
    assert predictor.correction.head.weight.grad is None


class Whole(nn.Module):
    """An architecture whose last layer cannot be taken off."""

    def __init__(self, dimension, context):
        super().__init__()
        self.head = nn.Linear(dimension, dimension)

    def forward(self, context, mask):
        return self.head(context[:, -1])


def test_an_architecture_without_encode_cannot_be_shared():
    settings = ModelSettings(name=f"{__name__}:Whole", documents="shared")
    with pytest.raises(SettingsError, match=r"Whole without a method 'encode'.*documents = \"linear\""):
        build_model(settings, dimension=8, context=3)
    build_model(settings.model_copy(update={"documents": "linear"}), dimension=8, context=3)


@pytest.mark.parametrize("documents", LEARNT)
def test_a_tower_travels_with_its_checkpoint(tmp_path, documents):
    predictor = as_if_trained(toy(documents=documents))
    save_predictor(predictor, tmp_path / "model", card=ModelCard(name="towers"))
    loaded, config = load_predictor(tmp_path / "model")
    assert config.model.documents == documents
    assert torch.equal(loaded.encode_documents(passages()), predictor.encode_documents(passages()))
    assert "has to be encoded again" in (tmp_path / "model" / "README.md").read_text()


def test_another_document_tower_is_refused(tmp_path):
    save_predictor(as_if_trained(toy()), tmp_path / "model", card=ModelCard(name="towers"))
    weights = load_file(tmp_path / "model" / "model.safetensors")
    weights["documents.head.weight"][0, 0] += 1e-2
    save_file(weights, tmp_path / "model" / "model.safetensors")
    with pytest.raises(InputError, match="SG112"):
        load_predictor(tmp_path / "model")


def test_a_golden_pair_without_the_documents_is_refused(tmp_path):
    save_predictor(as_if_trained(toy()), tmp_path / "model", card=ModelCard(name="towers"))
    golden = load_file(tmp_path / "model" / "golden.safetensors")
    del golden["documents"]
    save_file(golden, tmp_path / "model" / "golden.safetensors")
    with pytest.raises(InputError, match="SG112"):
        load_predictor(tmp_path / "model")


def test_a_checkpoint_from_before_towers_still_loads(tmp_path):
    predictor = as_if_trained(toy(documents="identity"))
    save_predictor(predictor, tmp_path / "model", card=ModelCard(name="older"))
    path = tmp_path / "model" / "config.json"
    config = read_json(path)
    del config["model"]["documents"]
    path.write_text(json.dumps(config))
    loaded, _ = load_predictor(tmp_path / "model")
    context, mask = example_batch()
    assert loaded.documents is None
    assert torch.equal(loaded(context, mask), predictor(context, mask))


def test_the_hash_of_weights_tells_towers_apart():
    one, same, other = toy(), toy(), toy(seed=2)
    assert weights_hash(one) == weights_hash(same) != weights_hash(other)
    with torch.no_grad():
        same.documents.head.bias[3] += 1e-6
    assert weights_hash(one) != weights_hash(same)


@pytest.mark.parametrize("documents", LEARNT)
def test_bfloat16_autocast_stays_near_float32(documents):
    predictor = as_if_trained(toy(documents=documents))
    vectors = passages()
    with torch.autocast("cpu", torch.bfloat16):
        rounded = predictor.encode_documents(vectors)
    assert rounded.dtype == torch.float32
    assert functional.cosine_similarity(rounded, predictor.encode_documents(vectors)).min() > 0.99
