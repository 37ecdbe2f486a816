"""Documents → ordered passages of whole sentences, never across documents.

Input: the paragraphs of one document. Output: its passages, with positions counted from 0. Sentences are found by
``sentencex`` (rules per language, no model, no network), so the same text gives the same passages on every machine.
Sentences of neighbouring paragraphs may share a passage, since many paragraphs are short. A passage ends with its
paragraph when it has three quarters of its length.

Lengths, with t = ``target_characters``: passages aim at t and have at most 1.5 t, with two exceptions. One sentence is
kept whole up to 2 t, and a longer one is divided at a clause, at a space, or anywhere. A remainder of less than
``minimum_characters`` joins the passage before it. Both settings are in Latin letters: in a text of Han, kana or Hangul
they are two to four times fewer characters (``prose.characters``).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

import sentencex
from pydantic import Field, model_validator

from segue.corpus.prose import characters
from segue.settings import Settings
from segue.types import Document, Passage

LONGEST = 1.5
"""Maximum length of a passage of several sentences, times the target."""

LONGEST_SENTENCE = 2.0
"""Maximum length of a sentence that is not divided, times the target."""

_ENOUGH = 0.75  # times the target: a passage this long ends with its paragraph
_SHORT_TAIL = 0.25  # times the target: a shorter last passage joins the one before it where there is room
_CLAUSE_END = re.compile(r"[,;:–—、，；：،؛](?=\s)|[、，；：]")


class PassageSettings(Settings):
    """Settings of cutting documents into passages."""

    target_characters: int = Field(
        400,
        ge=40,
        le=20_000,
        description="length that passages aim at; characters; one of Han counts as four, of kana or Hangul as two",
    )
    minimum_characters: int = Field(
        20,
        ge=1,
        description="a shorter remainder joins the passage before it; a shorter document yields no passage; as above",
    )
    language: str = Field(
        "en", pattern=r"^[A-Za-z-]{2,12}$", description="language of the sentence rules, ISO 639 code"
    )
    maximum_passages: int | None = Field(
        None, ge=1, description="passages kept of each document, from its start; null: all"
    )

    @model_validator(mode="after")
    def _leave_room(self) -> PassageSettings:
        """Check that passages can reach the minimum; otherwise all would join into one."""
        if 2 * self.minimum_characters > self.target_characters:
            raise ValueError(
                f"minimum_characters {self.minimum_characters} must be at most half of target_characters "
                f"{self.target_characters}"
            )
        return self


def cut(document: Document, settings: PassageSettings) -> list[Passage]:
    """Cut a document into passages, in reading order.

    The joined passages are the text of the paragraphs except for white space (and what ``maximum_passages`` removes).
    A document that is cut already, such as a dialogue, keeps its paragraphs as passages.

    >>> text = "Snow is frozen water that falls from clouds. It melts above zero degrees. Rain is liquid."
    >>> [p.text for p in cut(Document("d", "D", (text,)), PassageSettings(target_characters=50, minimum_characters=9))]
    ['Snow is frozen water that falls from clouds.', 'It melts above zero degrees. Rain is liquid.']
    """
    texts = list(document.paragraphs)
    settings = _in_characters(settings, " ".join(texts))
    if not document.is_cut:
        sentences = [list(_sentences(paragraph, settings)) for paragraph in document.paragraphs]
        texts = _join_short([text.strip() for text in _fill(sentences, settings.target_characters)], settings)
    if sum(map(len, texts)) < settings.minimum_characters:
        return []
    return [Passage(document.id, position, text) for position, text in enumerate(texts[: settings.maximum_passages])]


def _in_characters(settings: PassageSettings, text: str) -> PassageSettings:
    """Return the settings with lengths in the characters of a text instead of Latin letters."""
    lengths = ("target_characters", "minimum_characters")
    return settings.model_copy(update={name: characters(getattr(settings, name), text) for name in lengths})


SEARCHED_AT_ONCE = 5_000
"""Characters in which ends of sentences are searched at a time: among nested quotes the search takes quadratic time."""


def _sentences(paragraph: str, settings: PassageSettings) -> Iterator[str]:
    """Yield the sentences of a paragraph, each with the space after it, the last one too."""
    text = " ".join(paragraph.split())
    start = 0
    while start < len(text):
        sentences = sentencex.segment(settings.language, text[start : start + SEARCHED_AT_ONCE])
        if start + SEARCHED_AT_ONCE < len(text) and any(sentences[:-1]):
            del sentences[-1]  # it may go on
        for sentence in sentences:
            start += len(sentence)
            yield from divide(sentence, settings.target_characters)


def divide(sentence: str, target: int) -> Iterator[str]:
    """Yield a sentence whole, or in pieces of at most 1.5 targets if it is longer than two."""
    start, longest = 0, int(LONGEST * target)
    while len(sentence) - start > LONGEST_SENTENCE * target:
        # Of the beginning only: a text of megabytes may have no end of a sentence.
        place = _place_to_divide(sentence[start : start + longest + 1], target // 2, longest)
        yield sentence[start : start + place]
        start += place
    yield sentence[start:]


def _place_to_divide(sentence: str, low: int, high: int) -> int:
    """Return where to divide: after the last clause in [low, high], at the last space there, or at ``high``."""
    clauses = [match.end() for match in _CLAUSE_END.finditer(sentence, low, high)]
    if clauses:
        return clauses[-1]
    space = sentence.rfind(" ", low, high)
    if space > 0:
        return space
    while high > low and unicodedata.category(sentence[high]).startswith("M"):
        high -= 1  # marks stay with their letter
    return high


def _fill(paragraphs: Sequence[Sequence[str]], target: int) -> Iterator[str]:
    """Join sentences into passages; end a passage when one more sentence would bring it no closer to the target."""
    passage = ""
    for sentences in paragraphs:
        for sentence in sentences:
            if passage and not _brings_closer(len(passage), len(sentence), target):
                yield passage
                passage = ""
            passage += sentence
        if len(passage) >= _ENOUGH * target:
            yield passage
            passage = ""
        elif passage:
            passage = passage.rstrip() + " "
    if passage:
        yield passage


def _brings_closer(length: int, more: int, target: int) -> bool:
    """Return whether ``more`` characters bring a passage closer to the target, within 1.5 targets.

    >>> _brings_closer(300, 120, 400), _brings_closer(300, 240, 400), _brings_closer(10, 700, 400)
    (True, False, False)
    """
    together = length + more
    return abs(together - target) <= abs(length - target) and together <= LONGEST * target


def _join_short(texts: Iterable[str], settings: PassageSettings) -> list[str]:
    """Join passages below the minimum to a neighbour, and a short last one to the one before it."""
    joined: list[str] = []
    for text in texts:
        if joined and min(len(text), len(joined[-1])) < settings.minimum_characters:
            joined[-1] += " " + text
        else:
            joined.append(text)
    if len(joined) > 1 and len(joined[-1]) < _SHORT_TAIL * settings.target_characters:
        together = f"{joined[-2]} {joined[-1]}"
        if len(together) <= LONGEST * settings.target_characters:
            joined[-2:] = [together]
    return joined
