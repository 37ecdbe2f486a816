"""Parsing a Wikipedia dump, beside gensim's segment_wiki on the same dump, one process and one thread each.

The dump is the sample that ships inside gensim. Ours reads articles to paragraphs and cuts them into passages; gensim's
reads them to sections. Remnants of markup are counted on both sides, per million characters.
"""

from __future__ import annotations

import bz2
import re

from segue.benchmarks.row import BenchSettings, Row
from segue.benchmarks.turns import Prepared, Side, take_turns
from segue.data.corpus.wikipedia_dump import WikipediaDumpReader, WikipediaDumpSettings, demo_path
from segue.data.passages import PassageSettings, cut
from segue.types import Document, Progress

TARGET = 0.5
REMNANTS = re.compile(r"\[\[|\]\]|\{\{|\}\}|\{\||\|\}|''|</?\w+[^<>\n]{0,80}>|&[a-z]+;|\b(?:thumb|upright|frameless)\|")
"""Links, templates, tables, quote marks of italics, tags, entities, options of images."""


def measure(settings: BenchSettings, progress: Progress) -> list[Row]:
    """Return the row ``parse-dump``; the dump is never scaled."""
    ours, theirs = take_turns([Side(prepare_ours, {}, 1), Side(prepare_theirs, {}, 1)], repeats=settings.repeats,
                              progress=progress)  # fmt: skip
    pairs = zip(ours.values["processor_seconds"], theirs.values["processor_seconds"], strict=True)
    ratios = tuple((ours.facts["characters"] / own) / (theirs.facts["characters"] / other) for own, other in pairs)
    cleaner = ours.facts["remnants_per_million"] <= theirs.facts["remnants_per_million"]
    about = {"ratio": "characters of text a second of processor time", "dump": "gensim's sample, 106 articles"}
    return [Row("parse-dump", "higher", TARGET, ratios, ours.to_json(), theirs.to_json(), about=about, holds=cleaner)]


def prepare_ours() -> Prepared:
    """Read the dump to passages."""
    texts = _ours()
    return Prepared(lambda: {"passages": float(len(_ours()))}, {"characters": sum(map(len, texts)), **_clean(texts)})


def prepare_theirs() -> Prepared:
    """Read the dump to sections with gensim."""
    texts = _theirs()
    facts = {"engine": "gensim.scripts.segment_wiki", "characters": sum(map(len, texts)), **_clean(texts)}
    return Prepared(lambda: {"sections": float(len(_theirs()))}, facts)


def _ours() -> list[str]:
    reader, settings = WikipediaDumpReader(WikipediaDumpSettings()), PassageSettings()
    documents = (found for found in reader.read() if isinstance(found, Document))
    return [passage.text for document in documents for passage in cut(document, settings)]


def _theirs() -> list[str]:
    from gensim.scripts.segment_wiki import extract_page_xmls, segment

    with bz2.open(demo_path()) as handle:
        found = [segment(xml) for xml in extract_page_xmls(handle)]
    return [text for _, sections, *_ in found for _, text in sections if not text.lstrip().lower().startswith("#redir")]


def _clean(texts: list[str]) -> dict[str, float]:
    found = sum(len(REMNANTS.findall(text)) for text in texts)
    return {"remnants_per_million": round(1e6 * found / max(1, sum(map(len, texts))), 1)}
