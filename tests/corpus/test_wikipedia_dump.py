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


def page(title, text, *, number=1, namespace=0, redirect="", model="wikitext", before="", inside="", after=""):
    target = f'<redirect title="{redirect}" />' if redirect else ""
    return (
        f"<page>{before}<title>{title}</title><ns>{namespace}</ns><id>{number}</id>{target}"
        f"<revision><id>{number}</id><timestamp>2020-01-01T00:00:00Z</timestamp><contributor><username>A</username>"
        f'<id>1</id></contributor>{inside}<model>{model}</model><format>text/x-wiki</format><text xml:space="preserve">'
        f"{escape(text)}</text><sha1>abc</sha1></revision>{after}</page>\n"
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


def test_a_title_that_comes_again_is_skipped(tmp_path):
    """A dump is written while the wiki changes, so a page may be in it twice; the rest took hours to read."""
    items = read(
        write(tmp_path / "d.xml", page("A", PROSE), page("B", PROSE), page("A", f"{PROSE} New."), page("C", PROSE))
    )
    again = Skipped("A", "title comes again (the first page is read)")
    assert [item.id for item in items if isinstance(item, Document)] == ["A", "B", "C"]
    assert items[2] == again


UPLOAD = "<upload><timestamp>2020</timestamp><contributor><id>1</id></contributor><filename>B.jpg</filename></upload>"
SLOT = "<content><role>mediainfo</role><model>json</model><text>{}</text></content>"


@pytest.mark.parametrize(
    "strange",
    [
        page("B", PROSE, inside="<newtag>1</newtag>"),
        page("B", PROSE, inside=SLOT),  # a further slot of a revision, since schema 0.11
        page("B", PROSE, inside="<origin>7</origin>", after="<new><title>X</title><text>Y</text></new>"),
        page("B", PROSE, before='<discussionthreadinginfo><ThreadSubject>X</ThreadSubject></discussionthreadinginfo>'),
        page("B", PROSE, after=UPLOAD),
        f"<logitem><id>1</id><type>move</type></logitem><unknown/>{page('B', PROSE)}",
    ],
)  # fmt: skip
def test_elements_that_are_not_known_are_ignored_and_the_page_is_read(tmp_path, strange):
    items = read(write(tmp_path / "d.xml", page("A", PROSE), strange, page("C", PROSE)))
    assert items == [Document(title, title, (PROSE.strip(),), "d.xml") for title in "ABC"]


@pytest.mark.parametrize(
    ("strange", "skipped"),
    [
        (page("Datei:B.jpg", PROSE, namespace=6, after=UPLOAD),
         Skipped("Datei:B.jpg", "not an article (another namespace)")),
        (page("B", '{"a": 1}', model="json"), Skipped("B", "not wikitext (json)")),
        (page("B", "{" * 6000 + "}" * 6000), Skipped("B", "cannot be parsed (RecursionError)", unreadable=True)),
        (page("B", PROSE, namespace="zero"),
         Skipped("B", "a page without a revision or a namespace", unreadable=True)),
        ("<page><title>B</title><ns>0</ns><id>7</id></page>",
         Skipped("B", "a page without a revision or a namespace", unreadable=True)),
        (page("", PROSE, number=7), Skipped("page 7", "a page without a title", unreadable=True)),
        ("<page/>", Skipped("page None", "a page without a title", unreadable=True)),
    ],
)  # fmt: skip
def test_a_page_that_cannot_be_read_costs_no_other_page(tmp_path, strange, skipped):
    items = read(write(tmp_path / "d.xml", page("A", PROSE), strange, page("C", PROSE)))
    assert [items[0].id, items[2].id] == ["A", "C"]
    assert items[1] == skipped


def test_a_dump_without_information_on_its_site_is_read(tmp_path):
    pages = page("A", f"[[Datei:A.jpg|mini|Ein Satz, der hier endet.]] {PROSE}"), page("B", PROSE)
    items = read(write(tmp_path / "d.xml", *pages, head="<mediawiki>"))
    assert items == [Document(title, title, (PROSE.strip(),), "d.xml") for title in "AB"]


def test_old_dumps_have_the_namespace_in_the_title_alone(tmp_path):
    pages = (page(title, PROSE).replace("<ns>0</ns>", "") for title in ("A", "Datei:A", "Deep: a film"))
    items = read(write(tmp_path / "d.xml", *pages))
    assert [type(item) for item in items] == [Document, Skipped, Document]


@pytest.mark.parametrize(
    ("text", "is_redirect"),
    [
        ("#WEITERLEITUNG [[Schnee]]", True),
        ("#redirection : [[Neige]]\n\nUne phrase qui reste encore dans la page.", True),
        ("\n#REDIRECCIÓN[[Nieve]]", True),
        ("#перенаправление [[Снег]]", True),
        ("#تغییر_مسیر [[برف]]", True),
        ("＃転送 [[雪]]", True),
        ("#넘겨주기 [[눈]]", True),
        ("#ĐỔI [[Tuyết]]", True),
        ("#Somewordelse [[Snow]]\n{{R from move}}\n[[Category:Redirects]]\n", True),  # a word of a small language
        ("#Snow is [[cold]].\n#It is white.\n", False),
        ("# [[Snow]]\n# [[Rain]]", False),
        ("#1 [[Snow]]", False),
        ("Text. #REDIRECT [[Snow]]", False),
        ("#REDIRECT means that a page leads to another one.", False),
    ],
)
def test_redirects_are_known_by_their_word_in_any_language(tmp_path, text, is_redirect):
    (item,) = read(write(tmp_path / "d.xml", page("A", text)), minimum_characters=1)
    assert (item == Skipped("A", "redirect")) is is_redirect


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: whole[: len(whole) // 2],  # cut short
        lambda whole: whole.replace(b"</title>", b"</titel>", 1),  # tags that do not match
        lambda whole: b"<html><body>503</body></html>",  # an error page instead of a dump
        lambda whole: b"",
        lambda whole: b"7z\xbc\xaf'\x1c",
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


def test_of_a_history_the_last_revision_is_read_and_one_is_in_memory(tmp_path):
    import tracemalloc

    old = f"<revision><id>1</id><text>{'An old sentence. ' * 4000}</text></revision>"
    dump = write(tmp_path / "d.xml", page("A", PROSE).replace("<revision>", f"{old * 100}<revision>", 1))
    tracemalloc.start()
    try:
        assert [item.paragraphs for item in read(dump)] == [(PROSE.strip(),)]
        assert tracemalloc.get_traced_memory()[1] < 2_000_000  # 100 revisions are 6.8 MB
    finally:
        tracemalloc.stop()


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
