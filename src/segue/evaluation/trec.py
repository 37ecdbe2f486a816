"""Run and qrels files in the TREC format, so that any other tool of the field can check the numbers.

A line of a run is ``qid Q0 docid rank score tag`` with score = −rank: the ranks already follow the tie rule, and a tool
that sorts by score cannot break ties its own way. Names ending in ``.gz`` are compressed. The depth of a run is in
a second file (``run.trec.json``), and metrics are comparable at that depth only
(``metrics.per_window(ranks, depth=…)``).

A duplicate group is one candidate: name every group by one of its members (the smallest row) in both files.
"""

from __future__ import annotations

import functools
import gzip
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import TextIO
from urllib.parse import quote

from segue.errors import InputError
from segue.files import atomic_file, write_json

LEVEL = 1
"""gzip level; higher levels take five times as long to save a third."""

_BREAKS_A_LINE = re.compile(r"[\s%\x00-\x1f\x7f]")


def encode_id(name: str) -> str:
    """Make a name one word of a TREC line: white space, control characters and ``%`` are percent-encoded.

    >>> encode_id("Abraham Lincoln#3")
    'Abraham%20Lincoln#3'

    Raises:
        InputError: an empty name.
    """
    if not name:
        raise InputError("a query or passage has an empty id", fix="give every document an id")
    return _BREAKS_A_LINE.sub(lambda match: quote(match.group(), safe=""), name)


def write_run(
    path: Path, queries: Sequence[str], answers: Sequence[Sequence[str]], *, tag: str, depth: int, note: str = ""
) -> None:
    """Write a run and, beside it, a JSON file with its depth.

    Args:
        path: the run file; ``.gz`` compresses it.
        queries: one id per window.
        answers: ids of each query's candidates, best first; shorter than ``depth`` where the pool ended.
        tag: name of the retriever.
        depth: most places.
        note: how the run was made (pool, exclusion).

    Raises:
        InputError: an answer appears twice, or more answers than ``depth``.
    """
    encode = functools.cache(encode_id)  # the same passages answer many queries
    tails = [f" {rank} {-rank} {encode(tag)}\n" for rank in range(1, depth + 1)]
    with _writing(path) as handle:
        for query, documents in zip(queries, answers, strict=True):
            if len(documents) > depth:
                raise InputError(f"query {query} has too many answers", got=len(documents), expected=f"at most {depth}")
            if len(set(documents)) != len(documents):
                raise InputError(f"query {query} has an answer twice", fix="use one id for each duplicate group")
            head = f"{encode(query)} Q0 "
            places = zip(documents, tails, strict=False)
            handle.write("".join([f"{head}{encode(document)}{tail}" for document, tail in places]))
    facts = {"file": path.name, "tag": tag, "depth": depth, "queries": len(queries), "score": "-rank", "note": note}
    write_json(path.with_name(f"{path.name}.json"), facts)


def write_qrels(path: Path, queries: Sequence[str], targets: Sequence[str]) -> None:
    """Write the one relevant candidate of each query as ``qid 0 docid 1``."""
    with _writing(path) as handle:
        for query, target in zip(queries, targets, strict=True):
            handle.write(f"{encode_id(query)} 0 {encode_id(target)} 1\n")


@contextmanager
def _writing(path: Path) -> Iterator[TextIO]:
    """Open ``path`` for atomic writing; the same content gives the same bytes, compressed too."""
    with atomic_file(path) as raw, ExitStack() as stack:
        packed = path.suffix == ".gz"
        stream = stack.enter_context(gzip.GzipFile("", "wb", LEVEL, raw, mtime=0)) if packed else raw
        yield stack.enter_context(TextIOWrapper(stream, encoding="utf-8", newline="\n"))
