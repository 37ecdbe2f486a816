"""A package that looks installed: a module and a ``.dist-info`` with entry points, in a folder on ``sys.path``."""

import sys
from pathlib import Path


def install(folder: Path, monkeypatch, code: str, *, module: str, **entries: dict[str, str]) -> None:
    """Install a module with entry points for a test: ``retrievers={"words": "Words"}`` names an object of it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{module}.py").write_text(code, encoding="utf-8")
    about = folder / f"{module}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n", encoding="utf-8")
    lines = [
        line
        for group, named in entries.items()
        for line in (f"[segue.{group}]", *(f"{name} = {module}:{target}" for name, target in named.items()))
    ]
    (about / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, module, raising=False)
