"""Bodies of requests and answers, and the one form of every error."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar

import numpy as np
from fastapi.responses import JSONResponse
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field

from segue.bundles.answers import Answer, NextPassage
from segue.bundles.queries import WAYS, Query
from segue.bundles.released_retriever import ReleasedRetriever
from segue.serving.settings import Limits

MAXIMUM_PROBLEMS = 10
Text = Annotated[str, Field(min_length=1)]
Id = Annotated[str, Field(min_length=1, max_length=1000)]


class Problem(BaseModel):
    """One thing that is wrong with a request."""

    where: str = Field(description="the field, as in vectors.0.3; empty for the request as a whole")
    what: str = Field(description="what is wrong with it")


class ErrorBody(BaseModel):
    """Description of an error."""

    code: str = Field(description="for programs", examples=["invalid_request"])
    message: str = Field(description="explanation: what was found, what was expected, what to do")
    problems: list[Problem] = Field(default_factory=list, description="one for each field, at most 10")


class ErrorResponse(BaseModel):
    """The body of every answer that is not a success."""

    error: ErrorBody


class ApiError(Exception):
    """An error that is answered to the client.

    Args:
        status: HTTP status.
        code: name of the error, for programs.
        message: text of the error, for readers.
        problems: what is wrong with which field.
        reason: label under which refused requests are counted.
        close: whether the connection is closed after the answer.
    """

    def __init__(self, status: int, code: str, message: str, problems: Sequence[Problem] = (), *,
                 reason: str = "", close: bool = False) -> None:  # fmt: skip
        super().__init__(message)
        self.status, self.reason, self.close = status, reason, close
        self.body = ErrorResponse(error=ErrorBody(code=code, message=message, problems=list(problems)))

    def response(self) -> JSONResponse:
        """Return the answer to the client."""
        headers = {"connection": "close"} if self.close else {}
        if self.status == 401:
            headers["www-authenticate"] = "Bearer"
        if self.status in (429, 503):
            headers["retry-after"] = "1"
        return JSONResponse(self.body.model_dump(), self.status, headers)


def invalid(problems: Sequence[Problem]) -> ApiError:
    """Return the error of a request whose fields are wrong."""
    first = f"{problems[0].where}: {problems[0].what}" if problems[0].where else problems[0].what
    more = f" and {len(problems) - MAXIMUM_PROBLEMS} more" if len(problems) > MAXIMUM_PROBLEMS else ""
    return ApiError(422, "invalid_request", f"the request cannot be used: {first}{more}", problems[:MAXIMUM_PROBLEMS])


class RequestBody(BaseModel):
    """A request's body: unknown fields and values of another type are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    text_limit: ClassVar[str] = "text_characters"

    def require_within(self, limits: Limits) -> None:
        """Refuse a body beyond the limits of the server.

        Raises:
            ApiError: names every field that is too large.
        """
        found = [Problem(where=where, what=f"at most {most} allowed, got {size}"[:80])
                 for where, size, most in self._sizes(limits) if size > most]  # fmt: skip
        if found:
            raise invalid(found)

    def _sizes(self, limits: Limits) -> Iterator[tuple[str, int, int]]:
        """Yield field, size and maximum size."""
        for name in type(self).model_fields:
            value = getattr(self, name)
            if name == "k":
                yield name, value, limits.k
            elif name == "text":
                yield name, len(value), getattr(limits, self.text_limit)
            elif isinstance(value, list) and name != "vector":
                yield name, len(value), limits.passages
        for place, passage in enumerate(getattr(self, "passages", ())):
            yield f"passages.{place}", len(passage), limits.passage_characters


class PredictRequest(RequestBody):
    """The passages read, given in one of four ways."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": [way]} for way in WAYS]})

    passages: list[Text] = Field([], min_length=1, description="what was read, oldest first")
    text: str = Field(
        "", min_length=1, description="instead of passages: the beginning of a document, which is cut into passages"
    )
    vectors: list[list[float]] = Field(
        [], min_length=1, description="instead of passages: unit vectors of what was read"
    )
    ids: list[Id] = Field([], min_length=1, description="instead of passages: ids of passages of the bundle")

    def as_query(self) -> Query:
        """Return the query; what was not given is None."""
        return Query(**{way: getattr(self, way) for way in WAYS if way in self.model_fields_set})


class AnswerFields(RequestBody):
    """Options of the answer."""

    k: int = Field(5, ge=1, description="passages to answer")
    exclude: list[Id] = Field([], description="ids that may not be answered")
    documents: list[Id] = Field([], description="ids of the documents to answer from; empty: all")


class NextRequest(PredictRequest, AnswerFields):
    """The passages read, and options of the answer."""

    map: bool = Field(False, description="also return 2-D coordinates of what was read, predicted and answered")

    def as_query(self) -> Query:
        """Return the query; what was not given is None."""
        return replace(super().as_query(), k=self.k, exclude=self.exclude, documents=self.documents or None)


class SearchRequest(AnswerFields):
    """A vector or a text to search with."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": ["vector"]}, {"required": ["text"]}]})
    text_limit = "passage_characters"

    vector: list[float] = Field([], min_length=1, description="a unit vector of the bundle's space")
    text: str = Field("", min_length=1, description="instead of a vector: a text to encode")


class CutRequest(RequestBody):
    """A text to cut into passages."""

    text: str = Field(min_length=1, description="the beginning of a document")


class PassageBody(BaseModel):
    """A passage of the bundle."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    document: str
    title: str
    position: int = Field(description="counted from 0 in its document")
    text: str | None


class WhyBody(BaseModel):
    """Why a passage was answered."""

    model_config = ConfigDict(from_attributes=True)

    prediction: float | None = Field(description="cosine to the predicted vector")
    context: list[float] = Field(description="cosine to each passage read, oldest first")
    rerank: float | None = Field(description="the reranker's score; null without one, and for what it was not given")


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
    true_next: str | None = Field(description="id of the passage that follows what was read, where the bundle has it")
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


class CutBody(BaseModel):
    """The passages of a text."""

    passages: list[str]


class ExampleBody(BaseModel):
    """A beginning of a document of the bundle, none of which the model was trained on."""

    document: str
    title: str
    read: int = Field(description="number of passages of the document that were read")
    text: str | None = Field(description="the passage read last")


class InfoBody(BaseModel):
    """Description of the bundle that is served."""

    bundle: str
    name: str
    segue: str
    contract: Mapping[str, Any]
    gates: Mapping[str, Any]
    card: str = Field(description="the model card, Markdown")
    limits: Limits
    reads_texts: bool
    predicts: bool
    confident: bool = Field(description="whether answers have a confidence")
    examples: list[ExampleBody] = Field(description="queries to try, of validation documents")


class StateBody(BaseModel):
    """Whether the server lives, or is ready."""

    status: str


def found_bodies(passages: Sequence[NextPassage]) -> list[FoundBody]:
    """Return answered passages as bodies."""
    return [FoundBody.model_validate(passage) for passage in passages]


def next_body(answer: Answer, released: ReleasedRetriever, *, with_map: bool) -> NextBody:
    """Return the body of an answer to /v1/next."""
    return NextBody(
        passages=found_bodies(answer),
        read=[ReadBody(id=name, text=text) for name, text in zip(answer.read, answer.texts, strict=True)],
        true_next=released.following(answer.read[-1]),
        confidence=answer.confidence,
        bundle=released.bundle.version,
        milliseconds=answer.milliseconds,
        map=plane(answer, released) if with_map else None,
    )


def plane(answer: Answer, released: ReleasedRetriever) -> MapBody:
    """Project what was read, predicted and answered onto the plane of its two principal components."""
    rows = np.array([released.lookup.row(passage.id) for passage in answer], dtype=np.int64)
    parts = [answer.vectors, released.bundle.bank.gather(rows)]
    parts += [] if answer.prediction is None else [answer.prediction[None]]
    places = principal_plane(np.concatenate(parts)).tolist()
    read, found = len(answer.vectors), len(answer.vectors) + len(rows)
    prediction = None if answer.prediction is None else places[found]
    return MapBody(read=places[:read], passages=places[read:found], prediction=prediction)


def principal_plane(vectors: Float[np.ndarray, "point dim"]) -> Float[np.ndarray, "point 2"]:
    """Return the coordinates of points in the plane of their two principal components.

    >>> principal_plane(np.array([[1.0, 0.0, 0.0], [3.0, 0.0, 0.0]])).round(6).tolist() in (
    ...     [[-1.0, 0.0], [1.0, 0.0]], [[1.0, 0.0], [-1.0, 0.0]])
    True
    """
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    places = np.pad(left * sizes, ((0, 0), (0, 2)))[:, :2]  # one point spans no plane
    return np.where(np.abs(places) < 1e-12, 0.0, places)
