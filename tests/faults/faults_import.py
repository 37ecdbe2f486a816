"""Faults of an import: vectors and texts that were spoilt before they became a bank, and essays as they should be."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import numpy as np
import worlds
from fault import Fault

from segue.checks import Case
from segue.ranking.pool import Pool

TEXTS, VECTORS = worlds.essay_texts_and_vectors()
DOCUMENTS, LENGTH, DIMENSION = VECTORS.shape


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def essays(make=dict, *, length=LENGTH):
    """Return a fault whose case is a bank alone, of the vectors and texts that ``make`` returns."""

    def inject(healthy, folder):
        spoilt = {"vectors": VECTORS, "texts": TEXTS, **make()}
        vectors = spoilt["vectors"].reshape(-1, DIMENSION).astype(np.float32)
        texts = [text for passages in spoilt["texts"] for text in passages]
        lengths = [length] * (len(vectors) // length)
        rows = sum(lengths)
        bank = worlds.make_bank(vectors[:rows], lengths, texts[:rows])
        return Case(bank, Pool(bank), effort=healthy.case.effort)

    return inject


def mixed(share, shift):
    """Mix each vector with that of another passage of its document, ``shift`` places on."""
    vectors = VECTORS.copy()
    inside = slice(None, -shift) if shift > 0 else slice(-shift, None)
    other = slice(shift, None) if shift > 0 else slice(None, shift)
    vectors[:, inside] = unit((1 - share) * VECTORS[:, inside] + share * VECTORS[:, other])
    return {"vectors": vectors}


def overlapping():
    """Begin every passage with the end of the one before it."""
    texts = [[passages[0], *(f"{' '.join(before.split()[-6:])} {after}" for before, after in pairwise(passages))]
             for passages in TEXTS]  # fmt: skip
    return {"texts": texts}


def some(change):
    """Change the vectors of every fifth document."""
    vectors = VECTORS.copy()
    vectors[::5] = change(vectors[::5])
    return {"vectors": vectors}


def rotated():
    turn = np.linalg.qr(np.random.default_rng(3).standard_normal((DIMENSION, DIMENSION)))[0]
    vectors = VECTORS.copy()
    vectors[1::2] = vectors[1::2] @ turn
    return {"vectors": vectors}


def sorted_as_text(first):
    order = np.array(sorted(range(first, LENGTH + first), key=str)) - first
    return {"vectors": VECTORS[:, order], "texts": [[passages[place] for place in order] for passages in TEXTS]}


def rolled(shift):
    """Shift the rows of the whole matrix."""
    return {"vectors": np.roll(VECTORS.reshape(-1, DIMENSION), shift, axis=0).reshape(VECTORS.shape)}


def shuffled():
    """Shuffle the rows of the whole matrix."""
    return {"vectors": np.random.default_rng(5).permutation(VECTORS.reshape(-1, DIMENSION)).reshape(VECTORS.shape)}


def shuffled_inside():
    """Shuffle the rows of each document."""
    generator = np.random.default_rng(6)
    return {"vectors": np.stack([generator.permutation(vectors) for vectors in VECTORS])}


def placeholders():
    """Give every tenth passage the vector that stands for a call that failed."""
    vectors = VECTORS.reshape(-1, DIMENSION).copy()
    vectors[::10] = DIMENSION**-0.5
    return {"vectors": vectors.reshape(VECTORS.shape)}


READ, OTHER, LOST, SPACE = ("target-was-read", "vectors-of-other-texts", "documents-are-not-units", "spaces-differ")
_FAULTS = [
    Fault("honest-essays", "nothing: texts, and vectors of their own made elsewhere", essays()),
    Fault("earlier-passages-in-vectors", "nothing: vectors hold a little of the passage before, which was read",
          essays(lambda: mixed(0.25, -1))),
    Fault("vectors-look-ahead", "each vector holds a part of the next passage (late chunking)",
          essays(lambda: mixed(0.35, 1)), {"SG115": "issue"}, cause=READ),
    Fault("vectors-look-ahead-a-little", "each vector holds a fifth of the next passage",
          essays(lambda: mixed(0.2, 1)), {"SG115": "issue"}, cause=READ, half="unseen"),
    Fault("passages-overlap", "each passage begins with the last words of the one before", essays(overlapping),
          {"SG115": "issue"}, cause=READ, half="unseen"),
    Fault("one-row-off", "in a fifth of the documents each text has the vector of the passage before it",
          essays(lambda: some(lambda part: np.roll(part, 1, axis=1))), {"SG116": "issue"}, cause=OTHER),
    Fault("one-row-off-the-other-way", "in a fifth of the documents each text has the vector of the passage after it",
          essays(lambda: some(lambda part: np.roll(part, -1, axis=1))), {"SG116": "issue"}, cause=OTHER, half="unseen"),
    Fault("vectors-of-other-documents", "a fifth of the documents have each other's vectors",
          essays(lambda: some(lambda part: np.roll(part, 1, axis=0))), {"SG116": "issue"}, cause=OTHER, half="unseen"),
    Fault("all-rows-one-off", "the matrix begins one row too early", essays(lambda: rolled(1)),
          {"SG116": "issue", "SG117": "issue", "SG120": "issue"},
          "words fit the next vector, and documents begin with the end of the one before", cause=OTHER),
    Fault("all-rows-two-off", "the matrix begins two rows too late", essays(lambda: rolled(-2)),
          {"SG117": "issue", "SG120": "issue"}, "documents end with the beginning of the next one", cause=OTHER,
          half="unseen"),
    Fault("rows-shuffled", "the table was sorted after the vectors were written", essays(shuffled),
          {"SG120": "issue"}, cause=OTHER),
    Fault("rows-shuffled-inside-documents", "the passages of each document are in another order than their vectors",
          essays(shuffled_inside), {"SG120": "issue"}, cause=OTHER, half="unseen"),
    Fault("placeholder-vectors", "every tenth passage has one vector, of calls that failed", essays(placeholders),
          {"SG120": "issue"}, cause=OTHER),
    Fault("documents-are-shards", "a document is a shard of 37 passages, so that essays are cut",
          essays(length=37), {"SG117": "issue"}, cause=LOST),
    Fault("positions-sorted-as-text", "passages were sorted by their number from 0 as text",
          essays(lambda: sorted_as_text(0)), {"SG117": "issue"}, cause=LOST),
    Fault("positions-from-1-sorted-as-text", "passages were sorted by their number from 1 as text",
          essays(lambda: sorted_as_text(1)), {"SG117": "issue"}, cause=LOST, half="unseen"),
    Fault("centred-by-document", "the mean of each document was subtracted from its vectors",
          essays(lambda: {"vectors": unit(VECTORS - VECTORS.mean(axis=1, keepdims=True))}), {"SG106": "issue"},
          cause=SPACE),
    Fault("two-encoders-in-a-bank", "every other document is from another encoder under one declared name",
          essays(rotated), {"SG106": "issue"}, cause=SPACE, half="unseen"),
]  # fmt: skip
FAULTS = [dataclasses.replace(fault, enters="corpus") for fault in _FAULTS]
