"""Write ``docs/licences.md``: the licence of each package that Segue or one of its extras installs.

Reads the metadata of what is installed, and of what a report of pip (24 or newer) lists besides::

    pip install --dry-run --quiet --report report.json --constraint constraints.txt '.[EXTRA]'
    python docs/generate_licences.py --report report.json

Fails on a licence that is neither permissive nor allowed below with a reason. ``--check`` writes nothing.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import re
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "licences.md"

PERMISSIVE = {
    "0BSD", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0",
    "CNRI-Python", "ISC", "MIT", "MIT-0", "MIT-CMU", "PSF-2.0", "Unlicense", "Zlib",
}  # fmt: skip
"""Licences, by their SPDX names, that ask for no more than a notice."""
ALLOWED: Mapping[str, tuple[str, str]] = {
    "certifi": ("MPL-2.0", "a list of certificates; unchanged files may be passed on with code of any licence"),
    "docutils": (
        "BSD-3-Clause OR GNU General Public License (GPL)",
        "public domain and BSD; what is under the GPL is an editor's plug-in that the wheel does not hold",
    ),
    "atheris": ("", "Apache-2.0 in its file LICENSE, which its metadata do not name; of the tests alone"),
    "gensim": ("LGPL-2.1-only", "of the demo alone, which reads a corpus from it; imported, never changed or copied"),
    "hypothesis": ("MPL-2.0", "of the tests alone"),
    "pathspec": ("MPL-2.0", "of the documentation and the tests alone"),
    "tqdm": ("MPL-2.0 AND MIT", "used as it is; unchanged files may be passed on with code of any licence"),
}
"""Packages of other licences, and why they may be depended on."""
_KNOWN = {
    "apache 2": "Apache-2.0", "apache 2.0": "Apache-2.0", "apache license": "Apache-2.0",
    "apache license 2.0": "Apache-2.0", "apache 2.0 license": "Apache-2.0", "apache-2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0", "apache software license": "Apache-2.0",
    "bsd": "BSD-3-Clause", "bsd license": "BSD-3-Clause", "bsd 3-clause license": "BSD-3-Clause",
    "3-clause bsd license": "BSD-3-Clause", "bsd-3-clause": "BSD-3-Clause", "bsd-2-clause": "BSD-2-Clause",
    "bsd 2-clause license": "BSD-2-Clause", "isc license": "ISC", "isc license (iscl)": "ISC", "mit license": "MIT",
    "mit": "MIT", "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0", "psf-2.0": "PSF-2.0",
    "python software foundation license": "PSF-2.0",
}  # fmt: skip
"""Words of packages whose metadata hold no SPDX name."""


@dataclass(frozen=True)
class Package:
    """A package and what it depends on.

    Attributes:
        name: as it is installed.
        licence: SPDX expression, or the words of the package; empty where it states none.
        requires: its requirements.
    """

    name: str
    licence: str
    requires: tuple[str, ...]


def spdx(expression: str, words: str, classifiers: Iterable[str]) -> str:
    """Return a licence as an SPDX expression where it is known, else the words of the package.

    >>> spdx("MIT", "", ()), spdx("", "Apache 2.0", ()), spdx("", "Copyright (c) ...", ["OSI Approved :: BSD License"])
    ('MIT', 'Apache-2.0', 'BSD-3-Clause')
    """
    if expression:
        return expression
    first = next(iter(words.strip().splitlines()), "").strip()
    if first.lower() in _KNOWN:
        return _KNOWN[first.lower()]
    if first and all(part in PERMISSIVE or part in _KNOWN.values() for part in parts(first)):
        return first
    named = [one.removeprefix("OSI Approved :: ") for one in classifiers if one.startswith("OSI Approved :: ")]
    return " OR ".join(sorted({_KNOWN.get(one.lower(), one) for one in named})) or first


def parts(expression: str) -> list[str]:
    """Return the licences of an expression, which must all be kept.

    >>> parts("MIT AND (Apache-2.0 OR BSD-3-Clause)")
    ['MIT', 'Apache-2.0', 'BSD-3-Clause']
    """
    return [one.strip(" ()") for one in re.split(r"\s+(?:AND|OR)\s+", expression)]


def is_permissive(package: Package) -> bool:
    """Return whether a package may be depended on: each of its licences is permissive, or it is allowed by name.

    >>> is_permissive(Package("a", "MIT AND Zlib", ())), is_permissive(Package("a", "GPL-3.0-only OR MIT", ()))
    (True, False)
    """
    if canonicalize_name(package.name) in ALLOWED:
        return package.licence == ALLOWED[canonicalize_name(package.name)][0]
    return all(one in PERMISSIVE for one in parts(package.licence))


def installed() -> dict[str, Package]:
    """Return what is installed, by canonical name."""
    found = {}
    for one in importlib.metadata.distributions():
        about = one.metadata
        named = [text.partition(" :: ")[2] for text in about.get_all("Classifier") or () if text.startswith("License")]
        licence = spdx(about.get("License-Expression") or "", about.get("License") or "", named)
        found[canonicalize_name(about["Name"])] = Package(about["Name"], licence, tuple(one.requires or ()))
    return found


def reported(path: Path) -> dict[str, Package]:
    """Return what a report of ``pip install --dry-run --report`` lists."""
    found = {}
    for one in json.loads(path.read_text(encoding="utf-8"))["install"]:
        about = one["metadata"]
        named = [text.partition(" :: ")[2] for text in about.get("classifier", ()) if text.startswith("License")]
        licence = spdx(about.get("license_expression", ""), about.get("license", ""), named)
        requires = tuple(about.get("requires_dist", ()))
        found[canonicalize_name(about["name"])] = Package(about["name"], licence, requires)
    return found


def needed_by(requirements: Iterable[str], known: Mapping[str, Package]) -> tuple[set[str], set[str]]:
    """Return the canonical names of all packages that some requirements need, and of those that are not known."""
    found: set[str] = set()
    missing: set[str] = set()
    seen: set[tuple[str, str]] = set()
    left = [(Requirement(one), "") for one in requirements]
    while left:
        one, extra = left.pop()
        name = canonicalize_name(one.name)
        if (one.marker and not one.marker.evaluate({"extra": extra})) or name == "segue":
            continue
        if name not in known:
            missing.add(name)
            continue
        found.add(name)
        for wanted in ("", *one.extras):
            if (name, wanted) not in seen:
                seen.add((name, wanted))
                left += [(Requirement(inner), wanted) for inner in known[name].requires]
    return found, missing


def page(known: Mapping[str, Package]) -> tuple[str, list[str]]:
    """Return the page, and what is wrong."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = {"": project["dependencies"], **project["optional-dependencies"]}
    users: dict[str, list[str]] = {}
    absent: dict[str, list[str]] = {}
    for group, requirements in groups.items():
        found, missing = needed_by(requirements, known)
        for name in found:
            users.setdefault(name, []).append(group)
        for name in missing:
            absent.setdefault(name, []).append(group)
    wrong = [f"{known[name].name}: {known[name].licence or 'no licence stated'}"
             for name in sorted(users) if not is_permissive(known[name])]  # fmt: skip
    rows = [f"| {known[name].name} | {known[name].licence} | {'all' if '' in by else ', '.join(by)} |"
            for name, by in sorted(users.items())]  # fmt: skip
    reasons = [
        f"- **{known[name].name}** ({licence}): {why}." for name, (licence, why) in ALLOWED.items() if name in users
    ]
    text = "\n".join([
        "# Licences", "",
        "Segue is under the Apache License 2.0. It depends on packages under permissive licences, and on a few others "
        "for the reasons below.", "",
        "PyTorch as PyPI has it for Linux also installs NVIDIA's CUDA libraries, under NVIDIA's own licences. Its "
        "build for CPUs, which this list was made with, does not.", "",
        "`python docs/generate_licences.py` writes this page from the metadata of installed packages, and fails on a "
        "licence that is not permissive.", "",
        "## Not permissive, and why they may be used", "", *reasons, "",
        f"## All {len(rows)} packages", "",
        "*Needed by*: `all` is every installation; the others are extras of `pip install 'segue[EXTRA]'`.", "",
        "| package | licence | needed by |", "|---|---|---|", *rows, "",
        *(["Not installed when this page was written: " +
           ", ".join(f"{name} ({', '.join(by)})" for name, by in sorted(absent.items())) + ".", ""] if absent else []),
    ])  # fmt: skip
    return text, wrong


def main() -> None:
    """Write the page, or only check the licences."""
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--report", type=Path, action="append", default=[], help="report of pip; may be repeated")
    reader.add_argument("--check", action="store_true", help="write nothing")
    given = reader.parse_args()
    known: dict[str, Package] = {}
    for path in given.report:
        known |= reported(path)
    text, wrong = page(known | installed())
    if not given.check:
        PAGE.write_text(text, encoding="utf-8")
    if wrong:
        sys.exit("not permissive, and not allowed in docs/generate_licences.py:\n  " + "\n  ".join(wrong))
    print(f"{text.count(chr(10) + '| ') - 1} packages, all permissive or allowed by name")


if __name__ == "__main__":
    main()
