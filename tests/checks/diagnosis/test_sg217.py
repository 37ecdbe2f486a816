"""SG217: statistics of the bank have to be declared, whatever the retriever says of itself."""

import math

import bm25s
import numpy as np
import pytest
from check_cases import row, small_case, vectors_row, with_rows
from worlds import drift_world, make_bank, noise_world

from segue.checks.diagnosis import sg217_bank_statistics as sg217
from segue.checks.diagnosis.sg217_bank_statistics import CHECK
from segue.checks.run import run_checks
from segue.evaluation.intervals import paired
from segue.ranking.pool import Pool
from segue.retrieval.retrievers import DenseRetriever
from segue.retrieval.retrievers.baselines import copy_last
from segue.retrieval.retrievers.bm25 import Bm25
from segue.retrieval.retrievers.chance import Chance
from segue.types import Windows
from segue.windows.windows import gather_contexts

DECLARED = {"bank statistics": "word counts"}


def words_world(documents=24, length=8):
    generator = np.random.default_rng(0)
    texts = [
        " ".join(f"word{n}x" for n in generator.zipf(1.6, 12) if n < 400) + f" name{document}x tail{place}x"
        for document in range(documents)
        for place in range(length)
    ]
    return make_bank(generator.standard_normal((len(texts), 8)), [length] * documents, texts)


class Crowded(DenseRetriever):
    """Cosine with the last passage less the mean cosine of a passage with all others, and no word about it."""

    def __init__(self, bank, pool):
        super().__init__("crowded", "candidate", pool=pool, bank=bank)
        self.vectors = bank.gather(np.arange(len(bank)))
        self.density = (self.vectors @ self.vectors.T).mean(axis=1)

    def over(self, bank):
        return Crowded(bank, Pool(bank))

    def values(self, contexts):
        return (copy_last(contexts) @ self.vectors.T - 9 * self.density).astype(np.float64)


def examined(bank, *rows):
    return CHECK.examine(with_rows(small_case(bank), *rows))


def test_undeclared_word_counts_are_an_issue_and_declared_ones_are_not():
    bank = words_world()
    words = Bm25(bank, Pool(bank))
    verdict = examined(bank, row("bm25", words))
    assert verdict.outcome == "issue"
    assert verdict.details["undeclared"] == ["bm25"]
    declared = examined(bank, row("bm25", words, declares=DECLARED))
    assert declared.outcome in ("passed", "tip")
    assert declared.details["undeclared"] == []
    assert set(declared.details["rows"]["bm25"]["R@5"]) == {"own", "test_set", "lonely", "of_test_set", "of_own"}


def test_a_retriever_that_counts_without_saying_so_is_found_by_its_behaviour():
    bank = noise_world(documents=24)
    verdict = examined(bank, row("crowded", Crowded(bank, Pool(bank))), vectors_row("copy-last", copy_last, bank))
    assert verdict.outcome == "issue"
    assert verdict.details["undeclared"] == ["crowded"]
    assert "not stated, but other documents change its order" in verdict.statement


def test_what_statistics_of_the_test_set_gain_is_a_caveat_of_the_entry_they_help():
    groups = np.repeat(np.arange(20), 5)
    more, less = np.tile([1.0, 1.0, 1.0, 0.0, 0.0], 20), np.tile([1.0, 1.0, 0.0, 0.0, 0.0], 20)
    gain, none = paired(more, less, groups), paired(more, more, groups)
    knows = sg217.Ablation(own=0.4, test_set=0.6, lonely=0.4, of_test_set=gain, of_own=none)
    shifts = sg217.Ablation(own=0.6, test_set=0.6, lonely=0.4, of_test_set=none, of_own=gain)
    found = {"rerank": dict.fromkeys(sg217.METRICS, knows), "fusion": dict.fromkeys(sg217.METRICS, shifts)}
    assert [sg217._helps(one) for one in found.values()] == [True, False]
    of_test_set, of_own, meaning = sg217._sentences(found)
    assert of_test_set == (
        "rerank has R@5 60.0 % where other test documents are counted and 40.0 % where as many documents outside the "
        "test set are counted instead, +20.0 points (95 % +20.0 to +20.0): "
        "that much rests on statistics of the test set."
    )
    assert "fusion has R@5 60.0 % where the tested document is counted and 40.0 % where as many other" in of_own
    assert meaning.startswith("That is no knowledge of the test set")


def test_rows_that_count_nothing_pass():
    bank = noise_world()
    verdict = examined(bank, vectors_row("copy-last", copy_last, bank), row("chance", Chance(Pool(bank), 1)))
    assert verdict.outcome == "passed"
    assert verdict.details["counting"] == []


@pytest.mark.parametrize("documents", [2, 4])
def test_few_documents_do_not_stop_it(documents):
    bank = words_world(documents=documents)
    assert examined(bank, row("bm25", Bm25(bank, Pool(bank)), declares=DECLARED)).outcome == "passed"


def test_words_counted_over_some_documents_weigh_by_hand():
    bank = make_bank(np.eye(4), [2, 2], ("snow ice", "snow sun", "snow rain", "snow snow fog"))
    words = Bm25(bank, Pool(bank)).counting(np.array([0]))
    contexts = gather_contexts(bank, Windows(np.array([[0]]), np.array([1])), texts=True)
    common, unique = math.log(1 + 0.5 / 2.5), math.log(1 + 1.5 / 1.5)  # of two passages, two and one hold the word

    def weight(idf, times, length):
        return idf * times / (times + 1.5 * (0.25 + 0.75 * length / 2))  # the two counted passages have two words each

    expected = [weight(common, 1, 2) + weight(unique, 1, 2), weight(common, 1, 2), weight(common, 1, 2),
                weight(common, 2, 3)]  # fmt: skip
    assert np.allclose(words.values(contexts)[0], expected)


def test_words_counted_over_all_documents_are_the_plain_ones():
    bank = words_world(documents=6)
    plain = Bm25(bank, Pool(bank), "context")
    contexts = gather_contexts(bank, small_case(bank).folds[0].test, texts=True)
    assert np.array_equal(plain.values(contexts), plain.counting(np.arange(6)).values(contexts))


def test_the_plain_weights_are_those_of_bm25s():
    bank = words_world(documents=6)
    corpus = bm25s.tokenize(bank.passage_texts, stopwords="english", show_progress=False)
    theirs = bm25s.BM25(method="lucene", k1=1.5, b=0.75, dtype="float64")
    theirs.index(corpus, show_progress=False)
    windows = small_case(bank).folds[0].test.take(slice(0, 5))
    values = Bm25(bank, Pool(bank)).values(gather_contexts(bank, windows, texts=True))
    queries = bm25s.tokenize(bank.texts(windows.context[:, -1]), stopwords="english", return_ids=False,
                             show_progress=False)  # fmt: skip
    for ours, words in zip(values, queries, strict=True):
        assert np.allclose(ours, theirs.get_scores(words))


class Plain(Crowded):
    """Reads the bank, and does not count it."""

    def over(self, bank):
        return Plain(bank, Pool(bank))

    def values(self, contexts):
        return (copy_last(contexts) @ self.vectors.T).astype(np.float64)


def test_a_retriever_that_reads_the_bank_without_counting_it_passes():
    bank = noise_world(documents=24)
    verdict = examined(bank, row("plain", Plain(bank, Pool(bank))))
    assert (verdict.outcome, verdict.details["undeclared"]) == ("passed", [])


def test_without_other_documents_to_add_nothing_is_found(monkeypatch):
    monkeypatch.setattr(sg217, "PROBED_PASSAGES", 0)
    bank = noise_world(documents=24)
    assert examined(bank, row("crowded", Crowded(bank, Pool(bank)))).details["undeclared"] == []


class Counting(DenseRetriever):
    """Cosine with the last passage under statistics of some documents, which it states.

    Args:
        raised: what passages of counted documents gain.
        known: documents without which, if one is not counted, it ranks backwards.
    """

    def __init__(self, bank, raised=0.0, known=(), documents=None):
        super().__init__("counting", "candidate", pool=Pool(bank), bank=bank, counts_bank=True)
        self.given, self.vectors = (bank, raised, known), bank.gather(np.arange(len(bank)))
        counted = np.arange(len(bank.first_row)) if documents is None else documents
        self.sign = 1.0 if np.isin(known, counted).all() else -1.0
        self.gain = raised * np.isin(bank.document_of, counted)

    def over(self, bank):
        return Counting(bank, *self.given[1:])

    def counting(self, documents):
        return Counting(*self.given, documents)

    def values(self, contexts):
        return (self.sign * (copy_last(contexts) @ self.vectors.T) + self.gain).astype(np.float64)


def finding_about(bank, *, raised=0.0, of_test_set=False, declares=DECLARED):
    """Return the finding about a retriever that favours counted passages, or needs all test documents counted."""
    case = small_case(bank)
    known = case.folds[0].split.test if of_test_set else ()
    entry = row("counting", Counting(bank, raised, known), declares=declares)
    (finding,) = run_checks([CHECK], with_rows(case, entry))
    return finding


def test_knowledge_of_the_test_set_is_a_tip_that_says_to_quote_both_numbers():
    """12 tested documents agree: p = 1/2¹². Where half of them are counted, every list is backwards."""
    finding = finding_about(drift_world(documents=24, length=12), of_test_set=True)
    found = finding.details["rows"]["counting"]
    assert (found["R@5"]["own"], found["R@5"]["lonely"]) == (0.0, 0.0)
    assert found["MRR"]["of_test_set"]["p_greater"] == 2.0**-12
    assert finding.outcome == "tip"
    assert finding.fix == "quote both numbers: the lower one is for a bank whose other documents were not tested"
    assert [*finding.caveats] == ["counting"]
    assert "rests on statistics of the test set" in finding.statement


def test_the_same_knowledge_undeclared_is_told_to_be_declared():
    finding = finding_about(drift_world(documents=24, length=12), of_test_set=True, declares={})
    assert finding.outcome == "issue"
    assert finding.fix == CHECK.fix
    assert CHECK.fix.startswith("declare it")


def test_passages_that_look_lonely_where_they_are_not_counted_are_stated_and_raise_nothing():
    """Of 144 candidates, the 72 of documents outside the test set are counted and stand before the target."""
    finding = finding_about(drift_world(documents=24, length=12), raised=9.0)
    found = finding.details["rows"]["counting"]
    assert found["R@5"]["lonely"] == 0.0 < found["R@5"]["own"] == found["R@5"]["test_set"]
    assert found["MRR"]["of_own"]["p_greater"] == 2.0**-12
    assert (finding.outcome, finding.caveats) == ("passed", {})
    assert "look lonelier" in finding.statement
    assert "counting has R@5 100.0 % where the tested document is counted and 0.0 % where" in finding.statement
    assert "rests on statistics of the test set" not in finding.statement


@pytest.mark.parametrize(("documents", "of_test_set"), [(24, False), (12, True)])
def test_declared_statistics_that_do_not_help_or_of_too_few_documents_have_no_advice(documents, of_test_set):
    """Of 6 tested documents the least p-value is 1/2⁶, above 0.01."""
    finding = finding_about(drift_world(documents=documents, length=12), of_test_set=of_test_set)
    assert [*finding.details["rows"]] == ["counting"]
    assert (finding.outcome, finding.caveats) == ("passed", {})


def test_each_half_meets_equally_many_counted_documents_and_never_the_other_half_as_candidates():
    case = small_case(drift_world(documents=24, length=12))
    halves, test = sg217._halves(case), case.folds[0].split.test
    parts = [np.unique(case.documents(windows)) for windows in halves.windows]
    assert sorted(np.concatenate(parts)) == sorted(test)
    assert [len(documents) for documents in halves.counted] == [18, 18, 18]
    for number, pool in enumerate(halves.pools):
        inside = np.unique(case.bank.document_of[pool.mask])
        assert np.isin(parts[number], inside).all()
        assert not np.isin(parts[1 - number], inside).any()
        for documents in halves.counted:
            assert np.isin(np.setdiff1d(inside, test), documents).all()
    assert [np.isin(parts[0], documents).all() for documents in halves.counted] == [True, False, True]
