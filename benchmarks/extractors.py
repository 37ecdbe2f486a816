"""Which extractor finds the text of web pages, and what does each lose of documentation pages?

Two measurements:

1. articles: a checkout of github.com/scrapinghub/article-extraction-benchmark (its folder html/ and ground-truth.json).
   Precision, recall and F1 are over 4-grams of words, each page counts alike, as its evaluate.py defines them;
2. manuals: HTML of Debian packages, evenly spaced pages of each folder. The reference is the text of all <p> of a page,
   and recall says how much of its 4-grams an extractor kept: of documentation nothing may be lost.

Extractors that are not installed are left out, so that no dependency is needed for a comparison that is made once.

    python -m benchmarks.extractors --articles article-extraction-benchmark --manuals python3.11-doc git-doc
        --json benchmarks/results/extractors.json
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import importlib.metadata
import json
import re
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from bs4 import BeautifulSoup

from benchmarks.surroundings import surroundings
from segue.corpus import html
from segue.files import write_json

NGRAM, PAGES = 4, 30
"""Words of a 4-gram, and pages of each manual that are read."""


def segue_rules(page: bytes) -> str:
    return "\n".join(html.parse(html.decode_page(page))[1])


def trafilatura(page: bytes) -> str:
    import trafilatura as library

    return library.extract(page, include_comments=False) or ""


def trafilatura_recall(page: bytes) -> str:
    import trafilatura as library

    return library.extract(page, include_comments=False, favor_recall=True) or ""


def resiliparse(page: bytes) -> str:
    from resiliparse.extract.html2text import extract_plain_text

    return extract_plain_text(html.decode_page(page), main_content=True, alt_texts=False, comments=False)


def readability(page: bytes) -> str:
    from readability import Document

    return BeautifulSoup(Document(html.decode_page(page)).summary(), "html.parser").get_text("\n")


def justext(page: bytes) -> str:
    import justext as library

    paragraphs = library.justext(page, library.get_stoplist("English"))
    return "\n".join(paragraph.text for paragraph in paragraphs if not paragraph.is_boilerplate)


def all_text(page: bytes) -> str:
    soup = BeautifulSoup(html.decode_page(page), "html.parser")
    for unseen in soup(["script", "style"]):
        unseen.extract()
    return soup.get_text("\n")


EXTRACTORS: dict[str, tuple[str, Callable[[bytes], str]]] = {
    "segue": ("beautifulsoup4", segue_rules),
    "trafilatura": ("trafilatura", trafilatura),
    "trafilatura, favour recall": ("trafilatura", trafilatura_recall),
    "resiliparse": ("resiliparse", resiliparse),
    "readability-lxml": ("readability-lxml", readability),
    "justext": ("justext", justext),
    "all text": ("beautifulsoup4", all_text),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--articles", type=Path, required=True)
    parser.add_argument("--manuals", type=Path, nargs="*", default=[], help="folders of HTML files")
    parser.add_argument("--only", nargs="*", help="names of extractors")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    truth = json.loads((args.articles / "ground-truth.json").read_text(encoding="utf-8"))
    articles = [
        (gzip.decompress((args.articles / "html" / f"{name}.html.gz").read_bytes()), one.get("articleBody", ""))
        for name, one in truth.items()
    ]
    manuals = {folder.name: [(page, paragraphs(page)) for page in evenly(folder)] for folder in args.manuals}
    results: dict[str, Any] = {}
    for name, (package, extract) in EXTRACTORS.items():
        if args.only and name not in args.only:
            continue
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            version = importlib.metadata.version(package)
            results[name] = {"version": f"{package} {version}", "articles": measured(articles, extract)}
            results[name]["manuals"] = {folder: measured(pages, extract) for folder, pages in manuals.items()}
            print(name, json.dumps(results[name]))
    if args.json:
        write_json(args.json, {"environment": surroundings(), "extractors": results})


def evenly(folder: Path) -> list[bytes]:
    """Return at most ``PAGES`` pages of a folder, evenly spaced in the order of their paths."""
    found = sorted(path for path in folder.rglob("*.html") if path.is_file() and not path.is_symlink())
    return [path.read_bytes() for path in found[:: max(1, len(found) // PAGES)][:PAGES]]


def paragraphs(page: bytes) -> str:
    """Return the text of all paragraphs outside of tables and of navigation."""
    soup = BeautifulSoup(html.decode_page(page), "html.parser")
    return "\n".join(tag.get_text() for tag in soup.find_all("p") if not tag.find_parent(["table", "nav", "footer"]))


def measured(pages: Iterable[tuple[bytes, str]], extract: Callable[[bytes], str]) -> dict[str, float]:
    """Return mean precision and recall, their F1, failures, and milliseconds per page."""
    precisions, recalls, failed, seconds = [], [], 0, 0.0
    for page, expected in pages:
        start = time.perf_counter()
        try:
            found = extract(page)
        except Exception:  # an extractor that fails finds nothing
            found, failed = "", failed + 1
        seconds += time.perf_counter() - start
        got, true = shingles(found), shingles(expected)
        both = (got & true).total()
        if got:
            precisions.append(both / got.total())
        if true:
            recalls.append(both / true.total())
    precision, recall = statistics.mean(precisions), statistics.mean(recalls)
    return {
        "f1": round(2 * precision * recall / (precision + recall), 4),
        "precision": round(precision, 4),
        "recall": round(recall, 4),
        "failed": failed,
        "ms_per_page": round(1000 * seconds / len(recalls), 1),
    }


def shingles(text: str) -> Counter[tuple[str, ...]]:
    """Return the 4-grams of words of a text; a shorter text is one."""
    words = re.findall(r"\w+", text)
    return Counter(gram for i in range(max(1, len(words) - NGRAM + 1)) if (gram := tuple(words[i : i + NGRAM])))


if __name__ == "__main__":
    main()
