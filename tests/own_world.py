"""A small corpus of texts, and comparisons in which every part is a user's own."""

import json

import worlds

QUICK = {
    "windows": {"context": 3},
    "split": {"test": 0.3, "validation": 0.2},
    "model": {"name": "mlp", "size": "toy"},
    "training": {"batch_size": 32, "steps": 10, "evaluations": 2},
    "evaluation": {"resamples": 100, "latency_queries": 2, "run_depth": 10},
}


def write_corpus(folder, documents=30):
    """Write essays as JSONL and return the [corpus] table."""
    texts, _ = worlds.essay_texts_and_vectors(documents=documents, length=10)
    path = folder / "essays.jsonl"
    lines = [{"id": f"essay-{n}", "paragraphs": [f"W {text}." for text in some]} for n, some in enumerate(texts)]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    return {"kind": "jsonl", "path": str(path)}
