"""Requests become questions, answers become JSON values."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from segue.release.answers import Answer, NextPassage
from segue.release.questions import Question
from segue.release.released import ReleasedRetriever


def as_question(body: Any) -> Question:
    """Return the question of a request for /v1/next or /v1/predict; what was not given is None."""
    given = body.model_fields_set
    ways = {way: getattr(body, way) for way in ("passages", "text", "vectors", "ids") if way in given}
    asked = {name: getattr(body, name) for name in ("k", "exclude") if hasattr(body, name)}
    documents = getattr(body, "documents", None) or None
    return Question(**ways, **asked, documents=documents)


def next_json(answer: Answer, released: ReleasedRetriever, *, drawn: bool) -> dict[str, Any]:
    """Return the body of an answer to /v1/next."""
    return {
        "passages": [found_json(passage) for passage in answer],
        "read": [{"id": name, "text": text} for name, text in zip(answer.read, answer.texts, strict=True)],
        "true_next": released.following(answer.read[-1]),
        "confidence": answer.confidence,
        "bundle": released.bundle.version,
        "milliseconds": answer.milliseconds,
        "map": plane(answer, released) if drawn else None,
    }


def found_json(passage: NextPassage) -> dict[str, Any]:
    """Return an answered passage."""
    why = {"prediction": passage.why.prediction, "context": passage.why.context, "rerank": passage.why.rerank}
    return passage_json(passage) | {"score": passage.score, "why": why}


def passage_json(passage: NextPassage) -> dict[str, Any]:
    """Return a passage of the bundle."""
    return {name: getattr(passage, name) for name in ("id", "document", "title", "position", "text")}


def plane(answer: Answer, released: ReleasedRetriever) -> dict[str, Any]:
    """Project what was read, predicted and answered onto the plane of its two principal components."""
    rows = np.array([released.lookup.row(passage.id) for passage in answer], dtype=np.int64)
    parts = [answer.vectors, released.bundle.bank.gather(rows)]
    parts += [] if answer.prediction is None else [answer.prediction[None]]
    places = principal_plane(np.concatenate(parts)).tolist()
    read, found = len(answer.vectors), len(answer.vectors) + len(rows)
    return {
        "read": places[:read],
        "passages": places[read:found],
        "prediction": places[found] if places[found:] else None,
    }


def principal_plane(vectors: Float[np.ndarray, "point dim"]) -> Float[np.ndarray, "point 2"]:
    """Return the coordinates of points in the plane of their two principal components.

    >>> principal_plane(np.array([[1.0, 0.0, 0.0], [3.0, 0.0, 0.0]])).round(6).tolist() in (
    ...     [[-1.0, 0.0], [1.0, 0.0]], [[1.0, 0.0], [-1.0, 0.0]])
    True
    """
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    places = np.zeros((len(vectors), 2))
    kept = min(2, len(sizes))
    places[:, :kept] = left[:, :kept] * sizes[:kept]
    return np.where(np.abs(places) < 1e-12, 0.0, places)
