"""Parsing a Wikipedia dump, beside gensim's segment_wiki on the same dump, one process and one thread each.

Two processes are compared with one too, by the clock; reading the file and its XML stays in one process.

The dump is the sample that ships inside gensim. Ours reads articles to paragraphs and cuts them into passages; gensim's
reads them to sections. Remnants of markup are counted on both sides, per million characters.
"""

from __future__ import annotations

import bz2

from benchmarks.speed.measurement import BenchSettings, Measurement, pairwise
from benchmarks.speed.turns import Prepared, Side, take_turns
from segue.corpus.passages import PassageSettings, cut
from segue.corpus.prose import remnants
from segue.corpus.wikipedia_dump import WikipediaDumpCorpus, demo_path
from segue.types import Document, Progress

TARGET = 0.5


def measure(settings: BenchSettings, progress: Progress) -> list[Measurement]:
    """Return the rows ``parse-dump`` and ``parse-processes``; the dump is never scaled."""
    ours, theirs = take_turns([Side(prepare_ours, {}, 1), Side(prepare_theirs, {}, 1)], repeats=settings.repeats,
                              progress=progress)  # fmt: skip
    pairs = zip(ours.values["processor_seconds"], theirs.values["processor_seconds"], strict=True)
    ratios = tuple((ours.facts["characters"] / own) / (theirs.facts["characters"] / other) for own, other in pairs)
    cleaner = ours.facts["remnants_per_million"] <= theirs.facts["remnants_per_million"]
    about = {"ratio": "characters of text a second of processor time", "dump": "gensim's sample, 106 articles"}
    row = Measurement(
        "parse-dump", "higher", TARGET, ratios, ours.to_json(), theirs.to_json(), about=about, holds=cleaner
    )
    return [row, _processes(settings, progress)]


def _processes(settings: BenchSettings, progress: Progress) -> Measurement:
    sides = [Side(prepare_ours, {"processes": processes}, 1) for processes in (2, 1)]
    two, one = take_turns(sides, repeats=settings.repeats, progress=progress)
    about = {"ratio": "seconds of one process over those of two"}
    return Measurement("parse-processes", "higher", None, pairwise(two, one, "seconds", better="higher"), two.to_json(),
               one.to_json(), about=about)  # fmt: skip


def prepare_ours(processes: int = 1) -> Prepared:
    """Read the dump to passages."""
    texts = _ours(processes)
    facts = {"characters": sum(map(len, texts)), "processes": processes, **_clean(texts)}
    return Prepared(lambda: {"passages": float(len(_ours(processes)))}, facts)


def prepare_theirs() -> Prepared:
    """Read the dump to sections with gensim."""
    texts = _theirs()
    facts = {"engine": "gensim.scripts.segment_wiki", "characters": sum(map(len, texts)), **_clean(texts)}
    return Prepared(lambda: {"sections": float(len(_theirs()))}, facts)


def _ours(processes: int) -> list[str]:
    reader, settings = WikipediaDumpCorpus(processes=processes), PassageSettings()
    documents = (found for found in reader.read() if isinstance(found, Document))
    return [passage.text for document in documents for passage in cut(document, settings)]


def _theirs() -> list[str]:
    from gensim.scripts.segment_wiki import extract_page_xmls, segment

    with bz2.open(demo_path()) as handle:
        found = [segment(xml) for xml in extract_page_xmls(handle)]
    return [text for _, sections, *_ in found for _, text in sections if not text.lstrip().lower().startswith("#redir")]


def _clean(texts: list[str]) -> dict[str, float]:
    found = sum(map(remnants, texts))
    return {"remnants_per_million": round(1e6 * found / max(1, sum(map(len, texts))), 1)}
