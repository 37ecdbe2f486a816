"""BM25 over the pool's passages; the query is the last passage or the whole context.

``rerank/words.py`` counts and weighs the words by passage; here they are indexed by word.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, final

import numpy as np
from jaxtyping import Float, Int

from segue.errors import InputError
from segue.ranking.pool import Pool
from segue.retrieval.rerank.words import PassageWords, count_again, count_words, cut_words
from segue.retrieval.retrievers.dense import DenseRetriever
from segue.retrieval.saving import Description, PartReader, PartWriter
from segue.types import Bank, Contexts

CACHED = 16
"""Passages whose scores are cached, one number for each row of the bank."""


@final
class Bm25(DenseRetriever):
    """BM25 as a retriever.

    Args:
        bank: passages with texts.
        pool: the candidates.
        which: query with the ``last`` passage or with the whole ``context``.
        words: the counted words of the pool; None counts them.

    Attributes:
        words: the counted words, for features that compare them.

    Raises:
        InputError: the bank has no texts.
    """

    def __init__(
        self, bank: Bank, pool: Pool, which: Literal["last", "context"] = "last", *, words: PassageWords | None = None
    ) -> None:
        name = _name(which)
        super().__init__(name, "candidate", pool=pool, bank=bank, reads_text=True, counts_bank=True)
        require_texts(bank, name)
        self._bank, self._which = bank, which
        self.words = words or count_words(bank, pool)
        self._index = _by_word(self.words)

    def over(self, bank: Bank) -> Bm25:
        """Return BM25 with the words of another bank."""
        return Bm25(bank, Pool(bank), self._which)

    def with_query(self, which: Literal["last", "context"]) -> Bm25:
        """Return BM25 over the same counted words with another query."""
        other = copy.copy(self)
        other.name, other._which = _name(which), which
        return other

    def counting(self, documents: Int[np.ndarray, "counted"]) -> Bm25:
        """Return BM25 over the same candidates, with idf and average length of some documents only."""
        other = copy.copy(self)
        other.words = count_again(self.words, self.pool, Pool(self._bank, documents))
        other._index = _by_word(other.words)
        return other

    def save_part(self, writer: PartWriter) -> Description:
        """Return the description; words are counted again from the texts."""
        return {"kind": "words", "name": self.name}

    @classmethod
    def load_part(cls, about: Description, reader: PartReader) -> Bm25:
        """Read what ``save_part`` wrote; the counted words are shared."""
        words = reader.once("words", lambda: count_words(reader.bank, reader.pool))
        counted = reader.once("bm25", lambda: cls(reader.bank, reader.pool, words=words))
        return counted.with_query("last" if about["name"] == "bm25" else "context")

    def values(self, contexts: Contexts) -> Float[np.ndarray, "batch bank"]:
        """Return the BM25 score of every row; 0 where no word is shared."""
        if contexts.texts is None:
            raise InputError(f"{self.name} reads texts, but the contexts bring vectors only",
                             fix="gather the contexts with texts")  # fmt: skip
        queries = [texts[-1:] if self._which == "last" else texts for texts in contexts.texts]
        return np.stack([self._scores(texts) for texts in queries])

    def _scores(self, texts: Sequence[str]) -> Float[np.ndarray, "bank"]:
        """Add up the scores of the passages read; a word counts as often as it occurs."""
        total = np.zeros(self.words.num_rows)
        for text in texts:
            total += self._index.of_passage(text)
        return total


def _name(which: Literal["last", "context"]) -> str:
    return "bm25" if which == "last" else "bm25-context"


def require_texts(bank: Bank, name: str) -> None:
    """Refuse a bank of vectors only.

    Raises:
        InputError: the bank has no texts.
    """
    if not bank.has_texts:
        raise InputError(
            f"{name} is not applicable: the bank has no texts",
            fix=f"give the texts along with the vectors, or leave {name} out",
        )


@dataclass(frozen=True)
class _Index:
    """Weight of every word in every live row, word by word.

    Attributes:
        words: words of the bank's rows.
        ends: word n has the entries ``ends[n]`` to ``ends[n + 1]``.
        rows: row of each entry; a word has each row once.
        weights: BM25 weight of the word in the row.
    """

    words: PassageWords
    ends: Int[np.ndarray, "bound"]
    rows: Int[np.ndarray, "entry"]
    weights: Float[np.ndarray, "entry"]

    @functools.cached_property
    def of_passage(self) -> Callable[[str], Float[np.ndarray, "bank"]]:
        """Function that scores one passage as the query, with a cache of the last few.

        The next context shares all but one passage with the last.
        """
        return functools.lru_cache(maxsize=CACHED)(lambda text: self.scores(cut_words([text])[0]))

    def scores(self, tokens: Sequence[str]) -> Float[np.ndarray, "bank"]:
        """Add up the weights of a query's words, each as often as it occurs."""
        numbers, times, _ = self.words.counted(tokens)
        if len(numbers) == 0:
            return np.zeros(self.words.num_rows)
        entries = [slice(*ends) for ends in zip(self.ends[numbers], self.ends[numbers + 1], strict=True)]
        weights = [self.weights[part] * count for part, count in zip(entries, times, strict=True)]
        rows = np.concatenate([self.rows[part] for part in entries])  # runs are copied faster than they are indexed
        return np.bincount(rows, weights=np.concatenate(weights), minlength=self.words.num_rows).astype(np.float64)


def _by_word(words: PassageWords) -> _Index:
    """Sort the entries by word."""
    order = np.argsort(words.word, kind="stable")
    rows = np.repeat(np.arange(words.num_rows), np.diff(words.ends))
    ends = np.searchsorted(words.word[order], np.arange(len(words.words) + 1))
    return _Index(words, ends, rows[order], words.weights[order])
