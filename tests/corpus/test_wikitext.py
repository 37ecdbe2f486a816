"""Each construct of wikitext that must go, and each that must stay."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segue.corpus import wikitext
from segue.corpus.prose import tidy
from segue.corpus.wikitext import paragraphs, read

SENTENCE = "Snow covers a third of the land in winter."


def one(source):
    found = paragraphs(source)
    assert len(found) == 1, found
    return found[0]


@pytest.mark.parametrize(
    "construct",
    [
        "<!-- a comment -->",
        "<!-- two\nlines\n== No heading ==\n-->",
        "<ref>Smith, J. (1990). A book.</ref>",
        '<ref name="a" />',
        '<ref name="a/b">{{cite book|title=A {{nested}} one|author=[[Smith]]}}</ref>',
        "{{citation needed|date=May 2020}}",
        "{{Infobox|a={{b|{{c|{{d}}}}}}|e=[[File:A.jpg|thumb]]}}",
        "<math>x^2 + y_{1}</math>",
        "<gallery>\nFile:A.jpg|A long caption that reads like a sentence, really.\n</gallery>",
        "<timeline>\nImageSize = width:10\n</timeline>",
        "[[File:Snow.jpg|thumb|200px|Snow, seen in [[Norway|the north]], covers [http://a.org all].]]",
        "[[Image:Snow.jpg]]",
        "[[Category:Weather]]",
        "[[de:Schnee]]",
        "__NOTOC__",
        "__KEIN_INHALTSVERZEICHNIS__",
        "__विषयसूचीहीन__",
        "__ไม่มีสารบัญ__",
        '<ref details="p. 7" name="a">A book.</ref>',
        '<mapframe latitude=1>{"type": "Feature"}</mapframe>',
        "<ce>H2O</ce>",
        "<includeonly>Text of a template.</includeonly>",
        "[[be-x-old:Снег]]",
        "[[zh-min-nan:Seh]]",
        "{{rp|12}}",
        "{{sfn|Smith|1990}}",
        "{{unknown note|12}}",
    ],
)
def test_constructs_without_prose_leave_no_trace(construct):
    assert one(f"Snow covers a third of the land{construct} in winter.") == SENTENCE


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("'''Snow''' covers ''a third'' of '''''the land''''' in winter.", SENTENCE),
        ("[[Snow]] covers [[one third|a third]] of the [[land]] in winter.", SENTENCE),
        ("Snow covers a [http://example.org/a third] of the land in winter.", SENTENCE),
        ("<small>Snow</small> covers <span style='a'>a third</span> of the land in winter.", SENTENCE),
        ("Snow covers&nbsp;a third of the land&#32;in winter.", SENTENCE),
        ("Snow covers a third<br />of the land in winter.", SENTENCE),
        ("* Snow covers a third of the land in winter.", SENTENCE),
        (":: Snow covers a third of the land in winter.", SENTENCE),
        (
            "Snow (, {{IPA|snow}}) covers a third ({{IPA|x}}) of the land in winter.",
            "Snow covers a third of the land in winter.",
        ),
        (
            "It lies {{convert|5|km|mi|0}} up, or {{convert|5|to|10|m|ft|abbr=on}} more.",
            "It lies 5 km up, or 5 to 10 m more.",
        ),
        (
            "The word {{lang|fr|neige}} means {{nowrap|the same}} thing here.",
            "The word neige means the same thing here.",
        ),
        (
            "The word {{lang-fr|neige}} means {{abbr|snow|frozen water}} in French.",
            "The word neige means snow in French.",
        ),
        (
            "{{As of|2005|df=y}}, it measures 10<sup>6</sup> tonnes of CO<sub>2</sub>.",
            "As of 2005, it measures 10^6 tonnes of CO2.",
        ),
        (
            "It grew by .5 metres {{ndash}} more or less , as they say .",
            "It grew by .5 metres – more or less, as they say.",
        ),
        ("He is {{convert|5|ft|8|in|m}} tall, or {{val|5.2|0.1|ul=m}}.", "He is 5 ft 8 in tall, or 5.2 m."),
        (
            "See [[:Category:Snow]], [[:de:Schnee]] or [[:File:Snow.jpg]].",
            "See Category:Snow, de:Schnee or File:Snow.jpg.",
        ),
        ("Python calls __init__ of a class first of all.", "Python calls __init__ of a class first of all."),
        ("雪（{{IPA|x}}，1900年）是水（，{{IPA|x}}），落在山上（）。", "雪（1900年）是水，落在山上。"),
    ],
)
def test_inline_markup_becomes_its_text(source, text):
    assert one(source) == text.replace("Snow ( covers", "Snow covers")


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("{{formatnum:12345}}", "12345"),
        ("{{ФОРМАТЧИСЛА:12345}}", "12345"),
        ("{{ZAHLENFORMAT:-12.5}}", "-12.5"),
        ("{{Formatnum|12345}}", "12345"),
        ("à plus d'{{unité|9|m}}, {{heure|12|30}}", "à plus d'9 m, 12 30"),
        ("US{{formatnum:5}} and ({{number|6}})", "US5 and (6)"),
        ("''a word''{{note of mine|7}}", "a word"),
        ("{{nowrap|{{formatnum:{{lc:12345}}}} km}}", "12345 km"),
        ("{{unité|2000|m}}", "2000 m"),
        ("{{Unité|9,8|m|2}}", "9,8 m^2"),
        ("{{unidad|2000|m}}", "2000 m"),
        ("{{M|5|ul=km}}", "5 km"),
        ("{{fmtn|12345|habitantes}}", "12345 habitantes"),
        ("{{liczba|12345}}", "12345"),
        ("{{число|12345}}", "12345"),
        ("{{số|12345}}", "12345"),
        ("{{val|2.5|0.1|e=6|u=W}}", "2.5×10^6 W"),
        ("{{convertir|5|km|mi}}", "5 km"),
        ("{{convert|5|à|10|km|mi}}", "5 à 10 km"),
        ("{{date|3|mai|1900}}", "3 mai 1900"),
        ("{{date|3 mai 1900|en musique}}", "3 mai 1900"),
        ("{{date||mai|1900}}", "mai 1900"),
        ("{{birth date|1900|5|3}}", "1900-5-3"),
        ("{{fecha|3|mayo|1900}}", "3 mayo 1900"),
        ("{{s|XIX}}", "XIXe siècle"),
        ("{{XIXe siècle}}", "XIXe siècle"),
        ("{{enS|snow}}", "snow"),
        ("{{langx|fr|neige}}", "neige"),
        ("{{link-en|雪線|Snow line|雪线}}", "雪线"),
        ("{{tsl|en|Snow line|雪線}}", "雪線"),
        ("{{ill|Snow line|de|Schneegrenze|lt=the line}}", "the line"),
        ("{{нп3|Снег}}", "Снег"),
        ("{{ill|de|Schneegrenze|Snow line}}", "Schneegrenze"),
        ("1{{sfrac|1|4}}", "1 1/4"),
        ("{{age|1900|5|3}}", ""),
        ("{{1/2}}", ""),
    ],
)
def test_the_value_of_a_template_stays_in_its_sentence(template, value):
    assert one(f"It is known that {template} is the value.") == tidy(f"It is known that {value} is the value.")


NAMES = """Bild Archivo Imagen Fichier Файл Изображение ファイル 画像 Plik 그림 Tập_tin صورة चित्र ภาพ 文件 Någonting"""


@pytest.mark.parametrize("name", [*NAMES.split(), "Tập tin"])
def test_captions_go_under_every_name_of_the_namespace_and_under_unknown_ones(name):
    caption = "thumb|135px|{{lang|en|A caption}} with [[a link|links]], and [http://a.org more], ends."
    assert one(f"[[{name}:Snow and ice.JPG|{caption}]] {SENTENCE}\n[[{name.lower()} : b.svg]]") == SENTENCE


def test_links_to_other_sites_and_titles_with_a_colon_are_no_pictures():
    source = "Read [[c:File:Snow.jpg|the picture]] and [[Snow: the film|the film]], or [[Snow: a.b|this]]."
    assert one(source) == "Read the picture and the film, or this."


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("-{zh-hans:计算机;zh-hant:電腦;}-", "计算机"),
        ("-{zh-hant: 電腦; zh-hans: 计算机}-", "计算机"),
        ("-{zh-tw:電腦;zh-hk:電腦機}-", "電腦"),
        ("-{A|zh-cn:计算机;zh-tw:電腦}-", "计算机"),
        ("-{H|zh-cn:计算机;zh-tw:電腦}-", ""),
        ("-{T|计算机}-", ""),
        ("-{R|zh-cn:x}-", "zh-cn:x"),
        ("-{zh-hans;zh-hant|计算机}-", "计算机"),
        ("-{zh-hans:[[计算机|机]]&nbsp;甲;zh-hant:{{lang|zh|電腦}}}-", "机 甲"),
        ("-{计算机}-", "计算机"),
        ("-{sr-ec:рачунар; sr-el:računar}-", "рачунар"),
        ("-{Windows}-", "Windows"),
        ("4-{[4-(methyl)phenyl]amino}-1H", "4-{[4-(methyl)phenyl]amino}-1H"),
    ],
)
def test_one_variant_of_a_language_is_read(markup, text):
    assert one(f"It is known that {markup} is the word.") == tidy(f"It is known that {text} is the word.")


def test_templates_dropped_inside_sentences_are_named_once_for_each_place():
    source = (
        "{{Infobox|a={{inner|x}}}}\n{{Stub of snow}}\n"
        "Snow is {{Depth_of| Oslo}} deep, {{depth of|Rome}} there.{{sfn|A|1}}\n"
        "{{The word}} begins this line of snow.\n* {{icon|x}} Snow\n{{Depth of|Paris}}\n"
        "== See also ==\n* Snow is {{other thing|x}} in this list, too."
    )
    assert read(source)[1] == ("{{depth of}}", "{{depth of}}", "{{the word}}")


def test_an_unclosed_reference_does_not_swallow_the_prose_behind_it():
    source = f"One sentence stands here<ref name=x>lost.\n\n{SENTENCE}\n\nAnother one<ref>b</ref> stands there."
    assert SENTENCE in paragraphs(source)
    assert "Another one stands there." in paragraphs(source)


def test_tables_go_with_all_their_rows_even_nested_or_unclosed():
    table = '{| class="a"\n! Head line that ends with a stop.\n|-\n| Cell one, which ends so. || {{x}}\n'
    table += "{|\n| inner\n|}\n|}\n"
    assert paragraphs(table + SENTENCE) == (SENTENCE,)
    assert paragraphs('{| class="a"\n|-\n| Cell one, which ends with a stop.\n\n' + SENTENCE) == (SENTENCE,)


def test_headings_and_reference_sections_with_their_subsections_go_and_order_stays():
    source = (
        "The lead comes first of all here.\n== History ==\nIt fell in the year 1900, too.\n== Notes =="
        "\n* A note that ends with a stop.\n=== Sources ===\nSmith wrote about this in 1990."
        "\n== ''See also'' ==\n* [[Rain]], which is similar to it.\n"
        "== Economy ==\nIt is sold in the shops.\n=References=\nA very last line that is a sentence."
    )
    assert paragraphs(source) == (
        "The lead comes first of all here.",
        "It fell in the year 1900, too.",
        "It is sold in the shops.",
    )


def test_bare_list_entries_are_no_prose():
    assert paragraphs(f"* [[John Smith]] (1950–2000), actor\n* Ada\n; Term\n{SENTENCE}") == (SENTENCE,)


@given(st.text(alphabet="{}[]|<>='*\n aA.!-refmathpable/", max_size=200))
@settings(deadline=None, max_examples=150)
def test_no_text_whatever_makes_the_parser_fail(source):
    for paragraph in paragraphs(source):
        assert paragraph == " ".join(paragraph.split())


@pytest.mark.parametrize(
    "hostile",
    [
        "{{" * 20_000,
        "<ref>" * 20_000,
        "{|\n" * 20_000,
        "[[File:" * 5_000,
        "<!--" * 20_000,
        "[[" * 5_000,
        "<div>" * 20_000,
        "[http://a " * 1_000,
        "''" * 5_000,
        "{{a|" * 300 + "}}" * 300,
    ],
)
def test_hostile_nesting_ends_and_the_sentence_after_it_is_kept(hostile):
    """Work that grows with a power of the nesting would run into the time limit of every test."""
    assert paragraphs(hostile + "\n" + SENTENCE)[-1] == SENTENCE


@pytest.mark.parametrize(
    "unit",
    [
        "{{lang|de|",
        "{{{a|",
        "[[a|",
        "{{a|[[",
        "[http://a ",
        '<b a="',
        "<b " + "a" * 301,
        "''a",
        "{{a|{b}|",
        "-{",
        "<ref>a",
    ],
)
def test_the_time_of_what_nothing_closes_grows_with_its_length(unit):
    """Eight times the text takes eight times as long, or 64 times where each mark reads on to the end."""

    def seconds(size):
        source = unit * (size // len(unit))
        return min(_seconds_of(source) for _ in range(3))

    assert seconds(120_000) < 24 * seconds(15_000)


def _seconds_of(source):
    begin = time.thread_time()
    paragraphs(source)
    return time.thread_time() - begin


def test_many_entries_of_lists_are_read_as_few_are(monkeypatch):
    entries = [f"{mark} Entry {n} says that snow falls on the hills, and stays." for n in range(40)
               for mark in ("*", "##", ":")]  # fmt: skip
    few = paragraphs("\n".join(entries))
    monkeypatch.setattr(wikitext, "_MOST_LIST_MARKS", 10)
    assert len(few) == 120
    assert paragraphs("\n".join(entries)) == few
