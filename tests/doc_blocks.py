"""Code blocks of Markdown pages, for the tests of the README and of docs/."""

import re
import shlex
from pathlib import Path

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> list[str]:
    """Return the fenced blocks of one language."""
    return [content for name, content in FENCE.findall(page.read_text(encoding="utf-8")) if name == language]


def commands(page: Path, program: str) -> list[list[str]]:
    """Return the words of every command line that a page shows for a program, in blocks and in running text."""
    text = page.read_text(encoding="utf-8")
    inline = re.findall(r"`([^`\n]+)`", FENCE.sub("", text))
    lines = [line.strip() for block in blocks(page, "") for line in block.splitlines()] + inline
    shown = [line.removeprefix(".venv/bin/") for line in lines]
    found = [line for line in shown if line.startswith(f"{program} ") and "…" not in line]
    return [shlex.split(line, comments=True) for line in found]
