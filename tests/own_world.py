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


def write_talks(folder, talks=20, turns=12):
    """Write transcripts for the corpus reader of docs/parts; one of them is too short. Return the folder."""
    folder.mkdir()
    for talk in range(talks):
        lines = [f"Ann: This is what was said at turn {turn} of talk number {talk} about subject {talk * turns + turn}."
                 for turn in range(turns)]  # fmt: skip
        (folder / f"talk-{talk:02}.txt").write_text("\n".join(lines), encoding="utf-8")
    (folder / "short.txt").write_text("Ann: Hello.", encoding="utf-8")
    return folder
