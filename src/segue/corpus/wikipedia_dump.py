"""Read a Wikipedia dump (``pages-articles.xml``, plain, ``.gz`` or ``.bz2``), streaming, few articles in memory.

One article = one document; its id is its title, which is unique within the article namespace of a wiki. Redirects,
stubs and pages of other namespaces come out as ``Skipped`` with the reason. The path ``"demo"`` is the sample of 106
English articles that ships inside the package gensim, which is found, never imported.
"""

from __future__ import annotations

import importlib.util
import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from joblib import Parallel, delayed
from pydantic import BeforeValidator, Field

from segue.corpus import wikitext
from segue.corpus.intake import DAMAGED, SourceFile, TextCorpus, admit, damaged
from segue.corpus.sources import no_url
from segue.errors import InputError, MissingExtraError
from segue.types import Document, Skipped

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # mwtypes warns of its own docstrings, once, when Python compiles it
    import mwxml
    from mwxml.element_iterator import ElementIterator

DEMO_FILE = "test/test_data/enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"
"""Path of the sample below the folder of the package gensim."""

_FILE, _CATEGORY = 6, 14  # MediaWiki's numbers of these namespaces; their names differ from language to language


class WikipediaDumpCorpus(TextCorpus):
    """Articles of a Wikipedia dump."""

    kind: Literal["wikipedia-dump"] = "wikipedia-dump"
    path: Annotated[str, BeforeValidator(no_url)] = Field(
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
            InputError: the file is missing, cut short or not a dump, or a title comes twice.
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
    with file.open() as handle:
        work = (delayed(_article)(page, media, file.path.name) for page, media in _pages(handle, file.path))
        articles = Parallel(processes, return_as="generator", max_nbytes=None)(work)
        try:
            for article in articles:  # noqa: UP028 (yield from would close them before the warning is silenced)
                yield article
        finally:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of articles that were cleaned but not used
                articles.close()


def _pages(handle: io.BufferedIOBase, path: Path) -> Iterator[tuple[_Page, tuple[str, ...]]]:
    """Stream the pages, with the wiki's media names; every error of a broken dump becomes an InputError."""
    try:
        root = ElementIterator.from_file(handle)
        assert root.tag == "mediawiki", f"<{root.tag}> instead of <mediawiki>"
        dump = mwxml.Dump.from_element(root)
        # Names of the file and category namespaces, in the language of the wiki and in English.
        local = [space.name.lower() for space in dump.site_info.namespaces or () if space.id in (_FILE, _CATEGORY)]
        media = tuple(dict.fromkeys(("file", "image", "category", "media", *local)))
        for page in dump.pages:
            yield _whole(page), media
            root.element.clear()  # otherwise an empty element of every page stays in memory: gigabytes for a full dump
    except DAMAGED as error:
        raise damaged(path, error) from error
    except Exception as error:  # of XML, and of mwxml where an element is not as it expects
        raise InputError(
            f"{path} is not a complete MediaWiki dump",
            got=str(error) or type(error).__name__,
            expected="a pages-articles XML file",
            fix="download it again",
        ) from error


class _Page(NamedTuple):
    title: str
    namespace: int
    redirect: bool
    text: str


def _whole(page: mwxml.Page) -> _Page:
    """Read a page to its end; the last revision counts."""
    text = ""
    for revision in page:
        text = revision.text or ""
    redirect = bool(page.redirect) or text.lstrip()[:9].upper() == "#REDIRECT"
    return _Page(page.title, page.namespace, redirect, text)


def _article(page: _Page, media: tuple[str, ...], source: str) -> Document | Skipped:
    if page.namespace != 0:
        return Skipped(page.title, "not an article (another namespace)")
    if page.redirect:
        return Skipped(page.title, "redirect")
    return Document(page.title, page.title, wikitext.paragraphs(page.text, media=media), source)
