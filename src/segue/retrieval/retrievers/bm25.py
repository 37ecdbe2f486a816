"""Words in common: BM25 over the pool's passages, asked with the last passage or with the whole context.

Okapi BM25 in Lucene's form (k1 = 1.5, b = 0.75, idf = ln(1 + (N − n + ½) / (n + ½))), as bm25s computes it; lower case,
words of two letters and more, English stop words left out, no stemming. N counts the pool's live passages. The weights
are kept as one sparse matrix in float64, so that the order of words cannot decide a tie.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, final

import bm25s
import numpy as np
from jaxtyping import Float
from scipy import sparse

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
        self._words, self._weights = _index(bank, pool)

    def values(self, contexts: Contexts) -> Float[np.ndarray, "batch bank"]:
        """Return the BM25 score of every row; 0 where no word is shared."""
        if contexts.texts is None:
            raise InputError(explain(f"{self.name} reads texts, but the contexts bring vectors only",
                                     mend="gather the contexts with texts"))  # fmt: skip
        queries = [texts[-1:] if self._which == "last" else texts for texts in contexts.texts]
        return (self._count(queries) @ self._weights).toarray()

    def _count(self, queries: Sequence[tuple[str, ...]]) -> sparse.csr_array:
        """Count known words: a sparse [batch, word] matrix."""
        batch, words = [], []
        for number, tokens in enumerate(_tokens([" ".join(texts) for texts in queries])):
            known = [self._words[token] for token in tokens if token in self._words]
            batch += [number] * len(known)
            words += known
        counts = sparse.coo_array((np.ones(len(words)), (batch, words)), shape=(len(queries), len(self._words)))
        return counts.tocsr()  # repeated words add up


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


def _index(bank: Bank, pool: Pool) -> tuple[dict[str, int], sparse.csr_array]:
    """Return the words' numbers and their weights, a sparse [word, bank] matrix."""
    rows = np.flatnonzero(pool.mask)
    corpus = bm25s.tokenize(bank.texts(rows), stopwords="english", show_progress=False)
    if not corpus.vocab:
        return {"": 0}, sparse.csr_array((1, len(bank)))
    model = bm25s.BM25(method="lucene", k1=1.5, b=0.75, dtype="float64")
    model.index(corpus, show_progress=False)
    scores = model.scores
    # bm25s keeps one column per word over its own passage numbers: the same arrays, read by rows, are [word, bank].
    indptr = scores["indptr"]
    weights = sparse.csr_array((scores["data"], rows[scores["indices"]], indptr), shape=(len(indptr) - 1, len(bank)))
    return {word: number for word, number in corpus.vocab.items() if number < len(indptr) - 1}, weights
