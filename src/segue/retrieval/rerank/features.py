"""Features of candidates that a served system knows: similarity, words, density, length; no ids, no positions.

Groups can be left out, to measure what each adds:

``prediction``  the cosine with the first stage's prediction
``context``     cosines with each passage read, newest first, and their shape over the context
``density``     how crowded the bank is around the candidate and around the newest passage; cosines less that
                density (CSLS, the correction of hubness of Lample et al. 2018, Word translation without parallel data)
``list``        similarity to the other candidates
``words``       BM25 overlaps with each passage read
``length``      characters, and their ratio to the newest passage's
``sentences``   similarity of the candidate's sentences to those of the passages read (``late_interaction.py``)
``tokens``      similarity of the candidate's first tokens to the last ones read (``token_interaction.py``)
``places``      for the strongest of these: rank within the list, and distance to the best of the list

Cosines and sums are float64 and rounded once at the end, so that they depend neither on the order of the bank's rows
nor on the size of the batch.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar, get_args

import numpy as np
from jaxtyping import Bool, Float, Int

from segue.bank.pieces import PieceVectors
from segue.bank.sentences import build_sentences
from segue.bank.tokens import build_tokens
from segue.errors import InputError
from segue.files import hashes_of, read_json, require_hashes, write_json, write_npy
from segue.ranking.exact import top_k
from segue.ranking.pool import TIE, Pool
from segue.retrieval.rerank import late_interaction, token_interaction
from segue.retrieval.rerank.interface import CandidateLists
from segue.retrieval.rerank.late_interaction import LateInteraction
from segue.retrieval.rerank.token_interaction import TokenInteraction, token_rarity
from segue.retrieval.rerank.words import PassageWords, count_again, count_words, cut_words, overlaps
from segue.retrieval.saving import DENSITY, RERANKER, Description, PartReader, PartWriter
from segue.types import Bank, Contexts, Progress, no_progress

Group = Literal["prediction", "context", "density", "list", "words", "length", "sentences", "tokens", "places"]
ALL_GROUPS: tuple[Group, ...] = get_args(Group)
PIECES: Mapping[Group, Callable[..., PieceVectors]] = {"sentences": build_sentences, "tokens": build_tokens}
"""Groups that read pieces of passages, which are encoded first, and what encodes them."""
GROUPS: tuple[Group, ...] = tuple(group for group in ALL_GROUPS if group not in PIECES)
"""Groups that need nothing but the bank."""
QUICK: tuple[Group, ...] = ("prediction", "context", "words", "places")
"""Groups of the first of two steps: they are computed fast for many candidates."""
NEEDS_TEXT: frozenset[Group] = frozenset({"words", "length", *PIECES})
COUNTS_BANK: frozenset[Group] = frozenset({"words", "density", "tokens"})
LISTS_AT_ONCE = 16
"""Lists whose vectors are in memory at once; as float64 they should fit into the processor's cache."""
CENTRE, BEST, SIMILAR = 10, 20, 3
"""Candidates in the mean of a list, candidates compared with each, and the most similar of them that count."""
PLACED = ("prediction cosine", "newest cosine", "best context cosine", "words sum", "newest words", "centre cosine",
          *late_interaction.PLACED, *token_interaction.PLACED)  # fmt: skip
"""Features that get a rank and a distance to the best of the list."""
CROWDED = late_interaction.CROWDED
"""Features from which the cosine of the candidate's 10th neighbour is subtracted, where both exist."""

Columns = Mapping[str, Float[np.ndarray, "batch candidate"]]


class Features:
    """Computes the features of candidates.

    Args:
        bank: the passages.
        pool: the rows that may be candidates.
        context: most passages read; shorter contexts miss features.
        groups: groups of features.
        counted: numbers of the documents over which words and neighbours are counted; None: over the pool.
        words: the counted words; None counts them.
        density: the neighbours' cosines (``neighbour_cosines``); None computes them.
        pieces: the bank's sentences and tokens, for the groups of these names.

    Raises:
        InputError: such a group is given without its pieces.
    """

    def __init__(
        self,
        bank: Bank,
        pool: Pool,
        *,
        context: int,
        groups: Sequence[Group] = GROUPS,
        counted: Int[np.ndarray, "counted"] | None = None,
        words: PassageWords | None = None,
        density: Float[np.ndarray, "bank neighbour"] | None = None,
        pieces: Mapping[Group, PieceVectors] | None = None,
    ) -> None:
        self.bank, self.pool, self.context = bank, pool, context
        self.groups = tuple(group for group in ALL_GROUPS if group in groups)
        self.pieces = {name: found for name, found in (pieces or {}).items() if name in self.groups}
        for name in PIECES:
            if name in self.groups and name not in self.pieces:
                fix = f"give pieces={{'{name}': build_{name}(...)}}, or leave the group out"
                raise InputError(f"the feature group '{name}' needs the vectors of {name}", fix=fix)
        self._counted = None if counted is None else Pool(bank, counted)
        self._known_words, self._known_density = words, density
        self._moved: Features | None = None
        self._recounted: tuple[Int[np.ndarray, "counted"], Features] | None = None
        self._last: tuple[Contexts, CandidateLists, Float[np.ndarray, "batch candidate feature"]] | None = None

    @functools.cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the features in the order of their columns."""
        names = _names(self.context)
        own = [name for group in self.groups for name in names.get(group, ())]
        if {"density", "sentences"} <= set(self.groups):
            own += [f"{name} - neighbour 10" for name in CROWDED]
        placed = [name for name in PLACED if name in own] if "places" in self.groups else []
        return (*own, *(f"{kind} of {name}" for name in placed for kind in ("rank", "distance")))

    @property
    def reads_text(self) -> bool:
        """Whether contexts should bring texts; without them some features are missing."""
        return self.bank.has_texts and not NEEDS_TEXT.isdisjoint(self.groups)

    @property
    def counts_bank(self) -> bool:
        """Whether values rest on statistics of the whole bank."""
        return not COUNTS_BANK.isdisjoint(self.groups)

    def over(self, bank: Bank) -> Features:
        """Return the same features over another bank, its words and neighbours counted again.

        The last ones are kept: rerankers that share features share them again.
        """
        if self._moved is None or self._moved.bank is not bank:
            pieces = {name: found.over(bank) for name, found in self.pieces.items()}
            self._moved = Features(bank, Pool(bank), context=self.context, groups=self.groups, pieces=pieces)
        return self._moved

    def counting(self, documents: Int[np.ndarray, "counted"]) -> Features:
        """Return the same features with words and neighbours counted over some documents only; the last are kept."""
        if self._recounted is None or self._recounted[0] is not documents:
            words = None if self._words is None else count_again(self._words, self.pool, Pool(self.bank, documents))
            features = Features(self.bank, self.pool, context=self.context, groups=self.groups, counted=documents,
                                words=words, pieces=self.pieces)  # fmt: skip
            self._recounted = documents, features
        return self._recounted[1]

    def only(self, groups: Sequence[Group]) -> Features:
        """Return features of other groups over the same bank, with what was counted and encoded for these."""
        density = self._density if "density" in groups and "density" in self.groups else None
        return Features(self.bank, self.pool, context=self.context, groups=groups, words=self._words, density=density,
                        pieces=self.pieces)  # fmt: skip

    def save_part(self, writer: PartWriter) -> Description:
        """Write the neighbours' cosines, which take long to compute; words are counted again from the texts."""
        if "density" in self.groups and not (writer.folder / DENSITY).exists():
            write_npy(writer.folder / DENSITY, writer.density().astype(np.float32))
        return {"groups": list(self.groups), "context": self.context}

    @classmethod
    def load_part(cls, about: Description, reader: PartReader) -> Features:
        """Read what ``save_part`` wrote, once for all rerankers that read the same groups."""
        groups, bank, pool = about["groups"], reader.bank, reader.pool

        def load() -> Features:
            density = np.load(reader.folder / DENSITY, allow_pickle=False) if "density" in groups else None
            pieces = {name: build(bank, reader.load_encoder, bank.path / name)
                      for name, build in PIECES.items() if name in groups}  # fmt: skip
            words = reader.once("words", lambda: count_words(bank, pool)) if bank.has_texts else None
            return cls(bank, pool, context=int(about["context"]), groups=groups, words=words, density=density,
                       pieces=pieces)  # fmt: skip

        return reader.once(f"features {groups}", load)

    def compute(self, contexts: Contexts, candidates: CandidateLists) -> Float[np.ndarray, "batch candidate feature"]:
        """Return the features, float32; NaN where one is missing, and at the pads.

        The last result is cached by the identity of both arguments: rerankers that share features compute them once.
        """
        known = self._last
        if known is None or known[0] is not contexts or known[1] is not candidates:
            known = self._last = (contexts, candidates, self._all(contexts, candidates))
        return known[2]

    def _all(self, contexts: Contexts, candidates: CandidateLists) -> Float[np.ndarray, "batch candidate feature"]:
        values = np.full((*candidates.rows.shape, len(self.names)), np.nan, dtype=np.float32)
        for start in range(0, len(contexts), LISTS_AT_ONCE):
            part = slice(start, start + LISTS_AT_ONCE)
            values[part] = self._compute(contexts.take(part), candidates.take(part))
        values[~candidates.there] = np.nan
        return values

    def _compute(self, contexts: Contexts, candidates: CandidateLists) -> Float[np.ndarray, "batch candidate feature"]:
        columns: dict[str, Float[np.ndarray, "batch candidate"]] = {}
        vectors = self._vectors(candidates)
        columns |= _cosines(contexts, candidates, vectors, context=self.context)
        if "density" in self.groups:
            columns |= self._crowding(contexts, candidates, columns)
        if "list" in self.groups:
            columns |= _within_list(candidates, vectors)
        if "words" in self.groups:
            columns |= self._overlaps(contexts, candidates)
        if "length" in self.groups:
            columns |= self._lengths(contexts, candidates)
        if self._late_interaction is not None:
            columns |= self._late_interaction.columns(contexts, candidates, vectors)
        if self._token_interaction is not None:
            columns |= self._token_interaction.columns(contexts, candidates)
        if {"density", "sentences"} <= set(self.groups):
            columns |= {f"{name} - neighbour 10": columns[name] - columns["neighbour 10"] for name in CROWDED}
        if "places" in self.groups:
            columns |= _places({name: columns[name] for name in PLACED if name in columns}, candidates.there)
        values = np.empty((*candidates.rows.shape, len(self.names)), dtype=np.float32)
        for place, name in enumerate(self.names):
            values[:, :, place] = columns[name]
        return values

    def _vectors(self, candidates: CandidateLists) -> Float[np.ndarray, "batch candidate dim"]:
        rows = np.maximum(candidates.rows, 0)
        return self.bank.gather(rows.ravel()).reshape(*rows.shape, -1).astype(np.float64)

    @functools.cached_property
    def _late_interaction(self) -> LateInteraction | None:
        sentences = self.pieces.get("sentences")
        return None if sentences is None else LateInteraction(sentences, self.context)

    @functools.cached_property
    def _token_interaction(self) -> TokenInteraction | None:
        tokens = self.pieces.get("tokens")
        return None if tokens is None else TokenInteraction(tokens, token_rarity(tokens, self._counted or self.pool))

    @functools.cached_property
    def _words(self) -> PassageWords | None:
        if not self.bank.has_texts:
            return None
        return self._known_words or count_words(self.bank, self.pool, self._counted)

    @functools.cached_property
    def _density(self) -> Float[np.ndarray, "bank neighbour"]:
        if self._known_density is not None:
            return self._known_density
        return neighbour_cosines(self.bank, self.pool, self._counted)

    @functools.cached_property
    def _characters(self) -> Float[np.ndarray, "bank"]:
        lengths = np.full(len(self.bank), np.nan)
        if self.bank.has_texts:
            rows = np.flatnonzero(self.pool.mask)
            lengths[rows] = [len(text) for text in self.bank.texts(rows)]
        return lengths

    def _crowding(self, contexts: Contexts, candidates: CandidateLists, columns: Columns) -> Columns:
        """Return the neighbours' cosines of candidates and newest passages, and the differences to cosines."""
        theirs = self._density[np.maximum(candidates.rows, 0)].astype(np.float64)
        newest = contexts.rows[:, -1]
        own = np.where(newest[:, None] >= 0, self._density[newest], np.nan)[:, None, :].astype(np.float64)
        found = {f"neighbour {n}": theirs[:, :, place] for place, n in enumerate(NEIGHBOURS)}
        shape = candidates.rows.shape
        found |= {f"newest neighbour {n}": np.broadcast_to(own[:, :, place], shape)
                  for place, n in enumerate(NEIGHBOURS[:2])}  # fmt: skip
        cosine = columns["newest cosine"]
        for place, n in enumerate(NEIGHBOURS[:2]):
            found[f"newest cosine - neighbour {n}"] = cosine - theirs[:, :, place]
            found[f"newest cosine - newest neighbour {n}"] = cosine - own[:, :, place]
        found["prediction cosine - neighbour 10"] = columns["prediction cosine"] - theirs[:, :, 1]
        return found

    def _overlaps(self, contexts: Contexts, candidates: CandidateLists) -> Columns:
        """Return BM25 overlaps; missing where the contexts or the bank bring no texts."""
        if contexts.texts is None or self._words is None:
            return dict.fromkeys(_names(self.context)["words"], np.full(candidates.rows.shape, np.nan))
        found = np.full((*candidates.rows.shape, self.context + 3), np.nan)
        passages = [texts[::-1][: self.context] for texts in contexts.texts]
        flat = sorted({text for texts in passages for text in texts})
        counted = {text: self._words.counted(cut) for text, cut in zip(flat, cut_words(flat), strict=True)}
        for number, texts in enumerate(passages):
            rows = candidates.rows[number][candidates.there[number]]
            values = overlaps(self._words, [counted[text] for text in texts], rows)
            found[number, : len(rows), : len(texts)] = values[:, :-3]
            found[number, : len(rows), -3:] = values[:, -3:]
        by_passage = np.moveaxis(found[:, :, :-3], 2, 0)
        columns = {"newest words": by_passage[0]}
        columns |= {f"words {place} back": by_passage[place] for place in range(1, self.context)}
        columns |= {"words sum": _sum(by_passage), "words best": np.fmax.reduce(by_passage, axis=0)}
        last = ("reverse words", "rarest shared word", "share of own words")
        return columns | {name: found[:, :, place - 3] for place, name in enumerate(last)}

    def _lengths(self, contexts: Contexts, candidates: CandidateLists) -> Columns:
        characters = self._characters[np.maximum(candidates.rows, 0)]
        newest = np.full((len(contexts), 1), np.nan)
        if contexts.texts is not None:
            newest[:, 0] = [max(1, len(texts[-1])) if texts else np.nan for texts in contexts.texts]
        return {"characters": characters, "length ratio": characters / newest}


def _names(context: int) -> dict[Group, tuple[str, ...]]:
    """Return the names of each group's features, except ``places``."""
    pairs = NEIGHBOURS[:2]
    return {
        "prediction": ("prediction cosine",),
        "context": ("newest cosine", *(f"cosine {place} back" for place in range(1, context)), "best context cosine",
                    "mean context cosine", "least context cosine", "newest cosine - oldest", "newest cosine - second"),
        "density": (*(f"neighbour {n}" for n in NEIGHBOURS), *(f"newest neighbour {n}" for n in pairs),
                    *(f"newest cosine - neighbour {n}" for n in pairs),
                    *(f"newest cosine - newest neighbour {n}" for n in pairs), "prediction cosine - neighbour 10"),
        "list": ("centre cosine", "likest candidates"),
        "words": ("newest words", *(f"words {place} back" for place in range(1, context)), "words sum", "words best",
                  "reverse words", "rarest shared word", "share of own words"),
        "length": ("characters", "length ratio"),
        "sentences": late_interaction.NAMES,
        "tokens": token_interaction.NAMES,
    }  # fmt: skip


def _cosines(
    contexts: Contexts, candidates: CandidateLists, vectors: Float[np.ndarray, "batch candidate dim"], *, context: int
) -> dict[str, Float[np.ndarray, "batch candidate"]]:
    """Return the cosines with the prediction and with the passages read, and summaries over the context."""
    predicted = candidates.queries
    read = contexts.vectors[:, ::-1][:, :context]  # [batch, context, dim], newest first
    there = contexts.mask[:, ::-1][:, :context]
    queries = read if predicted is None else np.concatenate([predicted[:, None], read], axis=1)
    products = np.moveaxis(vectors @ queries.astype(np.float64).transpose(0, 2, 1), 2, 0)  # [query, batch, candidate]
    missing = np.full(candidates.rows.shape, np.nan)
    cosines = np.full((context, *candidates.rows.shape), np.nan)
    cosines[: read.shape[1]] = np.where(there.T[:, :, None], products[-read.shape[1] :], np.nan)
    oldest = np.clip(there.sum(axis=1) - 1, 0, None)
    columns = {"prediction cosine": missing if predicted is None else products[0], "newest cosine": cosines[0]}
    columns |= {f"cosine {place} back": cosines[place] for place in range(1, context)}
    columns |= {
        "best context cosine": np.fmax.reduce(cosines, axis=0),
        "mean context cosine": _sum(cosines) / np.maximum(oldest + 1, 1)[:, None],
        "least context cosine": np.fmin.reduce(cosines, axis=0),
        "newest cosine - oldest": cosines[0] - cosines[oldest, np.arange(len(oldest))],
        "newest cosine - second": cosines[0] - (cosines[1] if context > 1 else missing),
    }
    return columns


def _sum(values: Float[np.ndarray, "context batch candidate"]) -> Float[np.ndarray, "batch candidate"]:
    """Add up the known values; NaN without any."""
    known = ~np.isnan(values)
    return np.where(known.any(axis=0), np.where(known, values, 0.0).sum(axis=0), np.nan)


def _within_list(candidates: CandidateLists, vectors: Float[np.ndarray, "batch candidate dim"]) -> Columns:
    """Return the cosine with the mean of the list's best, and with the most similar of the other good candidates."""
    best = _best(candidates, CENTRE).astype(np.float64)
    centre = (best[:, None, :] @ vectors)[:, 0]  # [batch, dim]
    centre /= np.maximum(np.linalg.norm(centre, axis=1, keepdims=True), 1e-12)
    return {
        "centre cosine": (vectors @ centre[:, :, None])[:, :, 0],
        "likest candidates": _most_similar(vectors, _best(candidates, BEST)),
    }


def _best(candidates: CandidateLists, count: int) -> Bool[np.ndarray, "batch candidate"]:
    """Return the best candidates of the first stage, with all that tie with the last of them."""
    first = candidates.first
    line = -np.sort(-first, axis=1)[:, min(count, first.shape[1]) - 1, None]
    return candidates.there & (first >= line - TIE)


def _most_similar(
    vectors: Float[np.ndarray, "batch candidate dim"], good: Bool[np.ndarray, "batch candidate"]
) -> Float[np.ndarray, "batch candidate"]:
    """Return the mean cosine of the most similar other good candidates; NaN without any."""
    width = max(1, int(good.sum(axis=1).max(initial=0)))
    among = np.argsort(~good, axis=1, kind="stable")[:, :width]  # [batch, good]
    lists = np.arange(len(among))[:, None]  # plain indexing: np.take_along_axis takes three times as long here
    chosen = vectors[lists, among]
    cosines = vectors @ chosen.transpose(0, 2, 1)  # [batch, candidate, good]
    itself = np.arange(vectors.shape[1])[None, :, None] == among[:, None, :]
    cosines[itself | ~good[lists, among][:, None, :]] = -np.inf
    best = -np.sort(-cosines, axis=2)[:, :, :SIMILAR]
    there = best > -np.inf
    count = there.sum(axis=2)
    total = np.where(there, best, 0.0).sum(axis=2)
    return np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)


def _places(columns: Columns, there: Bool[np.ndarray, "batch candidate"]) -> Columns:
    """Return how many candidates of the list are better, and the distance to the best."""
    values = np.stack(list(columns.values()))  # [feature, batch, candidate]
    known = np.where(there & ~np.isnan(values), values, -np.inf)
    ranks = _better(known.reshape(-1, known.shape[2])).reshape(known.shape)
    ranks[known == -np.inf] = np.nan
    best = known.max(axis=2, keepdims=True)
    distances = values - np.where(best == -np.inf, np.nan, best)
    found = {f"rank of {name}": rank for name, rank in zip(columns, ranks, strict=True)}
    return found | {f"distance of {name}": distance for name, distance in zip(columns, distances, strict=True)}


def _better(values: Float[np.ndarray, "batch candidate"]) -> Float[np.ndarray, "batch candidate"]:
    """Count the candidates of each list that are better than each by more than a tie.

    >>> _better(np.array([[0.5, 0.9, 0.9, 0.1]])).tolist()
    [[2.0, 0.0, 0.0, 3.0]]
    """
    rising = np.sort(values, axis=1)
    places = (np.searchsorted(one, line, side="right") for one, line in zip(rising, values + TIE, strict=True))
    return float(values.shape[1]) - np.stack(list(places))


NEIGHBOURS = (1, 10, 50)
ROWS_AT_ONCE = 1024


def neighbour_cosines(
    bank: Bank, pool: Pool, counted: Pool | None = None, *, progress: Progress = no_progress
) -> Float[np.ndarray, "bank neighbour"]:
    """Return the cosines of each live row of ``pool`` with its 1st, 10th and 50th neighbour, float32.

    Duplicates of a passage are not neighbours of it. NaN where there are fewer neighbours, and outside the pool.

    Args:
        bank: the passages.
        pool: the rows that get a value.
        counted: pool of the neighbours; None: ``pool``.
        progress: called with the rows done.
    """
    among = counted or pool
    cosines = np.full((len(bank), len(NEIGHBOURS)), np.nan, dtype=np.float32)
    rows = np.flatnonzero(pool.mask)
    for start in range(0, len(rows), ROWS_AT_ONCE):
        part = rows[start : start + ROWS_AT_ONCE]
        found = top_k(bank.gather(part), among, max(NEIGHBOURS), exclude=part[:, None]).scores
        cosines[part] = found[:, np.array(NEIGHBOURS) - 1]
        progress(start + len(part), len(rows), "neighbours of passages")
    cosines[np.isneginf(cosines)] = np.nan
    return cosines


Fitted = TypeVar("Fitted", bound="FeatureReranker")


@dataclass(frozen=True)
class FeatureReranker(ABC):
    """Base class of fitted rerankers that read features.

    Attributes:
        features: features over the bank that is searched.
    """

    features: Features
    kind: ClassVar[str]
    files: ClassVar[tuple[str, ...]]
    requires_text: ClassVar[bool] = False

    @property
    def reads_text(self) -> bool:
        """Whether its features do."""
        return self.features.reads_text

    @property
    def counts_bank(self) -> bool:
        """Whether its features do."""
        return self.features.counts_bank

    def over(self: Fitted, bank: Bank) -> Fitted:
        """Return the same reranker over another bank."""
        return replace(self, features=self.features.over(bank))

    def counting(self: Fitted, documents: Int[np.ndarray, "counted"]) -> Fitted:
        """Return the same reranker, the features' statistics counted over some documents only."""
        return replace(self, features=self.features.counting(documents))

    def save_part(self, writer: PartWriter) -> Description:
        """Write what was fitted and what it reads."""
        self.save(writer.folder / RERANKER)
        return {"kind": self.kind, "features": self.features.save_part(writer)}

    @classmethod
    def load_part(cls: type[Fitted], about: Description, reader: PartReader) -> Fitted:
        """Read what ``save_part`` wrote."""
        return cls.load(reader.folder / RERANKER, Features.load_part(about["features"], reader))

    def save(self, folder: Path, *, record: Mapping[str, object] | None = None) -> None:
        """Write what was fitted, the features that it reads, and the record of the fit."""
        about = {"format": 1, "kind": self.kind, "groups": self.features.groups, "context": self.features.context,
                 "features": self.features.names}  # fmt: skip
        about |= self._save_fitted(folder)
        files = hashes_of(folder, self.files)
        write_json(folder / f"{self.kind}.json", {**about, "fit": record, "files": files})

    @classmethod
    def load(cls: type[Fitted], folder: Path, features: Features) -> Fitted:
        """Read a fitted reranker back.

        Args:
            folder: folder that it was saved in.
            features: features over the bank that is searched; the same ones that it was fitted on.

        Raises:
            InputError: a file is missing or broken, or it reads other features.
        """
        known = read_json(folder / f"{cls.kind}.json")
        require_hashes(folder, known.get("files"), fix="delete the folder and fit again")
        if tuple(known.get("features", ())) != features.names:
            raise InputError(f"the {cls.kind} reranker in {folder} reads other features",
                             got=len(known.get("features", ())), expected=len(features.names),
                             fix="set the [rerank] features of that run, or fit again")  # fmt: skip
        return cls._load_fitted(folder, features, known)

    @abstractmethod
    def _save_fitted(self, folder: Path) -> Mapping[str, object]:
        """Write the files of what was fitted, and return what else loading needs."""

    @classmethod
    @abstractmethod
    def _load_fitted(cls: type[Fitted], folder: Path, features: Features, known: Mapping[str, Any]) -> Fitted:
        """Read what ``_save_fitted`` wrote and returned."""
