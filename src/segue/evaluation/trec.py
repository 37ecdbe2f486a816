"""Runs and qrels as TREC files, so that any other tool of the field can check the numbers.

A run line is ``qid Q0 docid rank score tag`` with score = −rank: the ranks already hold the tie rule, and a tool that
sorts by score can't break ties its own way. Names ending in ``.gz`` are compressed. How deep a run goes is no part of
the format; it stands in a file beside it (``run.trec.json``), and metrics are comparable at that depth only
(``metrics.per_window(ranks, depth=…)``).

A duplicate group is one candidate: name every group by one of its members (the smallest row) in run and qrels alike.
"""

from __future__ import annotations

import functools
import gzip
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import TextIO
from urllib.parse import quote, unquote

from segue.errors import InputError, explain
from segue.files import atomic_path, read_json, write_json

LEVEL = 1
"""Of compression: runs are large, and a higher level takes five times as long for a third less."""

_BREAKS_A_LINE = re.compile(r"[\s%\x00-\x1f\x7f]")


@dataclass(frozen=True)
class Run:
    """A run read back: the answers of each query, best first, and who gave them."""

    answers: dict[str, list[str]]
    tag: str | None


def encode_id(name: str) -> str:
    """Make a name one word of a TREC line: white space, control characters and ``%`` are percent-encoded.

    >>> encode_id("Abraham Lincoln#3")
    'Abraham%20Lincoln#3'

    Raises:
        InputError: an empty name.
    """
    if not name:
        raise InputError(explain("a query or passage has an empty id", fix="give every document an id"))
    return _BREAKS_A_LINE.sub(lambda match: quote(match.group(), safe=""), name)


def decode_id(word: str) -> str:
    """Undo :func:`encode_id`.

    >>> decode_id("Abraham%20Lincoln#3")
    'Abraham Lincoln#3'
    """
    return unquote(word)


def write_run(
    path: Path, queries: Sequence[str], answers: Sequence[Sequence[str]], *, tag: str, depth: int, note: str = ""
) -> None:
    """Write a run and, beside it, the JSON that says how deep it is.

    Args:
        path: the run file; ``.gz`` compresses it.
        queries: one id per window.
        answers: ids of each query's candidates, best first; shorter than ``depth`` where the pool ended.
        tag: name of the retriever.
        depth: places asked for.
        note: what a reader of the run should know (pool, exclusion).

    Raises:
        InputError: an answer appears twice, or more answers than ``depth``.
    """
    encode = functools.cache(encode_id)  # the same passages answer many queries
    tails = [f" {rank} {-rank} {encode(tag)}\n" for rank in range(1, depth + 1)]
    with _writing(path) as handle:
        for query, documents in zip(queries, answers, strict=True):
            _check_answers(query, documents, depth)
            head = f"{encode(query)} Q0 "
            places = zip(documents, tails, strict=False)
            handle.write("".join([f"{head}{encode(document)}{tail}" for document, tail in places]))
    facts = {"file": path.name, "tag": tag, "depth": depth, "queries": len(queries), "score": "-rank", "note": note}
    write_json(_sidecar(path), facts)


def _check_answers(query: str, documents: Sequence[str], depth: int) -> None:
    """Refuse what no run may hold."""
    if len(documents) > depth:
        raise InputError(
            explain(f"query {query} has too many answers", got=len(documents), expected=f"at most {depth}")
        )
    if len(set(documents)) != len(documents):
        fix = "name each duplicate group by one member"
        raise InputError(explain(f"query {query} has an answer twice", fix=fix))


def run_depth(path: Path) -> int:
    """Read how many places a run was cut after."""
    return int(read_json(_sidecar(path))["depth"])


def _sidecar(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def write_qrels(path: Path, queries: Sequence[str], targets: Sequence[str]) -> None:
    """Write the one relevant candidate of each query as ``qid 0 docid 1``."""
    with _writing(path) as handle:
        for query, target in zip(queries, targets, strict=True):
            handle.write(f"{encode_id(query)} 0 {encode_id(target)} 1\n")


def read_run(path: Path) -> Run:
    """Read a run, ordered by score, whoever wrote it.

    Raises:
        InputError: the file is missing or a line has not the six fields; names file and line.
    """
    scored: dict[str, list[tuple[float, str]]] = {}
    tag = None
    for number, fields in _lines(path, num_fields=6):
        query, _, document, _, score, tag = fields
        scored.setdefault(decode_id(query), []).append((-_number(path, number, score), decode_id(document)))
    answers = {
        query: [document for _, document in sorted(pairs, key=lambda p: p[0])] for query, pairs in scored.items()
    }
    return Run(answers, None if tag is None else decode_id(tag))


def read_qrels(path: Path) -> Mapping[str, Mapping[str, int]]:
    """Read judgements: query → passage → relevance.

    Raises:
        InputError: the file is missing or a line has not the four fields; names file and line.
    """
    judged: dict[str, dict[str, int]] = {}
    for number, (query, _, document, relevance) in _lines(path, num_fields=4):
        judged.setdefault(decode_id(query), {})[decode_id(document)] = int(_number(path, number, relevance))
    return judged


def _lines(path: Path, *, num_fields: int) -> Iterator[tuple[int, list[str]]]:
    """Yield line number and fields of each line that is not blank."""
    if not path.exists():
        raise InputError(explain(f"{path} does not exist", fix="check the path, or evaluate again"))
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as handle:
        for number, line in enumerate(handle, start=1):
            fields = line.split()
            if fields and len(fields) != num_fields:
                raise InputError(explain(f"{path}, line {number}", got=f"{len(fields)} fields", expected=num_fields))
            if fields:
                yield number, fields


def _number(path: Path, line: int, text: str) -> float:
    """Read a number, or say where it is none."""
    try:
        return float(text)
    except ValueError as error:
        raise InputError(explain(f"{path}, line {line}", got=repr(text), expected="a number")) from error


@contextmanager
def _writing(path: Path) -> Iterator[TextIO]:
    """Open ``path`` for atomic writing; the same content gives the same bytes, compressed too."""
    with atomic_path(path) as temporary, ExitStack() as stack:
        raw = stack.enter_context(temporary.open("wb"))
        packed = path.suffix == ".gz"
        stream = stack.enter_context(gzip.GzipFile("", "wb", LEVEL, raw, mtime=0)) if packed else raw
        yield stack.enter_context(TextIOWrapper(stream, encoding="utf-8", newline="\n"))
