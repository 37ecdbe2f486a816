"""The text cross-encoder: starts at the reranker's order, learns to correct it, reads each pair by itself."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from clocks import clock_of
from text_world import TOPICS, bert_folder, encoder_settings, topic_bank
from worlds import make_bank

from segue.encoders import load_encoder
from segue.errors import InputError
from segue.ranking.pool import Pool
from segue.retrieval.rerank.cross_encoder import CrossEncoderReranker
from segue.retrieval.rerank.fusion import Fusion
from segue.retrieval.rerank.interface import CandidateLists, Reranker
from segue.retrieval.retrievers import VectorRetriever
from segue.retrieval.retrievers.baselines import copy_last
from segue.text_models import fine_tuning
from segue.text_models.cross_encoder import (
    CrossEncoder,
    CrossLearner,
    ScoredLists,
    load_cross_encoder,
    most_probable_weight,
    open_cross_encoder,
    seconds_per_step,
    train_cross_encoder,
)
from segue.text_models.settings import CrossEncoderSettings
from segue.windows.windows import WindowSettings, gather_contexts, make_windows

FAST = CrossEncoderSettings(
    layers=2, maximum_tokens=32, context_tokens=16, learning_rate=3e-3, batch_size=8, negatives=7, first_weight=5.0,
    precision="float32", device="cpu", evaluations=1,
)  # fmt: skip


class ByFirst(Fusion):
    """A reranker that gives the first stage's scores: it knows nothing more."""

    def scores(self, contexts, candidates):
        return candidates.first


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


def scored(bank, asked, count=40):
    found = candidates(bank, asked, count)
    return ScoredLists(asked, found.rows, found.first)


def reranker_of(model, bank, first=40):
    return CrossEncoderReranker(ByFirst(), model, bank, first)


def untrained(encoder, settings=FAST, *, blank=True):
    model = open_cross_encoder(encoder, settings)
    if not blank:
        torch.nn.init.normal_(model.head[-1].weight, generator=torch.Generator().manual_seed(1))
    return model


def run(folder, encoder, bank, *, steps=6, settings=FAST, **options):
    options = {"score": lambda _: {"MRR": 0.5}, **options}
    return train_cross_encoder(bank, scored(bank, windows(bank, 0, 45)), encoder=encoder, settings=settings,
                               steps=steps, folder=folder, **options)  # fmt: skip


def weights(model):
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


def by_hand(model, passages, candidate):
    """Score one pair: the transformer's layers in a plain loop, attention written out, nothing beside the pair."""
    bert, ids = model.transformer, [*model.context_ids(passages), *model.candidate_ids([candidate])[0]]
    read = len(model.context_ids(passages))
    place = [*range(read), *(model.settings.context_tokens + n for n in range(len(ids) - read))]
    kind = [0] * read + [1] * (len(ids) - read)
    tables = bert.embeddings
    hidden = tables.word_embeddings.weight[ids] + tables.position_embeddings.weight[place]
    hidden = tables.LayerNorm(hidden + tables.token_type_embeddings.weight[kind])
    heads = bert.config.num_attention_heads
    for layer in bert.encoder.layer:
        one = layer.attention.self
        query, key, value = (part(hidden).reshape(len(ids), heads, -1) for part in (one.query, one.key, one.value))
        mixed = torch.zeros_like(query)
        for head in range(heads):
            for at in range(len(ids)):
                seen = range(read) if at < read else range(len(ids))  # the context does not see the candidate
                share = torch.stack([query[at, head] @ key[other, head] for other in seen]) / math.sqrt(query.shape[2])
                mixed[at, head] = (torch.softmax(share, 0)[:, None] * value[list(seen), head]).sum(0)
        hidden = layer.attention.output(mixed.reshape(len(ids), -1), hidden)
        hidden = layer.output(layer.intermediate(hidden), hidden)
    context, passage = hidden[:read].mean(0), hidden[read:].mean(0)
    return float(model.head(torch.cat([passage, passage * context])[None]))


@torch.no_grad()
def test_many_candidates_beside_each_other_are_read_as_each_pair_by_itself(encoder):
    model = untrained(encoder, blank=False)
    passages = ["ta tb tc na nb nc nd ne nf ng nh ni", "tb nc . nd te tf"]  # longer than what is read
    texts = ["ta nb", "nc", " ".join(TOPICS), "tb . tc", "", "ta nb"] * 3  # 18: three sequences of six
    together, few = model.added([passages, ["ta"]], [texts, texts[:1]])
    expected = [by_hand(model, passages, text) for text in texts[:6]]
    np.testing.assert_allclose(together, expected * 3, atol=1e-5)
    assert few == pytest.approx([by_hand(model, ["ta"], texts[0])], abs=1e-5)
    assert np.ptp(together) > 0.01


def test_untrained_the_order_is_the_reranker_s(encoder, bank):
    asked = windows(bank, 45, 47)
    lists = candidates(bank, asked)
    reranker = reranker_of(untrained(encoder), bank)
    assert isinstance(reranker, Reranker)
    scores = reranker.scores(gather_contexts(bank, asked, texts=True), lists)
    np.testing.assert_allclose(scores, 5.0 * lists.first, rtol=1e-5)


def test_the_first_are_read_and_the_others_follow_in_their_order(encoder, bank):
    asked = windows(bank, 45, 46)
    lists, contexts = candidates(bank, asked, 12), gather_contexts(bank, asked, texts=True)
    model = untrained(encoder, blank=False)
    scores = reranker_of(model, bank, first=4).scores(contexts, lists)
    for number, passages in enumerate(contexts.texts):
        texts = bank.texts(lists.rows[number])
        read = [5.0 * lists.first[number][n] + model.added([passages], [[texts[n]]])[0][0] for n in range(4)]
        np.testing.assert_allclose(scores[number][:4], read, atol=1e-4)
        assert min(read) > scores[number][4]
        np.testing.assert_allclose(np.diff(scores[number][4:]), np.diff(lists.first[number][4:]), atol=1e-5)


def test_tied_candidates_at_the_end_of_the_first_are_not_read(encoder, bank):
    asked, model = windows(bank, 45, 46).take(slice(1)), untrained(encoder, blank=False)
    lists, contexts = candidates(bank, asked, 5), gather_contexts(bank, asked, texts=True)
    tied = CandidateLists(lists.rows, np.array([[4.0, 3.0, 3.0, 3.0, 1.0]]))
    scores = reranker_of(model, bank, first=2).scores(contexts, tied)[0]
    assert scores[1:].tolist() == pytest.approx([scores[0] - 1] * 3 + [scores[0] - 3])


def test_trained_it_sees_a_rule_that_vectors_cannot(encoder, tmp_path):
    """The passage that follows names the topic one further on; the vectors of all passages are the same."""
    generator = np.random.default_rng(2)
    topic = generator.integers(len(TOPICS), size=400)
    texts = [text for number in topic for text in (TOPICS[number], TOPICS[(number + 1) % len(TOPICS)])]
    bank = dataclasses.replace(make_bank(np.zeros((800, 32)) + 1, [2] * 400, texts),
                               duplicate_group=np.arange(800))  # fmt: skip
    asked = windows(bank, 0, 400)
    others = [np.flatnonzero(topic != number) for number in topic]
    rows = np.array([[target, *2 * generator.choice(wrong, 7, replace=False) + 1]
                     for target, wrong in zip(asked.target, others, strict=True)])  # fmt: skip
    rows = generator.permuted(rows, axis=1)
    blind = np.zeros(rows.shape, dtype=np.float32)
    held, lists = asked.take(slice(320, None)), CandidateLists(rows[320:], blind[320:])
    contexts = gather_contexts(bank, held, texts=True)

    def score(model):
        best = reranker_of(model, bank).scores(contexts, lists).argmax(axis=1)
        return {"MRR": float((lists.rows[np.arange(len(best)), best] == held.target).mean())}

    result = train_cross_encoder(
        bank, ScoredLists(asked.take(slice(320)), rows[:320], blind[:320]), encoder=encoder, folder=tmp_path,
        settings=FAST.model_copy(update={"batch_size": 16}), steps=120, score=score,
    )  # fmt: skip
    assert result.best_score["MRR"] > 0.5  # blind choice: 1 of 8
    assert score(load_cross_encoder(tmp_path)) == result.best_score


def test_neither_pads_nor_order_nor_the_other_contexts_change_a_score(encoder, bank, tmp_path):
    run(tmp_path, encoder, bank)
    reranker = reranker_of(load_cross_encoder(tmp_path), bank)
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
    nothing = CandidateLists(np.full((1, 2), -1), np.full((1, 2), -np.inf))
    assert np.isneginf(reranker.scores(gather_contexts(bank, one, texts=True), nothing)).all()


def test_the_loss_is_that_of_choosing_the_target_where_what_is_drawn_stands_for_all(encoder, bank):
    """Six passages a document, the context is one and the target another: four others of its document in every list."""
    asked = windows(bank, 0, 5)
    near = np.array([np.setdiff1d(np.flatnonzero(bank.document_of == bank.document_of[target]), [target, *context])
                     for target, context in zip(asked.target, asked.context, strict=True)])  # fmt: skip
    far = np.tile(np.arange(200, 214), (len(asked), 1))
    rows = np.random.default_rng(1).permuted(np.concatenate([asked.target[:, None], near, far], axis=1), axis=1)
    first = np.random.default_rng(2).normal(size=rows.shape).astype(np.float32)
    learner = CrossLearner(bank, ScoredLists(asked, rows, first), encoder=encoder, settings=FAST)
    chosen = learner.batches.chosen(0)
    places, stands_for = learner.drawn(chosen, 0)
    losses = []
    for window, columns, counts in zip(chosen, places, stands_for, strict=True):
        read, scores = learner.rows[window][columns], 5.0 * learner.first[window][columns]
        target = learner.batches.windows.target[window]
        assert read[0] == target
        assert len(set(read.tolist())) == 8
        same = bank.document_of[read] == bank.document_of[target]
        assert same.tolist() == [True] * 5 + [False] * 3  # the target, all four of its document, three of fourteen
        assert counts.tolist() == [1.0] * 5 + [14 / 3] * 3
        losses.append(np.log((counts * np.exp(scores)).sum()) - scores[0])  # the untrained head adds nothing
    assert learner.gradients(0) == pytest.approx(np.mean(losses), rel=1e-4)
    many = FAST.model_copy(update={"negatives": 5})
    places, stands_for = CrossLearner(bank, ScoredLists(asked, rows, first), encoder=encoder, settings=many).drawn(
        chosen, 3
    )
    assert stands_for[0].tolist() == [1.0] * 5 + [14.0]  # three quarters of five, rounded up, of its document
    assert {len(set(row.tolist())) for row in places} == {6}


def test_the_weight_of_the_reranker_begins_where_targets_are_most_probable(encoder, bank):
    """The target is 1 above one other candidate in three lists of four: its share is 3/4 at w = ln 3."""
    truth = np.array([[True, False, False]] * 3 + [[False, True, False]])
    scores = np.tile([2.0, 1.0, -np.inf], (4, 1))
    assert most_probable_weight(scores, truth) == pytest.approx(math.log(3), rel=1e-3)
    settings, asked = FAST.model_copy(update={"first_weight": None}), windows(bank, 0, 9)
    model = CrossLearner(bank, scored(bank, asked), encoder=encoder, settings=settings).model
    assert 0.01 <= model.first_weight <= 1000
    assert model.first_weight != 1.0


def test_lists_worked_off_in_parts_give_the_same_gradient(encoder, bank):
    gradients = []
    for at_once in (512, 24):
        settings = FAST.model_copy(update={"texts_at_once": at_once})
        learner = CrossLearner(bank, scored(bank, windows(bank, 0, 9)), encoder=encoder, settings=settings)
        torch.nn.init.ones_(learner.model.head[-1].weight)
        learner.gradients(2)
        learnt = fine_tuning.learnt_weights(learner.model).items()
        gradients.append({name: weight.grad for name, weight in learnt if weight.grad is not None})
    assert len(gradients[0]) > 20
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-3, atol=1e-4)


def test_it_is_made_of_the_first_layers_and_the_last_of_them_learn(encoder):
    model = untrained(encoder, FAST.model_copy(update={"trained_layers": 1}))
    whole = load_encoder(encoder).model[0].auto_model
    for name, weight in whole.named_parameters():
        found = dict(model.transformer.named_parameters()).get(name)
        if found is not None:
            assert torch.equal(weight, found), name
            assert found.requires_grad == ("layer.1." in name), name
    one = untrained(encoder, FAST.model_copy(update={"layers": 1}))
    assert len(one.transformer.encoder.layer) == 1
    assert not one.transformer.embeddings.word_embeddings.weight.requires_grad


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


def test_it_ends_where_validation_no_longer_rises(encoder, bank, tmp_path):
    given = iter([0.2, 0.5, 0.4, 0.5])
    settings = FAST.model_copy(update={"evaluations": 6, "patience": 2})
    result = run(tmp_path, encoder, bank, settings=settings, score=lambda _: {"MRR": next(given)})
    assert (result.steps, result.best_step, result.stopped_early, result.under_trained) == (4, 2, True, False)


def test_what_cannot_be_trained_or_read_is_refused(encoder, bank, tmp_path):
    asked = windows(bank, 0, 5)
    lists = scored(bank, asked, 20)
    missed = ScoredLists(asked, np.tile(asked.context, 20), np.zeros((len(asked), 20), dtype=np.float32))
    for few in (missed, dataclasses.replace(lists, rows=lists.rows[:, :7], first=lists.first[:, :7])):
        with pytest.raises(InputError, match="nothing to rerank"):
            CrossLearner(bank, few, encoder=encoder, settings=FAST)
    with pytest.raises(InputError, match="no texts"):
        CrossLearner(make_bank(bank.vectors, [6] * 60), lists, encoder=encoder, settings=FAST)
    with pytest.raises(InputError, match="reads texts"):
        reranker_of(untrained(encoder), bank).scores(gather_contexts(bank, asked), candidates(bank, asked))
    with pytest.raises(InputError, match="fewer layers"):
        untrained(encoder, FAST.model_copy(update={"layers": 3}))
    with pytest.raises(InputError, match=r"65.*at most 64"):
        untrained(encoder, FAST.model_copy(update={"maximum_tokens": 65}))
    with pytest.raises(ValueError, match="context_tokens is 30"):
        CrossEncoderSettings(maximum_tokens=32, context_tokens=30)
    with pytest.raises(ValueError, match="trained_layers is 3"):
        CrossEncoderSettings(layers=2, trained_layers=3)


def test_a_transformer_that_reads_candidates_otherwise_is_refused(encoder, monkeypatch):
    """One that ignores the mask: a candidate would see the others."""
    reader = load_encoder(encoder).copy_to_train()
    forward = reader[0].auto_model.forward
    monkeypatch.setattr(reader[0].auto_model, "forward", lambda **given: forward(**{**given, "attention_mask": None}))
    with pytest.raises(InputError, match="beside each other"):
        CrossEncoder(reader, FAST, origin="")


def test_roberta_begins_to_count_behind_its_pads(encoder):
    from transformers import RobertaConfig, RobertaModel

    config = RobertaConfig(vocab_size=45, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                           intermediate_size=32, max_position_embeddings=34, pad_token_id=1)  # fmt: skip
    reader = load_encoder(encoder).copy_to_train()
    reader[0].model = RobertaModel(config).eval()
    one = FAST.model_copy(update={"layers": 1})
    assert CrossEncoder(reader, one, origin="")._first_position() == 2
    with pytest.raises(InputError, match=r"33.*at most 32"):
        CrossEncoder(reader, one.model_copy(update={"maximum_tokens": 33}), origin="")


def test_a_step_can_be_timed_beforehand(encoder, bank, monkeypatch):
    """The first step does not count, and the others end once they have taken 2.5 s together."""
    monkeypatch.setattr(fine_tuning, "time", clock_of(9.0, 1.0, 0.5, 1.5))
    options = {"encoder": encoder, "settings": FAST, "seconds": 2.5}
    assert seconds_per_step(bank, scored(bank, windows(bank, 0, 9)), **options) == 1.0
