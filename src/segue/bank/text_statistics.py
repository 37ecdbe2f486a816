"""What an encoder reads of a bank's passages: their script, the words it knows, and how much is behind its limit.

Measured on passages drawn evenly from the corpus when a bank is built from texts; a bank of vectors has no such facts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from segue.corpus.prose import letters
from segue.corpus.scripts import a_language_of, main_script, scripts_of
from segue.encoders import Encoder

SAMPLE = 1000
"""Least number of passages that the facts are measured on, where the bank has as many; at most twice as many."""
OWN_SCRIPT = 0.5
"""Share of letters in one script from which the language has to be written in it."""
UNKNOWN = 0.02
"""Share of unknown tokens from which it is reported."""
LETTERS_PER_TOKEN = 2.0
"""Letters per token below which it is reported: whole words have more, single letters have 1."""
OVER_LIMIT = 0.1
"""Share of passages longer than the encoder's limit from which it is reported."""


@dataclass(frozen=True)
class TextStatistics:
    """Facts about a sample of passages.

    Attributes:
        passages: size of the sample.
        script: the script of most letters; empty without letters.
        script_share: its share of the letters.
        tokens: tokens of a passage on average, those of the prompt included; None where the encoder does not count.
        unknown_share: share of the tokens that stand for unknown words.
        letters_per_token: letters, as ``prose.letters`` counts them, per token.
        limit: tokens that the encoder reads of a passage; None without limit.
        over_limit_share: share of the passages that are longer; the encoder does not read their ends.
        longest: tokens of the longest passage.
    """

    passages: int
    script: str
    script_share: float
    tokens: float | None = None
    unknown_share: float | None = None
    letters_per_token: float | None = None
    limit: int | None = None
    over_limit_share: float | None = None
    longest: int | None = None

    def warnings(self, language: str) -> list[str]:
        """Return what makes the vectors or the passages poor, with what to do.

        Args:
            language: that of the rules by which sentences were found.
        """
        found = []
        scripts = scripts_of(language)
        if self.script_share > OWN_SCRIPT and scripts and self.script not in scripts:
            fix = f'set the language of the texts, such as "{a_language_of(self.script)}"'
            shown = f"{self.script_share:.0%} of the letters are {self.script}"
            found.append(f'[passages] language is "{language}", but {shown}: {fix}')
        another = "choose an encoder for this language in [encoder] name"
        if self.unknown_share is not None and self.unknown_share > UNKNOWN:
            found.append(f"{self.unknown_share:.1%} of the tokens are unknown to the encoder: {another}")
        if self.letters_per_token is not None and self.letters_per_token < LETTERS_PER_TOKEN:
            found.append(f"the encoder knows few of the words: {self.letters_per_token:.1f} letters per token, about 4 "
                         f"in a language that it knows: {another}")  # fmt: skip
        if self.over_limit_share is not None and self.over_limit_share > OVER_LIMIT:
            found.append(f"{self.over_limit_share:.0%} of the passages are longer than the {self.limit} tokens that "
                         f"the encoder reads (up to {self.longest}): lower [passages] target_characters")  # fmt: skip
        return found


class EvenSample:
    """Texts drawn evenly from a stream: every n-th one, with n doubled whenever there are twice as many as wanted."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._every, self._seen = 1, 0

    def add(self, texts: Iterable[str]) -> None:
        """Take the next texts of the stream."""
        for text in texts:
            if self._seen % self._every == 0:
                self.texts.append(text)
            self._seen += 1
            if len(self.texts) == 2 * SAMPLE:
                self.texts, self._every = self.texts[::2], 2 * self._every


def text_statistics_of(encoder: Encoder, texts: list[str]) -> TextStatistics:
    """Measure the script of passages and, where the encoder has ``count_tokens``, what it reads of them."""
    script, share = main_script(texts)
    about = TextStatistics(len(texts), script, round(share, 4))
    counted = encoder.count_tokens(texts) if hasattr(encoder, "count_tokens") and texts else None
    if counted is None:
        return about
    tokens, unknown = counted
    limit = encoder.space.maximum_tokens
    return replace(
        about,
        tokens=round(float(tokens.mean()), 1),
        unknown_share=round(float(unknown.sum() / max(1, tokens.sum())), 4),
        letters_per_token=round(sum(map(letters, texts)) / max(1, int(tokens.sum())), 2),
        limit=limit,
        over_limit_share=None if limit is None else round(float(np.mean(tokens > limit)), 4),
        longest=int(tokens.max()),
    )
