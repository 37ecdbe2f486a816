"""Phase 2 says that it is phase 2: which documents were asked about, which were not, and why."""

import json

import numpy as np
import pytest

from segue.reports import report_content, summary_lines
from segue.reports.render import render_markdown
from segue.reports.text import to_text
from segue.workflows.audit import audit
from segue.workflows.diagnose import diagnose
from segue.workflows.evaluate import evaluate
from segue.workflows.triage import triage

pytestmark = pytest.mark.usefixtures("quick_comparisons")

WORDS = [f"{a}{b}" for a in ("ba", "do", "ki", "lu", "me", "no") for b in ("ran", "sil", "tep", "vom", "wug", "zax")]


def document(seed: int, *, passages: int = 6) -> str:
    """Sentences of about 60 characters, which make passages of their own."""
    random = np.random.default_rng(seed)
    return "\n".join(" ".join(random.choice(WORDS, 11)).capitalize() + "." for _ in range(passages))


def write_corpus(path, documents):
    path.write_text("".join(json.dumps({"id": name, "title": name, "text": text}) + "\n" for name, text in documents))


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """A run on twelve documents, asked about six others of which three are fresh and long enough."""
    folder = tmp_path_factory.mktemp("phase-2")
    old = [(f"old-{number}", document(number)) for number in range(12)]
    write_corpus(folder / "old.jsonl", old)
    fresh = [(f"new-{number}", document(100 + number)) for number in range(3)]
    others = [("old-3", document(200)), ("copy", old[5][1]), ("short", document(300, passages=1))]
    write_corpus(folder / "later.jsonl", [*fresh, *others])
    (folder / "later.toml").write_text(
        f'[corpus]\nkind = "jsonl"\npath = "{folder}/later.jsonl"\nminimum_characters = 1'
    )
    (folder / "recipe.toml").write_text(
        f"""
        title = "Old news"
        [corpus]
        kind = "jsonl"
        path = "{folder}/old.jsonl"
        minimum_characters = 1
        [encoder]
        name = "fake_encoder:HashEncoder"
        [passages]
        target_characters = 70
        [bank]
        path = "{folder}/bank"
        [windows]
        context = 2
        [triage]
        options = ["ar-cosine"]
        budget_minutes = 5
        [model]
        name = "mlp"
        size = "toy"
        [training]
        steps = 4
        evaluations = 1
        [evaluation]
        resamples = 100
        latency_queries = 5
        run_depth = 10
        """
    )
    first = triage(folder / "recipe.toml", folder / "run")
    return first, evaluate(folder / "run", corpus=folder / "later.toml")


def test_the_record_names_the_fresh_corpus_and_what_was_left_out_of_it(asked):
    first, second = asked
    assert first.record.fresh is None
    found = second.record.fresh
    assert (found.kind, found.name, found.documents) == ("jsonl", "later.jsonl", 3)
    assert found.windows == second.record.windows > 0
    assert found.skipped == {
        "the bank has a document of this id": 1,
        "near-duplicate of a document of the bank": 1,
        "yields no windows": 1,
    }
    assert second.record.title == "Old news (fresh documents: later.jsonl)"


def test_the_report_says_whose_windows_are_whose(asked):
    first, second = asked
    text = render_markdown(report_content(second.record))
    assert "later.jsonl: 3 documents and" in text
    assert "1 near-duplicate of a document of the bank" in text
    assert "with the fresh documents" in text
    assert "the test windows come from fresh documents that were not in it" in text
    assert "--corpus fresh.toml" not in text, "what was done is not advised"
    assert any(line.startswith("Fresh documents.") for line in summary_lines(second.record))
    notices = [to_text(notice.text) for notice in report_content(first.record).notices]
    assert not any("Fresh documents" in notice for notice in notices)


def test_with_a_single_split_the_procedure_differs_from_others_as_the_winner_does(asked):
    for record in (found.record for found in asked):
        value = {entry.name: entry.value("R@5") for entry in record.entries}
        delta = record.procedure.delta
        assert set(delta) == {"copy-last", "ar-cosine"}
        for reference, metrics in delta.items():
            assert set(metrics) == {"R@5", "MRR"}
            assert metrics["R@5"].value == pytest.approx(value[record.winner] - value[reference])


def test_a_run_on_fresh_documents_can_be_audited_and_diagnosed_again(asked):
    first, second = asked
    for found in (first, second):
        before = {finding.code: finding.outcome for finding in found.record.audit}
        assert {finding.code: finding.outcome for finding in audit(found.path).findings} == before
        before = {finding.code: finding.outcome for finding in found.record.diagnosis}
        again = diagnose(found.path, fast=True)
        assert {finding.code: finding.outcome for finding in again.findings} == before
        assert again.subject == found.record.subject
