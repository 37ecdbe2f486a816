"""The shapes of requests and answers; requests are made for the limits and the dimension of one server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, cast

from pydantic import BaseModel, ConfigDict, Field, create_model

from segue.release.serving.settings import Limits

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
