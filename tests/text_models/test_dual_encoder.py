"""The text dual encoder: exact gradients, the right negatives, resumed to the bit, better than untrained."""

import dataclasses

import numpy as np
import pytest
import torch
from clocks import clock_of
from text_world import bert_folder, encoder_settings, topic_bank
from worlds import make_bank

from segue.bank.reencoded import reencode_texts
from segue.encoders import EncoderSettings, load_encoder
from segue.errors import InputError
from segue.ranking.exact import target_ranks
from segue.ranking.pool import Pool
from segue.retrieval.retrievers.text_encoder import EncoderOnContext
from segue.text_models import fine_tuning
from segue.text_models.dual_encoder import (
    DualLearner,
    cached_gradients,
    load_dual_encoder,
    seconds_per_step,
    train_dual_encoder,
)
from segue.text_models.settings import DualEncoderSettings
from segue.text_models.transformer import open_transformer
from segue.types import Windows
from segue.windows.windows import WindowSettings, gather_contexts, make_windows

FAST = DualEncoderSettings(
    layers=2,
    maximum_tokens=16,
    learning_rate=1e-2,
    batch_size=32,
    windows_per_document=1,
    texts_at_once=64,
    precision="float32",
    device="cpu",
)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> EncoderSettings:
    return encoder_settings(bert_folder(tmp_path_factory.mktemp("bert")))


@pytest.fixture(scope="module")
def bank(encoder):
    return topic_bank(encoder)


def windows(bank, first, last):
    return make_windows(bank, np.arange(first, last), WindowSettings(context=1))


def found(encoder, bank, asked):
    """Return the share of targets among the first five of the whole bank, and the mean reciprocal rank."""
    queries = EncoderOnContext(encoder, maximum_tokens=16)(gather_contexts(bank, asked, texts=True))
    ranks = target_ranks(queries, Pool(bank), asked.target, exclude=asked.context)
    return {"MRR": float((1 / ranks).mean()), "R@5": float((ranks <= 5).mean())}


def run(folder, encoder, bank, *, steps=6, settings=FAST, score=lambda _: {"MRR": 0.5}, **options):
    asked = windows(bank, 0, 45)
    result = train_dual_encoder(
        bank, asked, encoder=encoder, settings=settings, steps=steps, folder=folder, score=score, **options
    )
    return result, load_dual_encoder(folder, encoder)


def weights(encoder):
    return {name: weight.clone() for name, weight in encoder.model.named_parameters()}


def test_the_gradient_through_the_cache_is_autograd_s(encoder, bank):
    learner = DualLearner(bank, windows(bank, 0, 4), encoder, FAST.model_copy(update={"texts_at_once": 7}))
    loss = learner.gradients(0)
    cached = {name: weight.grad.clone() for name, weight in fine_tuning.learnt_weights(learner.model).items()}
    learner.model.zero_grad()
    asked = learner.batches.windows.take(learner.batches.chosen(0))
    model = learner.model.model
    read = model.preprocess([bank.passage_texts[row] for row in asked.context[:, 0]])
    followed = model.preprocess([bank.passage_texts[row] for row in asked.target])
    logits = model(read)["sentence_embedding"] @ model(followed)["sentence_embedding"].T / FAST.temperature
    hidden = asked.context == asked.target[None, :]  # [window, other window]: its target is my context
    plain = torch.nn.functional.cross_entropy(
        logits.masked_fill(torch.from_numpy(hidden), -torch.inf), torch.arange(len(asked))
    )
    plain.backward()
    assert loss == pytest.approx(float(plain.detach()), rel=1e-5)
    assert set(cached) == {f"model.{name}" for name, weight in model.named_parameters() if weight.requires_grad}
    for name, weight in fine_tuning.learnt_weights(learner.model).items():
        if weight.grad is not None:
            torch.testing.assert_close(cached[name], weight.grad, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("size", [1, 3, 5, 100])
def test_parts_of_any_size_give_the_gradient_of_the_whole(size):
    torch.manual_seed(1)
    layer, inputs = torch.nn.Linear(4, 3), torch.randn(5, 4)

    def spread(vectors):
        return (vectors @ vectors.T).exp().sum().log()

    spread(layer(inputs)).backward()
    expected = layer.weight.grad.clone()
    layer.zero_grad()
    value = cached_gradients(layer, inputs.split(size), spread)
    torch.testing.assert_close(layer.weight.grad, expected)
    assert float(value) == pytest.approx(float(spread(layer(inputs)).detach()))
    assert not value.requires_grad


def test_duplicates_and_passages_of_the_context_are_no_negatives(encoder):
    # Document 0 is a b c; the window b → c has the context a, b; document 1 ends with c again.
    texts = ["ta na", "tb nb", "tc nc", "td nd", "te ne", "tc nc"]
    bank = make_bank(np.eye(6, 32), [3, 3], texts)
    asked = Windows(np.array([[0, 1], [3, 4], [-1, 0]]), np.array([2, 5, 1]))
    settings = FAST.model_copy(update={"batch_size": 3})
    learner = DualLearner(bank, asked, encoder, settings)
    order = learner.batches.chosen(0)
    with torch.no_grad():
        queries = learner.model(learner.model.tokens([["ta na tb nb", "td nd te ne", "ta na"][n] for n in order]))
        targets = learner.model(learner.model.tokens([texts[row] for row in asked.target[order]]))
        logits = queries @ targets.T / settings.temperature
    # The targets are c, c (a duplicate) and b, which the first window has read: only the last two see negatives.
    negatives = {0: [], 1: [2], 2: [0, 1]}
    places = {int(window): place for place, window in enumerate(order)}
    losses = []
    for window, others in negatives.items():
        own = places[window]
        seen = logits[own, [own, *(places[other] for other in others)]]
        losses.append(float(torch.logsumexp(seen, 0) - logits[own, own]))
    assert learner.gradients(0) == pytest.approx(np.mean(losses), rel=1e-4)


def test_only_the_last_layers_learn(encoder):
    names = fine_tuning.learnt_weights(open_transformer(encoder, FAST.model_copy(update={"layers": 1})))
    assert names
    assert all(".layer.1." in name for name in names)
    with pytest.raises(InputError, match="fewer layers"):
        open_transformer(encoder, FAST.model_copy(update={"layers": 3}))


def test_what_is_trained_finds_more_than_what_is_not(encoder, bank, tmp_path):
    asked = windows(bank, 45, 60)

    def score(trained):
        return found(trained, reencode_texts(bank, trained, folder=tmp_path / "banks"), asked)

    result, trained = run(tmp_path, encoder, bank, steps=120, score=score)
    untrained = found(load_encoder(encoder), bank, asked)
    assert untrained["R@5"] < 0.2 < 0.5 < result.best_score["R@5"]
    assert score(trained) == result.best_score
    assert [record["step"] for record in result.curve] == [120]


def test_with_frozen_documents_contexts_move_towards_the_bank_as_it_is(encoder, bank, tmp_path):
    settings = FAST.model_copy(update={"documents": "frozen", "learning_rate": 3e-3})
    asked = windows(bank, 0, 45)
    result, trained = run(tmp_path, encoder, bank, steps=100, settings=settings)
    assert result.curve[-1]["loss"] < np.log(270)  # below chance among the 270 passages of the training documents
    assert found(trained, bank, asked)["MRR"] > 2 * found(load_encoder(encoder), bank, asked)["MRR"]


@pytest.mark.parametrize("prompt", ["", "tz nz "])
def test_training_sees_the_vectors_that_the_encoder_gives(encoder, bank, tmp_path, prompt):
    behind = encoder.model_copy(update={"prompt": prompt, "maximum_tokens": 16})
    transformer = open_transformer(behind, FAST)
    texts = bank.passage_texts[:5]
    expected = load_encoder(behind).encode(texts)
    with torch.no_grad():
        np.testing.assert_allclose(transformer(transformer.tokens(texts)).numpy(), expected, atol=1e-6)
    transformer.save(tmp_path / "model")
    saved = load_dual_encoder(tmp_path, behind)
    np.testing.assert_allclose(saved.encode(texts), expected, atol=1e-6)
    assert saved.space.prompt == prompt


def test_others_can_load_the_folder_and_get_the_same_vectors(encoder, bank, tmp_path):
    from sentence_transformers import SentenceTransformer

    _, trained = run(tmp_path, encoder, bank)
    other = SentenceTransformer(str(tmp_path / "model"), device="cpu")
    assert other.max_seq_length == trained.space.maximum_tokens == 16
    texts = bank.passage_texts[:5]
    np.testing.assert_allclose(other.encode(texts, show_progress_bar=False), trained.encode(texts), atol=1e-6)
    assert (tmp_path / "model" / "model.safetensors").exists()
    assert trained.space.encoder.endswith("fine-tuned")


class Stop(Exception):
    pass


@pytest.mark.parametrize("documents", ["trained", "frozen"])
def test_interrupted_anywhere_it_ends_in_the_same_bits(encoder, bank, tmp_path, monkeypatch, documents):
    settings = FAST.model_copy(update={"documents": documents, "evaluations": 2, "texts_at_once": 32})
    result, whole = run(tmp_path / "whole", encoder, bank, settings=settings)
    monkeypatch.setattr(fine_tuning, "STATE_SECONDS", 0.0)
    for stop_after in (2, 1, 3, 1, 100):

        def interrupt(done, total, note, left=[stop_after]):  # noqa: B006
            left[0] -= 1
            if left[0] < 0:
                raise Stop

        try:
            resumed, cut = run(tmp_path / "cut", encoder, bank, settings=settings, progress=interrupt)
        except Stop:
            continue
    assert all(torch.equal(weight, weights(cut)[name]) for name, weight in weights(whole).items())
    timeless = [[{**record, "seconds": 0} for record in one.curve] for one in (result, resumed)]
    assert timeless[0] == timeless[1]


def test_a_finished_folder_is_only_read_and_one_of_other_settings_refused(encoder, bank, tmp_path):
    scored = []

    def score(trained):
        scored.append(trained)
        return {"MRR": 0.5}

    first, _ = run(tmp_path, encoder, bank, score=score)
    again, _ = run(tmp_path, encoder, bank, score=score)
    assert len(scored) == 1
    assert dataclasses.asdict(first) == dataclasses.asdict(again)
    with pytest.raises(InputError, match="another training"):
        run(tmp_path, encoder, bank, settings=FAST.model_copy(update={"temperature": 0.1}))


def test_the_best_of_several_evaluations_is_kept(encoder, bank, tmp_path):
    seen = []

    def score(trained):
        seen.append(weights(trained))
        return {"MRR": [0.1, 0.9, 0.3][len(seen) - 1]}

    result, best = run(tmp_path, encoder, bank, settings=FAST.model_copy(update={"evaluations": 3}), score=score)
    assert result.best_step == 4
    assert all(torch.equal(weight, seen[1][name]) for name, weight in weights(best).items())


def test_fewer_steps_than_a_pass_over_the_windows_are_under_trained(encoder, bank, tmp_path):
    one_pass = 225 // 32
    for steps, under_trained in ((one_pass - 1, True), (one_pass, False)):
        assert run(tmp_path / str(steps), encoder, bank, steps=steps)[0].under_trained is under_trained


def test_a_step_can_be_timed_beforehand(encoder, bank, monkeypatch):
    """The first step does not count, and the others end once they have taken 2.5 s together."""
    monkeypatch.setattr(fine_tuning, "time", clock_of(9.0, 1.0, 0.5, 1.5))
    assert seconds_per_step(bank, windows(bank, 0, 9), encoder=encoder, settings=FAST, seconds=2.5) == 1.0


def test_what_cannot_be_trained_is_refused(encoder, bank):
    asked = windows(bank, 0, 9)
    vectors_only = make_bank(bank.vectors, [6] * 60)
    with pytest.raises(InputError, match="no texts"):
        seconds_per_step(vectors_only, asked, encoder=encoder, settings=FAST)
    other = EncoderSettings(name="fake_encoder:HashEncoder")
    with pytest.raises(InputError, match="cannot be fine-tuned"):
        seconds_per_step(bank, asked, encoder=other, settings=FAST)


def test_a_step_without_a_finite_loss_changes_nothing():
    class Broken:
        model = torch.nn.ParameterDict({"weight": torch.ones(2)})

        def gradients(self, step):
            self.model["weight"].grad = torch.full((2,), torch.nan)
            return float("nan")

        def identity(self):
            return {}

    broken = Broken()
    optimizer = fine_tuning.adamw(fine_tuning.learnt_weights(broken.model), FAST)
    with pytest.raises(InputError, match=r"diverged at step 4.*lower learning_rate"):
        fine_tuning.take_step(broken, optimizer, 3, rate=0.1, clip=1.0)
    assert broken.model["weight"].tolist() == [1.0, 1.0]
