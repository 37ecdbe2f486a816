"""The model that reads tokens: what it reads, that it keeps the rules of every architecture, and what it learns."""

from string import ascii_lowercase

import numpy as np
import pytest
import torch
from fake_encoder import HashEncoder
from safetensors.torch import load_file
from text_world import bert_folder, encoder_settings, topic_bank
from torch import nn
from worlds import make_bank

from segue.encoders import load_encoder
from segue.errors import InputError, SettingsError
from segue.evaluation.experiment import build_experiment
from segue.evaluation.score import score
from segue.models import ModelCard, ModelSettings, build_model, load_predictor, reader_of, save_predictor
from segue.models.conformance import as_if_trained, example_batch
from segue.models.rules import RULES, check_every_parameter_learns, check_start_is_the_anchor, example_texts
from segue.retrieval.retrievers.predictor import PredictorQuery
from segue.training.losses.loss import LOSSES, build_loss
from segue.training.optimiser import build_optimizer
from segue.training.train import TrainingSettings, train
from segue.windows.splits import SplitSettings
from segue.windows.windows import WindowSettings, gather_contexts

OPTIONS = {"depth": 2, "maximum_tokens": 16}
SETTINGS = ModelSettings(name="tokens", options=OPTIONS)
TRAINING = TrainingSettings(steps=60, batch_size=32, learning_rate=2e-2, evaluations=3, patience=None,
                            span_corruption=0.0, precision="float32", device="cpu")  # fmt: skip


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    return encoder_settings(bert_folder(tmp_path_factory.mktemp("bert")))


@pytest.fixture(scope="module")
def encoder(settings):
    return load_encoder(settings)


@pytest.fixture(scope="module")
def experiment(settings):
    return build_experiment(topic_bank(settings), SplitSettings(test=0.2, validation=0.2), WindowSettings(context=2))


def build(encoder, *, context=2, **changes):
    torch.manual_seed(1)
    model = SETTINGS.model_copy(update=changes)
    return build_model(model, dimension=32, context=context, reader=reader_of(encoder))


def test_the_last_tokens_of_the_joined_passages_are_read(encoder):
    """[CLS], the last 6 words, [SEP]: 8 tokens."""
    tokens = build(encoder, options={"depth": 1, "maximum_tokens": 8}).correction.eval()
    read = [("ta tb tc", "td te", "na nb nc"), ("ta", "nb"), ("ta tb tc td te na nb nc nd",)]
    ends = ["tc td te na nb nc", "ta nb", "td te na nb nc nd"]
    np.testing.assert_allclose(tokens.read(read).detach().numpy(), encoder.encode(ends), atol=1e-6)
    with torch.no_grad():
        np.testing.assert_allclose(tokens.read(read).numpy(), encoder.encode(ends), atol=1e-6)


def test_the_answer_is_the_anchor_plus_the_gain_times_what_was_read(encoder):
    predictor = build(encoder).eval()
    context, mask = example_batch(32, 2)
    with torch.no_grad():
        predictor.start_anchor(torch.tensor([0.0, 1.0]))
        predictor.correction.head.weight.fill_(0.5)
        read = torch.from_numpy(encoder.encode(["ta na tb nb"]))
        expected = torch.nn.functional.normalize(context[1:2, 1] + 0.5 * read)
        torch.testing.assert_close(predictor(context[1:2], mask[1:2], [("ta na", "tb nb")]), expected)


@pytest.mark.parametrize("anchor", [True, False])
@pytest.mark.parametrize("check", [*RULES, check_start_is_the_anchor, check_every_parameter_learns])
def test_it_keeps_the_rules_of_every_architecture(encoder, check, anchor):
    check(build(encoder, context=5, anchor=anchor).double())


def test_a_checkpoint_holds_its_own_reader(encoder, tmp_path):
    from sentence_transformers import SentenceTransformer

    predictor = as_if_trained(build(encoder))
    save_predictor(predictor, tmp_path / "model", card=ModelCard(name="tokens"))
    loaded, config = load_predictor(tmp_path / "model")
    context, mask = example_batch(32, 2)
    texts = [("ta tb", "na nb")[: int(count)] for count in mask.sum(1)]
    assert torch.equal(loaded(context, mask, texts), predictor(context, mask, texts))
    assert config.model == SETTINGS
    other = SentenceTransformer(str(tmp_path / "model" / "reader"), device="cpu")
    np.testing.assert_allclose(
        other.encode(["na tb"], show_progress_bar=False), predictor.correction.read([("na tb",)]).detach(), atol=1e-6
    )
    weights = load_file(tmp_path / "model" / "model.safetensors")
    assert set(weights) == {"anchor.weights", "correction.head.weight"}


def test_the_last_layers_learn_at_a_tenth_of_the_rate_and_the_others_not_at_all(encoder):
    predictor = build(encoder, options={"depth": 1, "maximum_tokens": 16})
    before = {name: weight.detach().clone() for name, weight in predictor.named_parameters()}
    optimizer = build_optimizer(predictor, torch.nn.Module(), weight_decay=0.0, device="cpu", rates=predictor.rates())
    for weight in predictor.parameters():
        weight.grad = torch.ones_like(weight) if weight.requires_grad else None
    optimizer.step(0.01)
    for name, weight in predictor.named_parameters():  # AdamW's first step is the rate itself
        distance = float((before[name] - weight.detach()).abs().mean())
        learns = {"anchor.weights": 0.01, "correction.head.weight": 0.3}
        rate = learns.get(name, 0.001 if ".layer.1." in name else 0.0)
        assert distance == pytest.approx(rate, rel=1e-3), name


def test_dropout_acts_in_training_only(encoder):
    predictor = as_if_trained(build(encoder, dropout=0.5))
    context, mask = example_batch(32, 2)
    texts = [("ta tb", "na nb")[: int(count)] for count in mask.sum(1)]
    assert torch.equal(predictor(context, mask, texts), predictor(context, mask, texts))
    predictor.train()
    assert not torch.equal(predictor(context, mask, texts), predictor(context, mask, texts))


def test_bfloat16_autocast_stays_near_float32(encoder):
    predictor = as_if_trained(build(encoder))
    context, mask = example_batch(32, 2)
    texts = [("ta tb", "na nb")[: int(count)] for count in mask.sum(1)]
    with torch.autocast("cpu", torch.bfloat16):
        rounded = predictor(context, mask, texts)
    assert rounded.dtype == torch.float32
    assert torch.nn.functional.cosine_similarity(rounded, predictor(context, mask, texts)).min() > 0.99


def test_training_reads_the_topics_that_vectors_do_not_show(encoder, experiment, tmp_path):
    """The toy's encoder is random, so copying the last vector finds little."""
    predictor, fold = build(encoder), experiment.folds[0]
    result = train(predictor, build_loss(LOSSES["infonce-bank"], 32, seed=1), experiment.bank, fold.train,
                   settings=TRAINING, score=lambda model: score(model, experiment, fold.validation),
                   folder=tmp_path)  # fmt: skip
    assert result.curve[0]["MRR"] < 0.15
    assert result.best_score["MRR"] > 2 * result.curve[0]["MRR"]


class Letters(nn.Module):
    """An architecture of one's own that counts letters of the last passage."""

    reads_text = True

    def __init__(self, dimension, context):
        super().__init__()
        self.head = nn.Linear(26, dimension)

    def forward(self, context, mask, texts):
        counts = [[passages[-1].count(letter) for letter in ascii_lowercase] for passages in texts]
        return self.head(context.new_tensor(counts))


def test_a_class_of_one_s_own_may_read_texts_too(tmp_path):
    predictor = as_if_trained(build_model(ModelSettings(name=f"{__name__}:Letters"), dimension=24, context=5))
    save_predictor(predictor, tmp_path / "model", card=ModelCard(name="letters"))
    loaded, _ = load_predictor(tmp_path / "model")
    context, mask = example_batch()
    texts = example_texts(mask)
    assert loaded.reads_text
    assert torch.equal(loaded(context, mask, texts), predictor(context, mask, texts))
    assert not torch.equal(predictor(context, mask, texts), predictor(context, mask, example_texts(mask, seed=2)))


def test_contexts_without_texts_are_refused(encoder, experiment):
    query, windows = PredictorQuery(build(encoder)), experiment.folds[0].test.take(slice(0, 3))
    assert query(gather_contexts(experiment.bank, windows, texts=True)).shape == (3, 32)
    with pytest.raises(InputError, match="reads texts, but the contexts bring vectors only"):
        query(gather_contexts(experiment.bank, windows))


def test_what_cannot_be_trained_is_refused(encoder, experiment, tmp_path):
    with pytest.raises(InputError, match="cannot be fine-tuned"):
        reader_of(HashEncoder())
    with pytest.raises(InputError, match=r"fewer layers: got 3, expected 1 to 2.*lower depth"):
        build(encoder, options={"depth": 3})
    with pytest.raises(InputError, match=r"cannot read that many tokens.*65.*\[model\] options"):
        build(encoder, options={"depth": 1, "maximum_tokens": 65})
    with pytest.raises(SettingsError, match="depth is at least 1"):
        build(encoder, options={"depth": 0})
    with pytest.raises(InputError, match=r"does not make the bank's vectors"):
        build_model(SETTINGS, dimension=24, context=2, reader=reader_of(encoder))
    with pytest.raises(InputError, match="reads with the bank's encoder"):
        build_model(SETTINGS, dimension=32, context=2)
    with pytest.raises(SettingsError, match="last layer can be removed"):
        build(encoder, documents="shared")
    with pytest.raises(InputError, match="cannot be exported to ONNX"):
        build(encoder).to_onnx(tmp_path / "model.onnx")
    vectors_only = make_bank(experiment.bank.vectors, [6] * 60)
    with pytest.raises(InputError, match="the bank has none"):
        train(build(encoder), build_loss(LOSSES["infonce"], 32, seed=1), vectors_only, experiment.folds[0].train,
              settings=TRAINING, score=lambda _: {"MRR": 0.5}, folder=tmp_path)  # fmt: skip
