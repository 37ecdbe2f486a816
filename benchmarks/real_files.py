"""Is every file of a folder of 1,000 real files read or listed with its reason, and how much markup stays in the text?

Files of eight formats are copied from unpacked Debian documentation packages (HTML, XHTML, Markdown, reStructuredText,
Sphinx's .rst.txt, plain text; the paragraphs of further pages as JSON Lines and Parquet). One file in twenty is damaged
on purpose, with a fixed seed, in the ways of ``DAMAGES``. Read are the folder with ``kind = "folder"``, and the JSON
Lines and Parquet files, which are whole, with their own readers; passages are cut as ``segue bank build`` does, and
nothing is encoded. Remnants of markup are counted in files that are whole. The commit ``--before`` reads the same files
one by one, since it ends at the first bad file.

    python -m benchmarks.real_files --sources packages/ /usr/share/doc/nodejs --work runs/real-files
        --before 7602b7a --json benchmarks/results/real_files.json
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from benchmarks.surroundings import surroundings
from segue.files import write_json

FORMATS = {"html": 300, "xhtml": 50, "md": 150, "rst": 150, "rst.txt": 100, "txt": 200, "jsonl": 25, "parquet": 25}
"""Files of each format."""
SEED = 17
REMNANTS = {
    "HTML tags": r"</?[a-zA-Z][a-zA-Z0-9]*(?:\s[^<>]*)?>",
    "HTML entities": r"&(?:[a-z]+|#\d+|#x[0-9a-f]+);",
    "Markdown": r"\]\(\S*\)|\*\*\w|```|^#+ ",
    "reST": r":[a-z:-]+:`|``|\.\. [a-z-]+::|`_\b",
    "front matter": r"^(?:\+\+\+|---)|^\w+: .+ ---",
    "rules": r"(?:[-=*_~#+]){4,}|(?:\s[-=*_~]){4,}",
    "page heads": r"\[Page \d+\]|\f",
    "divided words": r"[a-z]-\s[a-z]{2}(?!nd |r )",
    "invisible": "[\u00ad\u200b\u2060\ufeff\ufffd\b]",
}
"""Patterns of markup and lay-out that are no prose."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sources", type=Path, nargs="+", required=True, help="folders of unpacked packages")
    parser.add_argument("--work", type=Path, required=True, help="folder for the files; made anew")
    parser.add_argument("--before", default="7602b7a", help="commit that is compared")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--read", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.read:
        print(json.dumps(read_one_by_one(args.work / "files")))
        return
    shutil.rmtree(args.work, ignore_errors=True)
    damaged = make(args.sources, args.work / "files")
    write_json(args.work / "damaged.json", damaged)
    now = whole_folder(args.work / "files", damaged)
    print(json.dumps({name: value for name, value in now.items() if name != "read"}), flush=True)
    before = at_commit(args.before, args.work)
    record = {
        "environment": surroundings(),
        "files": FORMATS,
        "damaged": dict(Counter(damaged.values())),
        "damaged_files": {"read": sorted(now["read"] & damaged.keys()), "left_out": len(damaged.keys() - now["read"])},
        "now": {name: value for name, value in now.items() if name != "read"},
        f"before_{args.before}": before,
    }
    print(json.dumps(record, indent=1))
    if args.json:
        write_json(args.json, record)


def make(sources: list[Path], files: Path) -> dict[str, str]:
    """Copy the files, evenly spaced among those of their format; return which were damaged, and how."""
    found = {ending: whole_files(sources, ending) for ending in ("html", "md", "rst.txt", "txt")}
    found["html"], found["xhtml"] = found["html"][::2], found["html"][1::2]
    found["rst.txt"], found["rst"] = found["rst.txt"][::2], found["rst.txt"][1::2]
    draw, damaged = random.Random(SEED), {}
    for ending in ("html", "xhtml", "md", "rst", "rst.txt", "txt"):
        for number, source in enumerate(evenly(found[ending], FORMATS[ending])):
            name = f"{ending.replace('.', '-')}/{number:03}.{ending}"
            (files / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, files / name)
            if number % 20 == 7:
                damaged[name] = way = sorted(DAMAGES)[draw.randrange(len(DAMAGES))]
                DAMAGES[way](files / name, draw)
    records(evenly(found["txt"], FORMATS["jsonl"] + FORMATS["parquet"]), files)
    return damaged


def whole_files(sources: list[Path], ending: str) -> list[Path]:
    found = sorted(
        path for folder in sources for path in folder.rglob(f"*.{ending}") if path.is_file() and not path.is_symlink()
    )
    return [path for path in found if ending == "rst.txt" or not path.name.endswith(".rst.txt")]


def evenly(found: list[Path], wanted: int) -> list[Path]:
    if len(found) < wanted:
        raise SystemExit(f"--sources has {len(found)} files, expected {wanted}: unpack more packages")
    return [found[number * len(found) // wanted] for number in range(wanted)]


def records(sources: list[Path], files: Path) -> None:
    """Write the paragraphs of each text as the records of one JSON Lines or Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    for number, source in enumerate(sources):
        blocks = source.read_text(encoding="utf-8", errors="replace").split("\n\n")
        rows = [{"id": f"{number}-{place}", "text": block} for place, block in enumerate(blocks)]
        kind, name = ("jsonl", f"{number:03}") if number < FORMATS["jsonl"] else ("parquet", f"{number:03}")
        path = files / kind / f"{name}.{kind}"
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == "jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        else:
            parquet.write_table(pa.Table.from_pylist(rows), path)


def _insert(path: Path, draw: random.Random, piece: bytes) -> None:
    data = path.read_bytes()
    place = draw.randrange(len(data) + 1)
    path.write_bytes(data[:place] + piece + data[place:])


def _replace_by_link(path: Path, _: random.Random) -> None:
    path.unlink()
    path.symlink_to("nowhere")


DAMAGES: dict[str, Callable[[Path, random.Random], object]] = {
    "bytes that are not UTF-8": lambda path, draw: _insert(path, draw, b"\xff\xc3\xe9"),
    "a block of zeros at the start": lambda path, draw: path.write_bytes(b"\0" * 512 + path.read_bytes()),
    "cut in half": lambda path, draw: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "empty": lambda path, draw: path.write_bytes(b""),
    "git-LFS pointer": lambda path, draw: path.write_bytes(
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
    ),
    "UTF-16 without a mark": lambda path, draw: path.write_bytes(
        path.read_bytes().decode("utf-8", "replace").encode("utf-16-le")
    ),
    "in Latin-1": lambda path, draw: path.write_bytes("Déjà vu.\n\n".encode("latin-1") + path.read_bytes()),
    "nested 10,000 times": lambda path, draw: _insert(path, draw, b"<div>" * 10_000 + b"> " * 10_000),
    "broken link": _replace_by_link,
}
"""What is done to a file."""


def whole_folder(files: Path, damaged: Iterable[str]) -> dict[str, Any]:
    """Read everything in one go, cut it into passages, and compare the files with what was read or listed."""
    from segue.corpus import FolderCorpus, JsonlCorpus, ParquetCorpus
    from segue.corpus.passages import PassageSettings, cut
    from segue.types import Document

    items = list(FolderCorpus(path=files).read())
    listed = [item for item in items if not isinstance(item, Document)]
    documents = [item for item in items if isinstance(item, Document)]
    there = {path.relative_to(files).as_posix() for path in files.rglob("*") if path.is_symlink() or path.is_file()}
    named = [item.id for item in items]
    tables = {
        kind: sum(isinstance(item, Document) for item in corpus.read())
        for kind, corpus in (
            ("jsonl", JsonlCorpus(path=files / "jsonl")),
            ("parquet", ParquetCorpus(path=files / "parquet")),
        )
    }
    return {
        "files": len(there),
        "neither_read_nor_listed": sorted(there - set(named)),
        "twice": sorted(name for name, count in Counter(named).items() if count > 1),
        "documents": len(documents),
        "passages": sum(len(cut(document, PassageSettings())) for document in documents),
        "left_out": dict(Counter(item.reason for item in listed)),
        "unreadable": sum(item.unreadable for item in listed),
        "documents_of_records": tables,
        "read": {item.id for item in documents},
        **markup((item.id.partition("/")[0], item.paragraphs) for item in documents if item.id not in damaged),
    }


def read_one_by_one(files: Path) -> dict[str, Any]:
    """Read each file of text on its own; count errors, characters, and remnants per million characters by kind."""
    from segue.corpus import FolderCorpus
    from segue.errors import SegueError
    from segue.types import Document

    errors: Counter[str] = Counter()
    read: list[tuple[Path, tuple[str, ...]]] = []
    for path in sorted(files.rglob("*")):
        if path.parent.name not in ("jsonl", "parquet") and path.suffix:
            try:
                items = list(FolderCorpus(path=path.parent, glob=path.name).read())
            except (SegueError, UnicodeError, LookupError, RecursionError) as error:
                errors[type(error).__name__] += 1
                continue
            read += [(path, item.paragraphs) for item in items if isinstance(item, Document)]
    damaged = json.loads((files.parent / "damaged.json").read_text(encoding="utf-8"))
    whole = [(path.parent.name, texts) for path, texts in read if path.relative_to(files).as_posix() not in damaged]
    return {"documents": len(read), "errors": dict(errors), **markup(whole)}


def markup(read: Iterable[tuple[str, tuple[str, ...]]]) -> dict[str, Any]:
    """Return characters and remnants per million of them, by format and by kind."""
    characters: Counter[str] = Counter()
    remnants: dict[str, Counter[str]] = {}
    for kind, paragraphs in read:
        for text in paragraphs:
            characters[kind] += len(text)
            for name, pattern in REMNANTS.items():
                remnants.setdefault(kind, Counter())[name] += len(re.findall(pattern, text))
    total = sum(remnants.values(), Counter())
    return {
        "characters": dict(characters),
        "remnants_per_million": round(1e6 * total.total() / characters.total(), 1),
        "by_format": {kind: round(1e6 * found.total() / characters[kind], 1) for kind, found in remnants.items()},
        "by_kind": {kind: round(1e6 * count / characters.total(), 1) for kind, count in total.most_common()},
    }


def at_commit(commit: str, work: Path) -> Any:
    """Return what the code of a commit reads, run in a process of its own."""
    root = Path(__file__).parents[1]
    packed = subprocess.run(["git", "archive", commit, "src"], cwd=root, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(work / "before", filter="data")
    run = [sys.executable, "-m", "benchmarks.real_files", "--read", "--sources", ".", "--work", str(work.absolute())]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str((work / "before" / "src").absolute()), str(root)])}
    return json.loads(subprocess.run(run, env=environment, cwd=root, capture_output=True, check=True).stdout)


if __name__ == "__main__":
    main()
