"""Rules of retrievers and rerankers of the user's own, checked on a small world of random passages.

Each rule is a function; its docstring states the reason. A broken rule raises ``AssertionError``. A reranker is checked
behind a first stage, as it is compared.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from segue.bank.bank import PassageBank
from segue.encoders import EncoderSettings
from segue.parts import as_in_another_process, hand_in
from segue.ranking.pool import Pool
from segue.retrieval.own import OwnPart
from segue.retrieval.registry import KINDS
from segue.retrieval.rerank.own import OwnReranker
from segue.retrieval.retrievers import Retriever, VectorRetriever
from segue.retrieval.retrievers.baselines import copy_last
from segue.retrieval.retrievers.cascade import Cascade
from segue.retrieval.retrievers.conformance import (
    CLOSE,
    check_agreement,
    check_candidates,
    check_form,
    check_single,
)
from segue.retrieval.retrievers.own import own_retriever
from segue.retrieval.saving import PartReader, PartWriter
from segue.types import Bank, Contexts, Rankings, Windows
from segue.windows.windows import WindowSettings, gather_contexts, make_windows

DOCUMENTS, LENGTH, DIMENSION, WORDS = 10, 7, 12, 30
PLACES = 10
"""Places of the rankings."""


@dataclass(frozen=True)
class Trial:
    """A retriever over a small world."""

    retriever: Retriever
    bank: Bank
    windows: Windows

    @functools.cached_property
    def contexts(self) -> Contexts:
        """The contexts of all windows."""
        return gather_contexts(self.bank, self.windows, texts=self.retriever.reads_text)

    @property
    def rankings(self) -> Rankings:
        """What it answers now."""
        return self.retriever.rank(self.contexts, PLACES)

    @property
    def ranks(self) -> np.ndarray:
        """The exact ranks of the targets."""
        return self.retriever.target_ranks(self.contexts, self.windows.target)


@functools.cache
def _world(*, backwards: bool) -> tuple[PassageBank, Windows]:
    """Return a bank of documents that wander, with a text that two documents share, and its windows."""
    generator = np.random.default_rng(5)
    vectors = np.cumsum(generator.standard_normal((DOCUMENTS, LENGTH, DIMENSION)), axis=1)
    words = generator.integers(WORDS, size=(DOCUMENTS, LENGTH, 6))
    words[3, 2], vectors[3, 2] = words[6, 4], vectors[6, 4]
    order = np.arange(DOCUMENTS)[:: -1 if backwards else 1]
    flat = vectors[order].reshape(-1, DIMENSION)
    texts = [" ".join(f"w{word}" for word in passage) for passage in words[order].reshape(-1, 6)]
    ids = [f"document {number}" for number in order for _ in range(LENGTH)]
    bank = PassageBank.from_arrays(flat / np.linalg.norm(flat, axis=1, keepdims=True), ids, texts)
    return bank, make_windows(bank, np.argsort(order), WindowSettings(context=3, minimum_context=1))


def retriever_subject(make: Callable[[], Any]) -> Trial:
    """Return a new retriever over the small world, fitted on its windows where it can be."""
    bank, windows = _world(backwards=False)
    part = make()
    own = OwnPart("retriever", "own", *hand_in("retriever", part), part).fitted(bank, windows)
    return Trial(own_retriever(own, Pool(bank)), bank, windows)


def reranker_subject(make: Callable[[], Any]) -> Trial:
    """Return a new reranker behind copy-last over the small world."""
    bank, windows = _world(backwards=False)
    part = make()
    own = OwnPart("reranker", "own", *hand_in("reranker", part), part).fitted(bank, windows).over(bank)
    first = VectorRetriever("copy-last", "candidate", copy_last, Pool(bank))
    return Trial(Cascade("own", "candidate", first, PLACES, OwnReranker(own, bank)), bank, windows)


def check_rankings_in_order(trial: Trial) -> None:
    """Check that a ranking has its places filled from the first, with scores that fall."""
    check_form(trial.rankings, len(trial.windows), PLACES)


def check_nothing_read_is_answered(trial: Trial) -> None:
    """Check that passages that were read, and their duplicates, are never answered, and no text twice."""
    check_candidates(trial.retriever, trial.bank, trial.contexts, trial.rankings)


def check_ranks_agree_with_rankings(trial: Trial) -> None:
    """Check that a target's rank is its place in the ranking: evaluation counts ranks, users see rankings."""
    check_agreement(trial.bank, trial.windows, trial.rankings, trial.ranks)


def check_same_answers_again(trial: Trial) -> None:
    """Check that the same contexts get the same answers: nothing is kept from one call to the next, or drawn."""
    first, again = trial.rankings, trial.rankings
    assert np.array_equal(first.rows, again.rows), "the same contexts get other answers the second time"


def check_same_answers_alone_and_in_a_batch(trial: Trial) -> None:
    """Check that a context's answers do not depend on the rest of the batch."""
    check_single(trial.retriever, trial.contexts, trial.windows, trial.rankings, trial.ranks)


def check_order_of_the_bank_does_not_matter(trial: Trial) -> None:
    """Check that ranks stay where the rows of the bank are in another order: rows next to each other are no hint."""
    bank, windows = _world(backwards=True)
    moved = Trial(trial.retriever.over(bank), bank, windows)
    assert np.array_equal(moved.ranks, trial.ranks), "ranks depend on the order of the bank's rows"


def check_another_bank_changes_nothing(trial: Trial) -> None:
    """Check that the retriever over its first bank answers as before when it was moved to another one."""
    before = trial.rankings
    trial.retriever.over(_world(backwards=True)[0])
    assert np.array_equal(trial.rankings.rows, before.rows), "over(another bank) changes the answers over the first"


def check_contexts_are_kept(trial: Trial) -> None:
    """Check that the caller's arrays are not changed."""
    before = trial.contexts.vectors.copy(), trial.contexts.rows.copy()
    trial.retriever.rank(trial.contexts, PLACES)
    assert np.array_equal(trial.contexts.vectors, before[0]), "the vectors of the contexts were changed"
    assert np.array_equal(trial.contexts.rows, before[1]), "the rows of the contexts were changed"


def check_made_again_elsewhere(trial: Trial) -> None:
    """Check that another process can make it from its import path, its options and what it saved, as bundles do."""
    with tempfile.TemporaryDirectory() as folder:
        nothing = np.zeros(len(trial.bank))
        about = trial.retriever.save_part(PartWriter(Path(folder), None, None, lambda: nothing, None))
        assert isinstance(trial.bank, PassageBank)
        reader = PartReader(Path(folder), trial.bank, KINDS, load_encoder=_no_encoder, encoder=EncoderSettings(),
                            index={"kind": "exact"}, device="cpu")  # fmt: skip
        with as_in_another_process():
            again = replace(trial, retriever=reader.read(about))
    assert np.array_equal(again.rankings.rows, trial.rankings.rows), "made again, it answers otherwise"


def _no_encoder() -> Any:
    raise AssertionError("an own part does not ask for the bank's encoder")


def check_order_of_candidates_does_not_matter(trial: Trial) -> None:
    """Check that a candidate's score does not depend on its place in the list, which has no meaning."""
    assert isinstance(trial.retriever, Cascade)
    lists = trial.retriever.candidates(trial.contexts).candidates
    back = replace(lists, rows=lists.rows[:, ::-1].copy(), first=lists.first[:, ::-1].copy(), sources=None)
    lists = replace(lists, sources=None)
    scores = trial.retriever.reranker.scores(trial.contexts, lists)
    turned = trial.retriever.reranker.scores(trial.contexts, back)[:, ::-1]
    there = lists.there
    assert np.allclose(scores[there], turned[there], rtol=CLOSE, atol=CLOSE), "scores depend on the order of the list"


def check_pads_do_not_matter(trial: Trial) -> None:
    """Check that empty places at the end of the lists change no score."""
    assert isinstance(trial.retriever, Cascade)
    lists = replace(trial.retriever.candidates(trial.contexts).candidates, sources=None)
    wide = ((0, 0), (0, 3))
    padded = replace(lists, rows=np.pad(lists.rows, wide, constant_values=-1),
                     first=np.pad(lists.first, wide, constant_values=-np.inf))  # fmt: skip
    scores = trial.retriever.reranker.scores(trial.contexts, lists)[lists.there]
    more = trial.retriever.reranker.scores(trial.contexts, padded)[padded.there]
    assert np.allclose(scores, more, rtol=CLOSE, atol=CLOSE), "scores depend on the pads"


RETRIEVER_RULES: tuple[Callable[[Trial], None], ...] = (
    check_rankings_in_order,
    check_nothing_read_is_answered,
    check_ranks_agree_with_rankings,
    check_same_answers_again,
    check_same_answers_alone_and_in_a_batch,
    check_order_of_the_bank_does_not_matter,
    check_another_bank_changes_nothing,
    check_contexts_are_kept,
    check_made_again_elsewhere,
)
RERANKER_RULES: tuple[Callable[[Trial], None], ...] = (
    *RETRIEVER_RULES,
    check_order_of_candidates_does_not_matter,
    check_pads_do_not_matter,
)
