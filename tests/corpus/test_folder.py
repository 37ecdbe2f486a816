"""The folder reader: order, ids, what is skipped, what is refused; and the four kinds of text."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segue.corpus import FolderCorpus, html, markdown, restructured_text
from segue.errors import InputError
from segue.types import Document, Skipped

SENTENCE = "Snow covers a third of the land in winter."


def fill(root, **files):
    for name, data in files.items():
        path = root / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return root


def read(root, glob="**/*", **settings):
    return list(FolderCorpus(path=root, glob=glob, **settings).read())


def test_files_are_documents_sorted_by_path_with_posix_ids(tmp_path):
    root = fill(
        tmp_path, b_txt="Last one.", a__z_md="# Zed\n\nFirst.", a_rst="Title\n=====\n\nThird.", a__b__c_html="<p>Zero."
    )
    assert read(root) == [
        Document("a.rst", "Title", ("Third.",), "a.rst"),
        Document("a/b/c.html", "c", ("Zero.",), "a/b/c.html"),
        Document("a/z.md", "Zed", ("First.",), "a/z.md"),
        Document("b.txt", "b", ("Last one.",), "b.txt"),
    ]


def test_plain_text_is_split_at_blank_lines_and_windows_line_ends_are_fine(tmp_path):
    root = fill(tmp_path, a_txt=b"\xef\xbb\xbfOne\r\ntwo.\r\n\r\nThree.\r\n", b_TXT="Four.")
    assert [item.paragraphs for item in read(root)] == [("One two.", "Three."), ("Four.",)]


def test_what_is_no_text_is_skipped_with_its_reason(tmp_path):
    root = fill(
        tmp_path, a_pdf=b"%PDF", b_txt=b"abc\0def", c_txt="  \n", d_txt="Text.", _git__e_txt="Hidden.", f_md="# Only\n"
    )
    assert {item.id: item.reason for item in read(root) if isinstance(item, Skipped)} == {
        ".git/e.txt": "hidden file",
        "a.pdf": "not one of .txt .text .md .markdown .rst .rest .html .htm .xhtml",
        "b.txt": "binary file",
        "c.txt": "empty",
        "f.md": "empty",
    }


@pytest.mark.parametrize("name", ["a_txt", "a_md", "a_rst", "a_html"])
def test_a_wrong_encoding_names_file_and_offset(tmp_path, name):
    root = fill(tmp_path, **{name: "Un café noir.".encode("latin-1")})
    with pytest.raises(InputError, match=r"a\.\w+ is not UTF-8: got byte 0xe9 at offset 6.*save the file as UTF-8"):
        read(root)


def test_utf16_is_a_wrong_encoding_not_a_binary_file(tmp_path):
    with pytest.raises(InputError, match="is not UTF-8: got byte 0xff at offset 0"):
        read(fill(tmp_path, a_txt="Snow.".encode("utf-16")))


def test_the_glob_chooses_the_files(tmp_path):
    root = fill(tmp_path, a_txt="One.", b_rst="Two.", c__d_rst="Three.")
    assert [item.id for item in read(root, "**/*.rst")] == ["b.rst", "c/d.rst"]


@pytest.mark.parametrize(
    ("name", "glob", "message"),
    [
        ("", "**/*.md", r"no file in .* matches '\*\*/\*\.md'"),
        ("", "/a/*", r"the pattern '/a/\*' cannot be used"),
        ("none", "**/*", "got nothing there, expected a folder"),
        ("a.txt", "**/*", "got a file, expected a folder"),
    ],
)
def test_nothing_to_read_is_an_error(tmp_path, name, glob, message):
    fill(tmp_path, a_txt="One.")
    with pytest.raises(InputError, match=message):
        read(tmp_path / name, glob)


def test_an_empty_folder_is_an_error(tmp_path):
    with pytest.raises(InputError, match="no file in"):
        read(tmp_path)


class TestHtml:
    def test_navigation_code_tables_and_headings_go(self):
        page = f"""<!doctype html><html><head>
        <title>Snow - Site</title><style>p {{}}</style><script>var a;</script></head>
        <body><nav><p>Home of the site.</p></nav><header><p>Banner of the site.</p></header>
        <div role="navigation"><p>More.</p></div><main><h1>Snow<a class="headerlink" href="#">¶</a></h1>
        <p>{SENTENCE}</p><pre>code()</pre><table><tr><td><p>Cell.</p></table>
        <div class="toctree-wrapper"><ul><li><p>Another page of this site.</p></ul></div><!-- a comment --></main>
        <footer><p>Copyright.</p></footer></body></html>"""
        assert html.parse(page) == ("Snow", (SENTENCE,))

    def test_unclosed_and_nested_blocks_divide_paragraphs_in_reading_order(self):
        page = (
            "<p>One<p>Two<ul><li>This item is a sentence.<ul><li>And the inner one as well.</ul>"
            "And so is the tail of it.<li>Not</ul>"
        )
        assert html.parse(page)[1] == (
            "One",
            "Two",
            "This item is a sentence.",
            "And the inner one as well.",
            "And so is the tail of it.",
        )

    def test_inline_markup_entities_and_breaks_become_text(self):
        assert html.parse("<p>A&nbsp;<b>b</b>old &lt;x&gt;<br>line <code>f()</code></p>") == (
            "",
            ("A bold <x> line f()",),
        )

    def test_a_declared_character_set_is_believed(self, tmp_path):
        page = '<meta charset="iso-8859-1"><p>Un café noir.</p>'.encode("latin-1")
        assert read(fill(tmp_path, a_html=page))[0].paragraphs == ("Un café noir.",)

    def test_depth_has_no_limit(self):
        assert html.parse("<div>" * 3000 + f"<p>{SENTENCE}")[1] == (SENTENCE,)


def require_paragraphs(parsed):
    """A title and paragraphs, each on one line, without blanks at its ends."""
    title, paragraphs = parsed
    assert isinstance(title, str)
    assert all(paragraph and paragraph == " ".join(paragraph.split()) for paragraph in paragraphs)


class TestMarkdown:
    def test_headings_code_tables_html_images_and_front_matter_go(self):
        text = (
            "---\ntitle: X\n---\n\nTitle\n=====\n\n## Sub\n\nOne *two* `three`\n[four](x.md).\n\n"
            "```py\ncode()\n```\n\n    more()\n\n"
            "| a | b |\n|---|---|\n| c | d |\n\n<div>html</div>\n\n![A picture.](a.png)\n\n"
            "> Quoted &amp; kept.\n\n:::{note}\nNoted.\n:::\n"
        )
        assert markdown.parse(text) == ("Title", ("One two three four.", "Quoted & kept.", "Noted."))

    def test_list_items_stay_where_they_are_sentences(self):
        text = "- [Link](a)\n- This item is a sentence.\n\n  And its second paragraph too.\n\nAfter"
        assert markdown.parse(text)[1] == ("This item is a sentence.", "And its second paragraph too.", "After")

    @given(st.text(alphabet="#*-_`[]()<>|:\n aA.", max_size=200))
    @settings(deadline=None, max_examples=50)
    def test_no_text_fails(self, text):
        require_paragraphs(markdown.parse(text))


class TestRestructuredText:
    def test_sphinx_roles_become_their_text(self):
        text = "See :ref:`the page <target>`, :class:`~a.b.Snow`, :func:`!melt`, ``x``, |sub|, and `link <u>`_ [1]_."
        text += "\n\n.. |sub| replace:: *S*"
        assert restructured_text.parse(text)[1] == ("See the page, Snow, melt, x, S, and link .",)

    def test_contents_of_directives_stay_unless_they_are_code_tables_or_pictures(self):
        text = """
Title
=====

.. note:: A note on
   two lines.

.. py:function:: f(a, b)
   :module: m

   The function does it.

   :param a: a field, left out.

   .. versionchanged:: 3.2
      It does more.

.. deprecated:: 2.0  Use another.

.. made-up:: Title
   :option: value

   What it holds is read.

.. code-block:: python

   left_out()

.. toctree::
   :maxdepth: 2

   left/out

.. table:: Left out.

   == ==
   a  b
   == ==

.. include:: /etc/passwd
.. raw:: html

   <p>Left out.</p>

.. [1] A footnote, left out.

.. a comment, left out.
"""
        assert restructured_text.parse(text) == (
            "Title",
            (
                "A note on two lines.",
                "The function does it.",
                "It does more.",
                "Use another.",
                "What it holds is read.",
            ),
        )

    def test_lists_definitions_and_literal_blocks(self):
        text = "Lead::\n\n   code()\n\nterm\n   Its definition.\n\n- Short\n- This item is a sentence.\n"
        text += "\n| A line of a poem,\n| and another of it.\n"
        assert restructured_text.parse(text)[1] == (
            "Lead:",
            "Its definition.",
            "This item is a sentence.",
            "A line of a poem, and another of it.",
        )

    def test_broken_markup_is_read_in_silence(self, capfd):
        text = "Title\n==\n\n*open ``open `open\n\n.. image::\n\n   - x\n  y\n\n+--+\n| a\n"
        text += "\nUnknown_ :nope:`x` ok.\n\n=====\n"
        assert "Unknown x ok." in restructured_text.parse(text)[1]
        assert capfd.readouterr() == ("", "")

    def test_docutils_is_left_as_it_was(self):
        from docutils.parsers.rst import directives, roles

        before = directives.directive, roles.role
        restructured_text.parse(".. note:: x\n\n:x:`y`")
        assert (directives.directive, roles.role) == before

    @given(st.text(alphabet=":`*_|=-.\n aA[]<>\\", max_size=200))
    @settings(deadline=None, max_examples=50)
    def test_no_text_fails(self, text):
        require_paragraphs(restructured_text.parse(text))
