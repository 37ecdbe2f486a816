"""Turn one record (a JSON object, a table row) into a document, or say what is wrong with it and where.

A record has an id and either ``text`` (paragraphs are separated by blank lines) or ``paragraphs`` (a list, in reading
order); ``title`` may be missing; other keys are ignored, so that files with more columns can be read as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from segue.corpus.prose import split_paragraphs, tidy
from segue.errors import InputError, explain
from segue.types import Document


def document_from(
    record: Any, where: str, *, id_key: str = "id", title_key: str = "title", text_key: str = "text"
) -> Document:
    """Build a document; ``where`` (file and line) goes into messages and the file's name into ``source``.

    >>> document_from({"id": 7, "text": "One.\\n\\nTwo."}, "a.jsonl:1").paragraphs
    ('One.', 'Two.')

    Raises:
        InputError: a key is missing or its value has the wrong type.
    """
    if not isinstance(record, Mapping):
        raise InputError(_expected(where, type(record).__name__, "one JSON object per line"))
    title = record.get(title_key)
    if title is not None and not isinstance(title, str):
        raise InputError(_expected(where, f"{type(title).__name__} in {title_key!r}", "a string"))
    return Document(
        id=_id(record, where, id_key),
        title=tidy(title or ""),
        paragraphs=_paragraphs(record, where, text_key),
        source=str(record["source"]) if isinstance(record.get("source"), str) else "",
    )


def _id(record: Mapping[str, Any], where: str, key: str) -> str:
    value = record.get(key)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise InputError(_expected(where, _found(record, key), f"{key!r}: a string or a whole number"))
    return str(value)


def _paragraphs(record: Mapping[str, Any], where: str, text_key: str) -> tuple[str, ...]:
    paragraphs = record.get("paragraphs")
    if paragraphs is None:
        text = record.get(text_key)
        if not isinstance(text, str):
            raise InputError(_expected(where, _found(record, text_key), f"{text_key!r}: a string, or 'paragraphs'"))
        return split_paragraphs(text)
    if not isinstance(paragraphs, list) or not all(isinstance(paragraph, str) for paragraph in paragraphs):
        raise InputError(_expected(where, _found(record, "paragraphs"), "'paragraphs': a list of strings"))
    return tuple(tidied for paragraph in paragraphs if (tidied := tidy(paragraph)))


def _found(record: Mapping[str, Any], key: str) -> str:
    if key in record:
        return f"{type(record[key]).__name__} in {key!r}"
    return f"no {key!r} among the keys {', '.join(sorted(map(str, record))) or '(none)'}"


def _expected(where: str, got: str, expected: str) -> str:
    return explain(where, got=got, expected=expected, fix="correct or remove this record")
