"""Words in common: BM25 over the pool's passages, asked with the last passage or with the whole context.

Okapi BM25 in Lucene's form (k1 = 1.5, b = 0.75, idf = ln(1 + (N − n + ½) / (n + ½))), as bm25s computes it; lower case,
words of two letters and more, English stop words left out, no stemming. N counts the pool's live passages. Weights
and sums are float64, so that the order of words cannot decide a tie.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, final

import bm25s
import numpy as np
from jaxtyping import Float, Int

from segue.data.scoring import Pool
from segue.errors import InputError, explain
from segue.retrieval.retrievers.dense import DenseRetriever
from segue.types import Bank, Contexts


@final
class Bm25(DenseRetriever):
    """BM25 as a retriever.

    Args:
        bank: passages with texts.
        pool: the candidates; words are counted over its live rows.
        which: ask with the ``last`` passage or with the whole ``context``.

    Raises:
        InputError: the bank has no texts.
    """

    def __init__(self, bank: Bank, pool: Pool, which: Literal["last", "context"] = "last") -> None:
        name = "bm25" if which == "last" else "bm25-context"
        super().__init__(name, "candidate", pool=pool, bank=bank, reads_text=True, counts_bank=True)
        require_texts(bank, name)
        self._which = which
        self._index = _index(bank, pool)

    def over(self, bank: Bank) -> Bm25:
        """Return BM25 with the words of another bank."""
        return Bm25(bank, Pool(bank), self._which)

    def values(self, contexts: Contexts) -> Float[np.ndarray, "batch bank"]:
        """Return the BM25 score of every row; 0 where no word is shared."""
        if contexts.texts is None:
            raise InputError(explain(f"{self.name} reads texts, but the contexts bring vectors only",
                                     mend="gather the contexts with texts"))  # fmt: skip
        queries = [texts[-1:] if self._which == "last" else texts for texts in contexts.texts]
        tokens = _tokens([" ".join(texts) for texts in queries])
        return np.stack([self._index.scores(words) for words in tokens])


def require_texts(bank: Bank, name: str) -> None:
    """Refuse a bank of vectors only.

    Raises:
        InputError: the bank has no texts.
    """
    if not bank.has_texts:
        raise InputError(
            explain(
                f"{name} is not applicable: the bank has no texts",
                mend=f"give the texts beside the vectors, or leave {name} out",
            )
        )


def _tokens(texts: Sequence[str]) -> list[list[str]]:
    return bm25s.tokenize(list(texts), stopwords="english", return_ids=False, show_progress=False)


@dataclass(frozen=True)
class _Index:
    """The weight of every word in every live row, word by word.

    Attributes:
        words: the number of each word.
        ends: word n has the entries ``ends[n]`` to ``ends[n + 1]``.
        rows: the row of each entry; no row stands twice among the entries of one word.
        weights: what the word adds to the row's score.
        num_rows: rows of the bank.
    """

    words: dict[str, int]
    ends: Int[np.ndarray, "bound"]
    rows: Int[np.ndarray, "entry"]
    weights: Float[np.ndarray, "entry"]
    num_rows: int

    def scores(self, tokens: Sequence[str]) -> Float[np.ndarray, "bank"]:
        """Add up the weights of a query's words, each as often as it occurs."""
        counts = Counter(self.words[token] for token in tokens if token in self.words)
        numbers = np.fromiter(counts.keys(), dtype=np.int64, count=len(counts))
        times = np.fromiter(counts.values(), dtype=np.float64, count=len(counts))
        begin, length = self.ends[numbers], self.ends[numbers + 1] - self.ends[numbers]
        entries = np.repeat(begin - (np.cumsum(length) - length), length) + np.arange(length.sum())
        weights = self.weights[entries] * np.repeat(times, length)
        return np.bincount(self.rows[entries], weights=weights, minlength=self.num_rows).astype(np.float64)


def _index(bank: Bank, pool: Pool) -> _Index:
    """Count words over the pool's live rows."""
    live = np.flatnonzero(pool.mask)
    corpus = bm25s.tokenize(bank.texts(live), stopwords="english", show_progress=False)
    if not corpus.vocab:
        return _Index({}, np.zeros(1, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0), len(bank))
    model = bm25s.BM25(method="lucene", k1=1.5, b=0.75, dtype="float64")
    model.index(corpus, show_progress=False)
    ends = model.scores["indptr"].astype(np.int64)
    words = {word: number for word, number in corpus.vocab.items() if number + 1 < len(ends)}
    return _Index(words, ends, live[model.scores["indices"]], model.scores["data"], len(bank))
