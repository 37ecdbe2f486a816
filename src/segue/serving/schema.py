"""The shapes of requests and answers; requests are made for the limits and the dimension of one server."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, cast

import numpy as np
from fastapi import Response
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from segue.bundles.answers import Answer, NextPassage
from segue.bundles.questions import Question
from segue.bundles.retriever import ReleasedRetriever
from segue.serving.settings import Limits

Id = Annotated[str, Field(min_length=1, max_length=1000)]
WAYS = ("passages", "text", "vectors", "ids")


class Request(BaseModel):
    """A request's body: unknown fields are errors, and so are values of another type."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


@dataclass(frozen=True)
class Requests:
    """The bodies that a server takes, by route."""

    next: type[Request]
    predict: type[Request]
    search: type[Request]


def requests_for(limits: Limits, dimension: int) -> Requests:
    """Return the request models for a server's limits and its bundle's dimension."""
    read = _read_fields(limits, dimension)
    asked = _asked_fields(limits)
    drawn: dict[str, Any] = {
        "map": (bool, Field(False, description="also return 2-D coordinates of what was read, predicted and answered"))
    }
    one_way = {"oneOf": [{"required": [way]} for way in WAYS]}
    vector = {"vector": (list[float], Field(default_factory=list, min_length=dimension, max_length=dimension,
                                            description="a unit vector of the bundle's space")),
              "text": (str, Field(default_factory=str, min_length=1, max_length=limits.passage_characters,
                                  description="instead: a text to encode"))}  # fmt: skip
    return Requests(
        _model("NextRequest", {**read, **asked, **drawn}, one_way),
        _model("PredictRequest", read, one_way),
        _model("SearchRequest", {**vector, **asked}, {"oneOf": [{"required": ["vector"]}, {"required": ["text"]}]}),
    )


def _model(name: str, fields: dict[str, Any], schema: dict[str, Any]) -> type[Request]:
    base: Any = type("Base", (Request,), {"model_config": ConfigDict(json_schema_extra=schema), "__module__": __name__})
    return cast("type[Request]", create_model(name, __base__=base, **fields))


def _read_fields(limits: Limits, dimension: int) -> dict[str, Any]:
    passage = Annotated[str, Field(min_length=1, max_length=limits.passage_characters)]
    vector = Annotated[list[float], Field(min_length=dimension, max_length=dimension)]
    several: dict[str, Any] = {"default_factory": list, "min_length": 1, "max_length": limits.passages}
    return {
        "passages": (list[passage], Field(**several, description="what was read, oldest first")),
        "text": (str, Field(default_factory=str, min_length=1, max_length=limits.text_characters,
                            description="instead: the beginning of a document; it is cut into passages")),
        "vectors": (list[vector], Field(**several, description="instead: unit vectors of what was read")),
        "ids": (list[Id], Field(**several, description="instead: ids of passages of the bundle")),
    }  # fmt: skip


def _asked_fields(limits: Limits) -> dict[str, Any]:
    return {
        "k": (int, Field(5, ge=1, le=limits.k, description="passages to answer")),
        "exclude": (list[Id], Field(default_factory=list, max_length=limits.passages,
                                       description="ids that may not be answered")),
        "documents": (list[Id], Field(default_factory=list, max_length=limits.passages,
                                         description="ids of the documents to answer from; empty: all")),
    }  # fmt: skip


class WhyBody(BaseModel):
    """Why a passage was answered."""

    prediction: float | None = Field(description="cosine to the predicted vector")
    context: list[float] = Field(description="cosine to each passage read, oldest first")
    rerank: float | None = Field(description="the reranker's score; null without one, and for what it was not given")


class PassageBody(BaseModel):
    """A passage of the bundle."""

    id: str
    document: str
    title: str
    position: int = Field(description="counted from 0 in its document")
    text: str | None


class FoundBody(PassageBody):
    """A passage that was answered."""

    score: float = Field(description="orders the answers of one request; not comparable between requests")
    why: WhyBody


class ReadBody(BaseModel):
    """A passage that was read; all but the text is null where the bundle does not hold it."""

    id: str | None
    text: str | None


class MapBody(BaseModel):
    """Positions in the plane that keeps most of the distances between these vectors."""

    read: list[list[float]]
    prediction: list[float] | None
    passages: list[list[float]]


class NextBody(BaseModel):
    """The passages that may come next, best first."""

    passages: list[FoundBody]
    read: list[ReadBody] = Field(description="what was read, oldest first: at most as many as the bundle's context")
    true_next: str | None = Field(
        description="id of the passage that follows in the bundle, where what was read is there"
    )
    confidence: dict[str, float] | None = Field(
        description="probability that the true next passage is the first (R@1), or among the first five (R@5)"
    )
    bundle: str = Field(description="version of the bundle that answered")
    milliseconds: dict[str, float] = Field(description="by stage, of the batch that the request was answered in")
    map: MapBody | None = None


class PredictBody(BaseModel):
    """The predicted vector of the next passage."""

    vector: list[float] = Field(description="length 1")
    bundle: str


class SearchBody(BaseModel):
    """The nearest passages, best first."""

    passages: list[FoundBody]
    bundle: str


class PassagesBody(BaseModel):
    """A page of the passages of a document."""

    passages: list[PassageBody]
    total: int


class DocumentBody(BaseModel):
    """A document of the bundle."""

    id: str
    title: str
    passages: int


class DocumentsBody(BaseModel):
    """A page of the documents of the bundle."""

    documents: list[DocumentBody]
    total: int


class InfoBody(BaseModel):
    """What is served."""

    bundle: str
    name: str
    segue: str
    contract: dict[str, Any]
    gates: dict[str, Any]
    card: str = Field(description="the model card, Markdown")
    limits: dict[str, Any]
    reads_texts: bool
    predicts: bool
    confident: bool = Field(description="whether answers say how likely they are right")


class StateBody(BaseModel):
    """Whether the server lives, or is ready."""

    status: str


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


MOST_PROBLEMS = 10


class Problem(BaseModel):
    """One thing that is wrong with a request."""

    where: str = Field(description="the field, as in vectors.0.3; empty for the request as a whole")
    what: str = Field(description="what is wrong with it")


class ErrorBody(BaseModel):
    """What went wrong."""

    code: str = Field(description="for programs", examples=["invalid_request"])
    message: str = Field(description="for people: what was found, what was expected, what to do")
    problems: list[Problem] = Field(default_factory=list, description="one for each field")


class ErrorResponse(BaseModel):
    """Every answer that is no success."""

    error: ErrorBody


def problem(
    status: int, code: str, message: str, problems: Sequence[dict[str, str]] = (), *, close: bool = False
) -> Response:
    """Return an error as a response."""
    body = {"error": {"code": code, "message": message, "problems": list(problems)}}
    headers = {"connection": "close"} if close else {}
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    if status in (429, 503):
        headers["retry-after"] = "1"
    return answer(body, status=status, headers=headers)


def answer(value: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return JSON values as a response."""
    content = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8")
    return Response(content, status_code=status, media_type="application/json", headers=headers)


def invalid(error: ValidationError) -> Response:
    """Tell which fields of a request are wrong; what was sent is not repeated."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    if any(one["type"] == "json_invalid" for one in found):
        return problem(400, "invalid_json", f"the body is no JSON: {found[0]['msg']}")
    problems = [
        {"where": ".".join(str(part)[:40] for part in one["loc"]), "what": one["msg"]} for one in found[:MOST_PROBLEMS]
    ]
    more = f" and {len(found) - len(problems)} more" if len(found) > len(problems) else ""
    first = f"{problems[0]['where']}: {problems[0]['what']}" if problems[0]["where"] else problems[0]["what"]
    return problem(422, "invalid_request", f"the request cannot be used: {first}{more}", problems)
