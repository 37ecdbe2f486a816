"""Cascade: a first stage and other sources draw candidates, a reranker puts them in order.

Which passages are drawn may not depend on the order of the bank's rows. So a source whose cutoff falls into a tie (BM25
without shared words) draws none of the tied, and where the members of a duplicate group differ, the one that represents
the group is chosen by its vector, not by its row.

All other passages follow in the order of the first stage. So a target always has an exact rank: its place among the
reranked, or behind all of them and all others that the first stage puts before it. Candidates are drawn from the pool
that is ranked (the whole bank, fresh documents, one document).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from segue.ranking.pool import TIE, Pool
from segue.retrieval.index import Index
from segue.retrieval.rerank import CandidateLists, Reranker
from segue.retrieval.rerank.cross_encoder import CrossEncoderReranker
from segue.retrieval.retrievers.interface import (
    Lap,
    Ranks,
    Retriever,
    Scores,
    Stage,
    VectorSearch,
    batches_of,
    join_rankings,
    no_lap,
)
from segue.retrieval.retrievers.vector import VectorRetriever
from segue.retrieval.saving import Description, PartReader, PartWriter
from segue.types import Bank, Contexts, Intent, Rankings

Source = tuple[Scores, int]
"""Scores of a batch by one source, and the number of candidates drawn by them."""
OfPairs = Callable[[Int[np.ndarray, "pair"], Int[np.ndarray, "pair"]], Float[np.ndarray, "pair"]]

SLACK = 1e-6
"""Relative difference below which scores at the cutoff are tied."""


@dataclass(frozen=True)
class Drawn:
    """Candidates of a batch.

    Attributes:
        numbers: each candidate's number in the pool, -1 at the pads; in the order of ``candidates.rows``.
        candidates: input of the reranker, best of the first stage first.
        ranking: ranking of the first stage, for the places after the reranked; None within a document.
    """

    numbers: Int[np.ndarray, "batch candidate"]
    candidates: CandidateLists
    ranking: Rankings | None = None


def draw(sources: Sequence[Source], pool: Pool, *, exclude: Int[np.ndarray, "batch excluded"], k: int = 0) -> Drawn:
    """Draw from each source its best candidates of ``pool``; the first source is the first stage.

    Args:
        sources: scores of the batch by each source.
        pool: drawn from.
        exclude: rows that are left out with their duplicates, padded with -1.
        k: fewest places of the first stage's ranking.
    """
    found = []
    for number, (scores, count) in enumerate(sources):
        ranking = scores.top(pool, max(count + 1, k if number == 0 else 0), exclude=exclude)
        drawn = _before_the_cut(ranking.scores, count)
        found.append((ranking, np.where(drawn, pool.candidates_of(ranking.rows), -1)))
    union = _union([numbers for _, numbers in found], pool.size)
    by_source = np.full((len(union), len(sources), union.shape[1]), -np.inf)
    for source, (ranking, numbers) in enumerate(found):
        query, place = np.nonzero(numbers >= 0)
        column = _columns(union, query, numbers[query, place], pool.size)
        by_source[query, source, column] = ranking.scores[query, place]
    return _drawn(union, by_source, pool, sources[0][0].of_pairs, found[0][0])


def draw_within(
    sources: Sequence[Source],
    pool: Pool,
    *,
    which: Int[np.ndarray, "chosen"],
    exclude: Int[np.ndarray, "chosen excluded"],
) -> Drawn:
    """Draw from a small pool (one document) for some contexts of the batch, scoring all of it.

    Args:
        sources: scores of the whole batch by each source.
        pool: few candidates.
        which: the contexts.
        exclude: rows that are left out, for each of them.
    """
    numbers = np.tile(np.arange(pool.size), (len(which), 1))
    numbers[pool.removed_pairs(exclude)] = -1
    by_source = np.full((len(which), len(sources), pool.size), -np.inf)
    for source, (scores, count) in enumerate(sources):
        _, values = best_members(of_some(scores, which), pool, numbers)
        falling = -np.sort(-values, axis=1)
        cut = falling[:, count, None] if count < pool.size else np.full((len(which), 1), -np.inf)
        by_source[:, source] = np.where(_above(values, cut), values, -np.inf)
    numbers = np.where(np.isneginf(by_source).all(axis=1), -1, numbers)
    return _drawn(numbers, by_source, pool, of_some(sources[0][0], which), None)


def of_some(scores: Scores, which: Int[np.ndarray, "chosen"]) -> OfPairs:
    """Return a function that scores pairs whose contexts are numbered among the chosen ones."""
    return lambda query, rows: scores.of_pairs(which[query], rows)


def _drawn(
    numbers: Int[np.ndarray, "batch candidate"],
    by_source: Float[np.ndarray, "batch source candidate"],
    pool: Pool,
    of_pairs: OfPairs,
    ranking: Rankings | None,
) -> Drawn:
    """Find each candidate's row and put the lists in the first stage's order, pads at the end."""
    rows, first = best_members(of_pairs, pool, numbers)
    order = np.lexsort((-first, rows < 0), axis=1)
    order = order[:, : max(1, int((numbers >= 0).sum(axis=1).max(initial=0)))]
    lists = np.arange(len(order))[:, None]  # plain indexing: np.take_along_axis takes three times as long here
    sources = np.arange(by_source.shape[1])[:, None]
    by_source = by_source[lists[:, :, None], sources, order[:, None, :]]
    return Drawn(
        numbers[lists, order], CandidateLists(rows[lists, order], first[lists, order], sources=by_source), ranking
    )


def _before_the_cut(scores: Float[np.ndarray, "batch k"], count: int) -> Bool[np.ndarray, "batch k"]:
    """Return which of the first ``count`` places are not tied with the first one that is left out.

    >>> _before_the_cut(np.array([[3.0, 2.0, 2.0, 1.0], [3.0, 2.0, -np.inf, -np.inf]]), 2).tolist()
    [[True, False, False, False], [True, True, False, False]]
    """
    drawn = _above(scores, scores[:, count, None])
    drawn[:, count:] = False
    return drawn


def _above(scores: Float[np.ndarray, "batch k"], cut: Float[np.ndarray, "batch 1"]) -> Bool[np.ndarray, "batch k"]:
    slack = SLACK * np.maximum(1.0, np.abs(np.where(cut == -np.inf, 0.0, cut)))
    return scores > cut + slack


def _union(numbers: Sequence[Int[np.ndarray, "batch _"]], size: int) -> Int[np.ndarray, "batch candidate"]:
    """Return the distinct numbers of each context, rising, padded with -1.

    >>> _union([np.array([[4, 2]]), np.array([[2, -1, 7]])], 9).tolist()
    [[2, 4, 7]]
    """
    both = np.concatenate(numbers, axis=1)
    both = np.sort(np.where(both < 0, size, both), axis=1)
    both[:, 1:][both[:, 1:] == both[:, :-1]] = size
    both = np.sort(both, axis=1)[:, : max(1, int((both < size).sum(axis=1).max(initial=0)))]
    return np.where(both == size, -1, both)


def _columns(
    union: Int[np.ndarray, "batch candidate"],
    query: Int[np.ndarray, "pair"],
    numbers: Int[np.ndarray, "pair"],
    size: int,
) -> Int[np.ndarray, "pair"]:
    """Return the place of each number in its context's union."""
    rising = np.where(union < 0, size, union) + np.arange(len(union))[:, None] * (size + 1)
    return np.searchsorted(rising.ravel(), query * (size + 1) + numbers) - query * union.shape[1]


def best_members(
    of_pairs: OfPairs, pool: Pool, numbers: Int[np.ndarray, "batch some"]
) -> tuple[Int[np.ndarray, "batch some"], Float[np.ndarray, "batch some"]]:
    """Return the row that represents each candidate and its score; -1 and -inf where the number is -1.

    It is the member with the best score; among equals the one whose vector is smaller in its first components.
    """
    rows, scores = np.full(numbers.shape, -1, dtype=np.int64), np.full(numbers.shape, -np.inf)
    query, place = np.nonzero(numbers >= 0)
    pair, members = pool.expand(numbers[query, place])
    values = of_pairs(query[pair], members)
    leader = _leaders(pool, pair, members, values)
    rows[query, place], scores[query, place] = members[leader], values[leader]
    return rows, scores


def _leaders(
    pool: Pool, pair: Int[np.ndarray, "member"], rows: Int[np.ndarray, "member"], values: Float[np.ndarray, "member"]
) -> Int[np.ndarray, "pair"]:
    """Return the best member of each pair; the members of a pair are adjacent."""
    count = np.bincount(pair)
    leader = np.cumsum(count) - count
    shared = np.flatnonzero(count[pair] > 1)
    if len(shared):
        components = pool.bank.gather(rows[shared])[:, :2].T
        order = shared[np.lexsort((rows[shared], *components, -values[shared], pair[shared]))]
        distinct, first = np.unique(pair[order], return_index=True)
        leader[distinct] = order[first]
    return leader


LISTS_AT_ONCE = 256
"""Lists of candidates that are reranked together."""


@dataclass(frozen=True)
class Ordered:
    """Candidates with the scores that order them, higher is better, -inf at the pads."""

    drawn: Drawn
    scores: Float[np.ndarray, "batch candidate"]

    def ranks(
        self,
        of_pairs: OfPairs,
        pool: Pool,
        targets: Int[np.ndarray, "batch several"],
        *,
        by_first: Int[np.ndarray, "batch several"],
    ) -> Int[np.ndarray, "batch several"]:
        """Return the place of each target.

        Among the reranked: 1 + the other candidates with a score above the target's - 1e-6. Outside: all candidates,
        and those that the first stage puts before the target without having been drawn.

        Args:
            of_pairs: the first stage's scores.
            pool: what the candidates were drawn from.
            targets: rows; -1 means that there is none, and gets the rank -1.
            by_first: the place of each target in the first stage's order of the same pool.
        """
        own = pool.candidates_of(targets)
        same = self.drawn.numbers[:, None, :] == np.where(own < 0, -2, own)[:, :, None]  # [batch, several, candidate]
        line = np.where(same, self.scores[:, None, :], -np.inf).max(axis=2) - TIE
        inside = (self.scores[:, None, :] > line[:, :, None]).sum(axis=2)
        _, score = best_members(of_pairs, pool, own)
        drawn_before = (self.drawn.candidates.first[:, None, :] > (score - TIE)[:, :, None]).sum(axis=2)
        outside = self.drawn.candidates.there.sum(axis=1)[:, None] + by_first - drawn_before
        return np.where(own < 0, -1, np.where(same.any(axis=2), inside, outside))

    def top(self, pool: Pool, k: int) -> Rankings:
        """Return the k best: the reranked, then the first stage's others, with lower scores."""
        drawn, tail = self.drawn, self.drawn.ranking
        assert tail is not None, "only a whole pool is answered from"
        rest = pool.candidates_of(tail.rows)
        rest[(rest[:, :, None] == drawn.numbers[:, None, :]).any(axis=2)] = -1
        behind = np.where(rest >= 0, tail.scores.astype(np.float64), -np.inf)
        floor = np.where(drawn.candidates.there, self.scores, np.inf).min(axis=1, initial=0.0)
        best = np.maximum(behind.max(axis=1, initial=-np.inf), np.finfo(np.float64).min)
        scores = np.concatenate([self.scores, behind - best[:, None] + floor[:, None] - 1.0], axis=1)
        rows = np.concatenate([drawn.candidates.rows, np.where(rest >= 0, tail.rows, -1)], axis=1)
        order = np.lexsort((rows, -scores), axis=1)[:, :k]
        found = Rankings(np.full((len(rows), k), -1, dtype=np.int64), np.full((len(rows), k), -np.inf, np.float32))
        lists = np.arange(len(order))[:, None]  # plain indexing: np.take_along_axis takes three times as long here
        found.rows[:, : order.shape[1]] = rows[lists, order]
        found.scores[:, : order.shape[1]] = scores[lists, order]
        return found


@dataclass(frozen=True)
class CascadeScores:
    """A batch of contexts scored by every source; candidates are drawn and reranked for a pool and an exclusion."""

    contexts: Contexts
    sources: tuple[Source, ...]
    reranker: Reranker
    _known: dict[Any, Ordered] = field(default_factory=dict, compare=False, repr=False)

    @property
    def first(self) -> Scores:
        """The first stage's scores."""
        return self.sources[0][0]

    @property
    def queries(self) -> Float[np.ndarray, "batch dim"] | None:
        """The first stage's predictions."""
        return self.first.queries

    def ranks(
        self, pool: Pool, targets: Int[np.ndarray, "batch"], *, exclude: Int[np.ndarray, "batch excluded"]
    ) -> Int[np.ndarray, "batch"]:
        """Return exact ranks."""
        by_first = self.first.ranks(pool, targets, exclude=exclude)[:, None]
        return self.ordered(pool, exclude).ranks(self.first.of_pairs, pool, targets[:, None], by_first=by_first)[:, 0]

    def ranks_under(
        self, pool: Pool, targets: Int[np.ndarray, "batch several"], *, excludes: Sequence[Int[np.ndarray, "batch _"]]
    ) -> list[Int[np.ndarray, "batch several"]]:
        """Return exact ranks of each target for each exclusion; each draws its own candidates."""
        by_first = self.first.ranks_under(pool, targets, excludes=excludes)
        return [
            self.ordered(pool, exclude).ranks(self.first.of_pairs, pool, targets, by_first=ranks)
            for exclude, ranks in zip(excludes, by_first, strict=True)
        ]

    def ranks_in_document(
        self, bank: Bank, targets: Int[np.ndarray, "batch"], *, exclude: Int[np.ndarray, "batch excluded"]
    ) -> Int[np.ndarray, "batch"]:
        """Return exact ranks where candidates are drawn from each target's document."""
        by_first = self.first.ranks_in_document(bank, targets, exclude=exclude)
        documents = bank.document_of[targets]
        ranks = np.empty_like(by_first)
        for document in np.unique(documents):
            which = np.flatnonzero(documents == document)
            pool = Pool(bank, np.array([document]))
            drawn = draw_within(self.sources, pool, which=which, exclude=exclude[which])
            own, first = targets[which][:, None], by_first[which][:, None]
            ranks[which] = self.order(drawn, which).ranks(of_some(self.first, which), pool, own, by_first=first)[:, 0]
        return ranks

    @property
    def values(self) -> None:
        """None: a rank among candidates is not a score of its own."""
        return None

    def top(self, pool: Pool, k: int, *, exclude: Int[np.ndarray, "batch excluded"], lap: Lap = no_lap) -> Rankings:
        """Return the best ``k``."""
        rankings = self.ordered(pool, exclude, k=k, lap=lap).top(pool, k)
        lap("read" if isinstance(self.reranker, CrossEncoderReranker) else "rerank")
        return rankings

    def reranked(self, pool: Pool, *, exclude: Int[np.ndarray, "batch excluded"]) -> Int[np.ndarray, "batch candidate"]:
        """Return the rows that the reranker orders, padded with -1."""
        return self.ordered(pool, exclude).drawn.candidates.rows

    def of_pairs(self, query: Int[np.ndarray, "pair"], rows: Int[np.ndarray, "pair"]) -> Float[np.ndarray, "pair"]:
        """Return the first stage's scores."""
        return self.first.of_pairs(query, rows)

    def ordered(
        self, pool: Pool, exclude: Int[np.ndarray, "batch excluded"], *, k: int = 0, lap: Lap = no_lap
    ) -> Ordered:
        """Return the reranked candidates of one pool and exclusion, kept as long as the batch is."""
        key = (pool, exclude.shape, exclude.tobytes())
        known = self._known.get(key)
        if known is None:
            drawn = self.draw(pool, exclude, k=k)
            lap("search")
            known = self.order(drawn, lap=lap)
        elif known.drawn.ranking is None or known.drawn.ranking.rows.shape[1] < k:
            known = replace(known, drawn=self.draw(pool, exclude, k=k))
        self._known[key] = known
        return known

    def draw(self, pool: Pool, exclude: Int[np.ndarray, "batch excluded"], *, k: int = 0) -> Drawn:
        """Return the candidates before they are reranked."""
        drawn = draw(self.sources, pool, exclude=exclude, k=k)
        return replace(drawn, candidates=replace(drawn.candidates, queries=self.queries))

    def order(self, drawn: Drawn, which: Int[np.ndarray, "chosen"] | None = None, *, lap: Lap = no_lap) -> Ordered:
        """Rerank the candidates of the batch, or of some of its contexts, a part at a time."""
        which = np.arange(len(self.contexts)) if which is None else which
        candidates = replace(drawn.candidates, queries=None if self.queries is None else self.queries[which])
        parts = []
        for start in range(0, len(which), LISTS_AT_ONCE):
            part = slice(start, start + LISTS_AT_ONCE)
            scores = self._scores(self.contexts.take(which[part]), candidates.take(part), lap)
            parts.append(np.asarray(scores, dtype=np.float64))
        return Ordered(drawn, np.concatenate(parts) if parts else candidates.first)

    def _scores(self, contexts: Contexts, candidates: CandidateLists, lap: Lap) -> Float[np.ndarray, "batch candidate"]:
        """Return the reranker's scores; reading text is timed as a stage of its own."""
        if not isinstance(self.reranker, CrossEncoderReranker):
            return self.reranker.scores(contexts, candidates)
        scores = self.reranker.reranker.scores(contexts, candidates)
        lap("rerank")
        return self.reranker.read(contexts, candidates, scores)


@dataclass(frozen=True)
class Cascade(Ranks):
    """Retriever of a first stage, other sources of candidates, and a reranker.

    Attributes:
        name: name of the entry in tables and runs.
        intent: role of the entry in a comparison.
        first: the first stage; its pool is searched, and it orders the rest.
        depth: candidates that it draws.
        reranker: puts the candidates in order.
        sources: other retrievers over the same pool, and the number of candidates that each draws.
    """

    name: str
    intent: Intent
    first: Retriever
    depth: int
    reranker: Reranker
    sources: tuple[tuple[Retriever, int], ...] = ()

    @property
    def pool(self) -> Pool:
        """The first stage's candidates."""
        return self.first.pool

    @property
    def stage(self) -> Stage:
        """Name of the first stage's scoring."""
        return self.first.stage

    def first_stage(self) -> Retriever:
        """Return the first stage."""
        return self.first

    def searcher(self) -> VectorSearch | None:
        """Return the retriever that makes the first stage's query vectors; None where there are none."""
        return self.first.searcher()

    @property
    def predicts(self) -> bool:
        """Whether the first stage brings query vectors of the bank's own space."""
        return self.first.predicts

    @property
    def _retrievers(self) -> list[Retriever]:
        return [self.first, *(source for source, _ in self.sources)]

    @property
    def _parts(self) -> list[Retriever | Reranker]:
        return [*self._retrievers, self.reranker]

    @property
    def batch_limit(self) -> int | None:
        """The least limit of the sources."""
        return min((source.batch_limit for source in self._retrievers if source.batch_limit), default=None)

    @property
    def reads_text(self) -> bool:
        """True where a source or the reranker reads text."""
        return any(part.reads_text for part in self._parts)

    @property
    def counts_bank(self) -> bool:
        """True where a source or the reranker counts the bank."""
        return any(part.counts_bank for part in self._parts)

    @property
    def reads_bank(self) -> bool:
        """True: a candidate's place depends on the others."""
        return True

    def over(self, bank: Bank) -> Cascade:
        """Return the cascade over another bank, without a new fit."""
        sources = tuple((source.over(bank), count) for source, count in self.sources)
        return replace(self, first=self.first.over(bank), sources=sources, reranker=self.reranker.over(bank))

    def counting(self, documents: Int[np.ndarray, "counted"]) -> Cascade:
        """Return the cascade over the same candidates, with statistics of some documents only."""
        first = self.first.counting(documents) or self.first
        sources = tuple((source.counting(documents) or source, count) for source, count in self.sources)
        return replace(self, first=first, sources=sources, reranker=self.reranker.counting(documents))

    def without_texts(self) -> Cascade | None:
        """Return the cascade without the sources that read text; None where the first stage or reranker needs it."""
        if self.first.reads_text or self.reranker.requires_text:
            return None
        return replace(self, sources=tuple(source for source in self.sources if not source[0].reads_text))

    def searched_with(self, index: Index) -> Cascade:
        """Return the cascade with an index in its first stage and in every source that searches the bank's vectors."""
        sources = ((source.searched_with(index) if source.predicts else source, n) for source, n in self.sources)
        return replace(self, first=self.first.searched_with(index), sources=tuple(sources))

    def score(self, contexts: Contexts) -> CascadeScores:
        """Score the contexts by every source; give at most ``batch_limit`` of them."""
        return self._scored(contexts, self.first.score(contexts))

    def _scored(self, contexts: Contexts, first: Scores) -> CascadeScores:
        others = ((source.score(contexts), count) for source, count in self.sources)
        return CascadeScores(contexts, ((first, self.depth), *others), self.reranker)

    def candidates(self, contexts: Contexts) -> Drawn:
        """Return the reranker's input, for making training lists."""
        return self.score(contexts).draw(self.pool, contexts.exclude)

    def rank(self, contexts: Contexts, k: int, *, lap: Lap = no_lap) -> Rankings:
        """Return the best ``k`` passages for each context without ``contexts.exclude``."""
        return join_rankings([self._rank(part, k, lap) for _, part in batches_of(contexts, self.batch_limit)])

    def _rank(self, contexts: Contexts, k: int, lap: Lap) -> Rankings:
        first = self.first
        if isinstance(first, VectorRetriever) and first.cache is not None:
            first = replace(first, cache=None)  # a served query is in no cache
        scores = first.score(contexts)
        lap(self.stage)
        return self._scored(contexts, scores).top(self.pool, k, exclude=contexts.exclude, lap=lap)

    def save_part(self, writer: PartWriter) -> Description:
        """Write the files of the stages and of the reranker."""
        sources = [{"retriever": source.save_part(writer), "count": count} for source, count in self.sources]
        return {"kind": "cascade", "name": self.name, "first": self.first.save_part(writer), "depth": self.depth,
                "sources": sources, "reranker": self.reranker.save_part(writer)}  # fmt: skip

    @classmethod
    def load_part(cls, about: Description, reader: PartReader) -> Cascade:
        """Read what ``save_part`` wrote."""
        sources = tuple((reader.read(entry["retriever"]), int(entry["count"])) for entry in about["sources"])
        first, reranker = reader.read(about["first"]), reader.read(about["reranker"])
        return cls(about["name"], "candidate", first, int(about["depth"]), reranker, sources)
