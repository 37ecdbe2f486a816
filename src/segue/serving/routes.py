"""The paths of the API. A handler reads a request, queries the bundle that is served, and returns the answer's body."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Body, Depends, Query, Request, Response
from fastapi.openapi.models import Example
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from segue.bundles.answers import NextPassage
from segue.bundles.files import CARD, GOLDEN
from segue.bundles.queries import cut_text, require_words
from segue.bundles.released_retriever import ReleasedRetriever
from segue.corpus.words import normalise_text
from segue.errors import InputError
from segue.files import read_json
from segue.serving import schema
from segue.serving.schema import ApiError, ErrorResponse, found_bodies, next_body
from segue.serving.served import Server
from segue.version import __version__


def described(errors: dict[int, str]) -> dict[int | str, dict[str, Any]]:
    """Describe errors for the OpenAPI document."""
    return {status: {"model": ErrorResponse, "description": what} for status, what in errors.items()}


ERRORS = described({
    400: "the body is not JSON, or the request is for another host",
    401: "no key, or a wrong one",
    413: "the body is too large",
    415: "the content type of the body is not JSON",
    422: "the request cannot be used; `problems` says why",
    429: "too many requests at once",
    503: "the answer took too long",
})  # fmt: skip
"""Errors that any path of the API may answer."""
MISSING = ERRORS | described({404: "not found"})
Offset = Annotated[int, Query(ge=0, le=10**9, description="how many to leave out")]
Limit = Annotated[int, Query(ge=1, le=200, description="how many to return")]


async def require_json(request: Request) -> None:
    """Refuse a body that is not declared as JSON, is empty, or is not in UTF-8.

    Raises:
        ApiError: the status is 415 or 400.
    """
    declared = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if declared != "application/json":
        raise ApiError(415, "not_json", "send the body as application/json")
    try:
        body = (await request.body()).decode()
    except UnicodeDecodeError as error:
        raise ApiError(400, "invalid_json", "the body is not JSON: it is not in UTF-8") from error
    if not body:
        raise ApiError(400, "invalid_json", "the body is not JSON: it is empty")


def make_routes(server: Server) -> APIRouter:
    """Return all paths of the API."""
    routes = APIRouter()
    _add_queries(routes, server)
    _add_passages(routes, server)
    _add_state(routes, server)
    return routes


def _add_queries(routes: APIRouter, server: Server) -> None:
    """Add the paths that query the retriever."""
    limits, examples, is_json = server.settings.limits, _examples(server.current.released), [Depends(require_json)]
    Next = Annotated[schema.NextRequest, Body(openapi_examples=examples["next"])]
    Predict = Annotated[schema.PredictRequest, Body(openapi_examples=examples["predict"])]
    Search = Annotated[schema.SearchRequest, Body(openapi_examples=examples["search"])]
    Cut = Annotated[schema.CutRequest, Body(openapi_examples=examples["cut"])]

    @routes.post("/v1/next", responses=ERRORS, dependencies=is_json)
    async def next_passages(body: Next) -> schema.NextBody:
        """Return the passages that may come next."""
        body.require_within(limits)
        async with server.current.hold() as served:
            return next_body(await served.next(body.as_query()), served.released, with_map=body.map)

    @routes.post("/v1/predict", responses=ERRORS, dependencies=is_json)
    async def predict(body: Predict) -> schema.PredictBody:
        """Return the predicted vector of the next passage."""
        body.require_within(limits)
        async with server.current.hold() as served:
            found = await served.next(body.as_query())
            if found.prediction is None:
                raise ApiError(422, "no_prediction", "this bundle's retriever predicts no vector; use /v1/next")
            return schema.PredictBody(vector=found.prediction.tolist(), bundle=served.released.bundle.version)

    @routes.post("/v1/search", responses=ERRORS, dependencies=is_json)
    async def search(body: Search) -> schema.SearchBody:
        """Return the passages nearest to a vector or a text as it is: nothing is predicted."""
        body.require_within(limits)
        async with server.current.hold() as served:
            found = await asyncio.to_thread(_search, served.released, body)
            return schema.SearchBody(passages=found_bodies(found), bundle=served.released.bundle.version)

    @routes.post("/v1/cut", responses=ERRORS, dependencies=is_json)
    async def cut(body: Cut) -> schema.CutBody:
        """Cut a text into passages, as the bundle's documents were cut."""
        body.require_within(limits)
        async with server.current.hold() as served:
            return schema.CutBody(passages=await asyncio.to_thread(cut_text, body.text, served.released.bundle))


def _search(released: ReleasedRetriever, body: schema.SearchRequest) -> Sequence[NextPassage]:
    """Search with a vector, or with a text once it is encoded."""
    given = body.model_fields_set & {"vector", "text"}
    if len(given) != 1:
        raise InputError(
            "a search uses either a vector or a text",
            got=" and ".join(sorted(given)) or "nothing",
            expected="vector or text",
        )
    if "text" in given:
        require_words([body.text])
        vector = released.encode([body.text])[0]
    else:
        vector = np.asarray(body.vector, dtype=np.float32)
    return released.search(vector, body.k, exclude=body.exclude, documents=body.documents or None)


def _examples(released: ReleasedRetriever) -> dict[str, dict[str, Example]]:
    """Return requests that this bundle answers, by path."""
    bank = released.bundle.bank
    rows = np.flatnonzero(bank.alive & (bank.document_of == bank.document_of[np.argmax(bank.alive)]))[:2]
    ids = bank.passage_ids(rows)
    found: dict[str, dict[str, Example]] = {
        "next": {"by id": {"value": {"ids": ids, "k": 3}}},
        "predict": {"by id": {"value": {"ids": ids}}},
        "search": {},
        "cut": {"a text": {"value": {"text": "Snow reflects light. It also insulates."}}},
    }
    if released.reads_texts:
        texts = [str(text) for text in released.lookup.texts(rows)]
        found["next"]["by text"] = {"value": {"passages": texts, "k": 3}}
        found["search"]["by text"] = {"value": {"text": texts[0], "k": 3}}
    return found


def _beginnings(released: ReleasedRetriever) -> list[schema.ExampleBody]:
    """Return a few beginnings of different documents, from the validation windows whose answers the bundle records."""
    bank, found = released.bundle.bank, dict[int, schema.ExampleBody]()
    lasts = np.array([row[-1] for row in read_json(released.bundle.path / GOLDEN)["context"]], dtype=np.int64)
    for row in lasts[bank.alive[lasts]].tolist():
        number, (text,) = int(bank.document_of[row]), released.lookup.texts(np.array([row]))
        name, title = bank.document_ids[number], bank.document_titles[number]
        read = row - int(bank.first_row[number]) + 1
        found[number] = schema.ExampleBody(document=name, title=title, read=read, text=text)
    chosen = list(found.values())
    places = dict.fromkeys((0, len(chosen) // 2, len(chosen) - 1))
    return [chosen[place] for place in places] if chosen else []


def _add_passages(routes: APIRouter, server: Server) -> None:
    """Add the paths that list the bundle's documents and passages."""

    @routes.get("/v1/passages", responses=MISSING)
    async def passages(document: Annotated[str, Query(max_length=1000, description="its id")], offset: Offset = 0,
                       limit: Limit = 50) -> schema.PassagesBody:  # fmt: skip
        """Return the passages of a document, in reading order."""
        async with server.current.hold() as served:
            rows = _rows_of(served.released, document)
            found = served.released.passages_of(rows[offset : offset + limit])
            bodies = [schema.PassageBody.model_validate(passage) for passage in found]
            return schema.PassagesBody(passages=bodies, total=len(rows))

    @routes.get("/v1/passages/{id:path}", responses=MISSING)
    async def passage(id: str) -> schema.PassageBody:
        """Return one passage; percent-encode its id."""
        async with server.current.hold() as served:
            try:
                row = served.released.lookup.row(id)
            except InputError as error:
                raise ApiError(404, "no_such_passage", str(error)) from error
            return schema.PassageBody.model_validate(served.released.passages_of(np.array([row]))[0])

    @routes.get("/v1/documents", responses=ERRORS)
    async def documents(contains: Annotated[str, Query(max_length=200, description="part of a title or an id")] = "",
                        offset: Offset = 0, limit: Limit = 50) -> schema.DocumentsBody:  # fmt: skip
        """Return the documents of the bundle, in its order."""
        async with server.current.hold() as served:
            return await asyncio.to_thread(_documents, served.released, contains, offset, limit)


def _rows_of(released: ReleasedRetriever, document: str) -> np.ndarray:
    """Return the live rows of a document.

    Raises:
        ApiError: there is no such document.
    """
    bank = released.bundle.bank
    try:
        number = released.lookup.document(document)
    except InputError as error:
        raise ApiError(404, "no_such_document", "the bundle has no document of this id") from error
    first = int(bank.first_row[number])
    rows = np.arange(first, first + int(bank.num_rows[number]), dtype=np.int64)
    return rows[bank.alive[rows]]


def _documents(released: ReleasedRetriever, part: str, offset: int, limit: int) -> schema.DocumentsBody:
    bank, part = released.bundle.bank, normalise_text(part)
    every = ((name, bank.document_titles[number], int(bank.num_rows[number]))
             for name, number in bank.live_documents.items())  # fmt: skip
    found = [(name, title, count) for name, title, count in every
             if part in normalise_text(title) or part in normalise_text(name)]  # fmt: skip
    page = [schema.DocumentBody(id=name, title=title, passages=count)
            for name, title, count in found[offset : offset + limit]]  # fmt: skip
    return schema.DocumentsBody(documents=page, total=len(found))


def _add_state(routes: APIRouter, server: Server) -> None:
    """Add the paths that describe the server itself."""

    @routes.get("/v1/info", responses=ERRORS)
    async def info() -> schema.InfoBody:
        """Return what is served: the bundle's contract, its gates, its card, and the server's limits."""
        async with server.current.hold() as served:
            bundle = served.released.bundle
            return schema.InfoBody(
                bundle=bundle.version, name=str(bundle.contract["name"]), segue=__version__, contract=bundle.contract,
                gates=bundle.gates, card=(bundle.path / CARD).read_text(encoding="utf-8"),
                limits=server.settings.limits, reads_texts=served.released.reads_texts,
                predicts=served.released.predicts, confident=bundle.confidence is not None,
                examples=_beginnings(served.released),
            )  # fmt: skip

    @routes.get("/healthz")
    async def healthz() -> schema.StateBody:
        """Report that the server lives."""
        return schema.StateBody(status="alive")

    @routes.get("/readyz", responses={503: {"model": schema.StateBody, "description": "the server is stopping"}})
    async def readyz(response: Response) -> schema.StateBody:
        """Report whether new requests should be sent here: not while the server shuts down."""
        response.status_code = 503 if server.draining else 200
        return schema.StateBody(status="stopping" if server.draining else "ready")

    @routes.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        return Response(server.metrics.text(), media_type=CONTENT_TYPE_LATEST)
