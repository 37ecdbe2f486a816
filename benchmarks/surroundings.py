"""What a measured number depends on besides its seeds: machine, versions, date, commit, other work on the machine."""

from __future__ import annotations

import datetime
import os
import subprocess
from pathlib import Path
from typing import Any

from segue.arithmetic import choices, measured
from segue.hardware import describe_machine


def surroundings() -> dict[str, Any]:
    """Return machine, versions, date, commit, and the load over one and five minutes (running processes, ours too)."""
    one, five, _ = os.getloadavg()
    arithmetic = {"chosen": choices(), "gflops_of_one_thread": measured()}
    return {**describe_machine(), "arithmetic": arithmetic, "date": f"{datetime.date.today()}", "commit": commit(),
            "load": round(one, 2), "load_5_minutes": round(five, 2)}  # fmt: skip


def commit() -> str | None:
    """Return the commit of the repository, with ``+`` where files were changed; None outside of one."""
    name = _git("rev-parse", "--short=10", "HEAD")
    return name and name + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")


def _git(*words: str) -> str | None:
    here = Path(__file__).parent
    try:
        answer = subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
