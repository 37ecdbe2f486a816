"""A checkpoint gives back the same predictor, and refuses with one clear error when it cannot."""

import hashlib
import json

import pytest
import torch
from faulty_disk import faulty
from safetensors.torch import load_file, save_file
from torch import nn

from segue.errors import InputError, StorageError
from segue.files import read_json
from segue.models import ModelCard, ModelSettings, build_model, hash_documents
from segue.models.checkpoint import load_predictor, save_predictor
from segue.models.conformance import as_if_trained, example_batch

FILES = {"model.safetensors", "config.json", "golden.safetensors", "training_documents.txt", "README.md"}

CARD = ModelCard(
    name="Next | passage",
    space={"encoder": "minilm", "dimension": 24, "fingerprint": "AAAA"},
    training_documents=hash_documents(["Albedo", "Anarchism"]),
    loss="0.85 InfoNCE + 0.15 AR cosine",
    metrics={"R@5": 0.3125, "Eff@5": None},
    training={"steps": 120},
    seed=7,
    license="apache-2.0",
)


class Plain(nn.Module):
    def __init__(self, dimension, context):
        super().__init__()
        self.inner = nn.Linear(dimension, 8)
        self.head = nn.Linear(8, dimension)

    def forward(self, context, mask):
        return self.head(torch.tanh(self.inner(context[:, -1])))


class Twisted(Plain):
    """The same parameters under the same names, another forward pass."""

    def forward(self, context, mask):
        return self.head(torch.sin(self.inner(context[:, -1])))


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(1)
    settings = ModelSettings(name=f"{__name__}:Plain")
    predictor = as_if_trained(build_model(settings, dimension=24, context=5))
    save_predictor(predictor, tmp_path / "model", card=CARD)
    return predictor, tmp_path / "model"


def _change_config(folder, **changes):
    config = read_json(folder / "config.json")
    (folder / "config.json").write_text(json.dumps({**config, **changes}))


def test_saving_and_loading_is_identity(saved):
    predictor, folder = saved
    loaded, config = load_predictor(folder)
    context, mask = example_batch()
    assert torch.equal(loaded(context, mask), predictor(context, mask))
    assert not loaded.training
    assert loaded.settings == predictor.settings
    assert {path.name for path in folder.iterdir()} == FILES
    assert config.training_documents[0] == hashlib.sha256(b"Albedo").hexdigest()
    assert (config.loss_space, config.seed, config.space) == ("raw", 7, CARD.space)
    assert config.metrics == {"R@5": 0.3125, "Eff@5": None}


def test_saving_leaves_the_predictor_as_it_was(saved, tmp_path):
    predictor, _ = saved
    predictor.train()
    save_predictor(predictor, tmp_path / "again", card=CARD)
    assert predictor.training
    assert predictor.correction.head.weight.dtype == torch.float32


def test_the_same_predictor_gives_the_same_bytes(saved, tmp_path):
    predictor, folder = saved
    save_predictor(predictor, tmp_path / "again", card=CARD)
    for name in FILES:
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


def test_another_net_with_the_same_parameter_names_is_refused(saved):
    _, folder = saved
    _change_config(folder, model={"name": f"{__name__}:Twisted"})
    with pytest.raises(InputError, match=r"SG112.*does not compute what it computed.*at most 1e-05"):
        load_predictor(folder)


def test_a_small_change_of_one_weight_is_refused(saved):
    _, folder = saved
    weights = load_file(folder / "model.safetensors")
    weights["correction.head.weight"][0, 0] += 1e-2
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(InputError, match="SG112"):
        load_predictor(folder)


@pytest.mark.parametrize("name", sorted(FILES - {"README.md"}))
def test_a_missing_file_is_named(saved, name):
    _, folder = saved
    (folder / name).unlink()
    with pytest.raises(InputError, match=f"not a complete checkpoint: got no {name}"):
        load_predictor(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "golden.safetensors"])
def test_a_file_cut_short_is_named(saved, name):
    _, folder = saved
    (folder / name).write_bytes((folder / name).read_bytes()[:-40])
    with pytest.raises(InputError, match=f"{name} cannot be read"):
        load_predictor(folder)


def test_another_format_version_is_refused(saved):
    _, folder = saved
    _change_config(folder, format_version=99)
    with pytest.raises(InputError, match=r"config\.json has another format: got format_version 99, expected 1"):
        load_predictor(folder)


@pytest.mark.parametrize(
    "changes", [{"model": {"name": "gur"}}, {"dimension": "768"}, {"context": 0}, {"model": None}, {"model": {"x": 1}}]
)
def test_a_configuration_that_describes_no_model_is_refused(saved, changes):
    _, folder = saved
    _change_config(folder, **changes)
    with pytest.raises(InputError, match="does not describe a model"):
        load_predictor(folder)


def test_a_configuration_that_is_a_list_is_refused(saved):
    _, folder = saved
    (folder / "config.json").write_text("[]")
    with pytest.raises(InputError, match="expected a JSON object"):
        load_predictor(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weights: weights.pop("correction.head.bias"), "correction.head.bias is missing"),
        (lambda weights: weights.update(extra=torch.zeros(1)), "extra is not part of the net"),
        (lambda weights: weights.update({"anchor.weights": torch.zeros(4)}), r"shape \[4\] instead of \[5\]"),
    ],
)
def test_weights_that_do_not_fit_are_named(saved, change, message):
    _, folder = saved
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(InputError, match=message):
        load_predictor(folder)


def test_a_golden_pair_of_another_shape_is_refused(saved):
    _, folder = saved
    save_file({"context": torch.zeros(1)}, folder / "golden.safetensors")
    with pytest.raises(InputError, match="SG112"):
        load_predictor(folder)


def test_diverged_weights_are_not_saved(saved, tmp_path):
    predictor, _ = saved
    with torch.no_grad():
        predictor.correction.head.bias[0] = float("nan")
    with pytest.raises(InputError, match=r"NaN or infinite numbers in correction\.head\.bias"):
        save_predictor(predictor, tmp_path / "broken", card=CARD)
    assert not (tmp_path / "broken").exists()


def test_the_card_says_what_is_known_and_no_more(saved):
    _, folder = saved
    text = (folder / "README.md").read_text()
    header = text.split("---")[1]
    assert 'license: "apache-2.0"' in header
    assert 'library_name: "segue"' in header
    assert "| R@5 | 0.3125 |" in text
    assert "| Eff@5 | not computed |" in text
    assert "| training documents | 2 |" in text
    assert "AAAA" not in text, "the fingerprint belongs into config.json"
    assert "load_predictor" in text
    assert "## Limits" in text


def test_a_bare_card_is_enough(saved, tmp_path):
    predictor, _ = saved
    save_predictor(predictor, tmp_path / "bare", card=ModelCard(name="bare"))
    loaded, config = load_predictor(tmp_path / "bare")
    assert loaded.context == 5
    assert (config.space, config.training_documents) == (None, [])
    assert "license" not in (tmp_path / "bare" / "README.md").read_text().split("---")[1]


def test_a_full_disk_is_a_storage_error_and_leaves_nothing(saved, tmp_path):
    with faulty("full", at=4), pytest.raises(StorageError, match="No space left"):
        save_predictor(saved[0], tmp_path / "full", card=CARD)
    assert not list(tmp_path.glob("*full*"))
