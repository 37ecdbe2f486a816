"""The paths of the API. A handler reads a request, asks the bundle that is served, and writes the answer."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
from fastapi import FastAPI, Query, Request, Response
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, Field, ValidationError, create_model
from starlette.types import Scope

from segue.bundles.files import CARD
from segue.bundles.questions import cut_text, require_words, unit_vectors
from segue.bundles.retriever import ReleasedRetriever
from segue.errors import InputError, explain
from segue.serving import schema
from segue.serving.runs_routes import add_runs
from segue.serving.schema import (
    ErrorResponse,
    answer,
    as_question,
    found_json,
    invalid,
    next_json,
    passage_json,
    problem,
)
from segue.serving.served import Server
from segue.version import __version__

Body = TypeVar("Body", bound=schema.Request)

REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorResponse, "description": what}
    for status, what in {
        400: "the body is no JSON, or the request is for another host",
        401: "no key, or a wrong one",
        408: "the body came too slowly",
        413: "the body is too large",
        415: "the body is declared as something else than JSON",
        422: "the request cannot be used; `problems` says why",
        429: "too many requests at once",
        503: "the answer took too long",
    }.items()
}
MISSING: dict[int | str, dict[str, Any]] = {404: {"model": ErrorResponse, "description": "there is no such thing"}}
Offset = Annotated[int, Query(ge=0, le=10**9, description="how many to leave out")]
Limit = Annotated[int, Query(ge=1, le=200, description="how many to return")]


def add_routes(app: FastAPI, server: Server) -> None:
    """Add all paths to an application."""
    _add_questions(app, server)
    _add_passages(app, server)
    _add_state(app, server)


def _add_questions(app: FastAPI, server: Server) -> None:
    """Add what asks the retriever."""
    released = server.current.released
    assert released is not None, "routes are made for a bundle"
    bodies = schema.requests_for(server.settings.limits, released.bundle.bank.dimension)
    examples = _examples(released)

    @app.post("/v1/next", response_model=schema.NextBody, responses=REFUSALS,
              openapi_extra=described_body(bodies.next, examples["next"]))  # fmt: skip
    async def next_passages(request: Request) -> Response:
        """Return the passages that may come next."""
        body = await read_body(request, bodies.next)
        if isinstance(body, Response):
            return body
        async with server.current.hold() as served:
            found = await served.next(as_question(body))
            return answer(next_json(found, served.released, drawn=body.map))  # type: ignore[attr-defined]

    @app.post("/v1/predict", response_model=schema.PredictBody, responses=REFUSALS,
              openapi_extra=described_body(bodies.predict, examples["predict"]))  # fmt: skip
    async def predict(request: Request) -> Response:
        """Return the predicted vector of the next passage."""
        body = await read_body(request, bodies.predict)
        if isinstance(body, Response):
            return body
        async with server.current.hold() as served:
            found = await served.next(as_question(body))
            if found.prediction is None:
                return problem(422, "no_prediction", "this bundle's retriever predicts no vector; ask /v1/next")
            return answer({"vector": found.prediction.tolist(), "bundle": served.released.bundle.version})

    @app.post("/v1/search", response_model=schema.SearchBody, responses=REFUSALS,
              openapi_extra=described_body(bodies.search, examples["search"]))  # fmt: skip
    async def search(request: Request) -> Response:
        """Return the passages nearest to a vector or a text as it is: nothing is predicted."""
        body = await read_body(request, bodies.search)
        if isinstance(body, Response):
            return body
        async with server.current.hold() as served:
            found = await asyncio.to_thread(_search, served.released, body)
            return answer({"passages": [found_json(one) for one in found], "bundle": served.released.bundle.version})


def _search(released: ReleasedRetriever, body: Any) -> Any:
    """Search with a vector, or with a text once it is encoded."""
    given = body.model_fields_set & {"vector", "text"}
    if len(given) != 1:
        raise InputError(explain("a search is by one thing", got=" and ".join(sorted(given)) or "nothing",
                                 expected="vector or text"))  # fmt: skip
    if "text" in given:
        require_words([body.text])
        vector = released.encode([body.text])[0]
    else:
        vector = unit_vectors([body.vector], released.bundle.bank.dimension)[0]
    return released.search(vector, body.k, exclude=body.exclude, documents=body.documents or None)


def _add_passages(app: FastAPI, server: Server) -> None:
    """Add what lists the bundle's documents and passages."""

    @app.get("/v1/passages", response_model=schema.PassagesBody, responses=REFUSALS | MISSING)
    async def passages(document: Annotated[str, Query(max_length=1000, description="its id")], offset: Offset = 0,
                       limit: Limit = 50) -> Response:  # fmt: skip
        """Return the passages of a document, in reading order."""
        async with server.current.hold() as served:
            rows = _rows_of(served.released, document)
            if rows is None:
                return problem(404, "no_such_document", "the bundle has no document of this id")
            found = served.released.passages_of(rows[offset : offset + limit])
            return answer({"passages": [passage_json(one) for one in found], "total": len(rows)})

    @app.get("/v1/passages/{id:path}", response_model=schema.PassageBody, responses=REFUSALS | MISSING)
    async def passage(id: str) -> Response:
        """Return one passage; its id is percent-encoded (`%23` for `#`)."""
        async with server.current.hold() as served:
            try:
                row = served.released.lookup.row(id)
            except InputError as error:
                return problem(404, "no_such_passage", str(error))
            (found,) = served.released.passages_of(np.array([row], dtype=np.int64))
            return answer(passage_json(found))

    @app.get("/v1/documents", response_model=schema.DocumentsBody, responses=REFUSALS)
    async def documents(contains: Annotated[str, Query(max_length=200, description="part of a title or an id")] = "",
                        offset: Offset = 0, limit: Limit = 50) -> Response:  # fmt: skip
        """Return the documents of the bundle, in its order."""
        async with server.current.hold() as served:
            found, total = await asyncio.to_thread(_documents, served.released, contains, offset, limit)
            return answer({"documents": found, "total": total})


def _rows_of(released: ReleasedRetriever, document: str) -> np.ndarray | None:
    """Return the live rows of a document; None where there is none of this id."""
    bank = released.bundle.bank
    try:
        number = released.lookup.document(document)
    except InputError:
        return None
    first = int(bank.first_row[number])
    rows = np.arange(first, first + int(bank.num_rows[number]), dtype=np.int64)
    return rows[bank.alive[rows]]


def _documents(released: ReleasedRetriever, part: str, offset: int, limit: int) -> tuple[list[dict[str, Any]], int]:
    bank, part = released.bundle.bank, part.casefold()
    pairs = zip(bank.document_ids, bank.document_titles, bank.num_rows.tolist(), strict=True)
    found = [(name, title, count) for name, title, count in pairs
             if part in title.casefold() or part in name.casefold()]  # fmt: skip
    page = found[offset : offset + limit]
    return [{"id": name, "title": title, "passages": count} for name, title, count in page], len(found)


def _add_state(app: FastAPI, server: Server) -> None:
    """Add what tells of the server itself."""

    @app.get("/v1/info", response_model=schema.InfoBody, responses={401: REFUSALS[401], 429: REFUSALS[429]})
    async def info() -> Response:
        """Return what is served: the bundle's contract, its gates, its card, and the server's limits."""
        async with server.current.hold() as served:
            return answer(_info(served.released) | {"limits": server.settings.limits.model_dump()})

    @app.get("/healthz", response_model=schema.StateBody)
    async def healthz() -> Response:
        """Tell that the server lives."""
        return answer({"status": "alive"})

    @app.get("/readyz", response_model=schema.StateBody, responses={503: {"model": schema.StateBody}})
    async def readyz() -> Response:
        """Tell whether new requests should be sent here: not while it shuts down."""
        ready = not server.draining and server.current.released is not None
        return answer({"status": "ready" if ready else "stopping"}, status=200 if ready else 503)


def _info(released: ReleasedRetriever) -> dict[str, Any]:
    bundle = released.bundle
    return {
        "bundle": bundle.version,
        "name": bundle.contract["name"],
        "segue": __version__,
        "contract": dict(bundle.contract),
        "gates": dict(bundle.gates),
        "card": (bundle.path / CARD).read_text(encoding="utf-8"),
        "reads_texts": released.reads_texts,
        "predicts": released.predicts,
        "confident": bundle.confidence is not None,
    }


async def read_body(request: Request, model: type[Body]) -> Body | Response:
    """Read a request's body; what is wrong with it is the response."""
    declared = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if declared != "application/json":
        return problem(415, "not_json", "send the body as application/json")
    try:
        return model.model_validate_json(await request.body())
    except ValidationError as error:
        return invalid(error)


def described_body(model: type[schema.Request], examples: dict[str, Any]) -> dict[str, Any]:
    """Describe a body for the OpenAPI document."""
    content = {"schema": model.model_json_schema(), "examples": examples}
    return {"requestBody": {"required": True, "content": {"application/json": content}}}


def _examples(released: ReleasedRetriever) -> dict[str, dict[str, Any]]:
    """Return requests that this bundle answers."""
    bank = released.bundle.bank
    rows = np.flatnonzero(bank.alive & (bank.document_of == bank.document_of[np.argmax(bank.alive)]))[:2]
    ids = bank.passage_ids(rows)
    by_id = {"by id": {"value": {"ids": ids, "k": 3}}}
    shown: dict[str, dict[str, Any]] = {"next": by_id, "predict": {"by id": {"value": {"ids": ids}}}, "search": {}}
    if released.reads_texts:
        texts = [str(text) for text in released.lookup.texts(rows)]
        shown["next"] = {**by_id, "by text": {"value": {"passages": texts, "k": 3}}}
        shown["search"] = {"by text": {"value": {"text": texts[0], "k": 3}}}
    return shown


PAGE = Path(__file__).parent / "page"
CONTENT_POLICY = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; object-src 'none'; "
    "base-uri 'none'; frame-ancestors 'none'; form-action 'none'"
)
"""Scripts come from here alone, and so does everything else; a report shown in a frame has its styles inside."""
HEADERS = {"content-security-policy": CONTENT_POLICY, "x-content-type-options": "nosniff",
           "referrer-policy": "no-referrer", "cache-control": "no-cache"}  # fmt: skip


class PageFiles(StaticFiles):
    """The page's files with the headers that keep them to themselves."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Return a file."""
        response = await super().get_response(path, scope)
        response.headers.update(HEADERS)
        return response


class CutBody(BaseModel):
    """The passages of a text."""

    passages: list[str]


def add_page(app: FastAPI, server: Server) -> None:
    """Add the page's paths to an application."""
    app.mount("/page", PageFiles(directory=PAGE), name="page")
    add_runs(app, server.settings.runs)
    text = Field(min_length=1, max_length=server.settings.limits.text_characters, description="a beginning")
    model: Any = create_model("CutRequest", __base__=schema.Request, text=(str, text))
    examples = {"a text": {"value": {"text": "Snow reflects light. It also insulates."}}}

    @app.get("/", include_in_schema=False)
    def page() -> FileResponse:
        return FileResponse(PAGE / "index.html", headers=HEADERS)

    @app.post("/v1/cut", response_model=CutBody, responses=REFUSALS, openapi_extra=described_body(model, examples))
    async def cut(request: Request) -> Response:
        """Cut a text into passages, as the bundle's documents were cut."""
        body = await read_body(request, model)
        if isinstance(body, Response):
            return body
        async with server.current.hold() as served:
            text: str = body.text  # type: ignore[attr-defined]
            return answer({"passages": await asyncio.to_thread(cut_text, text, served.released.bundle)})
