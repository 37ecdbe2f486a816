"""The dump reader against dumps written here, and against the sample that ships inside gensim where it is installed."""

import bz2
import gzip
import importlib.util
import sys
from pathlib import Path
from xml.sax.saxutils import escape

import pytest

from segue.corpus import WikipediaDumpCorpus
from segue.corpus.wikipedia_dump import demo_path
from segue.errors import InputError, MissingExtraError
from segue.types import Document, Skipped

PROSE = "Snow is frozen water that falls from clouds when the air is cold enough. " * 10

HEAD = """<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.10/" version="0.10" xml:lang="en">
<siteinfo><sitename>Test</sitename><namespaces><namespace key="0" case="first-letter" />
<namespace key="6" case="first-letter">Datei</namespace><namespace key="14" case="first-letter">Kategorie</namespace>
</namespaces></siteinfo>
"""


def page(title, text, *, number=1, namespace=0, redirect=""):
    target = f'<redirect title="{redirect}" />' if redirect else ""
    return (
        f"<page><title>{title}</title><ns>{namespace}</ns><id>{number}</id>{target}"
        f"<revision><id>{number}</id><timestamp>2020-01-01T00:00:00Z</timestamp><contributor><username>A</username>"
        f'<id>1</id></contributor><model>wikitext</model><format>text/x-wiki</format><text xml:space="preserve">'
        f"{escape(text)}</text><sha1>abc</sha1></revision></page>\n"
    )


def write(path: Path, *pages, head=HEAD, tail="</mediawiki>\n"):
    path.write_text(head + "".join(pages) + tail, encoding="utf-8")
    return path


def read(path, **settings):
    return list(WikipediaDumpCorpus(path=str(path), **settings).read())


def test_articles_come_in_order_with_reasons_for_all_others(tmp_path):
    dump = write(
        tmp_path / "dump.xml",
        page("Zebra", PROSE),
        page("Old", "#REDIRECT [[Zebra]]", redirect="Zebra"),
        page("Older", "#redirect [[Zebra]]"),
        page("Talk:Zebra", PROSE, namespace=1),
        page("Stub", "It is short, but it is a sentence."),
        page("Nothing", ""),
        page("Ant", PROSE),
    )
    items = read(dump)
    assert [(item.id, getattr(item, "reason", "")) for item in items] == [
        ("Zebra", ""),
        ("Old", "redirect"),
        ("Older", "redirect"),
        ("Talk:Zebra", "not an article (another namespace)"),
        ("Stub", "shorter than 500 characters"),
        ("Nothing", "empty"),
        ("Ant", ""),
    ]
    assert items[0].title == "Zebra"
    assert items[0].source == "dump.xml"
    assert items[0].paragraphs == (PROSE.strip(),)


def test_plain_gzip_and_bzip2_dumps_read_alike_whatever_their_names(tmp_path):
    dump = write(tmp_path / "plain", page("A", PROSE), page("B", PROSE))
    (tmp_path / "zipped").write_bytes(gzip.compress(dump.read_bytes()))
    # Two streams in one file, as multistream dumps are.
    half = len(dump.read_bytes()) // 2
    (tmp_path / "packed").write_bytes(bz2.compress(dump.read_bytes()[:half]) + bz2.compress(dump.read_bytes()[half:]))
    ids = [[item.id for item in read(tmp_path / name)] for name in ("plain", "zipped", "packed")]
    assert ids == [["A", "B"]] * 3


def test_reading_stops_after_the_maximum_of_documents(tmp_path):
    dump = write(tmp_path / "d.xml", page("A", PROSE), page("S", "short"), page("B", PROSE), page("C", PROSE))
    assert [item.id for item in read(dump, maximum_documents=2)] == ["A", "S", "B"]


def test_file_links_are_known_by_the_names_of_the_wikis_own_language(tmp_path):
    picture = "[[Datei:Schnee.jpg|mini|hochkant|Ein Bild, das [[Schnee]] zeigt.]]"
    text = f"{picture}\n{PROSE}\n[[Kategorie:Wetter und Klima im Winter.]]"
    assert read(write(tmp_path / "d.xml", page("A", text)))[0].paragraphs == (PROSE.strip(),)


def test_titles_that_come_twice_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"d\.xml: two documents have the id 'A'"):
        read(write(tmp_path / "d.xml", page("A", PROSE), page("A", PROSE)))


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: whole[: len(whole) // 2],  # cut short
        lambda whole: whole.replace(b"</title>", b"</titel>", 1),  # tags that do not match
        lambda whole: b"<html><body>503</body></html>",  # an error page instead of a dump
        lambda whole: b"",
        lambda whole: b"7z\xbc\xaf'\x1c",
        lambda whole: whole.replace(b"<ns>0</ns>", b"<ns>zero</ns>", 1),
        lambda whole: whole.replace(b"<siteinfo>", b"<nonsense>").replace(b"</siteinfo>", b"</nonsense>"),
        lambda whole: whole.replace(b"Snow", b"Sn\xffow", 1),
        lambda whole: bz2.compress(whole)[:-20],
        lambda whole: bz2.compress(whole)[:60] + b"\0" * 80,
        lambda whole: gzip.compress(whole)[:-20],
    ],
)
def test_broken_dumps_end_in_an_error_that_names_the_file(tmp_path, damage):
    whole = write(tmp_path / "d.xml", page("A", PROSE), page("B", PROSE)).read_bytes()
    (tmp_path / "broken.xml").write_bytes(damage(whole))
    with pytest.raises(InputError, match=r"broken\.xml .*To fix it"):
        read(tmp_path / "broken.xml")


def test_a_missing_dump_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.xml: got nothing there"):
        read(tmp_path / "none.xml")
    with pytest.raises(InputError, match="got a folder"):
        read(tmp_path)


def test_the_demo_corpus_names_its_extra_when_gensim_is_missing(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'segue\[demo\]'"):
        read("demo")


def test_several_processes_read_the_same_in_the_same_order(tmp_path, recwarn):
    pages = [page(f"P{number}", f"{PROSE} Number {number}.", namespace=number % 3) for number in range(40)]
    dump = write(tmp_path / "dump.xml", *pages)
    assert read(dump, processes=2) == read(dump)
    assert read(dump, processes=2, maximum_documents=2) == read(dump, maximum_documents=2)
    assert not recwarn.list
    cut = write(tmp_path / "cut.xml", *pages, tail="<page><title>Lost")
    with pytest.raises(InputError, match=r"cut\.xml is not a complete MediaWiki dump"):
        read(cut, processes=2)


def test_memory_holds_one_page_not_the_dump(tmp_path):
    import tracemalloc

    def peak(pages):
        dump = write(tmp_path / f"{pages}.xml", *(page(f"P{n}", "#REDIRECT [[X]]", redirect="X") for n in range(pages)))
        tracemalloc.start()
        for _ in WikipediaDumpCorpus(path=str(dump)).read():
            pass
        try:
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(10)  # what is allocated once
    bytes_per_page = (peak(2300) - peak(300)) / 2000
    assert bytes_per_page < 70  # an empty element that stays behind takes 140


needs_demo = pytest.mark.skipif(importlib.util.find_spec("gensim") is None, reason="the extra demo is not installed")


@pytest.fixture(scope="module")
def demo_items():
    return read("demo")


@needs_demo
def test_gensim_is_found_but_not_imported():
    loaded = "gensim" in sys.modules
    assert demo_path().is_file()
    assert ("gensim" in sys.modules) == loaded


@needs_demo
def test_every_page_of_the_demo_is_accounted_for(demo_items):
    assert len(demo_items) == 206
    assert sum(isinstance(item, Skipped) and item.reason == "redirect" for item in demo_items) == 99


@needs_demo
def test_articles_of_the_demo_are_clean_prose(demo_items):
    documents = [item for item in demo_items if isinstance(item, Document)]
    assert 90 <= len(documents) <= 106
    text = "\n".join(paragraph for document in documents for paragraph in document.paragraphs)
    assert len(text) > 2_500_000
    remnants = ("''", "[[", "]]", "{{", "}}", "thumb|", "<ref", "</", "\n|", "\n!", "\n*", " ,", "()", "  ", "&nbsp;")
    assert [remnant for remnant in remnants if remnant in text] == []


@needs_demo
def test_a_known_article_is_read_without_its_references(demo_items):
    albedo = next(item for item in demo_items if item.id == "Albedo")
    assert albedo.paragraphs[0].startswith("Albedo or reflection coefficient, derived from Latin albedo")
    assert any("Snow albedo is highly variable" in paragraph for paragraph in albedo.paragraphs)
    assert not any(paragraph.startswith(("See also", "References")) for paragraph in albedo.paragraphs)
