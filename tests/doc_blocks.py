"""Code blocks of Markdown pages and the tests that they name, for the tests of the README and of docs/."""

import ast
import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[1]
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


def missing_tests(text: str) -> set[tuple[str, str]]:
    """Return the file and the name of every test that a page names and that there is not."""
    named = set(re.findall(r"`(tests/\S+\.py)(?:::(test_\w+))?`", text))
    there = {(path, "") for path, _ in named if Path(ROOT / path).is_file()}
    for path, _ in sorted(there):
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        there |= {(path, node.name) for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    return named - there
