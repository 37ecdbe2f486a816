"""Read a Wikipedia dump (``pages-articles.xml``, plain, ``.gz`` or ``.bz2``), streaming, few articles in memory.

One article = one document; its id is its title. Redirects, stubs, pages of other namespaces, pages that are no
wikitext and titles that come again come out as ``Skipped`` with the reason, and so does a page that lacks what every
schema has. Elements that no schema had yet are ignored. The path ``"demo"`` is the sample of 106 English articles that
ships inside the package gensim, which is found, never imported.
"""

from __future__ import annotations

import importlib.util
import io
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, NamedTuple
from xml.etree import ElementTree

from joblib import Parallel, delayed
from pydantic import BeforeValidator, Field

from segue.corpus import intake, wikitext
from segue.corpus.intake import DAMAGED, SourceFile, TextCorpus, admit, damaged, too_long
from segue.corpus.mediawiki import CATEGORIES, FILES, REDIRECTS
from segue.corpus.sources import WRITTEN, readable
from segue.errors import InputError, MissingExtraError
from segue.types import Document, Skipped

DEMO_FILE = "test/test_data/enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"
"""Path of the sample below the folder of the package gensim."""

_MEDIA = ("-2", "6", "14")  # MediaWiki's numbers of media, files and categories; their names differ from wiki to wiki
_LINK = r"\[\[[^\[\]\n]*\]\]"
_REDIRECT = re.compile(
    # A known word and a link; or any word and a link, and beside them nothing but templates and categories.
    rf"\s*[#＃](?:(?:{'|'.join(map(re.escape, sorted(REDIRECTS)))})\s*[:：]?\s*\[\["
    rf"|[^\W\d][^\[\]\n]{{0,40}}{_LINK}(?:\s|\{{\{{[^{{}}]*\}}\}}|{_LINK})*\Z)".replace("\\ ", "[ _]"),
    re.IGNORECASE,
)


_PROLOG = re.compile(rb"(?:[^<]|<\?.*?\?>|<!--.*?-->)*+(<[^!?])?", re.DOTALL)
_PARTS_OF_A_PAGE = ("title", "ns", "id", "redirect", "revision")


class WikipediaDumpCorpus(TextCorpus):
    """Articles of a Wikipedia dump."""

    kind: Literal["wikipedia-dump"] = "wikipedia-dump"
    path: Annotated[str, BeforeValidator(readable), WRITTEN] = Field(
        "demo", description='pages-articles dump (.xml, .xml.gz, .xml.bz2), or "demo": gensim\'s sample'
    )
    minimum_characters: int = Field(
        500, ge=0, description="articles with less prose are skipped and counted; characters"
    )
    processes: int = Field(
        1, ge=1, le=256, description="processes that clean articles; the result does not depend on it"
    )

    def read(self) -> Iterator[Document | Skipped]:
        """Yield the articles, in the order of the dump.

        Raises:
            MissingExtraError: the path is "demo" and gensim is not installed.
            InputError: the file is missing, cut short or not a dump.
        """
        file = SourceFile(demo_path() if self.path == "demo" else Path(self.path))
        return admit(_articles(file, self.processes), self, source=file.path, share=lambda _: file.share())


def demo_path() -> Path:
    """Return the path of the Wikipedia sample inside the installed gensim.

    Raises:
        MissingExtraError: gensim is not installed, or its sample is missing.
    """
    spec = importlib.util.find_spec("gensim")
    path = Path(spec.origin).parent / DEMO_FILE if spec is not None and spec.origin else None
    if path is None or not path.is_file():
        raise MissingExtraError(
            "the demo corpus ships inside the package gensim, which is missing", fix="pip install 'segue[demo]'"
        )
    return path


def _articles(file: SourceFile, processes: int) -> Iterator[Document | Skipped]:
    """Read the pages here, clean them in other processes, and yield the articles in the dump's order."""
    titles: set[str] = set()
    with file.open() as handle:
        work = (delayed(_article)(page, media, file.path.name) for page, media in _pages(handle, file.path))
        articles = Parallel(processes, return_as="generator", max_nbytes=None)(work)
        try:
            for article in articles:
                if isinstance(article, Document) and article.id in titles:
                    yield Skipped(article.id, "title comes again (the first page is read)")
                    continue
                if isinstance(article, Document):
                    titles.add(article.id)
                yield article
        finally:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of articles that were cleaned but not used
                articles.close()


class _Bounded:
    """The bytes of a dump, as long as each page ends in time."""

    def __init__(self, handle: io.BufferedIOBase, path: Path) -> None:
        self.handle, self.path = handle, path
        self.since: int | None = None  # bytes since the last page; None before the first byte

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes; a document type is refused, since its entities may stand for any amount of text."""
        data = self.handle.read(size)
        if self.since is None:
            self.since, prolog = 0, data.replace(b"\0", b"")  # of UTF-16
            begin = _PROLOG.match(prolog)
            if begin is None or (not begin[1] and (begin.end() < len(prolog) or len(data) == size)):
                raise ElementTree.ParseError("a document type, or another long beginning")
        self.since += len(data)
        if self.since > intake.LONGEST_RECORD:
            raise too_long(f"{self.path}: a page")
        return data


class _Page(NamedTuple):
    title: str
    namespace: int
    redirect: bool
    model: str
    text: str


def _pages(handle: io.BufferedIOBase, path: Path) -> Iterator[tuple[_Page | Skipped, frozenset[str]]]:
    """Stream the pages, with the names of media links; XML that cannot be parsed becomes an InputError.

    What a page does not need is ignored, whatever its name: the schema grows.
    """
    names, site = FILES | CATEGORIES, dict[str, str]()
    try:
        source = _Bounded(handle, path)
        events = ElementTree.iterparse(source, events=("start", "end"))
        _, root = next(events)
        schema = root.tag.removesuffix("mediawiki")
        assert schema != root.tag, f"<{root.tag}> instead of <mediawiki>"
        wanted, page, depth = {schema + name for name in _PARTS_OF_A_PAGE}, root, 1
        for event, element in events:
            depth += 1 if event == "start" else -1
            if event == "start":
                page = element if depth == 2 else page
            elif depth == 2 and element.tag == f"{schema}revision":  # the last one counts
                page[:] = {part.tag: part for part in (*reversed(page), element) if part.tag in wanted}.values()
                source.since = 0
            elif depth == 1:
                if element.tag == f"{schema}siteinfo" and not site:
                    spaces = element.iter(f"{schema}namespace")
                    site = {space.text: space.get("key", "") for space in spaces if space.text}
                    names |= {name.lower() for name, key in site.items() if key in _MEDIA}
                elif element.tag == f"{schema}page":
                    yield _page(element, schema, site), names
                root.clear()  # otherwise an empty element of every page stays in memory: gigabytes for a full dump
                source.since = 0
    except DAMAGED as error:
        raise damaged(path, error) from error
    except (ElementTree.ParseError, AssertionError, StopIteration) as error:
        raise InputError(
            f"{path} is not a complete MediaWiki dump",
            got=str(error) or type(error).__name__,
            expected="a pages-articles XML file",
            fix="download it again",
        ) from error


def _page(page: ElementTree.Element, schema: str, site: dict[str, str]) -> _Page | Skipped:
    title = (page.findtext(f"{schema}title") or "").replace("_", " ").strip()
    if not title:
        return Skipped(f"page {page.findtext(f'{schema}id')}", "a page without a title", unreadable=True)
    namespace = page.findtext(f"{schema}ns")
    if namespace is None:  # a dump of before 2010
        namespace = site.get(title.partition(":")[0], "0")
    revisions = page.findall(f"{schema}revision")
    if not revisions or not namespace.strip().lstrip("-").isdecimal():
        return Skipped(title, "a page without a revision or a namespace", unreadable=True)
    text = revisions[-1].findtext(f"{schema}text") or ""
    redirect = page.find(f"{schema}redirect") is not None or _REDIRECT.match(text) is not None
    return _Page(title, int(namespace), redirect, revisions[-1].findtext(f"{schema}model") or "wikitext", text)


def _article(page: _Page | Skipped, media: frozenset[str], source: str) -> Document | Skipped:
    if isinstance(page, Skipped):
        return page
    if page.namespace != 0:
        return Skipped(page.title, "not an article (another namespace)")
    if page.redirect:
        return Skipped(page.title, "redirect")
    if page.model != "wikitext":
        return Skipped(page.title, f"not wikitext ({page.model})")
    try:
        paragraphs, dropped = wikitext.read(page.text, media=media)
    except RecursionError:
        return Skipped(page.title, "cannot be parsed (RecursionError)", unreadable=True)
    return Document(page.title, page.title, paragraphs, source, dropped=dropped)
