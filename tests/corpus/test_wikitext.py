"""Each construct of wikitext that must go, and each that must stay."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segue.corpus.wikitext import paragraphs

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
    ],
)
def test_inline_markup_becomes_its_text(source, text):
    assert one(source) == text.replace("Snow ( covers", "Snow covers")


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
