"""A gate of your own: the winner must be good enough where copying the last passage fails."""

from collections.abc import Mapping

import numpy as np

from segue.evaluation.gates import Decision, Judged

REQUIRED = 0.05


def helps_where_copying_fails(option: Judged, others: Mapping[str, Judged]) -> Decision:
    """Compare R@10 with 5 % on the windows that copy-last ranks below 10."""
    copied = others.get("copy-last")
    if copied is None or not np.array_equal(copied.targets, option.targets):
        return Decision("not-enough-evidence", "copy-last was not evaluated on the same windows")
    hard = copied.ranks > 10
    documents = len(np.unique(option.groups[hard]))
    if documents < 3:
        return Decision("not-enough-evidence", f"copy-last fails in {documents} documents only")
    reached = float((option.ranks[hard] <= 10).mean())
    margin = 1.96 * np.sqrt(reached * (1 - reached) / documents)  # one trial per document
    low, high = max(0.0, reached - margin), min(1.0, reached + margin)
    outcome = "pass" if low > REQUIRED else "fail" if high < REQUIRED else "not-enough-evidence"
    reason = f"R@10 of {reached:.3f} on {hard.sum()} windows that copying ranks below 10"
    return Decision(outcome, reason, reached, low, high, REQUIRED)
