"""The folder reader: order, ids, what is skipped, what is refused; and the four kinds of text."""

import os
from pathlib import Path

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


def skipped(root, **settings):
    """Reason and damage of everything that was left out, by its id."""
    return {item.id: (item.reason, item.unreadable) for item in read(root, **settings) if isinstance(item, Skipped)}


def texts(root, **settings):
    return {item.id: item.paragraphs for item in read(root, **settings) if isinstance(item, Document)}


class TestOneBadFileCostsNoOther:
    @pytest.mark.parametrize("name", ["a_txt", "a_md", "a_rst", "a_html"])
    def test_another_encoding(self, tmp_path, name):
        root = fill(tmp_path, **{name: "Un café noir.".encode("latin-1"), "b_txt": "Text."})
        assert list(skipped(root).values()) == [("not UTF-8", True)]
        assert texts(root) == {"b.txt": ("Text.",)}

    @pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32", "utf-8-sig"])
    @pytest.mark.parametrize("name", ["a_txt", "a_md", "a_rst", "a_html"])
    def test_unicode_with_a_byte_order_mark_is_read(self, tmp_path, name, encoding):
        mark = "\ufeff" if encoding == "utf-16-be" else ""
        root = fill(tmp_path, **{name: (mark + "Un café est là, noir.").encode(encoding)})
        assert list(texts(root).values()) == [("Un café est là, noir.",)]

    def test_without_a_mark_utf16_is_binary(self, tmp_path):
        assert skipped(fill(tmp_path, a_txt="Snow.".encode("utf-16-le"))) == {"a.txt": ("binary file", True)}

    def test_pointers_to_contents_that_were_not_fetched(self, tmp_path):
        version = "version https://git-lfs.github.com/spec/v1\n"
        root = fill(
            tmp_path,
            a_txt=version + "oid sha256:4d7a\nsize 12345\n",
            b_html=version + "ext-0-x sha256:4d7a\noid sha256:4d7a\nsize 1\n",
            c_md="/annex/objects/MD5E-s7--21.md\n",
            d_txt="The version https://git-lfs.github.com/spec/v1 is a line of such files.",
        )
        lfs = "git-LFS pointer, not the file itself: run `git lfs pull`"
        annex = "git-annex pointer, not the file itself: run `git annex get`"
        assert skipped(root) == {"a.txt": (lfs, True), "b.html": (lfs, True), "c.md": (annex, True)}

    def test_a_name_that_is_not_utf8_is_read_under_an_escaped_id(self, tmp_path):
        (tmp_path / os.fsdecode(b"caf\xe9.txt")).write_text("One.")
        fill(tmp_path, b_txt="Two.")
        assert texts(tmp_path) == {"b.txt": ("Two.",), "caf\\xe9.txt": ("One.",)}

    def test_ids_are_composed_and_a_second_file_of_that_id_is_skipped(self, tmp_path):
        for name, text in (("cafe\u0301.txt", "One."), ("caf\u00e9.txt", "Two.")):
            (tmp_path / name).write_text(text)
        assert texts(tmp_path) == {"caf\u00e9.txt": ("One.",)}
        assert skipped(tmp_path) == {"caf\u00e9.txt": ("another file has this id", False)}

    def test_a_file_that_the_system_does_not_give(self, tmp_path, monkeypatch):
        root, given = fill(tmp_path, a_txt="One.", b_txt="Two."), Path.read_bytes

        def read_bytes(path):
            if path.name == "a.txt":
                raise PermissionError(13, "Permission denied")
            return given(path)

        monkeypatch.setattr(Path, "read_bytes", read_bytes)
        assert skipped(root) == {"a.txt": ("cannot be read (Permission denied)", True)}

    def test_a_folder_that_cannot_be_opened(self, tmp_path, monkeypatch):
        root = fill(tmp_path, a_txt="One.", b__c_txt="Two.")
        monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "b")
        assert skipped(root)["b"] == ("folder that cannot be opened", True)

    @pytest.mark.parametrize(("name", "parser"), [("a_html", html), ("a_md", markdown), ("a_rst", restructured_text)])
    def test_a_parser_that_fails(self, tmp_path, monkeypatch, name, parser):
        def parse(_):
            raise AssertionError("unknown status")

        monkeypatch.setattr(parser, "parse", parse)
        found = skipped(fill(tmp_path, **{name: "x"}, b_txt="Two."))
        assert list(found.values()) == [("cannot be parsed (AssertionError)", True)]

    def test_text_that_is_nested_too_deep(self, tmp_path):
        deep = "".join(f"{' ' * level}x\n\n" for level in range(300))
        root = fill(tmp_path, a_rst=deep, b_html=f"<p>{SENTENCE}", c_md="> " * 10_000 + "x")
        assert texts(root) == {"b.html": (SENTENCE,)}
        assert skipped(root) == {"a.rst": ("cannot be parsed (RecursionError)", True), "c.md": ("empty", False)}


class TestLinks:
    def test_one_file_is_one_document_and_the_rest_has_its_reason(self, tmp_path):
        root = fill(tmp_path / "in", b_txt="One.", d__e_txt="Two.")
        fill(tmp_path / "elsewhere", o_txt="Other.")
        os.link(root / "b.txt", root / "hard.txt")
        os.mkfifo(root / "pipe.txt")
        links = {
            "a.txt": "b.txt",
            "d/loop": "..",
            "broken.txt": "nowhere",
            "itself.md": "itself.md",
            "sub": "../elsewhere",
        }
        for link, target in {**links, "o.txt": "../elsewhere/o.txt"}.items():
            (root / link).symlink_to(target)
        assert texts(root) == {"b.txt": ("One.",), "d/e.txt": ("Two.",), "o.txt": ("Other.",)}
        same = ("another name of a file that is read", False)
        assert skipped(root) == {
            "a.txt": same,
            "hard.txt": same,
            "d/loop": ("linked folder", False),
            "sub": ("linked folder", False),
            "broken.txt": ("broken link", True),
            "itself.md": ("broken link", True),
            "pipe.txt": ("not a file", False),
        }

    def test_linked_folders_are_listed_for_other_patterns_and_read_where_the_pattern_names_them(self, tmp_path):
        root = fill(tmp_path / "in", b_txt="One.", c_md="Two.")
        fill(tmp_path / "elsewhere", o_txt="Other.", p_md="Not asked for.")
        (root / "sub").symlink_to("../elsewhere")
        assert skipped(root, glob="**/*.txt") == {"sub": ("linked folder", False)}
        assert texts(root, glob="sub/**/*.txt") == {"sub/o.txt": ("Other.",)}
        assert skipped(root, glob="*.txt") == {}

    @pytest.mark.parametrize("target", [".hidden.txt", "notes"])
    def test_a_link_is_read_where_the_file_itself_is_not(self, tmp_path, target):
        (tmp_path / target).write_text("One.")
        (tmp_path / "a.txt").symlink_to(target)
        assert texts(tmp_path) == {"a.txt": ("One.",)}

    def test_a_pattern_that_enters_a_link_reads_the_file_itself(self, tmp_path):
        root = fill(tmp_path, d__z_txt="One.")
        (root / "a").symlink_to("d")
        assert texts(root, glob="*/*.txt") == {"d/z.txt": ("One.",)}
        assert skipped(root, glob="*/*.txt") == {"a/z.txt": ("another name of a file that is read", False)}


class TestPlainText:
    def test_words_divided_at_line_ends_are_joined(self, tmp_path):
        text = "This is inter-\nnational text that is wrap-\nped hard.\n\n\fRFC 1   Title   May 1\nThe page goes on.\n"
        expected = ("This is international text that is wrapped hard.", "The page goes on.")
        assert texts(fill(tmp_path, a_txt=text)) == {"a.txt": expected}

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("Ein Eisen-\nbahnwagen.", "Ein Eisenbahnwagen."),
            ("Haupt-\nund Nebensatz.", "Haupt- und Nebensatz."),
            ("An Anglo-\nSaxon word of 1914-\n1918.", "An Anglo-Saxon word of 1914-1918."),
            ("A well-\nknown man, and well-known.", "A well-known man, and well-known."),
            ("Known well: a well-\nknown man.", "Known well: a well-known man."),
            ("Going with-\nout; with or out, not without.", "Going without; with or out, not without."),
            ("A dash --\nand on.", "A dash -- and on."),
            ("A soft\u00ad\nhyphen, inter\u2010\nnational.", "A softhyphen, international."),
        ],
    )
    def test_hyphens_at_line_ends(self, tmp_path, text, expected):
        root = fill(tmp_path, a_txt=text, b_md=text, c_rst=text, d_html=f"<p>{text}</p>")
        assert [item.paragraphs for item in read(root)] == [(expected,)] * 4

    def test_heads_and_feet_of_pages_go_and_a_sentence_goes_on_over_the_page(self, tmp_path):
        pages = (
            "Title of it\n\n   The text goes on over\n\n\n\nPostel{0}[Page 1]\n{1}",
            "RFC 1{0}Title{0}May\n\n\n   the page, to inter-\n\nPostel{0}[Page 2]\n{1}",
            "RFC 1{0}Title{0}May\n\n\n   national ends.\n\n   New paragraph\n   here.\n",
        )
        expected = ("Title of it", "The text goes on over the page, to international ends.", "New paragraph here.")
        for name, between in (("a_txt", "\f"), ("b_txt", "\n\n")):  # some copies have lost the form feeds
            fill(tmp_path, **{name: "".join(pages).format(" " * 30, between)})
        assert texts(tmp_path) == {"a.txt": expected, "b.txt": expected}

    def test_page_numbers_and_repeated_heads_go_but_no_heading_and_no_last_line(self, tmp_path):
        text = "Tale\nOne.\n\n- 1 -\n\fTale\nTwo in\n1914.\n\fTale\n\nChapter 3\n\nThree.\n\nPage 3 of 3\n\f"
        expected = ("Tale One.", "Two in 1914.", "Chapter 3", "Three.")
        assert texts(fill(tmp_path, a_txt=text)) == {"a.txt": expected}

    def test_rules_are_no_text_and_other_line_ends_are_read(self, tmp_path):
        text = "Title\r=====\rOne\rtwo.\r\r* * *\r\rThree.\u2029Four.\r...\r"
        assert texts(fill(tmp_path, a_txt=text)) == {"a.txt": ("Title", "One two.", "Three.", "Four.")}


class TestInvisibleCharacters:
    def test_they_are_dropped_where_they_only_break_words(self, tmp_path):
        text = "Wert{0}papier{0}index ist ein Wort{1}teil, das hier{2} steht."
        expected = ("Wertpapierindex ist ein Wortteil, das hier steht.",)
        root = fill(tmp_path, b_html=f"<p>{text}</p>".format("&shy;", "&#8203;", "&#xFEFF;"))
        for name in ("a_txt", "c_md", "d_rst"):
            fill(root, **{name: text.format("\u00ad", "\u200b", "\u2060")})
        assert set(texts(root).values()) == {expected}

    def test_joiners_and_word_breaks_of_scripts_without_spaces_stay(self, tmp_path):
        text = "کتاب\u200cها را می\u200cخوانم. क्\u200dष ภาษา\u200bไทย"
        assert texts(fill(tmp_path, a_txt=text)) == {"a.txt": (text,)}

    def test_letters_are_composed(self, tmp_path):
        assert texts(fill(tmp_path, a_txt="Cafe\u0301 au lait.")) == {"a.txt": ("Caf\u00e9 au lait.",)}


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

    @pytest.mark.parametrize(
        "charset", ["undefined", "punycode", "none", "utf8mb4", "unicode_escape", "utf-16", "utf-7"]
    )
    def test_a_character_set_that_no_browser_believes_is_ignored(self, tmp_path, charset):
        root = fill(tmp_path, a_html=f'<meta charset="{charset}"><p>A café stands here.</p>')
        assert texts(root) == {"a.html": ("A café stands here.",)}
        root = fill(tmp_path, a_html=f'<meta charset="{charset}"><p>A café.</p>'.encode("latin-1"))
        assert skipped(root) == {"a.html": ("not UTF-8", True)}

    @pytest.mark.parametrize(
        ("head", "encoding", "text"),
        [
            ("<?xml version='1.0' encoding='iso-8859-1'?>", "latin-1", "Un café."),
            ('<?xml version="1.0" encoding="windows-1251"?>', "cp1251", "Снег идёт."),
            ('<meta charset="iso-8859-1">', "cp1252", "A “word” of it."),  # browsers read Windows' letters
            ('<META http-equiv=Content-Type content="text/html; charset=gb2312">', "gbk", "雪是白色的，朱镕基。"),
            ("<meta charset=Shift_JIS>", "cp932", "①冬に雪が降ります。"),
            ("<meta charset='iso-2022-jp'>", "iso2022_jp", "冬に雪が降ります。"),
            ('<meta charset="windows-1252">', "utf-8", "Un café."),  # a page that was converted, and says otherwise
        ],
    )
    def test_pages_are_read_as_browsers_read_them(self, tmp_path, head, encoding, text):
        root = fill(tmp_path, a_xhtml=f"{head}<html><body><p>{text}</p></body></html>".encode(encoding))
        assert texts(root) == {"a.xhtml": (text,)}

    def test_a_form_around_the_page_is_no_control(self):
        page = f"<form id=aspnetForm><p>{SENTENCE}</p><label>Name</label><select><option>{SENTENCE}</select></form>"
        assert html.parse(page)[1] == (SENTENCE,)
        assert html.parse(f"<form><fieldset><div>{SENTENCE}</div><button>{SENTENCE}</button></fieldset>")[1] == (
            SENTENCE,
        )

    def test_all_articles_are_read_and_not_what_is_between_them(self):
        page = "<body><article><p>Part one.</p></article><div>advert</div><article><p>Part two.</p></article></body>"
        assert html.parse(page)[1] == ("Part one.", "Part two.")
        nested = "<article><p>Part one is here.</p><article><p>A comment on it.</p></article></article><p>Advert.</p>"
        assert html.parse(nested)[1] == ("Part one is here.", "A comment on it.")

    @pytest.mark.parametrize("tag", ["main", "article", "div role=main"])
    def test_a_main_part_that_holds_little_is_not_the_whole(self, tag):
        rest = f"<div><p>{SENTENCE}</p><p>{SENTENCE}</p></div>"
        page = f"<body><{tag}><p>Welcome to this page.</p></{tag.split()[0]}>{rest}</body>"
        assert html.parse(page)[1] == ("Welcome to this page.", SENTENCE, SENTENCE)

    @pytest.mark.parametrize("tag", ["nav", "aside", "footer", "noscript", "div hidden", "section role=navigation"])
    def test_where_the_rules_leave_little_all_prose_is_kept(self, tag):
        page = f"<body><p>Menu</p><{tag}><p>{SENTENCE}</p></{tag.split()[0]}></body>"
        assert html.parse(page)[1] == ("Menu", SENTENCE)

    def test_of_a_long_page_what_is_around_the_main_text_is_cut_off(self):
        text = "".join(f"<p>Paragraph {number} of the long text. {SENTENCE * 3}</p>" for number in range(9))
        comments = f'<div class="comments"><p>{"Someone else says that rain is nicer. " * 12}</p></div>'
        page = f"<body><div class='post'><h1>Snow</h1>{text}</div>{comments}</body>"
        found = html.parse(page)[1]
        assert [one.split()[:2] for one in found] == [["Paragraph", str(number)] for number in range(9)]
        assert len(html.parse(page.replace("comments", "chapter"))[1]) == 10

    def test_preformatted_prose_is_kept_and_code_is_not(self):
        mail = (
            "<pre>First sentence of a mail is here,\nand goes on.\n\n$ run --all;\n\nSecond paragraph is here.\n</pre>"
        )
        code = "<pre><code>This is a comment of the code.</code></pre>"
        marked = '<div class="highlight-python"><div><pre>Another comment is here, too.</pre></div></div>'
        expected = ("First sentence of a mail is here, and goes on.", "Second paragraph is here.")
        assert html.parse(mail + code + marked)[1] == expected
        assert html.parse("<pre>if (a &lt; b) { return a[0] + 1; }\n\nfor x in range(9): print(x);</pre>")[1] == ()

    def test_a_table_that_lays_out_the_page_is_read_and_a_table_of_data_is_not(self):
        data = f"<table><tr><th>Name</th></tr><tr><td>{SENTENCE}</td></tr></table>"
        page = f"<table><tr><td>Menu</td><td><p>{SENTENCE}</p><p>Short</p>{data}</td></tr></table>"
        assert html.parse(page)[1] == (SENTENCE,)
        assert html.parse(f"<p>{SENTENCE}</p>{data}")[1] == (SENTENCE,)

    def test_two_line_breaks_divide_paragraphs(self):
        page = f"<div>{SENTENCE}<br><br/>\n And a second one <br>is here.<br> <br>Menu</div>"
        assert html.parse(page)[1] == (SENTENCE, "And a second one is here.")

    def test_a_script_inside_and_text_outside_of_the_body(self):
        assert html.parse("<p>Alpha<script>x</script>&nbsp;beta &amp; gamma go on.</p>")[1] == (
            "Alpha beta & gamma go on.",
        )
        assert html.parse(f"<head><title>T</title><p>{SENTENCE}</p>") == ("T", (SENTENCE,))
        assert html.parse(f"<body><p>{SENTENCE}</p></body></html><p>{SENTENCE}</p>")[1] == (SENTENCE, SENTENCE)

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

    @pytest.mark.parametrize(
        "fields",
        [
            "---\ntitle: Snow\ntags:\n- a\n- b\n\n# comment\nurl: http://x\ntext: >\n  Folded\n\n  text\n---\n",
            "---\ntitle: Snow: a *bad* {{ value }}\n...\n",
            "--- \n'a b': 1\n---\n",
            "---\n---\n",
            "---yaml\n# comment\na: 1\n---\n",
            "---toml\na = 1\n---\n",
            '+++\ntitle = "Snow"\ndate = 2020-01-01\n\n[extra]\nlist = [\n"a",\n]\n+++\n',
            '{\n "title": "Snow",\n "tags": ["a", {"b": "}"}]\n}\n',
            ';;;\n{"title": "Snow"}\n;;;\n',
            "Title: Snow\nDate: 2020-01-01\n  and more\n",
            "\ufeff---\r\ntitle: Snow\r\n---\r\n",
        ],
    )
    def test_front_matter_of_any_notation_is_left_out(self, tmp_path, fields):
        end = "\nSnow falls in winter.\n\n---\n\nAnd melts.\n"
        root = fill(
            tmp_path, a_md=fields + end, b_html=fields + "\n<p>Snow falls in winter.<p>And melts.", c_txt=fields + end
        )
        assert set(texts(root).values()) == {("Snow falls in winter.", "And melts.")}

    @pytest.mark.parametrize(
        "text",
        [
            "---\n\nChapter one begins here.\n\n---\n\nThe second part.\n",
            "---\nChapter one begins here.\n\n---\n\nThe second part.\n",
            "---\nNote: it begins\nhere.\n\n***\nThe second part.\n\n---\n",
            "{Chapter one} begins here.\n\nThe second part.\n",
            "+++ begins here.\n\nThe second part.\n",
            "Chapter: one begins here.\n\nThe second part.\n",
        ],
    )
    def test_a_rule_at_the_beginning_is_no_front_matter(self, text):
        assert len(markdown.parse(text)[1]) == 2

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
