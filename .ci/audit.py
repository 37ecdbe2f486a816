"""Fail on a known weakness of an installed package, as pip-audit finds it, and where PyPI did not answer for one.

pip-audit itself passes what it could not look up, so without PyPI it would find nothing wrong.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any


def problems(found: Mapping[str, Any]) -> list[str]:
    """Return the weaknesses in a report of pip-audit, and what was not looked up.

    >>> problems({"dependencies": [{"name": "a", "version": "1", "vulns": []}, {"name": "b", "skip_reason": "404"}]})
    ['b: not looked up (404)']
    """
    lines = []
    for one in found["dependencies"]:
        if "skip_reason" in one:  # a build of PyTorch for CPUs is not on PyPI; the release that it is made of is
            lines += [] if "+cpu" in one["skip_reason"] else [f"{one['name']}: not looked up ({one['skip_reason']})"]
        for weakness in one.get("vulns", ()):
            fixed = ", ".join(weakness["fix_versions"]) or "no version"
            lines.append(f"{one['name']} {one['version']}: {weakness['id']}, fixed in {fixed}")
    return lines


if __name__ == "__main__":
    asked = [sys.executable, "-m", "pip_audit", "--local", "--skip-editable", "--format", "json", "--timeout", "30"]
    done = subprocess.run(asked, stdout=subprocess.PIPE, text=True, check=False)
    wrong = problems(json.loads(done.stdout))
    print(f"{len(json.loads(done.stdout)['dependencies'])} packages")
    sys.exit("\n".join(wrong) if wrong else 0)
