"""What clients are told when something is wrong: one form of body for every error, never a traceback."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from fastapi import Response
from pydantic import BaseModel, Field, ValidationError

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
