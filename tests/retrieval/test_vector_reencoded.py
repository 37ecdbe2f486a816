import numpy as np
import pytest
import torch
from worlds import all_windows, drift_world, messy_world, reverse_documents, unit

from segue.bank.reencoded import reencode
from segue.encoders.space import difference
from segue.errors import InputError
from segue.models import ModelSettings, build_model
from segue.models.conformance import as_if_trained
from segue.ranking.pool import Pool
from segue.retrieval.index.exact import ExactIndex
from segue.retrieval.retrievers import Retriever, VectorRetriever
from segue.retrieval.retrievers.baselines import copy_last, mean
from segue.retrieval.retrievers.conformance import check_retriever
from segue.retrieval.retrievers.predictor import PredictorDocuments, predictor_retriever
from segue.windows.windows import excluded_rows, gather_contexts

WEIGHTS = np.random.default_rng(5).standard_normal((16, 16)).astype(np.float32)


def tower(vectors):
    return unit(vectors @ WEIGHTS.T)


def encode(bank):
    return reencode(bank, tower, name="tower 5")


def make(bank, query=mean):
    return VectorRetriever("two-tower", "candidate", query, Pool(bank)).reencoded(encode)


def encoded_copy_last(contexts):
    return tower(copy_last(contexts))


@pytest.mark.parametrize("indexed", [False, True])
def test_it_keeps_the_contract_of_retrievers(indexed):
    bank = messy_world()
    windows = all_windows(bank, minimum=1).take(slice(None, None, 3))
    other, moved = reverse_documents(bank, windows)
    retriever, again = make(bank), make(other)
    assert isinstance(retriever, Retriever)
    if indexed:
        retriever, again = retriever.indexed(), again.indexed()
    check_retriever(retriever, bank, windows, k=12, permuted=(again, other, moved))
    check_retriever(retriever, bank, windows.take(slice(0, 4)), k=len(bank) + 5)


def naive_rank(query, encoded, bank, target, gone, among):
    """Count groups whose best member scores above the target's best, by a plain loop."""
    scores = {}
    for row in among:
        if bank.alive[row]:
            group = int(bank.duplicate_group[row])
            scores[group] = max(scores.get(group, -9.0), float(np.float64(query) @ np.float64(encoded[row])))
    own = int(bank.duplicate_group[target])
    left = set(scores) - {int(bank.duplicate_group[row]) for row in gone if row >= 0} - {own}
    return 1 + sum(scores[group] > scores[own] - 1e-6 for group in left)


def test_pools_of_the_original_bank_are_asked_about_with_the_re_encoded_vectors():
    bank = messy_world()
    encoded = tower(bank.vectors)
    windows = all_windows(bank).take(slice(None, None, 5))
    contexts = gather_contexts(bank, windows)
    retriever = make(bank, encoded_copy_last)
    scores, queries = retriever.score(contexts), encoded_copy_last(contexts)
    assert scores.queries is None
    everything = np.arange(len(bank))
    for pool in (retriever.pool, Pool(bank)):
        ranks = scores.ranks(pool, windows.target, exclude=contexts.exclude)
        left_in = scores.ranks_under(
            pool, windows.target[:, None], excludes=[contexts.exclude, excluded_rows(bank, windows, "none")]
        )
        assert np.array_equal(left_in[0][:, 0], ranks)
        for window in range(len(windows)):
            asked = (queries[window], encoded, bank, windows.target[window])
            assert ranks[window] == naive_rank(*asked, windows.context[window], everything)
            assert left_in[1][window, 0] == naive_rank(*asked, (), everything)
    inside = scores.ranks_in_document(bank, windows.target, exclude=contexts.exclude)
    documents = bank.document_of[windows.target]
    fresh = Pool(bank, np.unique(documents))
    in_fresh = scores.ranks(fresh, windows.target, exclude=contexts.exclude)
    for window in range(len(windows)):
        asked = (queries[window], encoded, bank, windows.target[window], windows.context[window])
        assert inside[window] == naive_rank(*asked, np.flatnonzero(bank.document_of == documents[window]))
        assert in_fresh[window] == naive_rank(*asked, np.flatnonzero(np.isin(bank.document_of, documents)))
    top = scores.top(fresh, 5, exclude=contexts.exclude)
    assert set(bank.document_of[top.rows[top.rows >= 0]]) <= set(documents)


def test_another_bank_is_encoded_again():
    bank, other = drift_world(documents=4), drift_world(seed=8, documents=5)
    moved = make(bank, encoded_copy_last).indexed().over(other)
    windows = all_windows(other)
    contexts = gather_contexts(other, windows)
    by_hand = [
        naive_rank(query, tower(other.vectors), other, target, gone, np.arange(len(other)))
        for query, target, gone in zip(encoded_copy_last(contexts), windows.target, windows.context, strict=True)
    ]
    assert moved.target_ranks(contexts, windows.target).tolist() == by_hand


def test_a_pool_of_a_third_bank_is_refused():
    bank, other = drift_world(documents=4), drift_world(documents=4)
    windows = all_windows(bank)
    scores = make(bank).score(gather_contexts(bank, windows))
    with pytest.raises(InputError, match="do not belong to the bank that was re-encoded"):
        scores.ranks(Pool(other), windows.target, exclude=windows.context)
    with pytest.raises(InputError, match="do not belong to the bank that was re-encoded"):
        scores.ranks_in_document(other, windows.target, exclude=windows.context)


def predictor_with(documents, seed=1):
    torch.manual_seed(seed)
    settings = ModelSettings(name="gru", size="toy", documents=documents)
    return as_if_trained(build_model(settings, dimension=16, context=3))


def of_predictor(predictor, bank, *, index=None):
    return predictor_retriever("two-tower", "candidate", predictor, pool=Pool(bank), index=index)


@pytest.mark.parametrize("documents", ["identity", "linear", "mlp", "shared"])
def test_a_predictor_searches_what_its_tower_makes_of_the_bank(documents):
    bank, predictor = messy_world(), predictor_with(documents)
    windows = all_windows(bank, minimum=1).take(slice(None, None, 3))
    other, moved = reverse_documents(bank, windows)
    check_retriever(
        of_predictor(predictor, bank), bank, windows, k=12, permuted=(of_predictor(predictor, other), other, moved)
    )
    contexts = gather_contexts(bank, windows)
    with torch.no_grad():
        encoded = predictor.encode_documents(torch.from_numpy(bank.vectors)).numpy()
        queries = predictor(torch.from_numpy(contexts.vectors), torch.from_numpy(contexts.mask)).numpy()
    by_hand = [
        naive_rank(query, encoded, bank, target, gone, np.arange(len(bank)))
        for query, target, gone in zip(queries, windows.target, windows.context, strict=True)
    ]
    assert of_predictor(predictor, bank).target_ranks(contexts, windows.target).tolist() == by_hand


def test_an_untrained_two_tower_ranks_as_its_anchor():
    bank = messy_world()
    windows = all_windows(bank)
    contexts = gather_contexts(bank, windows)
    torch.manual_seed(1)
    predictor = build_model(ModelSettings(size="toy", documents="shared"), dimension=16, context=3)
    copied = VectorRetriever("copy-last", "candidate", copy_last, Pool(bank))
    ranks = of_predictor(predictor, bank).target_ranks(contexts, windows.target)
    assert np.array_equal(ranks, copied.target_ranks(contexts, windows.target))


def test_the_index_of_a_tower_holds_the_re_encoded_vectors():
    bank, predictor = drift_world(documents=6), predictor_with("mlp")
    windows = all_windows(bank)
    contexts = gather_contexts(bank, windows)
    plain = of_predictor(predictor, bank)
    indexed = of_predictor(predictor, bank, index=ExactIndex(Pool(bank)))
    assert indexed.index.pool is indexed.pool
    assert np.array_equal(indexed.rank(contexts, 7).rows, plain.rank(contexts, 7).rows)


def test_towers_of_other_weights_have_other_spaces():
    bank = drift_world(documents=3)
    spaces = [of_predictor(predictor_with("linear", seed), bank).pool.bank.space for seed in (1, 1, 2)]
    assert difference(spaces[0], spaces[1]) is None
    assert difference(spaces[0], spaces[2]) is not None
    assert difference(spaces[0], bank.space) is not None


def test_the_mode_of_the_predictor_is_left_as_it_was():
    bank, predictor = drift_world(documents=3), predictor_with("linear").train()
    PredictorDocuments(predictor)(bank)
    assert predictor.training
