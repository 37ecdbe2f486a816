"""A row that may be too dear is measured before it begins, and skipped with its cost named.

The cost is measured once a run and kept with the option (``cost.json``): a resumed run decides as before.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from segue.comparison.job import Job
from segue.errors import InputError, explain
from segue.files import read_json, write_json
from segue.old_names import option_folder


def require_affordable(job: Job, name: str, *, share: float, cost: Callable[[], float], fix: str) -> None:
    """Refuse an option that exceeds its share of the budget.

    Args:
        job: the comparison.
        name: of the option.
        share: of budget_minutes that it may take.
        cost: measures the seconds that it takes on all folds; asked only where no earlier run has.
        fix: what can be done about it, besides a larger budget.

    Raises:
        InputError: naming the minutes it would take and the budget at which it runs.
    """
    path = option_folder(job.out / "options", name) / "cost.json"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"format": 1, "seconds": cost()})
    seconds = float(read_json(path)["seconds"])
    allowed = 60 * job.settings.budget_minutes * share
    if seconds > allowed:
        raise InputError(
            explain(
                f"{name} is too dear for this budget",
                got=f"about {seconds / 60:.1f} minutes on this machine",
                expected=f"at most {allowed / 60:.1f} ({share:.0%} of budget_minutes)",
                fix=f"say [triage] budget_minutes = {math.ceil(seconds / 60 / share)}, or {fix}",
            )
        )
