"""A corpus reader of your own: talks in text files, one speaker's turn per line, `Name: words`."""

from collections.abc import Iterator
from pathlib import Path

from segue.types import Document, Skipped


class Talks:
    """Reads every `.txt` file of a folder; a turn is a paragraph, without its speaker."""

    def __init__(self, folder: str, minimum_turns: int = 2) -> None:
        self.folder, self.minimum_turns = folder, minimum_turns

    def __len__(self) -> int:
        """Count the files, so that progress shows the time that is left."""
        return len(self._files())

    def read(self) -> Iterator[Document | Skipped]:
        """Yield the talks in the order of their names; short ones are left out, and counted."""
        for path in self._files():
            lines = path.read_text(encoding="utf-8").splitlines()
            turns = tuple(line.partition(": ")[2] for line in lines if ": " in line)
            if len(turns) < self.minimum_turns:
                yield Skipped(path.stem, f"fewer than {self.minimum_turns} turns")
            else:
                yield Document(path.stem, title=path.stem.replace("-", " "), paragraphs=turns)

    def _files(self) -> list[Path]:
        return sorted(Path(self.folder).glob("*.txt"))
