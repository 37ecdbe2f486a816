"""SYNTHETIC answers of the numbered checks for ``sample_triage.json``: made up, consistent in form, never measured."""

from __future__ import annotations

import math

ROWS = {"copy-last": 0.511, "infonce-projected": 0.343, "infonce-ar": 0.457, "infonce": 0.472,
        "gru": 0.546}  # fmt: skip
"""Row → its made-up R@5, as in the sample."""
STEPS = [0, 60, 120, 180, 240, 300]


def finding(code, title, outcome, statement, **more):
    """One finding as JSON."""
    known = {"question": f"A question about {title.lower()}?", "measured": None, "threshold": None, "unit": "share",
             "healthy": "nothing found", "fix": "do what it asks for", "seconds": 0.1, "details": {}}  # fmt: skip
    return {"code": code, "title": title, "outcome": outcome, "statement": statement, **known, **more}


def audit() -> list[dict]:
    """Integrity checks: all kinds of outcomes that do not block."""
    share = {"unit": "share of targets missing", "measured": 0.0, "threshold": 0.0, "healthy": "no target missing"}
    return [
        finding("SG101", "Targets in the index", "passed", "All 7,960 targets are among the 7,441 candidates.", **share,
                fix="build the index over the bank that holds the evaluated documents, and evaluate again"),
        finding("SG102", "Windows match the bank", "passed", "All 31,204 windows of all parts equal the bank's rows.",
                unit="share of windows broken", measured=0.0, threshold=0.0, healthy="no broken window"),
        finding("SG103", "Truth carries information", "passed",
                "Matched pairs have cosine 0.53, random pairs 0.12 (sign test over 96 documents, p < 0.001); "
                "a shuffled truth is found in 0.1 % of windows, chance finds 0.1 %.",
                unit="p-value", measured=0.0000012, threshold=0.001, healthy="p < 0.001"),
        finding("SG104", "Nothing evaluated was trained on", "tip",
                "No evaluation document was trained on; 3 passages are near-duplicates of training passages.",
                unit="share of passages", measured=0.0004, threshold=0.01, healthy="no document, under 1 % of passages",
                fix="group near-duplicates before splitting"),
        finding("SG105", "Parts share no passage", "passed", "Train and validation windows share no passage.",
                unit="share of windows", measured=0.0, threshold=0.0, healthy="no window"),
        finding("SG112", "The model that was trained", "passed", "Every checkpoint gives its golden output again.",
                unit="difference", measured=0.0, threshold=0.00001, healthy="none"),
        finding("SG113", "Index recall", "not-applicable", "every row searches exactly", unit="recall@50",
                threshold=0.98, healthy="at least 0.98"),
    ]  # fmt: skip


def causes() -> list[dict]:
    """Two root causes."""
    return [
        {"name": "objectives-conflict", "title": "The loss terms oppose each other",
         "statement": "From the first steps on the gradients of InfoNCE and AR are opposed (cosine −0.36, interval "
         "−0.42 to −0.30; control +0.91), and R@5 rises when the weight of AR falls.",
         "evidence": ["SG204", "SG203"], "options": ["infonce-ar", "infonce"],
         "fix": "train with one objective in the space that is searched"},
        {"name": "copies-the-context", "title": "Predictions copy what was read",
         "statement": "In 34 % of windows the prediction lies nearest to the last passage read, in 29 % to the truth.",
         "evidence": ["SG209"], "options": ["gru"], "fix": "predict from the anchor"},
    ]  # fmt: skip


def diagnosis() -> list[dict]:
    """Diagnosis: every picture's details, and every outcome."""
    return [
        finding("SG201", "Beats every baseline", "passed",
                "gru has R@5 54.6 %, the best baseline (copy-last) 51.1 %: +3.5 points (+1.8 to +5.1).",
                unit="share", measured=0.035, threshold=0.0, healthy="interval above 0"),
        finding("SG204", "Loss terms agree", "issue",
                "The gradients of InfoNCE and AR are opposed from the start: cosine −0.36 (−0.42 to −0.30); the two "
                "halves of a batch under one loss: +0.91.",
                unit="cosine", measured=-0.36, threshold=0.0, healthy="not below 0 early in training",
                fix="drop a term, or train both in one space", details=_gradients()),
        finding("SG206", "Collapse", "passed", "Predictions use 31 directions, targets 58.", unit="share of directions",
                measured=0.53, threshold=0.2, healthy="above half of the targets'", details=_spectrum()),
        finding("SG208", "Hubs", "passed", "The busiest 1 % of passages hold 6 % of the top-10 slots; copy-last: 9 %.",
                unit="share of slots", measured=0.06, threshold=0.15, healthy="under 10 %", details=_hubs()),
        finding("SG209", "Copying", "tip",
                "Predictions of gru lie nearest to the last passage read in 34 % of windows, to the truth in "
                "29 %; copy-last: 100 % and 0 %.", unit="share of windows", measured=0.34, threshold=0.29,
                healthy="more often the truth than the passage read", fix="predict from the anchor",
                details=_offsets()),
        finding("SG210", "Where the truth is", "passed", "Half of the truths of gru rank 4 or better.",
                unit="rank", measured=4.0, healthy="two digits at most", details=_truth()),
        finding("SG213", "An order to learn", "passed",
                "R@5 is 54.6 % in the true order and 50.4 % with passages shuffled.", unit="share", measured=0.042,
                threshold=0.0, healthy="interval above 0", details=_arms()),
        finding("SG214", "Latency by stage", "muted", "muted by its code", unit="ms"),
        finding("SG215", "More data", "tip", "Doubling the training documents still brings +3.1 points of R@5.",
                unit="share", measured=0.031, threshold=0.01, healthy="flat", fix="add documents",
                details={"documents": [8, 16, 32, 64], "windows": [660, 1330, 2650, 5300],
                         "R@5": [0.437, 0.484, 0.515, 0.546], "low": [0.415, 0.462, 0.494, 0.523],
                         "high": [0.459, 0.505, 0.537, 0.569]}),
        finding("SG216", "Room for a reranker", "passed", "Contain@50 is 86.1 %, R@5 54.6 %.", unit="share",
                measured=0.315, healthy="some room", details=_ceiling()),
        finding("SG218", "Survives fresh documents", "skipped", "too slow for --fast"),
        finding("SG217", "Test statistics", "not-applicable", "no row reranks or fuses"),
    ]  # fmt: skip


def _curve(start: float, end: float) -> list[float]:
    return [round(start + (end - start) * (1 - math.exp(-step / 90)), 4) for step in STEPS]


def _banded(start: float, end: float, half: float) -> dict:
    line = _curve(start, end)
    return {"steps": STEPS, "cosine": line, "low": [round(v - half, 4) for v in line],
            "high": [round(v + half, 4) for v in line]}  # fmt: skip


def _gradients() -> dict:
    rows = {
        "infonce-projected": {"pairs": {"InfoNCE · AR": _banded(-0.36, -0.7, 0.06)},
                              "control": _banded(0.91, 0.35, 0.05)},
        "infonce-ar": {"pairs": {"InfoNCE · AR": _banded(0.22, -0.31, 0.08)}, "control": _banded(0.93, 0.4, 0.05)},
    }  # fmt: skip
    for row in rows.values():
        row["pairs"]["InfoNCE · AR"]["norm_ratio"] = [1.9] * len(STEPS)
    front = [(0.0, 0.472), (0.15, 0.457), (0.3, 0.43), (0.6, 0.38), (1.0, 0.361)]
    pareto = [
        {"weight": w, "losses": {"InfoNCE": round(2.1 + w, 3), "AR": round(0.52 - 0.1 * w, 3)}, "R@5": r,
         "low": round(r - 0.02, 3), "high": round(r + 0.02, 3)} for w, r in front
    ]  # fmt: skip
    return {"rows": rows, "pareto": pareto, "pareto_row": "infonce-projected"}


def _falling(power: float, many: int = 32) -> list[float]:
    raw = [place**-power * math.exp(-place / 60) for place in range(1, many + 1)]
    return [round(value / sum(raw), 6) for value in raw]


def _spectrum() -> dict:
    powers = {"copy-last": 0.55, "infonce-projected": 1.5, "infonce-ar": 0.95, "infonce": 0.9, "gru": 0.8}
    return {"rows": {name: {"rank_predictions": round(75 * math.exp(-power), 1), "rank_targets": 58.2,
                            "spectrum_predictions": _falling(power), "spectrum_targets": _falling(0.5)}
                     for name, power in powers.items()}}  # fmt: skip


def _hubs() -> dict:
    shares = [0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1]
    bend = {"copy-last": 0.52, "infonce-projected": 0.35, "infonce-ar": 0.55, "infonce": 0.56, "gru": 0.6}
    return {"rows": {name: {"skew": round(3 - 2 * power, 2), "share_of_top_1_percent": round(0.01**power, 4),
                            "share_of_hubs_of_other_documents": round(0.7 * 0.01**power, 4),
                            "curve": {"passages": shares, "slots": [round(share**power, 4) for share in shares]}}
                     for name, power in bend.items()}}  # fmt: skip


def _offsets() -> dict:
    profiles = {
        "copy-last": [0, 0, 0, 0, 1.0, 0, 0, 0, 0],
        "infonce-projected": [0.08, 0.09, 0.1, 0.14, 0.21, 0.15, 0.09, 0.08, 0.06],
        "infonce": [0.03, 0.04, 0.06, 0.12, 0.35, 0.24, 0.08, 0.05, 0.03],
        "gru": [0.02, 0.03, 0.05, 0.11, 0.34, 0.29, 0.08, 0.05, 0.03],
    }
    return {"rows": {name: {"offsets": list(range(-4, 5)), "nearest": shares,
                            "cosine": [round(0.3 + 0.3 * share, 3) for share in shares], "copying_ratio": 1.1,
                            "random": 0.12} for name, shares in profiles.items()}}  # fmt: skip


def _truth() -> dict:
    edges = [1, 2, 6, 11, 51, 101, 1001]
    shares = {
        "copy-last": [0.14, 0.19, 0.1, 0.22, 0.09, 0.2, 0.06],
        "gru": [0.22, 0.24, 0.11, 0.18, 0.07, 0.14, 0.04],
    }
    names = ["read already", "same document later", "same document earlier", "near-duplicate", "other document"]
    parts = {"copy-last": [0.0, 0.24, 0.31, 0.02, 0.43], "gru": [0.0, 0.34, 0.27, 0.02, 0.37]}
    return {"rows": {name: {"histogram": {"edges": [*edges, 7441], "share": shares[name]},
                            "impostors": dict(zip(names, parts[name], strict=True)),
                            "median_rank": 4.0 if name == "gru" else 5.0, "margin": -0.04}
                     for name in shares}}  # fmt: skip


def _arms() -> dict:
    middle = {"true order": 0.546, "context permuted": 0.522, "document reversed": 0.529, "passages shuffled": 0.504}
    return {"arms": {name: {"R@5": value, "low": round(value - 0.02, 3), "high": round(value + 0.021, 3)}
                     for name, value in middle.items()},
            "probe": {"accuracy": 0.583, "low": 0.569, "high": 0.597}}  # fmt: skip


def _ceiling() -> dict:
    ks = [5, 10, 20, 50, 100, 200, 500]
    rows = {name: {"k": ks, "contain": [_contained(recall, k) for k in ks]} for name, recall in ROWS.items()}
    return {"rows": rows, "chance": [round(k / 7441, 5) for k in ks]}


def _contained(recall: float, k: int) -> float:
    return round(1 - (1 - recall) * (5 / k) ** 0.5, 4)
