"""The page: its files, which hold no data, and the one question that only a page asks: how a text is cut."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Response
from fastapi import Request as HttpRequest
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, Field, create_model
from starlette.types import Scope

from segue.release.questions import cut_text
from segue.release.serving.errors import answer
from segue.release.serving.routes import REFUSALS, described_body, read_body
from segue.release.serving.runs_routes import add_runs
from segue.release.serving.schema import Request

if TYPE_CHECKING:
    from segue.release.serving.app import Server

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
    model: Any = create_model("CutRequest", __base__=Request, text=(str, text))
    examples = {"a text": {"value": {"text": "Snow reflects light. It also insulates."}}}

    @app.get("/", include_in_schema=False)
    def page() -> FileResponse:
        return FileResponse(PAGE / "index.html", headers=HEADERS)

    @app.post("/v1/cut", response_model=CutBody, responses=REFUSALS, openapi_extra=described_body(model, examples))
    async def cut(request: HttpRequest) -> Response:
        """Cut a text into passages, as the bundle's documents were cut."""
        body = await read_body(request, model)
        if isinstance(body, Response):
            return body
        async with server.current.hold() as served:
            text: str = body.text  # type: ignore[attr-defined]
            return answer({"passages": await asyncio.to_thread(cut_text, text, served.released.bundle)})
