"""What reads input that others wrote, as targets of fuzzing; ``python -m benchmarks.fuzzing`` tries millions of inputs.

A target takes bytes. It may return, or raise a ``SegueError``; anything else is a fault. What it returns can be written
as UTF-8: half a character would break every file that follows.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import hashlib
import io
import json
import lzma
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from fastapi.testclient import TestClient
from hypothesis import strategies as st

import segue
from segue.bank.import_vectors import import_vectors
from segue.bundles.files import verify
from segue.corpus import CorpusReader, VectorsCorpus
from segue.corpus.beir import BeirCorpus
from segue.corpus.dialogue import DialogueCorpus
from segue.corpus.folder import FolderCorpus
from segue.corpus.jsonl import JsonlCorpus
from segue.corpus.parquet import ParquetCorpus
from segue.corpus.passages import PassageSettings, cut
from segue.corpus.wikipedia_dump import WikipediaDumpCorpus
from segue.errors import SegueError
from segue.files import disk
from segue.models import ModelCard, ModelSettings, build_model
from segue.models.checkpoint import load_predictor, save_predictor
from segue.recipe import load_recipe
from segue.serving.server import make_app, make_server
from segue.serving.settings import ServeSettings
from segue.types import Document

MARKUP = {
    "dump": (
        "<mediawiki>", "</mediawiki>", "<page>", "</page>", "<title>A</title>", "<ns>0</ns>", "<revision>", "<text>",
        "</text></revision></page>", "[[", "]]", "[[File:a.png|thumb|", "{{", "}}", "{|", "|}", "|-", "''", "'''''",
        "&lt;ref&gt;", "&lt;/ref&gt;", "&lt;math&gt;", "&lt;!--", "--&gt;", "==", "#REDIRECT [[", "{{convert|1|km}}",
        "&#0;", "&#xD800;", "<!DOCTYPE a [<!ENTITY b 'c'>]>", "<![CDATA[", "]]>", "[[[[", "|", "&lt;nowiki&gt;",
        "{{lang|de|", "-{", "}-", "__TOC__", "&lt;gallery&gt;", "\n* ", "\n; a : b", "\n:::",
    ),
    "html": (
        "<p>", "</p>", "<div>", "</div>", "<table>", "<tr>", "<td>", "<main>", "<article>", "<h1>", "<!--", "-->",
        "<![",
        "<!", "<?", "<script>", "</script", "<style>", "<pre>", "<code>", "<br>", "<a href='", "'", '"', "&#",
        "&#x110000;",
        "&#0;", "&amp", "<![CDATA[", "<p class=", "<title>", "<li>", "<svg>", "<meta charset=punycode>",
        "<meta charset=utf-7>", "<meta charset=iso-2022-jp>", "<textarea>", "<plaintext>", "<nav hidden>",
        "<sup class=reference>",
    ),
    "markdown": (
        "# ", "* ", "> ", "```", "~~~", "`", "**", "_", "[", "](", ")", "![", "<", ">", "<!--", "|", "|-|", "\n\n",
        "    ",
        "---\n", "...\n", "\\", "[a]: b", "&#0;", "&nbsp;", "1. ", "- [ ] ", "\t", "$$", "+++\n", "[^1]", "<a href=",
    ),
    "rst": (
        "====\n", "Title\n=====\n", ".. ", ".. note::\n", "::\n\n", "``", "`", "`_", "__", "|a|", "* ", "1. ", "   ",
        ":a: b\n", "+---+\n", "| ", "=== ===\n", ".. include:: /etc/passwd\n", ".. raw:: html\n   :file: /etc/passwd\n",
        ".. csv-table::\n   :url: http://localhost\n", ".. _a:\n", ".. [1] ", "[1]_", ":ref:`", ":math:`",
        ".. math::\n",
        ".. role:: a(b)\n", ".. default-role:: a\n", ".. figure:: x\n", ".. contents::\n", ".. |a| replace:: |a|\n",
        ".. code-block:: python\n", ".. parsed-literal::\n", "**", "\n\n", ".. list-table::\n", ".. a:: b\n   :c: d\n",
    ),
    "jsonl": (
        '{"id": "a", "text": "', '"}', "\n", '"paragraphs": [', "]", "{", "}", ",", ":", '"', "\\ud800", "\\u0000",
        "\\",
        "null", "NaN", "Infinity", "1e999", "-0", "true", '{"id": 1, "text": "Snow falls."}\n', '"title": ',
        '"_id": "b"',
        '"messages": [{"role": "user", "content": "', '"turns": ["', '"conversations": [{"from": "human", "value": "',
        '"content": [{"type": "text", "text": "',
    ),
    "toml": (
        "[corpus]\n", 'kind = "jsonl"\n', 'path = "', '"\n', "[encoder]\n", "[passages]\n", "[triage]\n",
        "budget_minutes = ",
        "nan\n", "inf\n", "-1\n", "1e400\n", "99999999999999999999999\n", "[[", "]]", "[", "]", "{", "}", "= ",
        "a.b.c = ",
        '"""', "'''", "1979-05-27T07:32:00Z\n", "true\n", "\\uD800", "\\u0000", "[own]\n", "[evaluation.metrics]\n",
        'name = "os:system"\n', "[index]\n", "[loss]\n", 'options = ["', "language = 'xx'\n", "[rerank]\n",
        'import_from = "..',
        "target_characters = ", "[bank]\n", "[model]\n", "[training]\n", "[split]\n", "[windows]\n", "context = ",
        "0\n",
    ),
    "json": (
        "{", "}", "[", "]", ",", ":", '"', "null", "true", "NaN", "1e999", "-1", "0.5", "\\ud800", "\\u0000", '"k": ',
        '"ids": ["', '"text": "', '"passages": [', '"vectors": [[', '"exclude": [', '"documents": [', '"vector": [',
        '"files": {', '"format": 1', '"sha256": "', '"bytes": ', '"../', '"/etc/passwd"', '"model": {', '"dimension": ',
        '"context": ', '"name": "os:system"', '"options": {', '"space": ', '"map": ', "99999999999999999999", "\\",
    ),
    "bytes": ("\x93NUMPY", "\x01\x00", "PAR1", "{'descr': '<f4', 'fortran_order': False, 'shape': (", "|O",
    "\xff\xff\xff\xff", "\x00\x00\x00\x00",
              "99999999999999), }", "\x7f\xff\xff\xff", "'descr': [('a', '<f4')]"),
}  # fmt: skip
"""Pieces that mean something to a reader; a mutation puts some of them in, or one of them thousands of times."""
ANYWHERE = (
    "\x00", "\ufeff", "\u2028", "\u202e", "\r", "\r\n", "\t", "\x1b[31m", "\x85", "\ufffe", "🚀", "e\u0301",
    "\u0301" * 40, "Snow falls. ",
    "snow ", "ß", "İ", "ﬃ", "\U000e0001", "\u200b", "a", " ", "\n", ". ", "…", "“", "-\n", "\u00ad", "\x0c", "1.",
    "Dr. ",
)  # fmt: skip
RAW = (b"\xff", b"\xfe\xff", b"\xff\xfe", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\x80", b"BZh9",
       b"\x1f\x8b\x08",
       b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd", b"PK\x03\x04", b"%PDF-", b"version https://git-lfs.github.com/spec/v1\n",
       b"/annex/objects/", b"\x00\x00\xfe\xff")  # fmt: skip
"""Byte sequences that are no UTF-8, or the beginnings of other formats."""
SENTENCES = "Snow is frozen water that falls from clouds. It melts above zero degrees. Rain is liquid water. "


@dataclass(frozen=True)
class Target:
    """A reader under test.

    Attributes:
        name: as on the command line.
        run: reads an input.
        seeds: inputs that are read without an error.
        pieces: what mutations put in.
        repeats: inputs of a given size, in bytes, that make a careless reader slow, by name.
    """

    name: str
    run: Callable[[bytes], object]
    seeds: tuple[bytes, ...]
    pieces: tuple[str, ...]

    def repeats(self, size: int) -> Iterator[tuple[str, bytes]]:
        """Yield inputs of about ``size`` bytes that repeat one piece, two pieces in turn, or nest one in another."""
        head, tail = self.frame
        for piece in (*self.pieces, *ANYWHERE, "word", "Word. ", "a.b,", "(", "'", "x\n"):
            once = piece.encode("utf-8", "surrogatepass")
            yield f"{piece!r} again and again", head + once * max(1, size // max(1, len(once))) + tail
        for opening, closing in NESTED:
            count = size // (len(opening) + len(closing))
            yield f"{opening!r} nested", head + opening.encode() * count + closing.encode() * count + tail

    @cached_property
    def frame(self) -> tuple[bytes, bytes]:
        """What stands around a repeated piece, so that the piece is reached."""
        return FRAMES.get(self.name, (b"", b""))


NESTED = (
    ("[", "]"), ("{", "}"), ('{"a":', "}"), ("<div>", "</div>"), ("<b>", "</b>"), ("[[", "]]"), ("{{a|", "}}"),
    ("{|\n|", "\n|}"),
    ("> ", ""), ("* a\n ", ""), ("(", ")"), ("<page>", "</page>"), ("''", "''"), ("<table><tr><td>",
    "</td></tr></table>"),
    ("**", "**"), ("[a](", ")"), ("``", "``"), ("&lt;ref&gt;", "&lt;/ref&gt;"), ("“", "”"), ("-{", "}-"),
)  # fmt: skip
FRAMES = {
    "dump": (b"<mediawiki><page><title>A</title><ns>0</ns><revision><text>", b"</text></revision></page></mediawiki>"),
    "jsonl": (b'{"id": "a", "text": "', b'"}\n'),
    "beir": (b'{"_id": "a", "text": "', b'"}\n'),
    "dialogue": (b'{"id": "a", "turns": ["', b'"]}\n'),
    "requests": (b'{"text": "', b'"}'),
    "recipe": (b'title = "', b'"\n'),
}


def documents_of(reader: CorpusReader) -> list[object]:
    """Read a corpus and cut its documents, and write what comes out as UTF-8."""
    settings = PassageSettings(target_characters=100, minimum_characters=5)
    found: list[object] = []
    for item in reader.read():
        found.append(item)
        texts = [repr(item.reason), item.id] if not isinstance(item, Document) else [item.id, item.title]
        if isinstance(item, Document):
            texts += [passage.text for passage in cut(item, settings)]
        "\n".join(texts).encode()
    return found


class Readers:
    """The targets that read files, all in one folder."""

    EVERYTHING: ClassVar[dict[str, Any]] = {"minimum_characters": 0, "maximum_unreadable": 1.0}

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _file(self, name: str, data: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(data)
        return path

    def dump(self, data: bytes) -> object:
        return documents_of(WikipediaDumpCorpus(path=str(self._file("dump.xml", data)), **self.EVERYTHING))

    def jsonl(self, data: bytes) -> object:
        return documents_of(JsonlCorpus(path=self._file("lines.jsonl", data), **self.EVERYTHING))

    def beir(self, data: bytes) -> object:
        return documents_of(BeirCorpus(path=self._file("corpus.jsonl", data), **self.EVERYTHING))

    def dialogue(self, data: bytes) -> object:
        return documents_of(DialogueCorpus(path=self._file("dialogues.jsonl", data), **self.EVERYTHING))

    def parquet(self, data: bytes) -> object:
        return documents_of(ParquetCorpus(path=self._file("rows.parquet", data), **self.EVERYTHING))

    def text(self, suffix: str) -> Callable[[bytes], object]:
        """Return a target that reads a folder with one file of a kind."""
        place = self.folder / suffix
        place.mkdir(exist_ok=True)

        def run(data: bytes) -> object:
            (place / f"file.{suffix}").write_bytes(data)
            return documents_of(FolderCorpus(path=place, **self.EVERYTHING))

        return run

    def npy(self, data: bytes) -> object:
        """Import a matrix of three vectors, or whatever the bytes are."""
        self._file("table.parquet", _table_of_three())
        out = self.folder / "imported"
        disk.remove(out)
        corpus = VectorsCorpus(vectors=self._file("vectors.npy", data), table=self.folder / "table.parquet")
        bank = import_vectors(corpus, out)
        return bank.gather(np.arange(len(bank)))

    def recipe(self, data: bytes) -> object:
        return load_recipe(self._file("recipe.toml", data)).model_dump_json()

    @cached_property
    def _checkpoint(self) -> Path:
        torch.manual_seed(0)
        space = {"encoder": "e", "dimension": 8, "fingerprint": "AAAA"}
        card = ModelCard(name="a", space=space, training_documents=("0",), loss="l", metrics={}, training={}, seed=1)
        predictor = build_model(ModelSettings(name="mlp", size="toy"), dimension=8, context=2)
        save_predictor(predictor, self.folder / "model", card=card)
        return self.folder / "model"

    def checkpoint_config(self, data: bytes) -> object:
        (self._checkpoint / "config.json").write_bytes(data)
        return load_predictor(self._checkpoint)[1].model_dump_json()

    def bundle_manifest(self, data: bytes) -> object:
        """Verify a bundle whose manifest is sealed, so that what is in it is read."""
        place = self.folder / "bundle"
        place.mkdir(exist_ok=True)
        (place / "a.txt").write_text("a")
        (place / "manifest.json").write_bytes(data)
        (place / "manifest.sha256").write_text(f"{hashlib.sha256(data).hexdigest()}  manifest.json\n")
        return dict(verify(place).files)

    def seed_config(self) -> bytes:
        return (self._checkpoint / "config.json").read_bytes()


def _table_of_three() -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({"document_id": ["a", "a", "b"], "position": [0, 1, 0], "text": ["A.", "B.", "C."]}), sink)
    return sink.getvalue()


def _parquet(**options: Any) -> bytes:
    sink = io.BytesIO()
    table = pa.table({"id": ["a", "b"], "title": ["A", None], "text": [SENTENCES * 3, "Snow.\n\nRain."]})
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def _npy(values: np.ndarray, **options: Any) -> bytes:
    sink = io.BytesIO()
    np.save(sink, values, **options)
    return sink.getvalue()


def _dump(text: str) -> bytes:
    return (
        "<mediawiki><siteinfo><namespaces><namespace key='6'>File</namespace></namespaces></siteinfo>"
        f"<page><title>Snow</title><ns>0</ns><id>1</id><revision><id>2</id><model>wikitext</model><text>{text}</text>"
        "</revision></page><page><title>R</title><ns>0</ns><redirect title='Snow'/><revision><text>#REDIRECT [[Snow]]"
        "</text></revision></page></mediawiki>"
    ).encode()


WIKITEXT = (
    f"'''Snow''' is [[ice|frozen]].&lt;ref&gt;A book.&lt;/ref&gt; {SENTENCES}\n\n== Kinds ==\n"
    f"{{{{convert|3|km}}}} {SENTENCES}\n"
    f"* one\n* two\n{{|\n|-\n| a || b\n|}}\n[[File:a.png|thumb|A [[cloud]].]]\n{SENTENCES} {{{{citation|a=1}}}}"
)


def corpus_targets(folder: Path) -> list[Target]:
    """Return the readers of corpora."""
    read = Readers(folder)
    lines = b'{"id": "a", "title": "A", "text": "Snow falls. It melts."}\n{"id": 2, "paragraphs": ["One.", "Two."]}\n'
    talks = "\n".join(map(json.dumps, (
        {"id": "a", "messages": [{"role": "user", "content": "Why?"}, {"role": "bot", "content": [{"text": "So."}]}]},
        {"turns": ["Hello.", "Good day."]},
        {"conversations": [{"from": "human", "value": "Who?"}]},
    ))).encode()  # fmt: skip
    html = (
        "<html><head><title>Snow</title><meta charset='utf-8'></head><body><nav><p>Home</p></nav><main><h1>Snow</h1>"
        f"<p>{SENTENCES}<ul><li>{SENTENCES}</ul><table><tr><th>a<td>b</table><pre>code</pre></main></body></html>"
    ).encode()
    markdown = (
        f"---\ntitle: x\n---\n# Snow\n\n{SENTENCES}\n\n* {SENTENCES}\n\n```\ncode\n```\n\n"
        "| a | b |\n|---|---|\n| 1 | 2 |\n"
    ).encode()
    rst = (
        f"Snow\n====\n\n{SENTENCES}\n\n.. note:: {SENTENCES}\n\n* one\n\n::\n\n   code\n\n:ref:`a` and ``b``.\n\n"
        "=== ===\na   b\n=== ===\n"
    ).encode()
    tables = (_parquet(), _parquet(compression="zstd"), _parquet(use_dictionary=False))
    return [
        Target("dump", read.dump, (_dump(WIKITEXT), bz2.compress(_dump(WIKITEXT))), MARKUP["dump"]),
        Target("html", read.text("html"), (html,), MARKUP["html"]),
        Target("markdown", read.text("md"), (markdown,), MARKUP["markdown"]),
        Target("rst", read.text("rst"), (rst,), MARKUP["rst"]),
        Target("text", read.text("txt"), (SENTENCES.encode() * 4, "Größe – naïve.\n\nB. C.".encode("utf-16")), ()),
        Target("jsonl", read.jsonl, (lines, gzip.compress(lines), lzma.compress(lines)), MARKUP["jsonl"]),
        Target("beir", read.beir, (b'{"_id": "a", "title": "A", "text": "Snow falls."}\n',), MARKUP["jsonl"]),
        Target("dialogue", read.dialogue, (talks,), MARKUP["jsonl"]),
        Target("parquet", read.parquet, tables, MARKUP["bytes"]),
    ]  # fmt: skip


def record_targets(folder: Path) -> list[Target]:
    """Return what reads vectors, recipes, and the records of checkpoints and bundles."""
    read = Readers(folder)
    recipe = (
        f'title = "A"\n[corpus]\nkind = "jsonl"\npath = "{folder}/lines.jsonl"\n[passages]\ntarget_characters = 300\n'
        'language = "en"\n[encoder]\nname = "all-MiniLM-L6-v2"\n[training]\nbatch_size = 32\n[triage]\n'
        'budget_minutes = 3.5\noptions = ["infonce"]\n[rerank]\nlists = 40\n[rerank.lambdamart]\nrounds = 3\n'
    ).encode()
    manifest = json.dumps({"format": 1, "name": "a", "created": "2026-01-01", "files": {
        "a.txt": {"bytes": 1, "sha256": hashlib.sha256(b"a").hexdigest()}}}).encode()  # fmt: skip
    eye = np.eye(3, dtype=np.float32)
    matrices = (_npy(eye), _npy(eye.astype(np.float64)), _npy(np.asfortranarray(eye.astype(np.float16))))
    return [
        Target("npy", read.npy, matrices, MARKUP["bytes"]),
        Target("recipe", read.recipe, (recipe,), MARKUP["toml"]),
        Target("checkpoint config", read.checkpoint_config, (read.seed_config(),), MARKUP["json"]),
        Target("bundle manifest", read.bundle_manifest, (manifest,), MARKUP["json"]),
    ]  # fmt: skip


def targets(folder: Path) -> dict[str, Target]:
    """Return all targets that need no server, by name."""
    return {one.name: one for one in (*corpus_targets(folder), *record_targets(folder))}


POSTS = ("/v1/next", "/v1/predict", "/v1/search")


def request_target(bundle: Path, stack: contextlib.ExitStack) -> Target:
    """Return the server of a bundle, in this process; an input is the body of a request to each of its paths.

    An answer is one of those that ``bad_requests.py`` allows, or an answer in JSON.
    """
    settings = ServeSettings()
    app = make_app(make_server(bundle, settings, segue.load))
    client = stack.enter_context(TestClient(app, raise_server_exceptions=True))

    def run(data: bytes) -> object:
        answers = [client.post(path, content=data, headers={"content-type": "application/json"}) for path in POSTS]
        for answer in answers:
            assert answer.status_code in (200, 400, 413, 422), f"status {answer.status_code}"
            json.loads(answer.content.decode())
        return answers

    eye = [1.0] + [0.0] * (segue.load(bundle).bundle.bank.dimension - 1)
    bodies: list[dict[str, Any]] = [
        {"ids": ["volume/1 №1#1"], "k": 3}, {"passages": ["Snow falls.", "It."]}, {"text": SENTENCES, "map": True},
        {"vectors": [eye], "exclude": ["volume/1 №1#1"]}, {"vector": eye, "k": 2},
    ]  # fmt: skip
    return Target("requests", run, tuple(json.dumps(body).encode() for body in bodies), MARKUP["json"])


@dataclass(frozen=True)
class Found:
    """A fault: what came out instead of a result or a ``SegueError``."""

    target: str
    fault: str
    data: bytes


def attempt(target: Target, data: bytes) -> Found | None:
    """Run one input; None where it is read or refused."""
    try:
        try:
            target.run(data)
        except SegueError as error:
            str(error).encode()
    except Exception as error:
        return Found(target.name, fault_of(error), data)
    return None


def fault_of(error: Exception) -> str:
    """Name a fault by its class and the line it comes from, so that many inputs with one cause are one fault."""
    trace, where = error.__traceback__, ""
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if "segue" in file and "tests" not in file:
            where = f"{Path(file).name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return f"{type(error).__name__} at {where}: {str(error)[:100]}"


class Mutator:
    """Draws inputs: a seed, changed in a few places. Equal seeds draw equal inputs."""

    def __init__(self, target: Target, seed: int) -> None:
        self.random = random.Random(f"{target.name}/{seed}")
        texts = (piece.encode("utf-8", "surrogatepass") for piece in (*target.pieces, *ANYWHERE))
        self.seeds, self.pieces = target.seeds, [*texts, *RAW]

    def draw(self, most: int = 20_000) -> bytes:
        """Return one input."""
        data = self.random.choice(self.seeds)
        for _ in range(self.random.choice((1, 1, 2, 3, 5, 8))):
            data = self.change(data)
        return data[:most]

    def change(self, data: bytes) -> bytes:
        """Return the input with one change."""
        draw = self.random
        a, b = sorted((draw.randint(0, len(data)), draw.randint(0, len(data))))
        which = draw.randrange(9)
        if which == 0 and data:
            place = draw.randrange(len(data))
            return data[:place] + bytes([data[place] ^ 1 << draw.randrange(8)]) + data[place + 1 :]
        if which == 1:
            return data[:a] + data[b:]
        if which == 2:
            return data[:a] + data[a : min(b, a + 500)] * draw.choice((2, 2, 5, 50)) + data[b:]
        if which == 3:
            other = draw.choice(self.seeds)
            return data[:a] + other[draw.randint(0, len(other)) :]
        if which == 4:
            return data[:a] + draw.choice(self.pieces) * draw.choice((1, 1, 2, 10, 100, 1000)) + data[a:]
        if which == 5:
            return data[:a] + draw.randbytes(draw.choice((1, 2, 4, 16))) + data[b:]
        if which == 6:
            number = draw.choice((b"0", b"-1", b"1e999", b"NaN", b"9" * 30, b"0.1", b"4294967296", b"null", b"true"))
            return data[:a] + number + data[min(len(data), a + len(number)) :]
        pieces = b"".join(draw.choice(self.pieces) for _ in range(draw.randint(1, 12)))
        return data[:a] + pieces + data[a if which == 7 else b :]


def structured(target: Target) -> st.SearchStrategy[bytes]:
    """Return a strategy of inputs by structure: lists of pieces, and values of JSON where a target reads it."""
    pieces = [piece.encode("utf-8", "surrogatepass") for piece in (*target.pieces, *ANYWHERE, SENTENCES)]
    head, tail = target.frame
    some = st.one_of(st.sampled_from(pieces), st.sampled_from(RAW), st.binary(max_size=8))
    joined = st.lists(some, max_size=30).map(b"".join)
    framed = joined.map(lambda inner: head + inner + tail)
    if target.name in READS_JSON:
        return st.one_of(json_values(target), joined, framed)
    return st.one_of(joined, framed, st.tuples(st.sampled_from(target.seeds), joined, st.floats(0, 1)).map(_inserted))


def _inserted(drawn: tuple[bytes, bytes, float]) -> bytes:
    data, inner, share = drawn
    return data[: int(share * len(data))] + inner + data[int(share * len(data)) :]


READS_JSON = ("jsonl", "beir", "dialogue", "requests", "checkpoint config", "bundle manifest")


def json_values(target: Target) -> st.SearchStrategy[bytes]:
    """Return a strategy of JSON: a valid record some of whose keys have other values."""
    keys = [*sorted({key for seed in target.seeds for key in _keys_of(seed)}), "sha256", chr(0xD800), ""]
    leaves = st.one_of(st.none(), st.booleans(), st.integers(-(10**20), 10**20), st.floats(), st.text(max_size=20),
                       st.sampled_from((*ANYWHERE, SENTENCES)))  # fmt: skip
    names = st.sampled_from(keys)

    def inside(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        return st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4)

    values = st.recursive(leaves, inside, max_leaves=12)
    seeds = [value for seed in target.seeds for value in _values_of(seed)]
    changed = st.tuples(st.sampled_from(seeds), st.dictionaries(st.sampled_from(keys), values, max_size=3))
    records = changed.map(lambda drawn: {**drawn[0], **drawn[1]})
    return st.one_of(records, values).map(lambda value: json.dumps(value).encode())


def _values_of(data: bytes) -> list[dict[str, Any]]:
    try:
        return [value for value in map(json.loads, data.decode().splitlines()) if isinstance(value, dict)]
    except ValueError:
        try:
            return [json.loads(data)]
        except ValueError:  # packed
            return []


def _keys_of(data: bytes) -> set[str]:
    def inner(value: Any) -> set[str]:
        if isinstance(value, dict):
            return set(value).union(*map(inner, value.values()))
        return set().union(*map(inner, value)) if isinstance(value, list) else set()

    return set().union(*map(inner, _values_of(data)))
