"""Read dialogues: one record = one document, and one turn = one passage, so a model predicts the next turn.

Records are lines of JSON or rows of Parquet, in one of the habitual forms: ``messages`` of ``role`` and ``content``,
``conversations`` of ``from`` and ``value``, ``turns`` of strings. Turns are kept whole, however long; the encoder reads
as many tokens as it can. Who speaks is the beginning of the text, since the next speaker narrows what may follow; turns
of several parts (text and images) keep their text, and turns without text are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Literal

from pydantic import Field

from segue.corpus import jsonl, parquet
from segue.corpus.intake import Placed, SourceFile, TextCorpus, admit, is_null, placed
from segue.corpus.prose import tidy
from segue.corpus.sources import SourceFiles, SourcePaths, base_of, described
from segue.errors import InputError
from segue.types import Document, Skipped

TURNS = ("messages", "conversations", "turns")
"""Columns in which turns are looked for."""
SPEAKERS, TEXTS = ("role", "from", "speaker"), ("content", "value", "text")
"""Keys of a turn's speaker and text."""


class DialogueCorpus(TextCorpus):
    """Dialogues, whose turns are the passages."""

    kind: Literal["dialogue"] = "dialogue"
    path: SourcePaths = Field(
        description="file of one JSON object per line (may be .gz, .bz2, .xz, .zst), or Parquet, with id and messages, "
        "conversations or turns; or a folder of such files, a pattern, or a list"
    )
    id_column: str = Field("id", description="column with the dialogue's id; where missing: file and line")
    turns_column: str | None = Field(
        None, description="column with the turns; null: messages, conversations or turns, whichever there is"
    )
    speakers: bool = Field(True, description='begin each turn with its speaker, "user: …", where it is known')
    leave_out: tuple[str, ...] = Field(("system",), description="speakers whose turns are left out")

    def read(self) -> Iterator[Document | Skipped]:
        """Yield the dialogues, in the order of files and lines.

        Raises:
            InputError: a file is missing, or an id comes twice; see ``admit``.
        """
        files = SourceFiles(self.path, f"{jsonl.NAMES}|{parquet.NAMES}")

        def records() -> Iterator[Placed]:
            return (
                placed(partial(self._document, file=file), record, where, id_key=self.id_column)
                for file in files
                for record, where in (
                    parquet.read_rows(file.path) if parquet.is_parquet(file.path) else jsonl.read_objects(file)
                )
            )

        source = described(self.path)
        return admit(records(), self, source=source, share=lambda _: files.share(), again=records)

    def _document(self, record: object, where: str, *, file: SourceFile) -> Document:
        if not isinstance(record, Mapping):
            raise _wrong(where, type(record).__name__, "one JSON object per line")
        columns = [name for name in ([self.turns_column] if self.turns_column else TURNS) if name in record]
        turns: object = next((record[name] for name in columns if not is_null(record[name])), [])
        if not columns or not isinstance(turns, list):
            got = f"{type(turns).__name__} in {columns[0]!r}" if columns else f"keys {', '.join(record)}"
            raise _wrong(where, got, f"a list of turns in {self.turns_column or ', '.join(TURNS)}")
        name, title = record.get(self.id_column), record.get("title")
        place = file.path.absolute().relative_to(base_of(self.path)).as_posix() + where.removeprefix(str(file.path))
        texts = (self._text(turn, f"{where}, turn {number}") for number, turn in enumerate(turns))
        return Document(
            id=place if name is None else str(name),
            title=tidy(title) if isinstance(title, str) else "",
            paragraphs=tuple(text for text in texts if text),
            is_cut=True,
        )

    def _text(self, turn: object, where: str) -> str:
        """Return the text of a turn, empty where it is left out."""
        if isinstance(turn, str) or is_null(turn):
            return tidy(turn) if isinstance(turn, str) else ""
        if not isinstance(turn, Mapping) or not any(key in turn for key in TEXTS):
            got = f"keys {', '.join(map(str, turn))}" if isinstance(turn, Mapping) else type(turn).__name__
            raise _wrong(where, got, f"a string, or an object with {' or '.join(TEXTS)}")
        content = next(turn[key] for key in TEXTS if key in turn)
        if isinstance(content, list):
            content = " ".join(str(part.get("text") or "") for part in content if isinstance(part, Mapping))
        content = None if is_null(content) else content
        if not isinstance(content, str | None):
            raise _wrong(where, f"{type(content).__name__} as its text", "a string")
        speaker = next((str(turn[key]) for key in SPEAKERS if turn.get(key)), "")
        text = "" if speaker in self.leave_out else tidy(content or "")
        return f"{speaker}: {text}" if text and speaker and self.speakers else text


def _wrong(where: str, got: str, expected: str) -> InputError:
    return InputError(where, got=got, expected=expected, fix="correct or remove the dialogue, or set turns_column")
