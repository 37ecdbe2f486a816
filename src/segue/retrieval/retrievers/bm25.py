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
        super().__init__(name, "candidate", pool=pool, bank=bank, reads_text=True)
        require_texts(bank, name)
        self._which = which
        self._num_rows = len(bank)
        self._index = _index(bank, pool)

    def values(self, contexts: Contexts) -> Float[np.ndarray, "batch bank"]:
        """Return the BM25 score of every row; 0 where no word is shared."""
        if contexts.texts is None:
            raise InputError(explain(f"{self.name} reads texts, but the contexts bring vectors only",
                                     mend="gather the contexts with texts"))  # fmt: skip
        queries = [texts[-1:] if self._which == "last" else texts for texts in contexts.texts]
        index, scores = self._index, np.zeros((len(queries), self._num_rows))
        for row, tokens in zip(scores, _tokens([" ".join(texts) for texts in queries]), strict=True):
            for word, times in Counter(tokens).items():
                if (posting := index.postings.get(word)) is not None:  # in which no row stands twice
                    row[index.rows[posting]] += times * index.weights[posting]
        return scores


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
    """The weight of every word in every live row; ``postings`` says where in both arrays a word's part is."""

    postings: dict[str, slice]
    rows: Int[np.ndarray, "entry"]
    weights: Float[np.ndarray, "entry"]


def _index(bank: Bank, pool: Pool) -> _Index:
    """Count words over the pool's live rows."""
    live = np.flatnonzero(pool.mask)
    corpus = bm25s.tokenize(bank.texts(live), stopwords="english", show_progress=False)
    if not corpus.vocab:
        return _Index({}, np.empty(0, dtype=np.int64), np.empty(0))
    model = bm25s.BM25(method="lucene", k1=1.5, b=0.75, dtype="float64")
    model.index(corpus, show_progress=False)
    ends = model.scores["indptr"]
    postings = {word: slice(ends[n], ends[n + 1]) for word, n in corpus.vocab.items() if n + 1 < len(ends)}
    return _Index(postings, live[model.scores["indices"]], model.scores["data"])
