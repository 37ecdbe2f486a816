import builtins

import numpy as np
import pytest
from worlds import drift_world

from segue.errors import InputError, MissingExtraError, SettingsError, StorageError
from segue.ranking.pool import Pool
from segue.retrieval.index.exact import ExactIndex
from segue.retrieval.rerank import CandidateLists, Reranker
from segue.retrieval.rerank.cosine import ByCosine
from segue.retrieval.rerank.features import Features
from segue.retrieval.rerank.lambdamart import LambdaMart, LambdaMartSettings, fit_lambdamart
from segue.retrieval.rerank.lists import TrainingLists, draw_lists, features_of, join_lists
from segue.retrieval.retrievers import VectorRetriever
from segue.retrieval.retrievers.cascade import Cascade
from segue.retrieval.retrievers.conformance import check_retriever
from segue.types import Windows
from segue.windows.windows import WindowSettings, gather_contexts, make_windows

SMALL = LambdaMartSettings(rounds=30, leaves=7, least_in_leaf=5)


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
    return bank, parts, cascade, [lists_of(cascade, bank, windows) for windows in parts[:2]]


def lists_of(cascade, bank, windows, batch_size=50):
    return draw_lists(lambda contexts: cascade.candidates(contexts).candidates, bank, cascade.pool, windows,
                      exclude="context", texts=cascade.reads_text, batch_size=batch_size)  # fmt: skip


def read_of(features, *lists):
    return [features_of(part, features, exclude="context") for part in lists]


def test_lists_hold_the_place_of_the_target_whatever_the_batch(drawn):
    bank, parts, cascade, (train, _) = drawn
    assert 0 < train.hits.sum() < len(train) == len(parts[0])
    for number in range(0, len(train), 17):
        rows = train.candidates.rows[number]
        found = np.flatnonzero(bank.duplicate_group[rows] == bank.duplicate_group[parts[0].target[number]])
        assert train.label[number] == (found[0] if len(found) else -1)
        assert not np.isin(rows, parts[0].context[number]).any()
    again = lists_of(cascade, bank, parts[0], batch_size=33)
    assert np.array_equal(train.candidates.rows, again.candidates.rows)
    assert np.array_equal(train.label, again.label)


def test_lists_of_other_lengths_are_joined_and_come_back_from_a_file(drawn, tmp_path):
    short = TrainingLists(Windows(np.array([[1, 2]]), np.array([3])),
                          CandidateLists(np.array([[5, 3]]), np.array([[0.5, 0.2]]), np.eye(1, 4, dtype=np.float32)),
                          np.array([1]))  # fmt: skip
    long = TrainingLists(Windows(np.array([[4, 5]]), np.array([6])),
                         CandidateLists(np.array([[7, 8, 9]]), np.array([[0.5, 0.2, 0.1]]),
                                        np.eye(1, 4, dtype=np.float32)),
                         np.array([-1]))  # fmt: skip
    both = join_lists([short, long])
    assert both.candidates.rows.tolist() == [[5, 3, -1], [7, 8, 9]]
    assert np.isneginf(both.candidates.first[0, 2])
    assert both.reciprocal_rank == (1 / 2 + 0) / 2
    both.save(tmp_path / "lists.npz")
    back = TrainingLists.load(tmp_path / "lists.npz")
    for name in ("rows", "first", "queries"):
        assert np.array_equal(getattr(back.candidates, name), getattr(both.candidates, name))
    assert back.candidates.sources is None
    assert (back.windows.target.tolist(), back.label.tolist()) == ([3, 6], [1, -1])
    (tmp_path / "lists.npz").write_bytes(b"PK\x03\x04 half a file")
    with pytest.raises(StorageError, match="delete it"):
        TrainingLists.load(tmp_path / "lists.npz")


def test_trees_learn_what_the_first_stage_does_not_know_and_keep_the_contract(drawn, tmp_path):
    bank, (_, _, test), cascade, (train, validation) = drawn
    features = Features(bank, cascade.pool, context=3, groups=["context", "density", "list", "places"])
    model, record = fit_lambdamart(*read_of(features, train, validation), features, settings=SMALL)
    assert isinstance(model, Reranker)
    assert 1 <= record["trees"] <= 30
    assert (record["lists"], record["lists_with_target"]) == (len(train), int(train.hits.sum()))
    reranked = Cascade("c", "candidate", cascade.first, 20, model)
    contexts = gather_contexts(bank, test, texts=True)
    before = cascade.target_ranks(contexts, test.target)
    after = reranked.target_ranks(contexts, test.target)
    assert (1 / after).mean() > (1 / before).mean() + 0.05
    check_retriever(reranked, bank, test.take(slice(0, 8)))
    model.save(tmp_path, record=record)
    back = LambdaMart.load(tmp_path, features)
    assert np.array_equal(after, Cascade("c", "candidate", cascade.first, 20, back).target_ranks(contexts, test.target))
    with pytest.raises(InputError, match="other features"):
        LambdaMart.load(tmp_path, Features(bank, cascade.pool, context=3, groups=["context"]))
    with pytest.raises(InputError):
        LambdaMart.load(tmp_path / "nowhere", features)


def test_the_recorded_score_is_the_mean_reciprocal_rank_within_the_validation_lists(drawn):
    bank, _, cascade, (train, validation) = drawn
    features = Features(bank, cascade.pool, context=3, groups=["context", "places"])
    model, record = fit_lambdamart(*read_of(features, train, validation), features, settings=SMALL)
    known = validation.take(np.flatnonzero(validation.hits))
    scores = model.scores(gather_contexts(bank, known.windows), known.candidates)
    own = scores[np.arange(len(known)), known.label]
    ranks = (scores > own[:, None]).sum(axis=1) + 1
    ties = (np.abs(scores - own[:, None]) < 1e-12).sum(axis=1) > 1
    assert (1 / ranks)[~ties].mean() == pytest.approx(record["validation_reciprocal_rank"], abs=0.03)


def test_the_same_seed_gives_the_same_trees(drawn):
    bank, _, cascade, (train, validation) = drawn
    features = Features(bank, cascade.pool, context=3, groups=["context"])
    one, other = (fit_lambdamart(*read_of(features, train, validation), features, settings=SMALL)[0] for _ in range(2))
    assert one.trees == other.trees


def test_lists_without_a_target_are_refused(drawn):
    bank, _, cascade, (train, validation) = drawn
    features = Features(bank, cascade.pool, context=3, groups=["context"])
    with pytest.raises(SettingsError, match="nothing to learn from"):
        fit_lambdamart(*read_of(features, train.take(np.flatnonzero(~train.hits)), validation), features,
                       settings=SMALL)  # fmt: skip


def test_a_missing_library_names_its_extra(drawn, monkeypatch):
    bank, _, cascade, (train, validation) = drawn
    features = Features(bank, cascade.pool, context=3, groups=["context"])
    read = read_of(features, train, validation)
    real = builtins.__import__

    def fails(name, *more, **how):
        if name == "lightgbm":
            raise ImportError(name)
        return real(name, *more, **how)

    monkeypatch.setattr(builtins, "__import__", fails)
    with pytest.raises(MissingExtraError, match=r"segue\[rank\]"):
        fit_lambdamart(*read, features, settings=SMALL)
