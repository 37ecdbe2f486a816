"""Words in common: BM25 over the pool's passages, asked with the last passage or with the whole context.

Okapi BM25 in Lucene's form (k1 = 1.5, b = 0.75, idf = ln(1 + (N − n + ½) / (n + ½))); lower case, words of two letters
and more, English stop words left out, no stemming: bm25s cuts the words. N counts the pool's live passages, or those
of some documents where the rest should not be known. Weights and sums are float64, so that the order of words cannot
decide a tie.
"""

from __future__ import annotations

import copy
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

K1, B = 1.5, 0.75
"""How soon a repeated word stops counting, and how much a long passage loses."""


@final
class Bm25(DenseRetriever):
    """BM25 as a retriever.

    Args:
        bank: passages with texts.
        pool: the candidates; their live rows are scored.
        which: ask with the ``last`` passage or with the whole ``context``.
        counted: numbers of the documents over whose passages words are counted (how rare a word, how long a passage
            is on average); None: over all that are scored.

    Raises:
        InputError: the bank has no texts.
    """

    def __init__(
        self,
        bank: Bank,
        pool: Pool,
        which: Literal["last", "context"] = "last",
        counted: Int[np.ndarray, "counted"] | None = None,
    ) -> None:
        name = _name(which)
        super().__init__(name, "candidate", pool=pool, bank=bank, reads_text=True, counts_bank=True)
        require_texts(bank, name)
        self._bank, self._which = bank, which
        self._index = _index(bank, pool, pool if counted is None else Pool(bank, counted))

    def over(self, bank: Bank) -> Bm25:
        """Return BM25 with the words of another bank."""
        return Bm25(bank, Pool(bank), self._which)

    def asking(self, which: Literal["last", "context"]) -> Bm25:
        """Return BM25 over the same counted words, asked otherwise."""
        other = copy.copy(self)
        other.name, other._which = _name(which), which
        return other

    def counting(self, documents: Int[np.ndarray, "counted"]) -> Bm25:
        """Return BM25 over the same candidates that counts words in some documents only."""
        return Bm25(self._bank, self.pool, self._which, documents)

    def values(self, contexts: Contexts) -> Float[np.ndarray, "batch bank"]:
        """Return the BM25 score of every row; 0 where no word is shared."""
        if contexts.texts is None:
            raise InputError(explain(f"{self.name} reads texts, but the contexts bring vectors only",
                                     mend="gather the contexts with texts"))  # fmt: skip
        queries = [texts[-1:] if self._which == "last" else texts for texts in contexts.texts]
        tokens = _tokens([" ".join(texts) for texts in queries])
        return np.stack([self._index.scores(words) for words in tokens])


def _name(which: Literal["last", "context"]) -> str:
    return "bm25" if which == "last" else "bm25-context"


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


def _index(bank: Bank, pool: Pool, counted: Pool) -> _Index:
    """Weigh the words of the pool's live rows, with words counted over those of ``counted``."""
    live = np.flatnonzero(pool.mask)
    corpus = bm25s.tokenize(bank.texts(live), stopwords="english", show_progress=False)
    length = np.array([len(tokens) for tokens in corpus.ids], dtype=np.int64)
    tokens = np.fromiter((token for tokens in corpus.ids for token in tokens), np.int64, count=length.sum())
    pairs = tokens * len(live) + np.repeat(np.arange(len(live)), length)
    distinct, times = np.unique(pairs, return_counts=True)
    word, place = np.divmod(distinct, max(1, len(live)))
    seen = counted.mask[live]
    rarity = _idf(np.bincount(word[seen[place]], minlength=len(corpus.vocab)), int(seen.sum()))
    share = length / max(length[seen].mean(), 1e-12) if seen.any() else np.ones(len(live))
    weights = rarity[word] * times / (times + K1 * (1 - B + B * share[place]))
    ends = np.searchsorted(word, np.arange(len(corpus.vocab) + 1))
    return _Index(corpus.vocab, ends, live[place], weights, len(bank))


def _idf(holders: Int[np.ndarray, "word"], total: int) -> Float[np.ndarray, "word"]:
    """Return how rare each word is: ln(1 + (N − n + ½) / (n + ½)) where n of N passages hold it.

    >>> _idf(np.array([0, 1]), 1).round(3).tolist()
    [1.386, 0.288]
    """
    return np.log(1 + (total - holders + 0.5) / (holders + 0.5))
