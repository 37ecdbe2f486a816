import dataclasses

import numpy as np
import pytest
import torch
from words_by_hand import FIVE, bm25_by_hand
from worlds import (
    MemoryBank,
    all_windows,
    cycle_world,
    drift_world,
    make_bank,
    messy_world,
    noise_world,
    reverse_documents,
    transition_world,
    unit,
)

from segue.encoders.space import Space
from segue.errors import InputError, SpaceError
from segue.ranking.pool import Pool
from segue.retrieval.index.exact import ExactIndex
from segue.retrieval.retrievers import Retriever, VectorRetriever
from segue.retrieval.retrievers.baselines import (
    ExponentialMean,
    NormalEquations,
    Oracle,
    Ridge,
    copy_last,
    fit_decay,
    fit_ridge,
    mean,
)
from segue.retrieval.retrievers.bm25 import Bm25
from segue.retrieval.retrievers.chance import Chance
from segue.retrieval.retrievers.conformance import check_retriever
from segue.retrieval.retrievers.predictor import PredictorQuery
from segue.retrieval.retrievers.text_encoder import EncoderOnContext, keep_end
from segue.retrieval.retrievers.vector import QueryCache
from segue.types import Contexts, Rankings, Windows
from segue.windows.windows import WindowSettings, excluded_rows, following_rows, gather_contexts, make_windows


class HashingEncoder:
    """Encodes a text as a bag of hashed words; remembers what it was asked."""

    def __init__(self, dimension=16, maximum_tokens=None):
        self.space = Space(
            encoder="hashing", revision="1", dimension=dimension, pooling="mean", normalised=True, prompt="",
            maximum_tokens=maximum_tokens, precision="float32", fingerprint=None,
        )  # fmt: skip
        self.asked: list[str] = []

    def encode(self, texts, *, progress=None):
        self.asked += texts
        vectors = np.full((len(texts), self.space.dimension), 1e-3)
        for number, text in enumerate(texts):
            for word in text.split():
                vectors[number, sum(map(ord, word)) % self.space.dimension] += 1
        return unit(vectors)


def make_retriever(kind: str, bank: MemoryBank, windows: Windows) -> Retriever:
    pool = Pool(bank)
    torch.manual_seed(0)
    linear = torch.nn.Linear(bank.dimension, bank.dimension)
    queries = {
        "copy-last": copy_last,
        "mean": mean,
        "exp-mean": ExponentialMean(0.5),
        "ridge": Ridge(np.random.default_rng(1).standard_normal((3 * 16 + 1, 16)).astype(np.float32), 1.0),
        "oracle": Oracle(bank, windows),
        "encoder-context": EncoderOnContext(HashingEncoder()),
        "predictor": PredictorQuery(TinyPredictor(linear)),
        "indexed": copy_last,
    }
    if kind in queries:
        index = ExactIndex(pool) if kind == "indexed" else None
        stage = "encode" if kind == "encoder-context" else "predict"
        return VectorRetriever(kind, "candidate", queries[kind], pool, index, stage=stage)
    return Chance(pool, 1) if kind == "chance" else Bm25(bank, pool, which="last" if kind == "bm25" else "context")


class TinyPredictor(torch.nn.Module):
    """The last vector through a linear layer, with a dropout that evaluation must switch off."""

    def __init__(self, linear):
        super().__init__()
        self.linear = linear
        self.dropout = torch.nn.Dropout(0.5)

    def forward(self, context, mask):
        return torch.nn.functional.normalize(self.linear(self.dropout(context[:, -1])), dim=-1)


KINDS = (
    "copy-last", "mean", "exp-mean", "ridge", "oracle", "encoder-context", "predictor", "indexed", "chance", "bm25",
    "bm25-context",
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_every_retriever_keeps_the_contract(kind):
    bank = messy_world()
    windows = all_windows(bank, minimum=1).take(slice(None, None, 3))
    other, moved = reverse_documents(bank, windows)
    retriever, again = make_retriever(kind, bank, windows), make_retriever(kind, other, moved)
    check_retriever(retriever, bank, windows, k=12, permuted=(again, other, moved))
    check_retriever(retriever, bank, windows.take(slice(0, 4)), k=len(bank) + 5)


@pytest.mark.parametrize("kind", KINDS)
def test_every_retriever_satisfies_the_protocol(kind):
    bank = messy_world()
    assert isinstance(make_retriever(kind, bank, all_windows(bank)), Retriever)


@dataclasses.dataclass
class Broken:
    """A retriever with one fault."""

    inner: Retriever
    fault: str

    name = "broken"
    intent = "candidate"
    batch_limit = None
    reads_text = False
    counts_bank = False

    def over(self, bank):
        return Broken(self.inner.over(bank), self.fault)

    def __getattr__(self, name):
        return getattr(self.inner, name)

    @property
    def pool(self):
        return self.inner.pool

    def score(self, contexts):
        return self.inner.score(contexts)

    def rank(self, contexts, k, *, lap=lambda stage: None):
        if self.fault == "answers what was read":
            contexts = dataclasses.replace(contexts, exclude=contexts.exclude[:, :0])
        ranking = self.inner.rank(contexts, k)
        if self.fault == "scores increase":
            return Rankings(ranking.rows[:, ::-1].copy(), ranking.scores[:, ::-1].copy())
        if self.fault == "batch matters" and len(contexts) > 1:
            return Rankings(ranking.rows, ranking.scores * 0.9)
        return ranking

    def target_ranks(self, contexts, targets, *, pool=None):
        ranks = self.inner.target_ranks(contexts, targets, pool=pool)
        return ranks + 1 if self.fault == "ranks count from 0 somewhere" else ranks


@pytest.mark.parametrize(
    "fault", ["answers what was read", "scores increase", "batch matters", "ranks count from 0 somewhere"]
)
def test_contract_catches_the_fault(fault):
    bank = drift_world()
    windows = all_windows(bank).take(slice(0, 12))
    inner = VectorRetriever("copy-last", "candidate", copy_last, Pool(bank))
    check_retriever(Broken(inner, ""), bank, windows)
    with pytest.raises(AssertionError):
        check_retriever(Broken(inner, fault), bank, windows)


@pytest.mark.parametrize("kind", ["copy-last", "bm25"])
def test_ranks_under_several_exclusions_equal_ranks_under_each(kind):
    bank = messy_world()
    windows = all_windows(bank, minimum=1)
    retriever, excludes = make_retriever(kind, bank, windows), ("context", "none", "prefix")
    scores = retriever.score(gather_contexts(bank, windows, texts=True))
    rows = [excluded_rows(bank, windows, exclude) for exclude in excludes]
    targets = following_rows(bank, windows)
    together = scores.ranks_under(retriever.pool, targets, excludes=rows)
    for exclude, ranks in zip(rows, together, strict=True):
        assert np.array_equal(ranks[:, 0], scores.ranks(retriever.pool, windows.target, exclude=exclude))
        assert np.array_equal(ranks == -1, targets == -1)
        later = np.where(targets >= 0, targets, windows.target[:, None])
        for column in (1, 2):
            alone = scores.ranks(retriever.pool, later[:, column], exclude=exclude)
            assert np.array_equal(ranks[:, column][targets[:, column] >= 0], alone[targets[:, column] >= 0])
    assert 0 < (targets[:, 1:] == -1).sum() < targets[:, 1:].size
    assert not np.array_equal(together[0], together[1])


def test_copy_last_ranks_equal_a_naive_loop():
    bank = messy_world()
    windows = all_windows(bank)
    retriever = VectorRetriever("copy-last", "candidate", copy_last, Pool(bank))
    ranks = retriever.target_ranks(gather_contexts(bank, windows), windows.target)
    for context, target, rank in zip(windows.context, windows.target, ranks, strict=True):
        best: dict[int, float] = {}
        for row in range(len(bank)):
            if bank.alive[row]:
                group = int(bank.duplicate_group[row])
                best[group] = max(best.get(group, -2.0), float(bank.vectors[row] @ bank.vectors[context[-1]]))
        own = best.pop(int(bank.duplicate_group[target]))
        for row in context:
            best.pop(int(bank.duplicate_group[row]), None)
        assert rank == 1 + sum(score > own - 1e-6 for score in best.values())


def test_exponential_mean_by_hand():
    vectors = np.array([[[9.0, 9.0], [0.0, 1.0], [1.0, 0.0]]], dtype=np.float32)
    mask = np.array([[False, True, True]])
    contexts = Contexts(np.where(mask[..., None], vectors, 0).astype(np.float32), mask, np.array([[-1, 4, 5]]),
                        np.array([[-1, 4, 5]]))  # fmt: skip
    assert np.allclose(mean(contexts), [[2**-0.5, 2**-0.5]])
    assert np.allclose(ExponentialMean(0.75)(contexts), [[0.8, 0.6]])
    assert np.allclose(copy_last(contexts), [[1.0, 0.0]])


def test_decay_is_small_where_the_last_passage_says_most_and_large_where_all_say_the_same():
    walk = drift_world(drift=1.0, documents=40)
    assert fit_decay(walk, all_windows(walk)).decay <= 0.5
    generator = np.random.default_rng(0)
    topics = np.repeat(generator.standard_normal((30, 16)), 12, axis=0)
    steady = make_bank(topics + 2.0 * generator.standard_normal(topics.shape), [12] * 30)
    assert fit_decay(steady, all_windows(steady)).decay >= 0.5


def test_oracle_finds_every_target_and_knows_only_its_windows():
    bank = transition_world()
    windows = all_windows(bank)
    known, unknown = windows.take(slice(0, 100)), windows.take(slice(100, 101))
    oracle = VectorRetriever("oracle", "control", Oracle(bank, known), Pool(bank))
    assert (oracle.target_ranks(gather_contexts(bank, known), known.target) == 1).all()
    with pytest.raises(InputError, match="does not know"):
        oracle.rank(gather_contexts(bank, unknown), 5)


def test_ridge_solves_the_transition_world():
    bank = transition_world(documents=60)
    documents = np.arange(60)
    train, validation, test = (
        make_windows(bank, part, WindowSettings(context=3)) for part in np.split(documents, [40, 50])
    )
    query = fit_ridge(bank, train, validation, alphas=(0.1, 1.0, 100.0))
    retriever = VectorRetriever("ridge", "candidate", query, Pool(bank))
    ranks = retriever.target_ranks(gather_contexts(bank, test), test.target)
    assert (ranks == 1).mean() > 0.95


def test_ridge_equals_the_closed_form_of_centred_data():
    # Without a penalty on the bias: W minimises the centred problem, b = mean(y) − W mean(x) (textbook).
    bank = drift_world(documents=8, length=10, dimension=4)
    windows = all_windows(bank, context=2)
    query = Ridge.fit(bank, windows, alpha=2.0)
    x = bank.vectors[windows.context].reshape(len(windows), -1).astype(np.float64)
    y = bank.vectors[windows.target].astype(np.float64)
    centred, shifted = x - x.mean(0), y - y.mean(0)
    weights = np.linalg.solve(centred.T @ centred + 2.0 * np.eye(x.shape[1]), centred.T @ shifted)
    assert np.allclose(query.weights[:-1], weights, atol=1e-4)
    assert np.allclose(query.weights[-1], y.mean(0) - x.mean(0) @ weights, atol=1e-4)


def test_ridge_sums_do_not_depend_on_blocks(monkeypatch):
    bank = drift_world(documents=8, length=10, dimension=4)
    windows = all_windows(bank, context=2, minimum=1)
    whole = NormalEquations.sum_up(bank, windows)
    monkeypatch.setattr("segue.retrieval.retrievers.baselines.BATCH", 7)
    parts = NormalEquations.sum_up(bank, windows)
    assert np.allclose(whole.gram, parts.gram, atol=1e-5)
    assert np.allclose(whole.moment, parts.moment, atol=1e-5)


def test_ridge_refuses_contexts_of_another_length_and_no_windows():
    bank = drift_world()
    query = Ridge.fit(bank, all_windows(bank, context=2), alpha=1.0)
    with pytest.raises(InputError, match="fitted on other contexts"):
        query(gather_contexts(bank, all_windows(bank, context=3)))
    with pytest.raises(InputError, match="no training window"):
        Ridge.fit(bank, all_windows(bank).take(slice(0, 0)), alpha=1.0)


def test_chance_ranks_are_uniform_and_its_own_for_every_context_and_seed():
    bank = noise_world(documents=40, length=12)
    windows = all_windows(bank, context=2)
    contexts = gather_contexts(bank, windows)
    pool = Pool(bank)
    ranks = Chance(pool, 1).target_ranks(contexts, windows.target)
    candidates = pool.size - 2
    bins = np.bincount((ranks - 1) * 10 // candidates, minlength=10)
    expected = len(windows) / 10
    assert ((bins - expected) ** 2 / expected).sum() < 27.9  # χ² with 9 degrees of freedom, p = 0.001
    assert not np.array_equal(ranks, Chance(pool, 2).target_ranks(contexts, windows.target))
    assert np.array_equal(ranks, Chance(pool, 1).target_ranks(contexts, windows.target))


def test_chance_is_chance_where_all_documents_walk_one_circle():
    bank = cycle_world(documents=40)
    windows = all_windows(bank)
    ranks = Chance(Pool(bank), 1).target_ranks(gather_contexts(bank, windows), windows.target)
    assert abs(ranks.mean() / len(bank) - 0.5) < 0.05


def test_chance_tells_passages_of_equal_vectors_apart():
    bank = make_bank(np.ones((60, 4)), [6] * 10)
    windows = all_windows(bank, context=1)
    ranks = Chance(Pool(bank), 1).target_ranks(gather_contexts(bank, windows), windows.target)
    assert abs(ranks.mean() - 30) < 6


def test_bm25_scores_and_ranks_equal_the_formula_on_five_texts():
    bank = make_bank(np.eye(5), [5], FIVE)
    windows = Windows(np.array([[0], [1], [2], [3]]), np.array([1, 2, 3, 4]))
    retriever = Bm25(bank, Pool(bank))
    contexts = gather_contexts(bank, windows, texts=True)
    expected = np.array([bm25_by_hand(FIVE[row], FIVE) for row in range(4)])
    assert np.allclose(retriever.values(contexts), expected, atol=1e-9)
    ranks = retriever.target_ranks(contexts, windows.target)
    for row, rank in enumerate(ranks):
        others = [n for n in range(5) if n not in (row, row + 1)]
        assert rank == 1 + sum(expected[row, n] > expected[row, row + 1] - 1e-6 for n in others)


def test_bm25_reads_the_whole_context_when_asked_to():
    bank = make_bank(np.eye(5), [5], FIVE)
    windows = Windows(np.array([[0, 1, 2]]), np.array([3]))
    contexts = gather_contexts(bank, windows, texts=True)
    values = Bm25(bank, Pool(bank), which="context").values(contexts)
    assert np.allclose(values, [bm25_by_hand(" ".join(FIVE[:3]), FIVE)], atol=1e-9)


def test_bm25_counts_words_over_live_passages_only():
    bank = make_bank(np.eye(6), [6], ("cat dog ice", *FIVE), dead=[0])
    windows = Windows(np.array([[1]]), np.array([2]))
    values = Bm25(bank, Pool(bank)).values(gather_contexts(bank, windows, texts=True))
    assert np.allclose(values[0, 1:], bm25_by_hand(FIVE[0], FIVE), atol=1e-9)


def test_bm25_puts_candidates_without_a_common_word_before_the_target():
    bank = make_bank(np.eye(4), [4], ("alpha beta", "gamma delta", "epsilon zeta", "eta theta"))
    windows = Windows(np.array([[0]]), np.array([1]))
    retriever = Bm25(bank, Pool(bank))
    assert retriever.target_ranks(gather_contexts(bank, windows, texts=True), windows.target).tolist() == [3]


def test_bm25_of_texts_without_words_answers_all_alike():
    bank = make_bank(np.eye(3), [3], ("?", "!", "…"))
    windows = Windows(np.array([[0]]), np.array([1]))
    retriever = Bm25(bank, Pool(bank))
    assert retriever.target_ranks(gather_contexts(bank, windows, texts=True), windows.target).tolist() == [2]


@pytest.mark.parametrize(
    "make", [lambda bank: Bm25(bank, Pool(bank)), lambda bank: EncoderOnContext(HashingEncoder(), bank)]
)
def test_retrievers_that_read_text_do_not_apply_to_vectors_only(make):
    bank = make_bank(np.eye(4), [4])
    with pytest.raises(InputError, match="not applicable: the bank has no texts"):
        make(bank)


def test_retrievers_that_read_text_say_so_when_contexts_bring_none():
    bank = drift_world()
    windows = all_windows(bank)
    contexts = gather_contexts(bank, windows.take(slice(0, 2)))
    with pytest.raises(InputError, match="vectors only"):
        Bm25(bank, Pool(bank)).rank(contexts, 3)
    with pytest.raises(InputError, match="vectors only"):
        EncoderOnContext(HashingEncoder())(contexts)


def test_encoder_must_share_the_space_of_the_bank():
    bank = dataclasses.replace(drift_world(), space=HashingEncoder(dimension=8).space)
    EncoderOnContext(HashingEncoder(dimension=8), bank)
    with pytest.raises(SpaceError, match="encoder on the context and the bank"):
        EncoderOnContext(HashingEncoder(dimension=16), bank)


def test_context_text_is_cut_at_its_beginning():
    assert keep_end(["one two", "three"], maximum_tokens=None) == "one two three"
    assert keep_end(["one two", "three"], maximum_tokens=100) == "one two three"
    assert keep_end(["one two", "three"], maximum_tokens=4) == "three"
    assert keep_end(["one. (two)", "three"], maximum_tokens=7) == "(two) three"
    assert keep_end(["x" * 500], maximum_tokens=10) == "x" * 10


def test_encoded_queries_are_remembered_in_memory_and_on_disk(tmp_path):
    bank = drift_world()
    windows = all_windows(bank, minimum=1).take(slice(0, 30))
    contexts = gather_contexts(bank, windows, texts=True)
    encoder = HashingEncoder()
    query = EncoderOnContext(encoder)

    def retriever(path, key="k"):
        cache = QueryCache(path, key=key)
        return VectorRetriever("encoder-context", "candidate", query, Pool(bank), stage="encode", cache=cache)

    first = retriever(tmp_path / "queries.npz")
    half = gather_contexts(bank, windows.take(slice(0, 12)), texts=True)
    expected = query(contexts)
    encoder.asked.clear()
    first.score(half)
    assert np.array_equal(first.score(contexts).queries, expected)
    assert len(encoder.asked) == 30
    assert np.array_equal(retriever(tmp_path / "queries.npz").score(contexts).queries, expected)
    assert len(encoder.asked) == 30
    retriever(tmp_path / "queries.npz", key="another bank").score(contexts)
    assert len(encoder.asked) == 60
    first.rank(half, 3)
    assert len(encoder.asked) == 72  # what is served is never read from the cache


def test_broken_cache_counts_as_empty(tmp_path):
    path = tmp_path / "queries.npz"
    path.write_bytes(b"PK\x03\x04 half a file")
    assert len(QueryCache(path)) == 0


def test_contexts_the_bank_does_not_hold_are_not_remembered():
    cache = QueryCache()
    contexts = Contexts(np.eye(2, dtype=np.float32)[None], np.ones((1, 2), dtype=bool), np.array([[-1, 3]]),
                        np.array([[-1, 3]]))  # fmt: skip
    cache.queries(copy_last, contexts)
    assert len(cache) == 0


def test_predictor_runs_without_dropout_and_is_left_in_its_mode():
    bank = drift_world()
    contexts = gather_contexts(bank, all_windows(bank))
    predictor = TinyPredictor(torch.nn.Linear(16, 16)).train()
    query = PredictorQuery(predictor)
    first = query(contexts)
    assert first.dtype == np.float32
    assert np.array_equal(first, query(contexts))
    assert predictor.training
    predictor.eval()
    query(contexts)
    assert not predictor.training


def test_dense_retrievers_answer_large_batches_in_parts(monkeypatch):
    bank = drift_world()
    windows = all_windows(bank)
    contexts = gather_contexts(bank, windows, texts=True)
    whole = Bm25(bank, Pool(bank))
    monkeypatch.setattr("segue.retrieval.retrievers.dense.SCORES_BYTES", 8 * len(bank) * 7)
    parts = Bm25(bank, Pool(bank))
    assert parts.batch_limit == 7
    assert np.array_equal(whole.target_ranks(contexts, windows.target), parts.target_ranks(contexts, windows.target))
    assert np.array_equal(whole.rank(contexts, 9).rows, parts.rank(contexts, 9).rows)


def test_bm25_asked_otherwise_shares_the_counted_words():
    bank = make_bank(np.eye(5), [5], FIVE)
    last = Bm25(bank, Pool(bank), "last")
    shared, own = last.with_query("context"), Bm25(bank, Pool(bank), "context")
    contexts = gather_contexts(bank, Windows(np.array([[0, 1]]), np.array([2])), texts=True)
    assert (shared.name, last.name) == ("bm25-context", "bm25")
    assert np.array_equal(shared.values(contexts), own.values(contexts))
    assert not np.array_equal(shared.values(contexts), last.values(contexts))


@pytest.mark.parametrize("kind", ["copy-last", "bm25", "bm25-context", "chance"])
def test_a_retriever_over_another_bank_answers_as_one_made_there(kind):
    bank, other = drift_world(1), drift_world(2)
    windows = all_windows(other).take(slice(0, 6))
    contexts = gather_contexts(other, windows, texts=True)
    moved = simple(kind, bank).over(other)
    assert len(moved.pool.mask) == len(other)
    assert np.array_equal(moved.target_ranks(contexts, windows.target),
                          simple(kind, other).target_ranks(contexts, windows.target))  # fmt: skip


def simple(kind, bank):
    if kind == "copy-last":
        return VectorRetriever(kind, "candidate", copy_last, Pool(bank))
    if kind == "chance":
        return Chance(Pool(bank), 1)
    return Bm25(bank, Pool(bank), "last" if kind == "bm25" else "context")
