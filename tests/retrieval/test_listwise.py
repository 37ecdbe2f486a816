import math

import numpy as np
import pytest
import torch
from resealed import reseal
from worlds import drift_world

from segue.errors import InputError, SettingsError, StorageError
from segue.models.tensors import copy_weights
from segue.ranking.pool import Pool
from segue.retrieval.index.exact import ExactIndex
from segue.retrieval.rerank import CandidateLists, Reranker
from segue.retrieval.rerank.cosine import ByCosine
from segue.retrieval.rerank.features import Features
from segue.retrieval.rerank.lists import ListFeatures, draw_lists, features_of
from segue.retrieval.rerank.listwise import (
    Attention,
    Listwise,
    ListwiseNet,
    ListwiseSettings,
    Scaling,
    _Fit,
    fit_listwise,
    reciprocal_rank,
    vectors_read,
)
from segue.retrieval.retrievers import VectorRetriever
from segue.retrieval.retrievers.cascade import Cascade
from segue.retrieval.retrievers.conformance import check_retriever
from segue.windows.windows import WindowSettings, gather_contexts, make_windows

SMALL = ListwiseSettings(width=16, layers=1, heads=2, epochs=3, batch_size=16, learning_rate=5e-3)


def copy_oldest(contexts):
    return contexts.vectors[:, 0]


@pytest.fixture(scope="module")
def drawn():
    """A world, its parts, a cascade that looks at the oldest passage only, lists of training and validation windows."""
    bank = drift_world(documents=40)
    parts = [make_windows(bank, part, WindowSettings(context=3)) for part in np.split(np.arange(40), [24, 32])]
    pool = Pool(bank)
    first = VectorRetriever("copy-oldest", "candidate", copy_oldest, pool, ExactIndex(pool))
    cascade = Cascade("c", "candidate", first, 20, ByCosine(copy_oldest, bank))
    lists = [draw_lists(lambda contexts: cascade.candidates(contexts).candidates, bank, pool, windows,
                        exclude="context", texts=True, batch_size=50) for windows in parts[:2]]  # fmt: skip
    return bank, parts, cascade, lists


@pytest.fixture(scope="module")
def features(drawn):
    bank, _, cascade, _ = drawn
    return Features(bank, cascade.pool, context=3, groups=["context", "list", "places"])


@pytest.fixture(scope="module")
def read(drawn, features):
    return [features_of(lists, features, exclude="context") for lists in drawn[3]]


@pytest.fixture(scope="module")
def fitted(read, features, tmp_path_factory):
    return fit_listwise(*read, features, settings=SMALL, folder=tmp_path_factory.mktemp("fit"))


def test_scaling_by_hand():
    values = np.array([[1.0, 0.0, np.nan], [3.0, 50.0, np.nan]])
    scaling = Scaling.of(values)
    assert scaling.wide.tolist() == [False, True, False]
    assert scaling.mean.tolist() == pytest.approx([2.0, math.log(51) / 2, 0.0])
    scaled = scaling(np.array([[[1.0, 50.0, np.nan], [3.0, 0.0, 7.0], [99.0, np.nan, 0.0]]]))
    assert scaled[0].tolist() == [[-1.0, pytest.approx(1.0), 0.0], [1.0, pytest.approx(-1.0), 6.0], [6.0, 0.0, 0.0]]


@torch.no_grad()
def test_attention_is_softmax_over_the_tokens_that_are_there():
    torch.manual_seed(1)
    attention = Attention(8, 2, 0.0).eval()
    tokens, there = torch.randn(1, 4, 8), torch.tensor([[True, True, False, True]])
    mixed = torch.zeros(4, 8)
    projected = attention.projection(attention.before(tokens))[0]
    for head in range(2):
        part = [projected[:, 8 * kind + 4 * head : 8 * kind + 4 * head + 4] for kind in range(3)]
        for token in range(4):
            weights = torch.tensor([float(part[0][token] @ part[1][other]) / 2 for other in (0, 1, 3)]).softmax(0)
            mixed[token, 4 * head : 4 * head + 4] = sum(
                weight * part[2][other] for weight, other in zip(weights, (0, 1, 3), strict=True)
            )
    after = tokens[0] + attention.output(mixed)
    assert torch.allclose(attention(tokens, there)[0], after + attention.own(after), atol=1e-5)


def test_the_net_learns_what_the_first_stage_does_not_know_and_keeps_the_contract(drawn, features, fitted, tmp_path):
    bank, (_, _, test), cascade, (train, _) = drawn
    model, record = fitted
    assert isinstance(model, Reranker)
    assert (record["lists"], record["lists_with_target"]) == (len(train), int(train.hits.sum()))
    assert [point["step"] for point in record["curve"]] == [1, 2, 3]
    reranked = Cascade("c", "candidate", cascade.first, 20, model)
    contexts = gather_contexts(bank, test, texts=True)
    before = cascade.target_ranks(contexts, test.target)
    after = reranked.target_ranks(contexts, test.target)
    assert (1 / after).mean() > (1 / before).mean() + 0.05
    check_retriever(reranked, bank, test.take(slice(0, 8)))
    model.save(tmp_path, record=record)
    back = Cascade("c", "candidate", cascade.first, 20, Listwise.load(tmp_path, features))
    assert np.array_equal(after, back.target_ranks(contexts, test.target))


def test_order_and_pads_of_a_list_change_no_score(drawn, fitted):
    bank, (_, _, test), cascade, _ = drawn
    model, _ = fitted
    contexts = gather_contexts(bank, test.take(slice(0, 5)), texts=True)
    found = cascade.candidates(contexts).candidates
    scores = model.scores(contexts, found)
    order = np.random.default_rng(1).permutation(found.rows.shape[1])
    turned = CandidateLists(found.rows[:, order], found.first[:, order], found.queries)
    assert np.allclose(model.scores(contexts, turned), scores[:, order], atol=1e-4)
    pads = np.full((5, 4), -1)
    longer = CandidateLists(np.hstack([found.rows, pads]), np.hstack([found.first, np.full((5, 4), -np.inf)]),
                        found.queries)  # fmt: skip
    again = model.scores(contexts, longer)
    assert np.isneginf(again[:, -4:]).all()
    assert np.allclose(again[:, :-4], scores, atol=1e-4)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_stops_the_fit_and_the_epochs_before_are_kept(read, features, tmp_path, value):
    fit = _Fit(*(part.with_target() for part in read), features, SMALL, folder=tmp_path)
    fit.epoch(lambda *_: None)
    before = copy_weights(fit.net)
    next(fit.net.parameters()).register_hook(lambda gradient: gradient * value)
    with pytest.raises(InputError, match=rf"diverged at step {fit.per_epoch + 1}: .*batch 1 of .* in epoch 2"):
        fit.epoch(lambda *_: None)
    assert all(torch.equal(weight, before[name]) for name, weight in copy_weights(fit.net).items())
    again = _Fit(*(part.with_target() for part in read), features, SMALL, folder=tmp_path)
    assert again.state.step == 1


def test_a_killed_fit_ends_in_the_same_weights(read, features, fitted, tmp_path):
    first = _Fit(*(part.with_target() for part in read), features, SMALL, folder=tmp_path)
    first.epoch(lambda *_: None)
    model, record = fit_listwise(*read, features, settings=SMALL, folder=tmp_path)
    assert record["best_epoch"] == fitted[1]["best_epoch"]
    for name, value in fitted[0].net.state_dict().items():
        assert torch.equal(value, model.net.state_dict()[name]), name


def test_the_score_that_selects_is_the_reciprocal_rank_within_the_lists(drawn, features, fitted):
    bank, _, _, (_, validation) = drawn
    known = validation.take(np.flatnonzero(validation.hits))
    model: Listwise = fitted[0]
    measured = reciprocal_rank(model.net, model.scaling, features_of(known, features, exclude="context"), features)
    scores = model.scores(gather_contexts(bank, known.windows, texts=True), known.candidates)
    naive = [1 / sum(other >= row[own] for other in row) for row, own in zip(scores, known.label, strict=True)]
    assert measured == pytest.approx(np.mean(naive), abs=0.02)  # half precision of the kept features
    assert measured == fitted[1]["validation_reciprocal_rank"]


def test_a_net_without_vectors_is_given_none(drawn):
    bank, _, _, (lists, _) = drawn
    some = lists.take(slice(0, 2))
    contexts = gather_contexts(bank, some.windows)
    for vectors in (True, False):
        net = ListwiseNet(3, bank.dimension, 3, SMALL.model_copy(update={"vectors": vectors})).eval()
        read = vectors_read(net, contexts, some.candidates, bank)
        assert (read is not None) == vectors
        there = torch.from_numpy(some.candidates.there)
        assert torch.isfinite(net(torch.randn(*there.shape, 3), there, read)).all()


def test_what_does_not_fit_is_refused(drawn, features, read, fitted, tmp_path):
    bank, _, cascade, (train, _) = drawn
    without = ListFeatures(train.take(np.flatnonzero(~train.hits)), read[0].values[~train.hits])
    with pytest.raises(SettingsError, match="nothing to learn from"):
        fit_listwise(without, read[1], features, settings=SMALL, folder=tmp_path)
    fitted[0].save(tmp_path / "model")
    with pytest.raises(InputError, match="other features"):
        Listwise.load(tmp_path / "model", Features(bank, cascade.pool, context=3, groups=["context"]))
    (tmp_path / "model" / "listwise.safetensors").write_bytes(b"half")
    with pytest.raises(StorageError, match=r"listwise\.safetensors is not the file"):
        Listwise.load(tmp_path / "model", features)
    reseal(tmp_path / "model" / "listwise.json")
    with pytest.raises(InputError, match="fit again"):
        Listwise.load(tmp_path / "model", features)
