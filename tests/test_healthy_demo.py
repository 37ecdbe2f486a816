"""The demo's corpus and encoder, cut short: a healthy experiment on real text raises no integrity check."""

import segue
from segue.files import read_json
from segue.recipe import parse_recipe
from segue.workflows.demo import demo_recipe

SHORT = {
    "passages": {"target_characters": 400, "maximum_passages": 18},
    "split": {"folds": None, "test": 0.25, "validation": 0.15},
    "model": {"size": "toy", "name": "mlp"},
    "training": {"batch_size": 128, "steps": 20, "evaluations": 2},
    "triage": {"options": ["infonce-projected", "mlp"], "budget_minutes": 10, "encoder_share": None},
    "evaluation": {"latency_queries": 20, "context_tokens": 64, "resamples": 500},
}


def test_real_text_and_a_real_encoder_raise_no_integrity_check(tmp_path, quick_comparisons):
    tables = demo_recipe(tmp_path).model_dump(mode="json")
    for name, changes in SHORT.items():
        tables[name] |= changes
    comparison = segue.triage(parse_recipe(tables), tmp_path / "run")
    record = read_json(tmp_path / "run" / "triage.json")
    raised = {f["code"]: f["statement"] for f in record["audit"] if f["outcome"] not in ("passed", "tip")}
    assert raised == {"SG120": "the bank names its encoder: SG106 encodes texts again"}  # not applicable
    assert (record["blocked"], record["unsafe"]) == ([], False)
    assert comparison.metric("oracle", "R@1") == 1.0
