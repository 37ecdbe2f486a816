"""Requests that a server must refuse: each says which status it deserves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

POSTS = ("/v1/next", "/v1/predict", "/v1/search")
JSON = {"content-type": "application/json"}


@dataclass(frozen=True)
class Bad:
    """A request, and the statuses that are a right answer to it."""

    name: str
    method: str
    path: str
    content: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    deserves: tuple[int, ...] = (400, 404, 405, 413, 415, 422)


def bad_requests(dimension: int, body_bytes: int) -> list[Bad]:
    """Return all of them."""
    by_size = (_wrong_types(dimension), _vectors(dimension), _too_much(body_bytes, dimension))
    parts = (_no_json(), *by_size, _texts(), _ids(), _paths(), _queries(), _methods(), _declared())
    return [bad for part in parts for bad in part]


def _post(name: str, path: str, value: Any, deserves: tuple[int, ...] = (422,)) -> Bad:
    return Bad(name, "POST", path, json.dumps(value).encode(), JSON, deserves)


def _no_json() -> Iterator[Bad]:
    broken = {
        "empty": b"", "a word": b"hello", "half an object": b'{"k":', "a comma too many": b'{"k": 1,}',
        "NaN": b"NaN",
        "single quotes": b"{'k': 1}", "a comment": b"{} // k", "two values": b"{} {}", "a zero byte": b"\x00",
        "bad UTF-8": b'{"text": "\xff\xfe"}', "a UTF-16 body": '{"text": "a"}'.encode("utf-16"),
        "half a surrogate pair": b'{"text": "\\ud800"}', "an unknown escape": b'{"text": "\\x41"}',
        "a raw line break": b'{"text": "a\nb"}', "a number too long": b'{"k": ' + b"9" * 5000 + b"}",
        "deep lists": b"[" * 5000, "deep closed lists": b"[" * 5000 + b"]" * 5000,
        "deep objects": b'{"a":' * 5000 + b"1" + b"}" * 5000,
        "a deep field": b'{"ids": ' + b"[" * 5000 + b"]" * 5000 + b"}",
        "gzip": b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03", "XML": b"<a/>", "a form": b"k=1&text=a",
        "overlong UTF-8": b'{"text": "\xc0\xaf"}', "a lone continuation": b'{"text": "\x80"}',
    }  # fmt: skip
    for path in POSTS:
        for name, content in broken.items():
            yield Bad(f"{path}: {name}", "POST", path, content, JSON, (400, 422))


def _wrong_types(dimension: int) -> Iterator[Bad]:
    good = {"ids": ["volume/1 №1#1"]}
    for path in POSTS:
        for value in (None, [], "text", 1, True, [good]):
            yield _post(f"{path}: {value!r} instead of an object", path, value)
        yield _post(f"{path}: nothing asked", path, {})
        yield _post(f"{path}: an unknown field", path, {**good, "limit": 3})
        yield _post(f"{path}: a prototype", path, {**good, "__proto__": {"k": 1}})
        yield _post(f"{path}: null", path, {"ids": None})
    for k in (0, -1, 101, 10**9, 10**30, 1.5, 1e308, "5", None, True, [5], {"a": 1}, ""):
        yield _post(f"k = {k!r}", "/v1/next", {**good, "k": k})
        yield _post(f"search with k = {k!r}", "/v1/search", {"vector": _unit(dimension), "k": k})
    for drawn in ("yes", 1, None, []):
        yield _post(f"map = {drawn!r}", "/v1/next", {**good, "map": drawn})
    yield _post("two ways at once", "/v1/next", {**good, "text": "a"})
    yield _post("three ways at once", "/v1/predict", {**good, "text": "a", "passages": ["a"]})
    yield _post("a search by two things", "/v1/search", {"text": "a", "vector": _unit(dimension)})


def _vectors(dimension: int) -> Iterator[Bad]:
    unit = _unit(dimension)
    shapes: dict[str, Any] = {
        "too short": [unit[:-1]], "too long": [[*unit, 0.0]], "empty": [], "an empty one": [[]], "flat": unit,
        "deeper": [[unit]], "strings": [["1.0"] * dimension], "null inside": [[None] * dimension],
        "a ragged pair": [unit, [1]],
        "true inside": [[True] * dimension], "all zero": [[0.0] * dimension], "twice as long": [[2 * x for x in unit]],
        "very large": [[1e300] * dimension], "an object": {"0": unit}, "a string": "AAAA",
        "a huge whole number": [[10**400] * dimension],
    }  # fmt: skip
    for name, value in shapes.items():
        yield _post(f"vectors {name}", "/v1/next", {"vectors": value}, (400, 422))
        yield _post(f"predict from vectors {name}", "/v1/predict", {"vectors": value}, (400, 422))
    for number in ("NaN", "Infinity", "-Infinity", "1e999", "-1e999"):
        content = '{"vectors": [[' + ",".join([number] * dimension) + "]]}"
        yield Bad(f"vectors of {number}", "POST", "/v1/next", content.encode(), JSON, (400, 422))
        content = '{"vector": [' + ",".join([number] * dimension) + "]}"
        yield Bad(f"a search for {number}", "POST", "/v1/search", content.encode(), JSON, (400, 422))


def _texts() -> Iterator[Bad]:
    for path in ("/v1/next", "/v1/predict"):
        for name, value in {"empty": "", "blank": " \n\t ", "a list": ["a"], "a number": 7, "an object": {}}.items():
            yield _post(f"{path}: text {name}", path, {"text": value})
        for name, passages in {"none": [], "an empty one": ["a", ""], "a blank one": ["a", "  "], "numbers": [1, 2],
                               "lists": [["a"]], "a string": "a", "null inside": ["a", None]}.items():  # fmt: skip
            yield _post(f"{path}: passages {name}", path, {"passages": passages})
    for text in ("", "  ", 3, ["a"], None):
        yield _post(f"search for {text!r}", "/v1/search", {"text": text})


TRICKS = (
    "nothing#1", "volume/1 №1", "volume/1 №1#", "#", "#1", "volume/1 №1#12", "volume/1 №1#-1", "volume/1 №1#1.0",
    "volume/1 №1#01x", "volume/1 №1#٣", "volume/1 №1#99999999999999999999", "../../etc/passwd", "..%2f..%2fetc",
    "/etc/passwd#1", "volume/1 №1#1\x00", "\x00", "' OR 1=1 --", "${jndi:ldap://x}", "{{7*7}}", "<script>", "%00", "%",
    "volume/1 №1#1 ", " volume/1 №1#1", "VOLUME/1 №1#1", "a" * 999 + "#1", "🚀#1", "\u202e#1", "con", "-1",
)  # fmt: skip


def _ids() -> Iterator[Bad]:
    for name in TRICKS:
        yield _post(f"id {name[:40]!r}", "/v1/next", {"ids": [name]})
    for name in TRICKS[:8]:
        yield _post(f"excluded {name[:40]!r}", "/v1/next", {"ids": ["volume/1 №1#1"], "exclude": [name]})
        yield _post(f"from document {name[:40]!r}x", "/v1/next", {"ids": ["volume/1 №1#1"], "documents": [name + "x"]})
    yield _post("an empty id", "/v1/next", {"ids": [""]})
    yield _post("a long id", "/v1/next", {"ids": ["a" * 1001]})


def _too_much(body_bytes: int, dimension: int) -> Iterator[Bad]:
    large = b'{"text": "' + b"a" * body_bytes + b'"}'
    for path in POSTS:
        yield Bad(f"{path}: a large body", "POST", path, large, JSON, (413,))
    yield _post("65 passages", "/v1/next", {"passages": ["a"] * 65})
    yield _post("65 ids", "/v1/next", {"ids": ["volume/1 №1#1"] * 65})
    yield _post("65 vectors", "/v1/next", {"vectors": [_unit(dimension)] * 65})
    yield _post("65 excluded", "/v1/next", {"ids": ["volume/1 №1#1"], "exclude": ["volume/1 №1#1"] * 65})
    yield _post("a long passage", "/v1/next", {"passages": ["a" * 8001]})
    yield _post("a long text", "/v1/next", {"text": "a" * 200_001})
    yield _post("many fields", "/v1/next", {f"field {number}": number for number in range(5000)})
    content = "{" + ", ".join(['"k": 1'] * 5000) + ', "ids": ["nothing"]}'
    yield Bad("one field many times", "POST", "/v1/next", content.encode(), JSON, (422,))


def _paths() -> Iterator[Bad]:
    tricks = (
        "/v1/passages/..%2F..%2F..%2Fetc%2Fpasswd", "/v1/passages/%2e%2e/%2e%2e/etc/passwd", "/v1/passages/%00",
        "/v1/passages/%ff%fe", "/v1/passages/" + "a" * 5000, "/v1/passages/%23", "/v1/passages/volume%2F1%23-1",
        "/v1/passages/x%0d%0aSet-Cookie:%20a=b", "/v1/passages//etc/passwd", "/v1/next/", "/v1/Next", "/v1", "/v2/next",
        "/page/..%2fapp.py", "/page/%2e%2e/keys.py", "/page/../../settings.py", "/page//etc/passwd", "/page/nothing.js",
        "/page/%00", "/docs", "/redoc", "/.git/config", "/v1/passages/%f0%9f%9a%80%231",
    )  # fmt: skip
    for path in tricks:
        yield Bad(f"GET {path[:60]}", "GET", path, deserves=(404, 405, 422))


def _queries() -> Iterator[Bad]:
    for query in ("limit=0", "limit=-1", "limit=201", "limit=x", "limit=1e3", "offset=-1", "offset=x", "limit=",
                  "offset=99999999999999999999", "limit=NaN", "contains=" + "a" * 201):  # fmt: skip
        yield Bad(f"documents?{query[:40]}", "GET", f"/v1/documents?{query}", deserves=(422,))
    for query in ("", "limit=5", "document=nothing", "document=" + "a" * 1001, "document=%00", "document=..%2f"):
        yield Bad(f"passages?{query[:40]}", "GET", f"/v1/passages?{query}", deserves=(404, 422))


def _methods() -> Iterator[Bad]:
    for method in ("GET", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "BREW"):
        yield Bad(f"{method} /v1/next", method, "/v1/next", deserves=(405,))
    for method in ("POST", "PUT", "DELETE"):
        yield Bad(f"{method} /healthz", method, "/healthz", deserves=(405,))


def _declared() -> Iterator[Bad]:
    good = b'{"ids": ["volume/1 \xe2\x84\x961#1"]}'
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=a",
                 "application/xml", "image/png", "application/jsonp", "json"):  # fmt: skip
        yield Bad(f"declared as {kind}", "POST", "/v1/next", good, {"content-type": kind}, (415,))
    yield Bad("another host", "GET", "/v1/info", headers={"host": "elsewhere.example"}, deserves=(400,))
    yield Bad("a compressed body", "POST", "/v1/next", b"\x1f\x8b\x08", JSON | {"content-encoding": "gzip"}, (400,))


def _unit(dimension: int) -> list[float]:
    return [1.0] + [0.0] * (dimension - 1)
