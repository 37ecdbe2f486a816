"""Records of comparisons by hand: ``from records import COPY, SETUP, entry, record``."""

from segue.comparison.record import Entry, Record

SETUP = {
    "segue": "0.2.0", "created": "2026-01-01T00:00:00+00:00", "title": "A test",
    "corpus": {"kind": "jsonl", "name": "test.jsonl"},
    "encoder": {"encoder": "made-up", "revision": "1", "dimension": 12, "pooling": "mean", "normalised": True,
                "prompt": "", "maximum_tokens": None, "precision": "float32"},
    "pool": 1000, "windows": 500, "documents": 100, "folds": 1, "context": 3, "exclude": "context", "seeds": [1],
    "size": "full", "seconds": {}, "dropped_windows": {},
    "machine": {"cpu": "a processor", "cores": 2, "memory_gb": 8.0, "system": "Linux", "python": "3.12", "torch": "2",
                "numpy": "2", "faiss": "1"},
}  # fmt: skip
COMPARED = {"winner": None, "winning_losses": None, "article_dropout": {"anchored": 0.0, "bare": 0.2},
            "procedure": None, "gates": [], "entries": []}  # fmt: skip
TRAINING = {"model": "gru", "size": "toy", "anchor": False, "parameters": 1000, "loss": "AR (cosine)", "batch_size": 8,
            "steps": 10, "planned_steps": 10, "best_steps": [10], "seconds": 1.0, "under_trained": False,
            "curves": []}  # fmt: skip


GATE = {"name": "ship", "outcome": "pass", "candidate": "gru", "value": None, "low": None, "high": None,
        "threshold": 0.3, "text": "", "reason": ""}  # fmt: skip


def entry(name: str, recall: float | None = None, *, half=0.02, validation=0.3, against=None, **more) -> dict:
    """Return an entry as JSON; ``against`` maps a reference to (difference, half width, p)."""
    metrics = {} if recall is None else {"R@5": {"value": recall, "low": recall - half, "high": recall + half}}
    delta = {
        other: {"R@5": {"value": d, "low": d - wide, "high": d + wide, "p": p}}
        for other, (d, wide, p) in (against or {}).items()
    }
    families = {"copy-last": "baseline", "mean": "baseline", "gru": "architecture", "amn": "architecture"}
    values = {"name": name, "status": "done", "intent": "candidate", "family": families.get(name, "loss"),
              "description": "", "question": "", "risk": "low", "metrics": metrics,
              "validation": None if validation is None else {"MRR": validation}, "delta": delta}  # fmt: skip
    return values | more


def record(*entries: dict, gates=(), **more) -> Record:
    """Return a record of some entries; what gates and trainings leave out is filled in."""
    whole = [one | ({"training": TRAINING | one["training"]} if one.get("training") else {}) for one in entries]
    return Record.model_validate(SETUP | COMPARED | {"entries": whole, "gates": [GATE | gate for gate in gates]} | more)


def entries_of(*entries: dict) -> tuple[Entry, ...]:
    """Return entries in their type."""
    return record(*entries).entries


COPY = entry("copy-last", 0.30)
