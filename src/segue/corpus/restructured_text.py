"""reStructuredText → title and paragraphs of prose; directives and roles of Sphinx are read without Sphinx.

Only the parser of docutils runs, none of its transforms. Nothing is included from other files and nothing is printed. A
role becomes its text, a directive its contents, except directives that hold code, tables or pictures. Paragraphs are
kept; list items only if they read like sentences.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from docutils import frontend, nodes, utils
from docutils.parsers.rst import Directive, Parser, directives, roles
from docutils.statemachine import StringList

from segue.corpus.prose import is_prose, join_words, names, tidy, without_front_matter

_NO_PROSE = names(
    """code; code-block; sourcecode; literalinclude; highlight; parsed-literal; doctest; testcode; testsetup;
    testcleanup; testoutput; ipython; prompt; console; math; graphviz; digraph; graph; inheritance-diagram;
    mermaid; plot; image; figure; table; csv-table; list-table; flat-table; productionlist; toctree; contents;
    index; include; raw; tabularcolumns; kernel-doc; kernel-figure; kernel-render; bibliography; meta; sectnum;
    header; footer; date; role; default-role; rubric; target-notes; autosummary; automodule; autoclass;
    autofunction; automethod"""
)
_VERSIONS = names("versionadded; versionchanged; versionremoved; deprecated; deprecated-removed")
_TEXT_ARGUMENT = names(
    """attention; caution; danger; error; hint; important; note; tip; warning; seealso; impl-detail; todo; epigraph;
    pull-quote; highlights; compound; centered"""
)
_FOR_SUBSTITUTIONS = frozenset(("replace", "unicode"))
_SKIPPED_NODES = (
    nodes.title, nodes.subtitle, nodes.rubric, nodes.term, nodes.field_list, nodes.docinfo, nodes.table,
    nodes.literal_block, nodes.doctest_block, nodes.math_block, nodes.comment, nodes.system_message,
    nodes.substitution_definition, nodes.footnote, nodes.citation, nodes.figure, nodes.image,
    nodes.option_group, nodes.target, nodes.raw, nodes.pending, nodes.attribution,
)  # fmt: skip
_SKIPPED_INLINE = (
    nodes.footnote_reference, nodes.citation_reference, nodes.image, nodes.math, nodes.problematic, nodes.raw,
)  # fmt: skip
_EXPLICIT_TITLE = re.compile(r"^(.+?)\s*<[^<>]*>$", re.DOTALL)
_OPTION = re.compile(r"\s*:[\w-]+:(?:\s|$)")
_LONG_RUN, _LONGEST_RUN = re.compile(r"([^\w\s])\1{300,}"), 300
"""The same mark again and again: docutils takes quadratic time for it."""
_SETTINGS: Mapping[str, object] = {
    "report_level": 5,
    "halt_level": 6,
    "warning_stream": False,
    "file_insertion_enabled": False,
    "raw_enabled": False,
    "_disable_config": True,
    "syntax_highlight": "none",
    "line_length_limit": 1_000_000,
}


def parse(source: str) -> tuple[str, tuple[str, ...]]:
    r"""Return the title of a text ("" if it has none) and its paragraphs.

    >>> parse("Snow\n====\n\nIt :term:`falls <fall>`.\n\n.. versionadded:: 2.0\n   It melts.\n\n::\n\n   code()\n")
    ('Snow', ('It falls.', 'It melts.'))
    """
    document = utils.new_document("text", frontend.get_default_settings(Parser))
    for name, value in _SETTINGS.items():
        setattr(document.settings, name, value)
    document.reporter = utils.Reporter("text", report_level=5, halt_level=6, stream=False)
    with _tolerant():
        text = _LONG_RUN.sub(lambda run: run[1] * _LONGEST_RUN, without_front_matter(source))
        Parser().parse(text, document)
    title = next(document.findall(nodes.title), None)
    return tidy(_text(title, document)) if title is not None else "", join_words(_paragraphs(document))


@contextlib.contextmanager
def _tolerant() -> Iterator[None]:
    """Accept every directive and role while a text is parsed (docutils has no other hook; Sphinx does the same)."""
    find_directive, find_role = directives.directive, roles.role

    def directive(name: str, language: Any, document: nodes.document) -> tuple[Any, list[nodes.Node]]:
        return find_directive(name, language, document) if name in _FOR_SUBSTITUTIONS else (_Contents, [])

    directives.directive = directive
    roles.role = lambda *_: (_words, [])
    try:
        yield
    finally:
        directives.directive, roles.role = find_directive, find_role


class _Contents(Directive):
    """Directive of any name: its contents are read as text, except for names in ``_NO_PROSE``."""

    optional_arguments = 1
    final_argument_whitespace = True
    has_content = True
    option_spec: ClassVar[None] = None  # options are part of the argument, so that none is an error

    def run(self) -> list[nodes.Node]:
        """Return the prose of the directive."""
        name = self.name.rpartition(":")[2].lower()  # "py:function" → "function"
        if name in _NO_PROSE:
            return []
        block = nodes.container()
        if self.arguments:
            self._parse_argument(name, self.arguments[0].split("\n"), block)
        self.state.nested_parse(self.content, self.content_offset, block)
        return block.children

    def _parse_argument(self, name: str, lines: list[str], block: nodes.Element) -> None:
        """Parse the argument where it is text, not a signature, a file name or a title."""
        if name in _VERSIONS:
            lines[0] = lines[0].partition(" ")[2]
        elif name not in _TEXT_ARGUMENT:
            return
        text = [line.strip() for line in lines if not _OPTION.match(line)]
        self.state.nested_parse(StringList(text, source="text"), self.lineno, block)


def _words(_: str, raw: str, text: str, *__: object, **___: object) -> tuple[list[nodes.Node], list[nodes.Node]]:
    """Replace a role by text: ``title <target>`` by its title, ``~module.name`` by its last part; drop formulas."""
    if raw.startswith((":math:", ":index:", ":cite")):
        return [], []
    words = utils.unescape(text)
    titled = _EXPLICIT_TITLE.match(words)
    if titled:
        words = titled[1]
    elif words.startswith("~"):
        words = words[1:].rpartition(".")[2]
    return [nodes.inline(raw, words.removeprefix("!"))], []


def _paragraphs(document: nodes.document) -> Iterator[str]:
    """Yield the paragraphs in reading order, without recursion, since nesting has no limit."""
    pending: list[tuple[nodes.Node, bool]] = [(document, False)]
    while pending:
        node, in_list = pending.pop()
        if isinstance(node, nodes.paragraph | nodes.line_block):
            text = _text(node, document)
            if is_prose(tidy(text)) or not (in_list or isinstance(node, nodes.line_block)):
                yield text
        elif not isinstance(node, _SKIPPED_NODES):
            inside = in_list or isinstance(node, nodes.list_item)
            pending.extend((child, inside) for child in reversed(node.children))


def _text(node: nodes.Node, document: nodes.document) -> str:
    """Return the text of an element, with the substitutions of the same file."""
    if isinstance(node, nodes.Text):
        return str(node)
    if isinstance(node, _SKIPPED_INLINE):
        return ""
    if isinstance(node, nodes.substitution_reference):
        definition = document.substitution_defs.get(node.get("refname", ""))
        return definition.astext() if definition is not None else node.astext()
    separator = " " if isinstance(node, nodes.line_block) else ""
    return separator.join(_text(child, document) for child in node.children)
