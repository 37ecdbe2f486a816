"""A linear map from words to vectors: what SG115 and SG116 compare vectors with where no encoder is at hand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from segue.checks.case import Case, directions, pair_cosines
from segue.corpus.words import long_words
from segue.evaluation.intervals import standard_score

MINIMUM_DOCUMENTS = 12
"""Minimum number of documents with enough passages in a row."""
COMPONENTS = 256
"""Dimensions that the words are reduced to."""
PARTS = 5
"""Parts of the documents; each is mapped by what was fitted on the others."""
RIDGE = 1e-2
"""Ridge of the map, relative to the mean square of a component."""
POWER = 3.0
"""Standard errors by which words fit their own document's vectors better than another's, in most documents, where the
map can judge."""


@dataclass(frozen=True)
class WordFit:
    """Cosines of mapped words with vectors, one array for each document.

    Attributes:
        own: words of each passage with its own vector.
        after: words of each passage but the first with the vector of the passage before it (its words come after).
        before: words of each passage but the last with the vector of the passage after it.
        elsewhere: words of each passage with the vectors of other documents, in the mean.
    """

    own: list[Float[np.ndarray, "_"]]
    after: list[Float[np.ndarray, "_"]]
    before: list[Float[np.ndarray, "_"]]
    elsewhere: list[Float[np.ndarray, "_"]]

    @property
    def has_power(self) -> bool:
        """Whether words say enough about vectors for a comparison."""
        scores = [standard_score(own - other) for own, other in zip(self.own, self.elsewhere, strict=True)]
        return bool(np.median(scores) > POWER)


def word_fit(case: Case) -> WordFit:
    """Map the words of the case's runs of passages to vectors, each document by a map of others; computed once."""
    return case.cached("word fit", lambda: _word_fit(case))


def _word_fit(case: Case) -> WordFit:
    runs = case.passage_runs()
    rows = np.concatenate(runs)
    document = np.repeat(np.arange(len(runs)), [len(run) for run in runs])
    vectors = case.bank.gather(rows).astype(np.float64)
    vectors = np.where(np.isfinite(vectors).all(axis=1, keepdims=True), vectors, 0.0)
    mapped = _mapped(_words(case.bank.texts(rows)), vectors, document % PARTS)
    means = np.stack([vectors[document == number].mean(axis=0) for number in range(len(runs))])
    own = pair_cosines(mapped, vectors)
    by_document = mapped @ means.T  # [passage, document]
    inside = by_document[np.arange(len(rows)), document]
    elsewhere = (by_document.sum(axis=1) - inside) / (len(runs) - 1)
    follows = document[1:] == document[:-1]
    after = pair_cosines(mapped[1:], vectors[:-1])
    before = pair_cosines(mapped[:-1], vectors[1:])
    ends = np.flatnonzero(np.diff(document)) + 1
    pairs = np.flatnonzero(np.diff(document[1:][follows])) + 1
    return WordFit(np.split(own, ends), np.split(after[follows], pairs), np.split(before[follows], pairs),
                   np.split(elsewhere, ends))  # fmt: skip


def _words(texts: list[str]) -> Float[np.ndarray, "passage component"]:
    """Return the texts as tf-idf vectors in fewer dimensions (latent semantic analysis; Deerwester et al. 1990)."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    try:
        vectoriser = TfidfVectorizer(analyzer=long_words, sublinear_tf=True, min_df=2, max_features=20_000)
        counted = vectoriser.fit_transform(texts)
    except ValueError:  # no word occurs twice
        return np.zeros((len(texts), 1))
    with np.errstate(divide="ignore", invalid="ignore"):  # where all texts are alike, its share of variance is 0 / 0
        svd = TruncatedSVD(min(COMPONENTS, *counted.shape), random_state=0)
        reduced: Float[np.ndarray, "passage component"] = svd.fit_transform(counted)
    return reduced


def _mapped(
    words: Float[np.ndarray, "passage component"], vectors: Float[np.ndarray, "passage dim"], part: np.ndarray
) -> Float[np.ndarray, "passage dim"]:
    """Return the unit vectors that a ridge regression on the other parts gives each passage; 0 where it gives none."""
    mapped = np.zeros_like(vectors)
    for number in range(PARTS):
        fitted, held = words[part != number], part == number
        centre = vectors[part != number].mean(axis=0)
        square = fitted.T @ fitted
        ridge = RIDGE * len(fitted) * np.eye(len(square)) / len(square)
        weights = np.linalg.solve(square + ridge, fitted.T @ (vectors[part != number] - centre))
        mapped[held] = words[held] @ weights
    return directions(mapped)
