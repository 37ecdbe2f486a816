"""Audit and diagnosis as verbs: what they accept, what they write, when numbers are refused."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from check_cases import small_case
from command_line import run, write_corpus
from resealed import reseal
from worlds import noise_world

import segue
from segue.checks import AUDIT, CHECKS, DIAGNOSIS
from segue.checks.own import load_checks
from segue.comparison.entries.baselines import Baselines
from segue.comparison.record import CutoffQuality, read_record
from segue.comparison.tasks import InThisProcess, Worker
from segue.errors import InputError, SettingsError, StorageError
from segue.files import exclusive, read_json, read_jsonl, write_json
from segue.progress import quiet
from segue.recipe import load_recipe
from segue.workflows import check_record
from segue.workflows.confidence import winner_confidence
from segue.workflows.prepare import EncoderLoader, make_job, open_bank


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished comparison of toy models over precomputed vectors."""
    folder = tmp_path_factory.mktemp("run")
    recipe = write_corpus(folder)
    segue.triage(recipe, folder / "run")
    return folder


@pytest.fixture
def copy(finished, tmp_path):
    """A copy of the run that a test may break."""
    shutil.copytree(finished / "run", tmp_path / "run")
    return tmp_path / "run"


def leak(run_folder, option="infonce"):
    """Pretend that a checkpoint was trained on every document."""
    split = read_json(run_folder / "split.json")["folds"][0]
    from segue.models import hash_documents

    path = run_folder / "options" / option / "fold-0" / "checkpoint" / "training_documents.txt"
    everyone = hash_documents(split["train"] + split["test"])
    path.write_text("".join(f"{digest}\n" for digest in everyone))
    reseal(path.parent / "config.json")


def test_a_comparison_carries_its_findings_and_a_healthy_one_is_not_blocked(finished):
    record = read_json(finished / "run" / "triage.json")
    assert [finding["code"] for finding in record["audit"]] == [check.code for check in AUDIT]
    assert [finding["code"] for finding in record["diagnosis"]] == [check.code for check in DIAGNOSIS]
    assert record["blocked"] == []
    assert record["unsafe"] is False
    assert (finished / "run" / "qrels.trec").exists()


def test_a_comparison_measures_once_how_sure_its_winner_may_be(finished, copy, monkeypatch):
    record, kept = read_json(copy / "triage.json"), read_json(copy / "confidence.json")
    assert record["confidence"]["option"] == record["winner"]
    kept_quality = {name: CutoffQuality.model_validate(judged) for name, judged in kept["judged"].items()}
    assert read_record(copy / "triage.json").confidence.judged == kept_quality
    assert len(kept["models"]) == 1
    looks = [look for look in read_jsonl(copy / "looks.jsonl") if look.get("for") == "confidence"]
    assert [(look["option"], look["fold"]) for look in looks] == [(record["winner"], 0)]
    recipe = segue.load_recipe(finished / "recipe.toml")
    job = make_job(recipe, open_bank(recipe), (), copy)
    monkeypatch.setattr("segue.workflows.confidence.kept_case", lambda *_: pytest.fail("it was measured again"))
    again = winner_confidence(
        record["winner"], workers=InThisProcess(Worker(job, Baselines(job)), threads_each=1), stages=quiet
    )
    assert again.to_json() == record["confidence"]


@pytest.mark.parametrize("what", ["recipe.toml", "bank", "run"])
def test_a_recipe_a_bank_and_a_run_can_be_audited(finished, what):
    found = segue.audit(finished / what)
    assert [finding.code for finding in found.findings] == [check.code for check in AUDIT]
    assert found.blocked == []


def test_what_is_neither_is_refused(tmp_path):
    with pytest.raises(InputError, match="a recipe, a bank folder or a run folder"):
        segue.audit(tmp_path)
    with pytest.raises(InputError, match="is not a run folder"):
        segue.diagnose(tmp_path)


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


@pytest.mark.parametrize("verb", [segue.audit, segue.diagnose, segue.report, segue.evaluate])
def test_a_run_that_another_process_writes_is_refused_and_left_as_it_is(copy, verb):
    before = contents(copy)
    with exclusive(copy), pytest.raises(StorageError, match=r"run is in use: got another process is writing there"):
        verb(copy)
    assert contents(copy) == before


def test_a_bundle_only_reads_its_run(copy, tmp_path):
    before = contents(copy)
    with exclusive(copy):
        segue.bundle(copy, tmp_path / "bundle")
    assert contents(copy) == before


def test_a_code_that_does_not_exist_is_refused_before_anything_runs(finished):
    with pytest.raises(SettingsError, match="SG101"):
        segue.audit(finished / "run", mute=["SG11"])


def test_an_unknown_option_is_refused_with_the_names_there_are(finished):
    with pytest.raises(InputError, match="infonce"):
        segue.diagnose(finished / "run", option="nothing", fast=True)


def test_a_leak_blocks_the_headline_with_exit_code_3_and_unsafe_labels_it(copy, capsys):
    leak(copy)
    assert run("audit", str(copy)) == 3
    assert "SG104" in capsys.readouterr().out
    assert read_json(copy / "triage.json")["blocked"] == ["SG104"]
    assert run("report", str(copy), "--json") == 3
    shown = json.loads(capsys.readouterr().out)
    assert shown["blocked"] == ["SG104"]
    assert {option["metrics"]["R@5"]["value"] for option in shown["options"]} == {None}
    assert run("report", str(copy), "--unsafe", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["blocked"] == ["SG104"]
    assert any(option["metrics"]["R@5"]["value"] is not None for option in shown["options"])
    assert "unsafe" in (copy / "report.md").read_text().lower()


def test_a_checkpoint_that_is_gone_does_not_hide_the_leak_of_another(copy):
    leak(copy)
    (copy / "options" / "ar-cosine" / "fold-0" / "checkpoint" / "config.json").unlink()
    assert {"SG104", "SG112"} <= set(segue.audit(copy).blocked)


def test_muting_the_check_is_recorded_and_leaves_the_numbers_labelled(copy):
    leak(copy)
    found = segue.audit(copy, mute=["SG104"])
    assert found.blocked == []
    assert found.unproven == ["SG104"]
    record = read_json(copy / "triage.json")
    assert record["muted"] == ["SG104"]
    assert record["unsafe"] is True


def test_while_an_integrity_check_fails_only_its_cause_is_named(copy):
    leak(copy)
    segue.audit(copy)
    found = segue.diagnose(copy, fast=True)
    assert found.blocked == ["SG104"]
    assert [cause.name for cause in found.causes] == ["leaked-split"]
    assert read_json(copy / "triage.json")["causes"][0]["evidence"] == ["SG104"]


def test_fast_leaves_out_what_trains(finished):
    found = segue.diagnose(finished / "run", fast=True)
    slow = {check.code for check in DIAGNOSIS if check.slow}
    skipped = {finding.code for finding in found.findings if finding.outcome == "skipped"}
    not_applicable = {finding.code for finding in found.findings if finding.outcome == "not-applicable"}
    assert slow <= skipped | not_applicable


def test_findings_are_plain_json(finished):
    found = segue.audit(finished / "run")
    assert json.loads(json.dumps(found.to_json(), allow_nan=False)) == found.to_json()


def test_a_run_that_only_trained_can_be_audited(finished, tmp_path):
    segue.train(finished / "recipe.toml", tmp_path / "trained")
    found = segue.audit(tmp_path / "trained")
    assert found.blocked == []
    by_code = {finding.code: finding for finding in found.findings}
    assert by_code["SG104"].outcome == "passed"
    assert np.isclose(by_code["SG104"].measured, 0.0)


@pytest.mark.parametrize("verb", [segue.audit, segue.diagnose])
def test_a_run_whose_bank_has_changed_since_is_refused_not_accused_of_a_leak(copy, verb):
    split = read_json(copy / "split.json")
    write_json(copy / "split.json", split | {"alive": "of another bank"})
    with pytest.raises(InputError, match="the bank has changed since"):
        verb(copy)


def test_a_diagnosis_of_blocked_numbers_quotes_none_of_them(copy, capsys):
    leak(copy)
    segue.audit(copy)
    assert run("diagnose", str(copy), "--fast", "--json") == 3
    shown = json.loads(capsys.readouterr().out)
    assert (shown["blocked"], shown["unsafe"]) == (["SG104"], False)
    assert [finding["code"] for finding in shown["findings"]] == ["SG104"]
    assert run("diagnose", str(copy), "--fast") == 3
    out = capsys.readouterr().out
    assert "SG201" not in out
    assert "blocked by SG104" in out
    assert run("report", str(copy), "--unsafe") == 0
    capsys.readouterr()
    assert run("diagnose", str(copy), "--fast") == 0
    out = capsys.readouterr().out
    assert "SG201" in out
    assert "UNSAFE: blocked by SG104" in out


def test_what_is_muted_is_what_the_findings_say_is(copy, capsys):
    segue.diagnose(copy, fast=True, mute=["SG208", "SG104"])
    assert read_json(copy / "triage.json")["muted"] == ["SG208"], "the recorded audit was not muted"
    assert run("audit", str(copy), "--mute", "SG104") == 0
    assert "not verified: SG104" in capsys.readouterr().out
    assert read_json(copy / "triage.json")["muted"] == ["SG104", "SG208"]
    segue.diagnose(copy, fast=True)
    assert read_json(copy / "triage.json")["muted"] == ["SG104"]


def test_a_recipe_that_asks_for_a_head_declares_its_row_and_is_not_blocked(tmp_path):
    recipe = write_corpus(tmp_path)
    terms = '[{kind = "infonce", weight = 0.7, space = "projected"}, {kind = "ar-cosine", weight = 0.3}]'
    recipe.write_text(f"{recipe.read_text()}\n[loss]\nterms = {terms}\n")
    segue.train(recipe, tmp_path / "run")
    record = segue.evaluate(tmp_path / "run").record
    assert record.blocked == ()
    assert record.entry("model").intent == "projected"
    assert record.subject == "model"


def test_what_is_muted_is_muted_in_audit_and_diagnosis(monkeypatch, finished, copy):
    monkeypatch.setattr(check_record, "kept_case", lambda worker: small_case(noise_world()))
    recipe = segue.load_recipe(finished / "recipe.toml")
    job = make_job(recipe, open_bank(recipe), (), copy)
    codes = tuple(check.code for check in CHECKS)
    spared = ("SG101", "SG201")
    policy = check_record.CheckPolicy(mute=tuple(code for code in codes if code not in spared))
    own = load_checks([replace(CHECKS[-1], code="MY201", needs=(), data_alone=True)])  # diagnosis: not run before
    before = check_record.check_data(small_case(noise_world()), policy, own=own, stages=quiet)
    workers = InThisProcess(Worker(job, Baselines(job)), threads_each=1)
    found = check_record.check_record("mlp", policy, data=before, own=own, workers=workers, stages=quiet)
    outcomes = {finding.code: finding.outcome for finding in (*found.audit, *found.diagnosis)}
    assert list(outcomes) == [*codes, "MY201"]
    assert {code for code, outcome in outcomes.items() if outcome != "muted"} == {*spared, "MY201"}


def test_a_check_of_the_data_alone_is_run_once_and_stands_in_the_record(monkeypatch, finished, copy):
    alone = {check.code for check in CHECKS if check.data_alone}
    assert alone == {"SG115", "SG116", "SG117", "SG120"}
    run, ran = check_record.run_checks, []
    monkeypatch.setattr(check_record, "run_checks", lambda checks, case, **more: (
        ran.extend(check.code for check in checks), run(checks, case, **more))[1])  # fmt: skip
    found = segue.triage(segue.load_recipe(finished / "recipe.toml"), copy)
    assert {code: ran.count(code) for code in alone} == dict.fromkeys(alone, 1)
    assert ran.count("SG103") == 2
    assert [finding.code for finding in found.record.audit] == [check.code for check in AUDIT]


def test_vectors_made_elsewhere_have_no_encoder(tmp_path):
    recipe = load_recipe(write_corpus(tmp_path))
    with pytest.raises(InputError, match="made elsewhere, so there is no encoder"):
        EncoderLoader(recipe, noise_world())()
