"""The command line, end to end on precomputed vectors: exit codes, JSON, errors in one line, interruption."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command_line import run, write_corpus

import segue
from segue.files import read_json


@pytest.fixture(scope="module")
def triaged(tmp_path_factory):
    """Run one triage that the tests below look at."""
    folder = tmp_path_factory.mktemp("triaged")
    recipe = write_corpus(folder)
    assert run("triage", str(recipe), "--out", str(folder / "run")) == 0
    return folder


def test_triage_leaves_everything_a_report_names(triaged):
    record = json.loads((triaged / "run" / "triage.json").read_text())
    for file in record["files"]:
        assert (triaged / "run" / file["path"]).exists(), file["path"]
    for name in ("report.html", "report.md", "report.json"):
        assert (triaged / "run" / name).stat().st_size > 1000


def test_json_is_the_public_form_and_nothing_else(triaged, capsys):
    assert run("report", str(triaged / "run"), "--json") == 0
    public = json.loads(capsys.readouterr().out)
    assert set(public) == {"pool", "windows", "documents", "blocked", "unsafe", "winner", "choice", "run", "gates",
                           "options"}  # fmt: skip
    assert public["options"][0].keys() >= {"name", "status", "intent", "metrics"}
    assert set(public["options"][0]["metrics"]) >= {
        "R@1", "R@5", "R@10", "Contain@50", "Eff@5", "MRR", "cosine", "search_p95_ms", "total_p95_ms",
    }  # fmt: skip
    assert {gate["outcome"] for gate in public["gates"]} <= {"pass", "fail", "not-enough-evidence"}


def test_the_table_is_printed_and_fits(triaged, capsys):
    assert run("report", str(triaged / "run")) == 0
    out = capsys.readouterr().out
    assert "copy-last" in out
    assert "report.html" in out
    table = [line for line in out.splitlines() if "report.html" not in line]
    assert max(len(line) for line in table) <= 120


def test_a_missed_gate_is_exit_code_1_only_when_asked(triaged):
    record = json.loads((triaged / "run" / "triage.json").read_text())
    assert any(gate["outcome"] != "pass" for gate in record["gates"] if gate["name"] != "latency")
    recipe = str(triaged / "recipe.toml")
    assert run("triage", recipe, "--out", str(triaged / "run"), "--json") == 0
    assert run("triage", recipe, "--out", str(triaged / "run"), "--gate") == 1


def test_train_then_evaluate(tmp_path, capsys):
    recipe = write_corpus(tmp_path)
    assert run("train", str(recipe), "--out", str(tmp_path / "run"), "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert (Path(record["checkpoint"]) / "model.safetensors").exists()
    assert not (tmp_path / "run" / "looks.jsonl").exists(), "training never looks at test documents"
    assert run("evaluate", str(tmp_path / "run"), "--json") == 0
    names = [option["name"] for option in json.loads(capsys.readouterr().out)["options"]]
    assert names[-1] == "model"
    assert "copy-last" in names


def test_bank_build_and_info(tmp_path, capsys):
    recipe = write_corpus(tmp_path)
    assert run("bank", "build", str(recipe), "--out", str(tmp_path / "mine"), "--json") == 0
    assert json.loads(capsys.readouterr().out)["passages"] == 160
    assert run("bank", "info", str(tmp_path / "mine"), "--verify") == 0
    assert "160" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["triage", "nowhere.toml"], "nowhere.toml does not exist"),
        (["bank", "info", "nowhere"], "nowhere"),
        (["report", "nowhere"], "holds no comparison"),
        (["evaluate", "nowhere"], "is not a run folder"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(words, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(*words) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


def test_a_recipe_with_several_problems_tells_all_of_them(tmp_path, capsys):
    path = tmp_path / "bad.toml"
    path.write_text('[corpus]\nkind = "folder"\npath = "x"\n[windows]\ncontext = -1\n[modle]\nname = "gru"\n')
    assert run("triage", str(path)) == 2
    error = capsys.readouterr().err
    assert "2 problems" in error
    assert "did you mean 'model'?" in error


def test_vectors_that_are_not_unit_are_refused(tmp_path, capsys):
    recipe = write_corpus(tmp_path)
    np.save(tmp_path / "vectors.npy", 3 * np.load(tmp_path / "vectors.npy"))
    assert run("triage", str(recipe), "--out", str(tmp_path / "run")) == 2
    assert "length 1: got lengths from 3 to 3" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_one_document_is_refused_with_the_number(tmp_path, capsys):
    assert run("triage", str(write_corpus(tmp_path, documents=1)), "--out", str(tmp_path / "run")) == 2
    assert "1" in capsys.readouterr().err


def test_documents_shorter_than_the_context_are_refused(tmp_path, capsys):
    assert run("triage", str(write_corpus(tmp_path, length=3)), "--out", str(tmp_path / "run")) == 2
    assert "at least 4 passages" in capsys.readouterr().err


def test_an_interruption_keeps_what_was_done(tmp_path, capsys, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("segue.workflows.triage.run_comparison", interrupted)
    assert run("triage", str(write_corpus(tmp_path)), "--out", str(tmp_path / "run")) == 130
    assert "run the same command to resume" in capsys.readouterr().err


@pytest.mark.parametrize("error", [
    MemoryError(), pa.ArrowMemoryError("malloc failed"),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), RuntimeError("can't start new thread"),
], ids=["Python", "Arrow", "PyTorch", "threads"])  # fmt: skip
def test_a_lack_of_memory_is_one_line(tmp_path, capsys, monkeypatch, error):
    def lack(*args, **kwargs):
        raise error

    monkeypatch.setattr("segue.workflows.bank.info", lack)
    assert run("bank", "info", str(tmp_path)) == 2
    assert capsys.readouterr().err.startswith("segue: there is not enough memory")


def test_another_error_is_no_lack_of_memory(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError("a defect")

    monkeypatch.setattr("segue.workflows.bank.info", fail)
    with pytest.raises(RuntimeError, match="a defect"):
        run("bank", "info", str(tmp_path))


def test_another_recipe_does_not_go_on_in_the_same_folder(triaged, capsys):
    recipe = triaged / "other.toml"
    recipe.write_text((triaged / "recipe.toml").read_text().replace("steps = 10", "steps = 12"))
    assert run("triage", str(recipe), "--out", str(triaged / "run")) == 2
    assert "[training]" in capsys.readouterr().err


def test_a_run_begun_by_a_version_without_a_key_has_its_default(triaged, tmp_path, capsys):
    copy = shutil.copytree(triaged / "run", tmp_path / "run")
    record = read_json(copy / "recipe.json")
    assert record["windows"].pop("test_every") == 1
    (copy / "recipe.json").write_text(json.dumps(record))
    assert run("triage", str(triaged / "recipe.toml"), "--out", str(copy)) == 0
    other = tmp_path / "other.toml"
    other.write_text((triaged / "recipe.toml").read_text().replace("[windows]", "[windows]\ntest_every = 2"))
    assert run("triage", str(other), "--out", str(copy)) == 2
    assert "[windows]" in capsys.readouterr().err


def test_a_run_may_go_on_on_another_device(triaged):
    words = (str(triaged / "recipe.toml"), "--out", str(triaged / "run"), "--device", "cpu")
    assert run("triage", *words) == 0


def test_a_run_may_go_on_in_other_batches_of_the_encoder(triaged, tmp_path):
    copy = shutil.copytree(triaged / "run", tmp_path / "run")
    record = read_json(copy / "recipe.json")
    record["encoder"]["batch_size"] = 32  # as a version wrote it
    (copy / "recipe.json").write_text(json.dumps(record))
    assert run("triage", str(triaged / "recipe.toml"), "--out", str(copy)) == 0


def test_python_and_the_command_line_give_the_same(triaged):
    comparison = segue.triage(triaged / "recipe.toml", triaged / "run")
    assert comparison.winner == json.loads((triaged / "run" / "triage.json").read_text())["winner"]
    assert comparison.metric("oracle", "R@1") == 1.0


def test_a_recipe_that_gave_no_run_may_be_fixed_in_the_same_folder(tmp_path, capsys):
    recipe = write_corpus(tmp_path, length=6)
    good = recipe.read_text()
    recipe.write_text(good.replace("context = 3", "context = 8"))
    assert run("triage", str(recipe), "--out", str(tmp_path / "run")) == 2
    recipe.write_text(good)
    assert run("train", str(recipe), "--out", str(tmp_path / "run"), "--device", "mps") == 2
    assert run("train", str(recipe), "--out", str(tmp_path / "run")) == 0


def test_a_damaged_result_names_the_file_to_delete_and_its_option_is_scored_again(triaged, tmp_path, capsys):
    shutil.copytree(triaged / "run", tmp_path / "run")
    words = ("triage", str(triaged / "recipe.toml"), "--out", str(tmp_path / "run"), "--json")
    fold = tmp_path / "run" / "options" / "ar-cosine" / "fold-0"
    for damage in ("", "[]", "{}", '{"status": "do'):
        (fold / "result.json").write_text(damage)
        assert run(*words) == 2
        assert "delete that result.json" in capsys.readouterr().err
    (fold / "evaluation" / "arrays.npz").write_bytes(b"no arrays")
    (fold / "result.json").unlink()
    assert run(*words) == 0


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("recipe.json", "[]", "recipe.json does not hold a JSON object: got list"),
        ("plan.json", "[]", "plan.json does not hold a JSON object: got list"),
        ("plan.json", '{"format": 1, "steps": {"ar-cosine": "x"}}', "plan.json is not a plan"),
    ],
)
def test_a_damaged_run_folder_is_one_line_and_exit_code_2(triaged, tmp_path, capsys, name, content, message):
    shutil.copytree(triaged / "run", tmp_path / "run")
    (tmp_path / "run" / name).write_text(content)
    assert run("triage", str(triaged / "recipe.toml"), "--out", str(tmp_path / "run")) == 2
    assert message in capsys.readouterr().err


def test_a_report_of_something_else_is_refused(tmp_path, capsys):
    (tmp_path / "triage.json").write_text("{}")
    assert run("report", str(tmp_path)) == 2
    assert "is not a comparison: got" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert run("report", str(tmp_path / "file")) == 2


def test_a_plan_that_is_not_there_is_told_before_any_work(tmp_path, capsys):
    recipe = write_corpus(tmp_path)
    recipe.write_text(recipe.read_text().replace("[triage]", f'[triage]\nplan = "{tmp_path}/nowhere.json"'))
    assert run("triage", str(recipe), "--out", str(tmp_path / "run")) == 2
    assert "nowhere.json does not exist" in capsys.readouterr().err
    assert not (tmp_path / "run" / "options").exists()


def test_an_emptied_shard_is_damage_not_an_abort(tmp_path, capsys):
    assert run("bank", "build", str(write_corpus(tmp_path)), "--json") == 0
    (tmp_path / "bank" / "vectors-00000.npy").write_bytes(b"")
    assert run("bank", "info", str(tmp_path / "bank")) == 2
    assert "has changed since it was written" in capsys.readouterr().err


def test_a_flipped_bit_in_any_column_is_found(tmp_path, capsys):
    assert run("bank", "build", str(write_corpus(tmp_path)), "--json") == 0
    path = tmp_path / "bank" / "passages-00000.parquet"
    group = pq.ParquetFile(path).metadata.row_group(0)
    last = group.column(group.num_columns - 1)  # no hash of the manifest covers the duplicate groups
    data = bytearray(path.read_bytes())
    data[last.data_page_offset + last.total_compressed_size // 4] ^= 0x41
    path.write_bytes(data)
    assert run("bank", "info", str(tmp_path / "bank")) == 2
    assert "passages-00000.parquet has changed since it was written" in capsys.readouterr().err


def test_a_folder_that_is_no_bank_is_not_called_an_unfinished_one(tmp_path, capsys):
    assert run("bank", "info", str(tmp_path)) == 2
    assert "resumes" not in capsys.readouterr().err


def test_a_fresh_corpus_that_gave_nothing_may_be_fixed_under_its_name(triaged, tmp_path, capsys):
    shutil.copytree(triaged / "run", tmp_path / "run")
    fresh = tmp_path / "fresh.toml"
    words = ("evaluate", str(tmp_path / "run"), "--corpus", str(fresh))
    for path in ("nowhere", "nowhere-else"):
        fresh.write_text(f'[corpus]\nkind = "folder"\npath = "{tmp_path}/{path}"\n')
        assert run(*words) == 2
        assert "another fresh corpus" not in capsys.readouterr().err


def test_a_missing_encoder_folder_is_named_as_such(tmp_path, capsys):
    (tmp_path / "a.txt").write_text("One sentence stands here, long enough to be read.")
    recipe = tmp_path / "recipe.toml"
    tables = f'[corpus]\nkind = "folder"\npath = "{tmp_path}"\nglob = "*.txt"\n[bank]\npath = "{tmp_path}/bank"\n'
    recipe.write_text(tables + '[encoder]\nname = "./nowhere/model"\n')
    assert run("bank", "build", str(recipe)) == 2
    assert f"'{tmp_path}/nowhere/model' cannot be loaded: got no such folder" in capsys.readouterr().err


def test_the_winner_becomes_a_bundle_that_predicts(triaged, tmp_path, capsys):
    out, run_folder = tmp_path / "bundle", str(triaged / "run")
    assert run("bundle", "build", run_folder, str(out), "--json") == 0
    built = json.loads(capsys.readouterr().out)
    winner = json.loads((triaged / "run" / "triage.json").read_text())["winner"]
    assert built["option"] == winner
    beginning = tmp_path / "beginning.txt"
    beginning.write_text("Passage 20 of the drift world says something about subject 20.")  # the bank holds it
    assert run("predict", str(out), "--text", str(beginning), "-k", "3", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["bundle"] == built["version"]
    assert answer["read"] == ["document-2#0"]
    assert len(answer["passages"]) == 3
    assert run("bundle", "build", run_folder, str(out)) == 2
    assert "already exists" in capsys.readouterr().err


def test_a_blocked_run_is_released_only_with_a_label(triaged, tmp_path, capsys):
    shutil.copytree(triaged / "run", tmp_path / "run")
    path = tmp_path / "run" / "triage.json"
    path.write_text(json.dumps(read_json(path) | {"blocked": ["SG104"]}))
    assert run("bundle", "build", str(tmp_path / "run"), str(tmp_path / "bundle")) == 3
    assert "SG104" in capsys.readouterr().err
    assert run("bundle", "build", str(tmp_path / "run"), str(tmp_path / "bundle"), "--unsafe") == 0
    assert "SG104" in (tmp_path / "bundle" / "README.md").read_text()


def test_there_is_no_bundle_of_a_row_that_is_not_there(triaged, tmp_path, capsys):
    for option in ("chance", "nothing"):
        words = ("bundle", "build", str(triaged / "run"), str(tmp_path / "bundle"), "--option", option)
        assert run(*words) == 2
        assert "no such option to release" in capsys.readouterr().err
    assert run("serve") == 2
    assert run("serve", str(tmp_path), "--port", "99999") == 2
    assert "port" in capsys.readouterr().err


def test_options_are_reported_as_they_finish_baselines_before_the_first_model(tmp_path, capsys):
    recipe = write_corpus(tmp_path)
    assert run("triage", str(recipe), "--out", str(tmp_path / "run"), "--json") == 0
    captured = capsys.readouterr()
    json.loads(captured.out)
    said = [line.partition(":")[0] for line in captured.err.splitlines() if " on validation documents" in line]
    assert said.index("copy-last") < said.index("bm25") < said.index("ar-cosine") < said.index("infonce")
    first, second = captured.err.splitlines()[:2]
    assert "comparing options of" in first
    assert second == "Importing vectors"


def test_quiet_prints_the_result_alone(tmp_path, capsys):
    assert run("triage", str(write_corpus(tmp_path)), "--out", str(tmp_path / "run"), "--quiet") == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert "copy-last" in captured.out


def test_the_table_takes_the_width_that_columns_says_and_wide_shows_every_column(triaged, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert run("report", str(triaged / "run")) == 0
    narrow = capsys.readouterr().out
    assert max(map(len, narrow.partition("Report:")[0].splitlines())) <= 80
    assert "Eff@5" not in narrow
    assert run("report", str(triaged / "run"), "--wide") == 0
    assert "Eff@5" in capsys.readouterr().out
