"""Every extra that a page, a recipe or an error names exists, and installs what the name promises."""

import ast
import functools
import re
import tomllib
from pathlib import Path

import pytest

from segue.checks import AUDIT, DIAGNOSIS

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("recipes/*.toml"), *ROOT.glob("examples/*"),
         *ROOT.glob("src/**/*.py"), *ROOT.glob("benchmarks/**/*.py")]  # fmt: skip
INSTALLS = {"sklearn": "scikit-learn", "prometheus_client": "prometheus-client"}
"""Packages that are imported under another name."""


def packages(requirements: list[str]) -> set[str]:
    """Return the names of the packages in a list of requirements."""
    return {re.split(r"[<>=!\[ ]", one)[0].lower() for one in requirements}


EXTRAS = {name: packages(listed) for name, listed in PROJECT["optional-dependencies"].items()}


def test_every_named_extra_exists():
    named = {(path.relative_to(ROOT).as_posix(), extra)
             for path in PAGES if path.is_file()
             for listed in re.findall(r"(?:segue|\.)\[([a-z, ]+)\]", path.read_text(encoding="utf-8"))
             for extra in re.split(r", *", listed)}  # fmt: skip
    assert {extra for _, extra in named} >= {"demo", "serve", "notebook", "rank", "tune", "huggingface"}
    assert [one for one in sorted(named) if one[1] not in EXTRAS] == []


@functools.cache
def guarded_imports() -> dict[str, set[str]]:
    """Return, by extra, what is imported where an ImportError names that extra."""
    found: dict[str, set[str]] = {}
    for path in ROOT.glob("src/**/*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Try):
                continue
            extras = re.findall(r"segue\[(\w+)\]", " ".join(map(ast.unparse, node.handlers)))
            names = [name.name for one in node.body if isinstance(one, ast.Import) for name in one.names]
            for extra in extras:
                found.setdefault(extra, set()).update(INSTALLS.get(name, name) for name in names)
    return found


OPTIONAL = ("serve", "notebook", "rank", "tune", "huggingface", "onnx", "fast", "endpoint", "ray", "lance")


@pytest.mark.parametrize("extra", OPTIONAL)
def test_an_error_about_a_missing_package_names_the_extra_that_has_it(extra):
    imported = guarded_imports()[extra]
    assert imported
    assert imported <= EXTRAS[extra]


def test_the_table_of_extras_lists_what_they_install():
    text = (ROOT / "docs" / "getting-started.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `segue\[(\w+)\]` \| (.+) \|$", text, flags=re.MULTILINE))
    assert rows.keys() == EXTRAS.keys() - {"dev", "docs"}
    known = set().union(*EXTRAS.values())
    for extra, row in rows.items():
        named = {word for word in re.findall(r"[\w-]+", row.lower()) if word in known}
        assert named <= EXTRAS[extra], extra
        assert named or extra == "demo"


def test_fast_is_a_flag_only_where_a_check_is_slow(capsys):
    from command_line import run

    assert not any(check.slow for check in AUDIT)
    assert any(check.slow for check in DIAGNOSIS)
    for verb, code in (("audit", 2), ("diagnose", 0)):
        assert run(verb, "--fast", "--help") == code
    assert "--fast" in capsys.readouterr().out
