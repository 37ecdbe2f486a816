"""Write the files beside this one, in the folder that is named; run with version 0.1 (see README.md)."""

import json
import os
import random
import shutil
import sys
from pathlib import Path

import numpy as np

import segue

HERE = Path(__file__).resolve().parent
DOCUMENTS, LENGTH, STEPS = 24, 6, 20
TRAINED = ("ar-only", "option-3-pure", "model-gru", "option-4-rerank")
NEEDLESS = ("state.safetensors", "state", "report_files", "report.html", "report.md", "report.json", ".lock")


def corpus() -> str:
    """Return documents of six passages: three topics of the document and nine words without meaning in each."""
    draw = random.Random(0)
    topics, noise = ([f"{kind}{chr(97 + n)}" for n in range(20)] for kind in "tn")
    lines = []
    for number in range(DOCUMENTS):
        named = draw.sample(topics, 3)
        passages = [" ".join(draw.sample([*named, *draw.sample(noise, 10)], 13)) + "." for _ in range(LENGTH)]
        lines.append(json.dumps({"id": f"doc-{number}", "paragraphs": passages}) + "\n")
    return "".join(lines)


def main(out: Path) -> None:
    """Run the comparison in ``out``, build the bundle, and leave out what reading back does not need."""
    out.mkdir(parents=True)
    shutil.copytree(HERE / "encoder", out / "encoder")
    shutil.copy(HERE / "recipe.toml", out)
    os.chdir(out)
    Path("corpus.jsonl").write_text(corpus(), encoding="utf-8")
    plan = {"steps": dict.fromkeys(TRAINED, STEPS), "steps_per_second": {}, "score_seconds": 0.0}
    Path("plan.json").write_text(json.dumps({"format": 1, **plan, "budget_minutes": 1000.0, "fits": True}))
    found = segue.triage(segue.load_recipe("recipe.toml"), "run")
    print("winner:", found.winner, "blocked:", found.record["blocked"])
    print(segue.bundle("run", "bundle", option="option-4-rerank").to_json())
    answers = []
    released = segue.load("bundle")
    for document in range(0, DOCUMENTS, 8):
        ids = [passage.id for passage in released.passages_of(LENGTH * document + np.arange(2))]
        answer = released.next(ids=ids, k=5)
        passages = [{"id": one.id, "score": one.score} for one in answer.passages]
        answers.append({"ids": ids, "passages": passages, "prediction": answer.prediction.tolist()})
    Path("answers.json").write_text(json.dumps(answers, indent=1) + "\n", encoding="utf-8")
    for name in NEEDLESS:
        for path in sorted(Path().rglob(name)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for path in Path().rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
