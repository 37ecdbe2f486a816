"""Retrieve, then rerank: a first stage and other sources draw candidates, a reranker puts them in order.

What was not drawn follows in the order of the first stage. So a target always has an exact rank: its place among the
reranked, or else behind all of them and behind everything else that the first stage puts before it. Candidates are
drawn from the pool that is asked about (the whole bank, fresh documents, one document).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from segue.ranking.pool import TIE, Pool
from segue.retrieval.rerank import Reranker
from segue.retrieval.retrievers.candidates import Drawn, OfPairs, Source, best_members, draw, draw_within, of_some
from segue.retrieval.retrievers.interface import Lap, Retriever, Scores, no_lap
from segue.types import Bank, Contexts, Intent, Rankings

LISTS_AT_ONCE = 256
"""Lists of candidates whose vectors are looked at together."""


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
        """Return the k best: the reranked, then the first stage's others, whose scores go on falling."""
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
    """A batch of contexts under every source; lists are drawn and reranked for the pool and exclusion asked about."""

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
        """The first stage's predictions; what reranking adds is no vector."""
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
        """Return exact ranks of each target for each exclusion, each of which has candidates of its own."""
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
            asked, of_pairs = targets[which][:, None], of_some(self.first, which)
            found = self.order(drawn, which).ranks(of_pairs, pool, asked, by_first=by_first[which][:, None])
            ranks[which] = found[:, 0]
        return ranks

    def top(self, pool: Pool, k: int, *, exclude: Int[np.ndarray, "batch excluded"]) -> Rankings:
        """Return the best ``k``."""
        return self.ordered(pool, exclude, k=k).top(pool, k)

    def of_pairs(self, query: Int[np.ndarray, "pair"], rows: Int[np.ndarray, "pair"]) -> Float[np.ndarray, "pair"]:
        """Return the first stage's scores: a place among candidates is no score of its own."""
        return self.first.of_pairs(query, rows)

    def ordered(self, pool: Pool, exclude: Int[np.ndarray, "batch excluded"], *, k: int = 0) -> Ordered:
        """Return the reranked candidates of one pool and exclusion, remembered as long as the batch is."""
        key = (pool, exclude.shape, exclude.tobytes())
        known = self._known.get(key)
        if known is None:
            known = self.order(self.draw(pool, exclude, k=k))
        elif _depth(known) < k:
            known = replace(known, drawn=self.draw(pool, exclude, k=k))
        self._known[key] = known
        return known

    def draw(self, pool: Pool, exclude: Int[np.ndarray, "batch excluded"], *, k: int = 0) -> Drawn:
        """Return the candidates before they are reranked."""
        drawn = draw(self.sources, pool, exclude=exclude, k=k)
        return replace(drawn, candidates=replace(drawn.candidates, queries=self.queries))

    def order(self, drawn: Drawn, which: Int[np.ndarray, "chosen"] | None = None) -> Ordered:
        """Rerank the candidates of the batch, or of some of its contexts, a part at a time."""
        which = np.arange(len(self.contexts)) if which is None else which
        candidates = replace(drawn.candidates, queries=None if self.queries is None else self.queries[which])
        parts = []
        for start in range(0, len(which), LISTS_AT_ONCE):
            part = slice(start, start + LISTS_AT_ONCE)
            scores = self.reranker.scores(self.contexts.take(which[part]), candidates.take(part))
            parts.append(np.asarray(scores, dtype=np.float64))
        return Ordered(drawn, np.concatenate(parts) if parts else candidates.first)


def _depth(ordered: Ordered) -> int:
    """Return how many places the first stage's ranking has."""
    return 0 if ordered.drawn.ranking is None else ordered.drawn.ranking.rows.shape[1]


@dataclass(frozen=True)
class Cascade:
    """A first stage, perhaps other sources of candidates, and a reranker; a retriever like any other.

    Attributes:
        name: the row's name.
        intent: what the row stands for.
        first: the first stage; its pool is searched, and it orders what is not reranked.
        depth: candidates that it draws.
        reranker: puts the candidates in order.
        sources: other retrievers over the same pool, and how many candidates each of them draws.
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

    def over(self, bank: Bank) -> Cascade:
        """Return the cascade over another bank, nothing fitted anew."""
        return self._with(lambda part: part.over(bank))

    def counting(self, documents: Int[np.ndarray, "counted"]) -> Cascade:
        """Return the cascade over the same candidates, with statistics of some documents only."""
        return self._with(lambda part: part.counting(documents) if hasattr(part, "counting") else part)

    def _with(self, change: Callable[[Any], Any]) -> Cascade:
        sources = tuple((change(source), count) for source, count in self.sources)
        return replace(self, first=change(self.first), sources=sources, reranker=change(self.reranker))

    def score(self, contexts: Contexts) -> CascadeScores:
        """Score the contexts by every source; give at most ``batch_limit`` of them."""
        return self._scored(contexts, self.first.score(contexts))

    def _scored(self, contexts: Contexts, first: Scores) -> CascadeScores:
        others = ((source.score(contexts), count) for source, count in self.sources)
        return CascadeScores(contexts, ((first, self.depth), *others), self.reranker)

    def candidates(self, contexts: Contexts) -> Drawn:
        """Return what the reranker would be given, for making training lists."""
        return self.score(contexts).draw(self.pool, contexts.exclude)

    def rank(self, contexts: Contexts, k: int, *, lap: Lap = no_lap) -> Rankings:
        """Return the best ``k`` passages for each context without ``contexts.exclude``."""
        parts = [self._rank(part, k, lap) for part in self._batches(contexts)]
        return Rankings(np.concatenate([p.rows for p in parts]), np.concatenate([p.scores for p in parts]))

    def _rank(self, contexts: Contexts, k: int, lap: Lap) -> Rankings:
        first = self.first.score(contexts)
        lap(getattr(self.first, "stage", "search"))
        scores = self._scored(contexts, first)
        drawn = scores.draw(self.pool, contexts.exclude, k=k)
        lap("search")
        rankings = scores.order(drawn).top(self.pool, k)
        lap("rerank")
        return rankings

    def target_ranks(
        self, contexts: Contexts, targets: Int[np.ndarray, "batch"], *, pool: Pool | None = None
    ) -> Int[np.ndarray, "batch"]:
        """Return the exact rank of each target, counted from 1, without ``contexts.exclude``."""
        ranks, start = [], 0
        for part in self._batches(contexts):
            asked = targets[start : start + len(part)]
            ranks.append(self.score(part).ranks(pool or self.pool, asked, exclude=part.exclude))
            start += len(part)
        return np.concatenate(ranks)

    def _batches(self, contexts: Contexts) -> list[Contexts]:
        size = self.batch_limit or max(1, len(contexts))
        return [contexts.take(slice(start, start + size)) for start in range(0, max(1, len(contexts)), size)]
