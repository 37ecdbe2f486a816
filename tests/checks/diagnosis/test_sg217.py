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
    assert set(declared.details["rows"]["bm25"]["R@5"]) == {"bank", "training", "test"}


def test_a_retriever_that_counts_without_saying_so_is_found_by_its_behaviour():
    bank = noise_world(documents=24)
    verdict = examined(bank, row("crowded", Crowded(bank, Pool(bank))), vectors_row("copy-last", copy_last, bank))
    assert verdict.outcome == "issue"
    assert verdict.details["undeclared"] == ["crowded"]
    assert "not stated, but other documents change its order" in verdict.statement


def test_what_statistics_of_test_passages_gain_is_a_caveat_of_the_entry_they_help():
    groups = np.repeat(np.arange(20), 5)
    whole, part = np.tile([1.0, 1.0, 1.0, 0.0, 0.0], 20), np.tile([1.0, 1.0, 0.0, 0.0, 0.0], 20)
    helped = sg217.Ablation(0.6, 0.4, paired(whole, part, groups))
    alike = sg217.Ablation(0.6, 0.6, paired(whole, whole, groups))
    found = sg217._caveats(
        {"rerank": dict.fromkeys(sg217.METRICS, helped), "bm25": dict.fromkeys(sg217.METRICS, alike)}
    )
    assert [*found] == ["rerank"]
    assert "rerank has R@5 40.0 % instead of 60.0 %, −20.0 points (95 % −20.0 to −20.0)" in found["rerank"]


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


class Favouring(DenseRetriever):
    """Cosine with the last passage, raised for passages of counted documents: it states its statistics."""

    def __init__(self, bank, documents=None, raised=9.0):
        super().__init__("favouring", "candidate", pool=Pool(bank), bank=bank, counts_bank=True)
        self.counted, self.raised, self.vectors = bank, raised, bank.gather(np.arange(len(bank)))
        self.known = np.ones(len(bank)) if documents is None else np.isin(bank.document_of, documents)

    def over(self, bank):
        return Favouring(bank, raised=self.raised)

    def counting(self, documents):
        return Favouring(self.counted, documents, self.raised)

    def values(self, contexts):
        return (copy_last(contexts) @ self.vectors.T + self.raised * self.known).astype(np.float64)


def finding_about(bank, *, declares=DECLARED):
    """Return the finding about a retriever that ranks passages of documents it did not count behind all others."""
    entry = row("favouring", Favouring(bank), declares=declares)
    (finding,) = run_checks([CHECK], with_rows(small_case(bank), entry))
    return finding


def test_declared_statistics_that_help_are_told_to_quote_both_numbers_not_to_declare_them():
    """12 tested documents agree: p = 1/2¹². Without statistics of them, 144 other passages stand before the target."""
    finding = finding_about(drift_world(documents=24, length=12))
    assert finding.details["rows"]["favouring"]["R@5"]["training"] == 0.0
    assert finding.details["rows"]["favouring"]["MRR"]["test"]["p_greater"] == 2.0**-12
    assert finding.outcome == "tip"
    assert finding.fix == "quote both numbers: the lower one is for documents that the statistics have not seen"
    assert [*finding.caveats] == ["favouring"]


def test_the_same_statistics_undeclared_are_told_to_be_declared():
    finding = finding_about(drift_world(documents=24, length=12), declares={})
    assert finding.outcome == "issue"
    assert finding.fix == CHECK.fix
    assert CHECK.fix.startswith("declare it")


@pytest.mark.parametrize(("documents", "raised"), [(24, 0.0), (12, 9.0)])
def test_declared_statistics_that_do_not_help_or_of_too_few_documents_have_no_advice(documents, raised):
    """Of 6 tested documents the least p-value is 1/2⁶, above 0.01."""
    bank = drift_world(documents=documents, length=12)
    verdict = examined(bank, row("favouring", Favouring(bank, raised=raised), declares=DECLARED))
    assert [*verdict.details["rows"]] == ["favouring"]
    assert (verdict.outcome, verdict.fix, verdict.caveats) == ("passed", "", {})
