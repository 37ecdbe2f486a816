"""The text cross-encoder: starts at the first stage's order, learns to correct it, reads each pair by itself."""

import numpy as np
import pytest
import torch
from clocks import clock_of
from text_world import bert_folder, encoder_settings, topic_bank, topic_texts
from worlds import make_bank

from segue.errors import InputError
from segue.ranking.pool import Pool
from segue.retrieval.rerank.cross_encoder import CrossEncoderReranker
from segue.retrieval.rerank.interface import CandidateLists, Reranker
from segue.retrieval.retrievers import VectorRetriever
from segue.retrieval.retrievers.baselines import copy_last
from segue.text_models import fine_tuning
from segue.text_models.cross_encoder import (
    CrossEncoder,
    CrossLearner,
    load_cross_encoder,
    seconds_per_step,
    train_cross_encoder,
)
from segue.text_models.settings import CrossEncoderSettings
from segue.text_models.transformer import open_transformer
from segue.windows.windows import WindowSettings, gather_contexts, make_windows

FAST = CrossEncoderSettings(
    layers=2, maximum_tokens=32, context_tokens=16, learning_rate=3e-3, batch_size=8, negatives=7, first_weight=5.0,
    precision="float32", device="cpu",
)  # fmt: skip


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return encoder_settings(bert_folder(tmp_path_factory.mktemp("bert")))


@pytest.fixture(scope="module")
def bank(encoder):
    return topic_bank(encoder)


def windows(bank, first, last):
    return make_windows(bank, np.arange(first, last), WindowSettings(context=1))


def candidates(bank, asked, count=40):
    """Return what copy-last finds: the first stage of this toy."""
    rankings = VectorRetriever("copy-last", "candidate", copy_last, Pool(bank)).rank(
        gather_contexts(bank, asked), count
    )
    return CandidateLists(rankings.rows, rankings.scores)


def run(folder, encoder, bank, *, steps=6, settings=FAST, **options):
    asked = windows(bank, 0, 45)
    options = {"score": lambda _: {"MRR": 0.5}, **options}
    return train_cross_encoder(
        bank, asked, candidates(bank, asked), encoder=encoder, settings=settings, steps=steps, folder=folder, **options
    )


def weights(model):
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


def test_untrained_the_order_is_the_first_stage_s(encoder, bank):
    asked = windows(bank, 45, 47)
    lists = candidates(bank, asked)
    reranker = CrossEncoderReranker(CrossEncoder(open_transformer(encoder, FAST), FAST), bank)
    assert isinstance(reranker, Reranker)
    scores = reranker.scores(gather_contexts(bank, asked, texts=True), lists)
    np.testing.assert_allclose(scores, 5.0 * lists.first, rtol=1e-5)


def test_trained_it_orders_lists_of_documents_never_seen(encoder, tmp_path):
    # Documents of two passages that share two topics; a list is the target and seven others, the first stage is blind.
    generator = np.random.default_rng(2)
    bank = make_bank(np.zeros((600, 32)) + 1, [2] * 300, topic_texts(documents=300, length=2, topics=2, noise=1))
    asked = windows(bank, 0, 300)
    others = [np.setdiff1d(asked.target, target) for target in asked.target]
    rows = [
        [target, *generator.choice(rest, 7, replace=False)] for target, rest in zip(asked.target, others, strict=True)
    ]
    rows = generator.permuted(np.array(rows), axis=1)
    blind = np.zeros(rows.shape, dtype=np.float32)
    held, lists = asked.take(slice(240, None)), CandidateLists(rows[240:], blind[240:])
    contexts = gather_contexts(bank, held, texts=True)

    def score(model):
        best = CrossEncoderReranker(model, bank).scores(contexts, lists).argmax(axis=1)
        return {"MRR": float((lists.rows[np.arange(len(best)), best] == held.target).mean())}

    result = train_cross_encoder(
        bank, asked.take(slice(240)), CandidateLists(rows[:240], blind[:240]), encoder=encoder, folder=tmp_path,
        settings=FAST.model_copy(update={"batch_size": 16}), steps=150, score=score,
    )  # fmt: skip
    assert result.best_score["MRR"] > 0.4  # blind choice: 1 of 8
    assert score(load_cross_encoder(tmp_path)) == result.best_score


def test_neither_pads_nor_order_nor_the_other_contexts_change_a_score(encoder, bank, tmp_path):
    run(tmp_path, encoder, bank)
    reranker = CrossEncoderReranker(load_cross_encoder(tmp_path), bank)
    asked = windows(bank, 45, 47)
    lists, contexts = candidates(bank, asked, 7), gather_contexts(bank, asked, texts=True)
    scores = reranker.scores(contexts, lists)
    order = np.random.default_rng(1).permutation(7)
    pads = np.full((len(asked), 3), -1)
    padded = CandidateLists(
        np.concatenate([lists.rows[:, order], pads], axis=1),
        np.concatenate([lists.first[:, order], np.full(pads.shape, -np.inf, dtype=np.float32)], axis=1),
    )
    again = reranker.scores(contexts, padded)
    np.testing.assert_allclose(again[:, :7], scores[:, order], atol=1e-4)
    assert np.isneginf(again[:, 7:]).all()
    one = asked.take(slice(3, 4))
    alone = reranker.scores(gather_contexts(bank, one, texts=True), CandidateLists(lists.rows[3:4], lists.first[3:4]))
    np.testing.assert_allclose(alone[0], scores[3], atol=1e-4)


def test_the_loss_is_that_of_choosing_the_target_from_its_list(encoder, bank):
    asked = windows(bank, 0, 5)
    lists = candidates(bank, asked, 20)
    learner = CrossLearner(bank, asked, lists, encoder=encoder, settings=FAST)
    chosen, places = learner.batches.chosen(0), learner._places(learner.batches.chosen(0), 0)
    losses = []
    for window, columns in zip(chosen, places, strict=True):
        rows, first = learner.rows[window][columns], learner.first[window][columns]
        assert rows[0] == learner.batches.windows.target[window]  # one target, seven others, all different
        assert len(set(rows.tolist())) == 8
        losses.append(np.log(np.exp(5.0 * first).sum()) - 5.0 * first[0])  # the untrained head adds nothing
    assert learner.gradients(0) == pytest.approx(np.mean(losses), rel=1e-4)


def test_lists_worked_off_in_parts_give_the_same_gradient(encoder, bank):
    asked = windows(bank, 0, 9)
    lists, gradients = candidates(bank, asked), []
    for at_once in (512, 24):
        settings = FAST.model_copy(update={"texts_at_once": at_once})
        learner = CrossLearner(bank, asked, lists, encoder=encoder, settings=settings)
        torch.nn.init.ones_(learner.model.head.weight)
        learner.gradients(2)
        weights = fine_tuning.learnt_weights(learner.model).items()
        gradients.append({name: weight.grad for name, weight in weights if weight.grad is not None})
    assert len(gradients[0]) > 20
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-3, atol=1e-4)


class Stop(Exception):
    pass


def test_interrupted_anywhere_it_ends_in_the_same_bits(encoder, bank, tmp_path, monkeypatch):
    settings = FAST.model_copy(update={"evaluations": 2, "seed": 3})
    run(tmp_path / "whole", encoder, bank, settings=settings)
    monkeypatch.setattr(fine_tuning, "STATE_SECONDS", 0.0)
    for stop_after in (2, 1, 3, 1, 100):

        def interrupt(done, total, note, left=[stop_after]):  # noqa: B006
            left[0] -= 1
            if left[0] < 0:
                raise Stop

        try:
            run(tmp_path / "cut", encoder, bank, settings=settings, progress=interrupt)
        except Stop:
            continue
    whole, cut = (weights(load_cross_encoder(tmp_path / name)) for name in ("whole", "cut"))
    assert all(torch.equal(weight, cut[name]) for name, weight in whole.items())


def test_what_cannot_be_trained_or_read_is_refused(encoder, bank):
    asked = windows(bank, 0, 5)
    lists = candidates(bank, asked, 20)
    missed = CandidateLists(np.tile(asked.context, 20), np.zeros((len(asked), 20), dtype=np.float32))
    for few in (missed, CandidateLists(lists.rows[:, :7], lists.first[:, :7])):
        with pytest.raises(InputError, match="nothing to rerank"):
            CrossLearner(bank, asked, few, encoder=encoder, settings=FAST)
    with pytest.raises(InputError, match="no texts"):
        CrossLearner(make_bank(bank.vectors, [6] * 60), asked, lists, encoder=encoder, settings=FAST)
    reranker = CrossEncoderReranker(CrossEncoder(open_transformer(encoder, FAST), FAST), bank)
    with pytest.raises(InputError, match="reads texts"):
        reranker.scores(gather_contexts(bank, asked), lists)
    with pytest.raises(ValueError, match="context_tokens is 30"):
        CrossEncoderSettings(maximum_tokens=32, context_tokens=30)


def test_a_step_can_be_timed_beforehand(encoder, bank, monkeypatch):
    """The first step does not count, and the others end once they have taken 2.5 s together."""
    monkeypatch.setattr(fine_tuning, "time", clock_of(9.0, 1.0, 0.5, 1.5))
    asked = windows(bank, 0, 9)
    options = {"encoder": encoder, "settings": FAST, "seconds": 2.5}
    assert seconds_per_step(bank, asked, candidates(bank, asked), **options) == 1.0
