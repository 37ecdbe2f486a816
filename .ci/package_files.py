"""Compare an sdist and a wheel with the files under version control: ``package_files.py SOURCE SDIST WHEEL``."""

from __future__ import annotations

import sys
import tarfile
import zipfile
from pathlib import Path

MADE = {"PKG-INFO", "setup.cfg"}
"""Files that the build adds to an sdist."""


def differences(source: Path, sdist: Path, wheel: Path) -> list[str]:
    """Return what is missing and what is too much, in words."""
    tracked = {path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()}
    package = {name.removeprefix("src/") for name in tracked if name.startswith("src/segue/")}
    with tarfile.open(sdist) as archive:
        held = {member.name.partition("/")[2] for member in archive if member.isfile()}
    with zipfile.ZipFile(wheel) as packed:
        inside = {name for name in packed.namelist() if not name.endswith("/")}
    code = {name for name in inside if ".dist-info/" not in name}
    wanted = {f"src/{name}" for name in package} | {"LICENSE", "README.md", "pyproject.toml"}
    other = {name for name in held - tracked - MADE if ".egg-info/" not in name}
    found = [f"the wheel lacks {name}" for name in package - code]
    found += [f"the wheel has {name}, which is not under version control" for name in code - package]
    found += [f"the sdist lacks {name}" for name in wanted - held]
    found += [f"the sdist has {name}, which is not under version control" for name in other]
    found += [] if any(name.endswith(".dist-info/licenses/LICENSE") for name in inside) else ["the wheel lacks LICENSE"]
    return sorted(found)


if __name__ == "__main__":
    wrong = differences(*map(Path, sys.argv[1:4]))
    sys.exit("\n".join(wrong)) if wrong else print("sdist and wheel hold the package's files, and no others")
