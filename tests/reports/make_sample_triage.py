"""Write sample_triage.json: a SYNTHETIC record with consistent numbers, for tests and for viewing the report.

Ranks are drawn from a log-normal law per option, with an effect per document; all metrics, intervals and paired
differences follow from those ranks. Nothing in it was measured.
Run: PYTHONPATH=src python tests/reports/make_sample_triage.py
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

POOL, DOCUMENTS, FOLDS, RESAMPLES = 7441, 96, 3, 1000
KS = [1, 2, 3, 5, 10, 20, 50, 100]
EDGES = [0, 1, 5, 10, 50, 100, 1000, POOL]
LABELS = ["1", "2–5", "6–10", "11–50", "51–100", "101–1000", ">1000"]
UNTRAINED = [  # name, family, intent, location of log rank, cosine, search ms
    ("chance", "control", "control", None, 0.118, None, "a random order"),
    ("oracle", "control", "control", -9.0, 1.0, 0.42, "the true next vector as the query"),
    ("copy-last", "baseline", "candidate", 1.55, 0.531, 0.41, "the last passage as the query"),
    ("mean", "baseline", "candidate", 1.98, 0.592, 0.41, "the mean of the context"),
    ("exp-mean", "baseline", "candidate", 1.60, 0.607, 0.42, "an exponentially weighted mean"),
    ("ridge", "baseline", "candidate", 2.25, 0.603, 0.42, "a regularised linear map"),
    ("bm25", "baseline", "candidate", 2.15, None, 1.9, "words of the last passage"),
    ("bm25-context", "baseline", "candidate", 1.95, None, 5.2, "words of the whole context"),
    ("encoder-context", "baseline", "candidate", 1.90, 0.571, 0.42, "the encoder on the joined context"),
]
HEADED = 1_640_000  # parameters, the projection head among them
PROJECTED, RAW = "0.7 InfoNCE (projected, τ {}) + 0.3 AR", "0.85 InfoNCE (raw, τ {}) + 0.15 AR"
TRAINED = [  # name, family, intent, location, cosine, model, anchor, parameters, seconds, loss
    ("ar-cosine", "loss", "candidate", 2.42, 0.580, "gru", False, 1_310_000, 41, "AR (cosine)"),
    ("infonce-projected", "loss", "projected", 2.55, 0.471, "gru", False, HEADED, 47, PROJECTED.format("0.07")),
    ("infonce-ar", "loss", "candidate", 1.83, 0.482, "gru", False, 1_310_000, 44, RAW.format("0.07")),
    ("infonce-projected-tau-0.05", "loss", "projected", 2.60, 0.460, "gru", False, HEADED, 47,
     PROJECTED.format("0.05")),
    ("infonce-projected-tau-0.10", "loss", "projected", 2.50, 0.480, "gru", False, HEADED, 47,
     PROJECTED.format("0.10")),
    ("infonce-projected-tau-0.15", "loss", "projected", 2.47, 0.490, "gru", False, HEADED, 47,
     PROJECTED.format("0.15")),
    ("infonce-ar-tau-0.05", "loss", "candidate", 1.80, 0.465, "gru", False, 1_310_000, 44, RAW.format("0.05")),
    ("infonce-ar-tau-0.10", "loss", "candidate", 1.90, 0.500, "gru", False, 1_310_000, 44, RAW.format("0.10")),
    ("infonce-ar-tau-0.15", "loss", "candidate", 2.02, 0.521, "gru", False, 1_310_000, 44, RAW.format("0.15")),
    ("infonce", "loss", "candidate", 1.79, 0.471, "gru", False, 1_310_000, 43, "InfoNCE (raw, τ 0.07)"),
    ("amn-mse", "loss", "candidate", 2.30, 0.614, "amn", False, 512_000, 22, "MSE"),
    ("amn", "architecture", "candidate", 1.42, 0.502, "amn", True, 512_000, 25, "InfoNCE (raw, τ 0.07)"),
    ("gru", "architecture", "candidate", 1.28, 0.495, "gru", True, 1_310_000, 45, "InfoNCE (raw, τ 0.07)"),
    ("lstm", "architecture", "candidate", 1.44, 0.498, "lstm", True, 1_050_000, 52, "InfoNCE (raw, τ 0.07)"),
    ("transformer", "architecture", "candidate", 1.40, 0.489, "transformer", True, 2_120_000, 71,
     "InfoNCE (raw, τ 0.07)"),
    ("mamba", "architecture", "candidate", 1.47, 0.503, "mamba", True, 1_720_000, 96, "InfoNCE (raw, τ 0.07)"),
    ("mlp", "architecture", "candidate", 1.45, 0.493, "mlp", True, 780_000, 19, "InfoNCE (raw, τ 0.07)"),
]  # fmt: skip
UNDER_TRAINED = {"mamba", "infonce-projected-tau-0.15"}
NAMES = {"gru": "GRU", "amn": "AMN", "lstm": "LSTM", "transformer": "Transformer", "mamba": "Mamba-2", "mlp": "MLP"}
random = np.random.default_rng(2)
sizes = random.integers(20, 140, DOCUMENTS)
owner = np.repeat(np.arange(DOCUMENTS), sizes)
of_document = random.normal(0, 0.55, DOCUMENTS)[owner]
of_window = random.normal(0, 2.2, len(owner))
draws = random.multinomial(DOCUMENTS, np.full(DOCUMENTS, 1 / DOCUMENTS), RESAMPLES)
flips = random.choice([-1, 1], (2000, DOCUMENTS))


def ranks_at(location: float | None) -> np.ndarray:
    """Draw one rank per window."""
    if location is None:
        return random.integers(1, POOL + 1, len(owner))
    taste = random.normal(0, 0.3, DOCUMENTS)[owner]
    noise = of_document + of_window + taste + random.normal(0, 0.7, len(owner))
    return np.clip(np.ceil(np.exp(location + noise * (location > 0))), 1, POOL).astype(int)


def sums(values: np.ndarray) -> np.ndarray:
    """Sum per document."""
    return np.bincount(owner, values, DOCUMENTS)


def interval(over: np.ndarray, under: np.ndarray | None = None) -> dict[str, float]:
    """Percentile interval of a ratio of sums."""
    under = np.ones(len(owner)) if under is None else under
    ratios = (draws @ sums(over)) / np.maximum(draws @ sums(under), 1)
    low, high = np.percentile(ratios, [2.5, 97.5])
    return {"value": round(over.sum() / max(under.sum(), 1), 5), "low": round(low, 5), "high": round(high, 5)}


def metrics(ranks: np.ndarray, cosine: float | None, search: float | None) -> dict:
    """All metrics of one option."""
    hits = {k: (ranks <= k).astype(float) for k in (1, 5, 10, 20, 50)}
    gain = np.where(ranks <= 10, 1 / np.log2(1 + ranks), 0)
    found: dict = {f"R@{k}": interval(hits[k]) for k in (1, 5, 10, 20)}
    found |= {"Contain@50": interval(hits[50]), "Eff@5": interval(hits[5], hits[50]), "MRR": interval(1 / ranks)}
    found |= {"nDCG@10": interval(gain), "median rank": {"value": float(np.median(ranks)), "low": None, "high": None}}
    edge = (
        None
        if cosine is None
        else {"value": cosine, "low": round(cosine - 0.011, 5), "high": min(1.0, round(cosine + 0.011, 5))}
    )
    bare = {"low": None, "high": None}
    found |= {"cosine": edge, "search_p95_ms": None if search is None else {"value": search, **bare}}
    found |= {"total_p95_ms": None if search is None else {"value": round(search + 1.3, 3), **bare}}
    return {name: one for name, one in found.items() if one is not None}


def paired(ranks: np.ndarray, reference: np.ndarray) -> dict:
    """Paired differences with a sign-flipping p-value."""
    result = {}
    for name, values in (("R@5", (ranks <= 5) * 1.0 - (reference <= 5)), ("MRR", 1 / ranks - 1 / reference)):
        totals = sums(values)
        p = (1 + np.sum(np.abs(flips @ totals) >= abs(totals.sum()))) / (1 + len(flips))
        result[name] = {**interval(values), "p": round(min(1.0, 4 * p), 5)}
    return result


def curve(level: float, cosine: float, anchored: bool, late: bool) -> list[dict]:
    """A saturating validation curve with a little noise."""
    start = 0.383 if anchored else 0.004
    points = []
    for step in range(0, 301, 30):
        done = 1 - np.exp(-step / (220 if late else 70))
        mrr = start + (level - start) * done / (0.745 if late else 0.986) + random.normal(0, 0.0012)
        scores = {"MRR": round(max(mrr, 0.001), 4), "R@5": round(1.45 * max(mrr, 0.001), 4),
                  "cosine": round(cosine * (0.6 + 0.4 * done), 4)}  # fmt: skip
        points.append({"step": step, "loss": round(5.5 - 3.1 * done, 4), "scores": scores})
    return points


def option(name: str, family: str, intent: str, ranks: np.ndarray, cosine: float | None, search: float | None) -> dict:
    """What every option carries."""
    found = metrics(ranks, cosine, search)
    share = np.histogram(ranks, np.array(EDGES) + 0.5)[0] / len(ranks)
    recall, mrr = found["R@5"]["value"], found["MRR"]["value"]
    ease = random.normal(1.02, 0.004)
    return {
        "name": name, "status": "under-trained" if name in UNDER_TRAINED else "done",
        "intent": intent, "family": family, "question": "", "risk": "low", "reason": None, "metrics": found,
        "validation": None if family == "control" else {
            "MRR": round(mrr * ease, 5), "R@1": round(found["R@1"]["value"] * ease, 5), "R@5": round(recall * ease, 5),
            "R@10": round(found["R@10"]["value"] * ease, 5),
            "Contain@50": round(found["Contain@50"]["value"] * ease, 5),
            "cosine": None if cosine is None else round(cosine + 0.006, 5),
        },
        "macro": {"R@5": round(recall + 0.021, 5), "MRR": round(mrr + 0.014, 5)},
        "in_document": {"R@5": round(min(1.0, recall * 1.28), 5), "MRR": round(min(1.0, mrr * 1.2), 5)},
        "context_left_in": {"R@1": round(found["R@1"]["value"] * 0.02, 5), "R@5": round(recall * 0.83, 5)},
        "prefix": {"R@5": round(min(1.0, recall * 1.04), 5)}, "fresh": {"R@5": round(min(1.0, recall * 1.11), 5)},
        "recall_curve": {"k": KS, "value": [round(float(np.mean(ranks <= k)), 5) for k in KS]},
        "rank_histogram": {"labels": LABELS, "share": [round(float(s), 5) for s in share]},
        "latency": search and {"search": {"p50_ms": 0.9 * search, "p95_ms": search, "p99_ms": 2 * search}},
        "training": None, "compatibility": None,
    }  # fmt: skip


def build() -> dict:
    """Assemble the whole triage."""
    import sample_checks  # stands beside this script

    options, drawn = [], {}
    for name, family, intent, location, cosine, search, text in UNTRAINED:
        drawn[name] = ranks_at(location)
        options.append({**option(name, family, intent, drawn[name], cosine, search), "description": text})
    for name, family, intent, location, cosine, model, anchored, parameters, seconds, loss in TRAINED:
        drawn[name] = ranks_at(location)
        row = option(name, family, intent, drawn[name], cosine, 0.43)
        levels = row["validation"]["MRR"] + random.normal(0, 0.006, FOLDS)
        late = name in UNDER_TRAINED
        row["training"] = {
            "model": model, "size": "demo", "anchor": anchored, "parameters": parameters, "loss": loss, "steps": 300,
            "planned_steps": 300, "losses": [loss] * FOLDS,
            "best_steps": [270, 300, 240], "seconds": float(seconds * FOLDS), "under_trained": late, "batch_size": 512,
            "curves": [curve(float(level), cosine, anchored, late) for level in levels],
        }  # fmt: skip
        row["description"] = loss if family == "loss" else f"{NAMES[model]} from the anchor, under the winning loss"
        row["question"] = "A question would stand here?"
        row["risk"] = "medium" if intent == "projected" else "low"
        if intent == "projected":
            recall = row["metrics"]["R@5"]["value"]
            row["compatibility"] = {
                "raw": {"matched": cosine, "random": 0.121, "recall_5": recall},
                "projected": {"matched": 0.532, "random": 0.006, "recall_5": round(recall + 0.012, 5)},
            }  # fmt: skip
        options.append(row)
    for row in options:
        if row["intent"] != "control":
            others = [name for name in ("copy-last", "ar-cosine") if name != row["name"]]
            row["delta"] = {name: paired(drawn[row["name"]], drawn[name]) for name in others}
    winner = best_on_validation(options)
    chosen = [winner["name"], winner["name"], "transformer"]
    return {
        **header(), "winner": winner["name"],
        "procedure": {"chosen": chosen, "metrics": winner["metrics"], "delta": winner["delta"]},
        "gates": gates(winner), "entries": options, "files": files(), "audit": sample_checks.audit(),
        "diagnosis": sample_checks.diagnosis(), "causes": sample_checks.causes(), "muted": ["SG214"],
    }  # fmt: skip


def best_on_validation(options: list[dict]) -> dict:
    """Choose the winner as a triage does."""
    return max((o for o in options if o["intent"] == "candidate"), key=lambda o: o["validation"]["MRR"])


def header() -> dict:
    """What was measured on what."""
    return {
        "format": 2, "segue": "0.2.0", "created": "2026-01-01T00:00:00Z",
        "title": "SYNTHETIC sample: made-up numbers, for tests only",
        "corpus": {"kind": "wikipedia-dump", "name": "made-up sample", "documents": 96, "passages": 7502,
                   "characters": 3_012_345, "skipped": {"redirect": 99, "too short": 10}},
        "encoder": {"encoder": "made-up-encoder", "revision": "1", "dimension": 384, "precision": "bfloat16",
                    "pooling": "mean", "normalised": True, "prompt": "", "maximum_tokens": 256},
        "pool": POOL, "windows": len(owner), "documents": DOCUMENTS, "folds": FOLDS, "context": 5, "exclude": "context",
        "seeds": [1, 2, 3], "size": "demo", "blocked": [], "unsafe": False,
        "winning_losses": ["infonce", "infonce", "infonce"], "dropped_windows": {"target repeats its context": 12},
        "article_dropout": {"anchored": 0.0, "bare": 0.2},
        "machine": {"cpu": "made-up processor", "cores": 2, "memory_gb": 24.0, "system": "Linux", "python": "3.12.0",
                    "torch": "2.13.0", "numpy": "2.4.6", "faiss": "1.15.1"},
        "seconds": {"reading and encoding": 80.1, "comparing": 190.7, "of which training": 151.2},
    }  # fmt: skip


def gates(row: dict) -> list[dict]:
    """Gates with outcomes that follow from the intervals."""
    asked = [
        ("phase-1", row["delta"]["ar-cosine"]["R@5"], 0.10, "ΔR@5 over ar-cosine ≥ 0.1, or ΔMRR over ar-cosine ≥ 0.05"),
        ("contain", row["metrics"]["Contain@50"], 0.60, "Contain@50 ≥ 0.6"),
        ("efficiency", row["metrics"]["Eff@5"], 0.68, "Eff@5 ≥ 0.68"),
        ("recall", row["metrics"]["R@5"], 0.40, "R@5 ≥ 0.4"),
        ("ship", row["metrics"]["MRR"], 0.20, "R@5 ≥ 0.3, or MRR ≥ 0.2"),
    ]
    found = [
        {"name": name, "candidate": row["name"], "value": got["value"], "low": got["low"], "high": got["high"],
         "threshold": bar, "text": text, "reason": "the whole interval decides",
         "outcome": "pass" if got["low"] >= bar else "fail" if got["high"] < bar else "not-enough-evidence"}
        for name, got, bar, text in asked
    ]  # fmt: skip
    latency = {"name": "latency", "candidate": row["name"], "value": 0.43, "low": None, "high": None, "threshold": 1.45}
    return [
        *found,
        {
            **latency,
            "text": "search_p95_ms ≤ 1.45",
            "outcome": "not-enough-evidence",
            "reason": "too few repetitions for an interval",
        },
    ]


def files() -> list[dict]:
    """Files of the run."""
    names = [name for name, *_ in UNTRAINED + TRAINED]
    found = [{"path": f"options/{name}/run.trec.gz", "what": f"rankings of {name}"} for name in names]
    found += [
        {"path": f"options/{name}/fold-0/checkpoint", "what": f"weights of {name}, first fold"} for name in names[9:]
    ]
    return [*found, {"path": "qrels.trec", "what": "the passage that followed each window"}]


if __name__ == "__main__":
    text = json.dumps(build(), ensure_ascii=False, indent=1)
    Path(__file__).with_name("sample_triage.json").write_text(text + "\n", encoding="utf-8")
