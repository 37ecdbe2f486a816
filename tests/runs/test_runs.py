"""A folder of runs read for people: what it lists, which windows are read, why answers are wrong, how rows differ."""

import base64
import hashlib
import json
import re
import shutil

import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from page_world import DOCUMENTS, LENGTH
from resealed import edit
from worlds import make_bank

from segue.errors import InputError, StorageError
from segue.evaluation.result import Evaluation
from segue.files import file_sha256, read_json, read_jsonl
from segue.runs import failures
from segue.runs.differences import Difference
from segue.runs.failures import KINDS, chance_cosine, classify, describe_window, order_windows
from segue.runs.runs import EntryAnswers, Run, RunsFolder
from segue.serving.pages import runs_routes
from segue.serving.server import add_error_handlers
from segue.workflows.serve import serve

ANGLE = np.deg2rad


def at(*degrees: float) -> np.ndarray:
    """Return unit vectors in the plane."""
    return np.array([[np.cos(ANGLE(one)), np.sin(ANGLE(one)), 0.0] for one in degrees])


def answers(context, targets, rankings, ranks, pool_size=100) -> EntryAnswers:
    arrays = [np.array(one, dtype=np.int64) for one in (context, targets, np.arange(len(targets)), ranks, rankings)]
    return EntryAnswers("an entry", "context", pool_size, *arrays, None)


@pytest.fixture
def copied(world, tmp_path):
    """The runs, to be spoilt."""
    shutil.copytree(world.runs, tmp_path / "runs")
    return tmp_path / "runs"


def change_record(run, **changes) -> None:
    record = read_json(run / "triage.json")
    (run / "triage.json").write_text(json.dumps(record | changes))


def test_runs_are_listed_with_their_numbers_and_the_questions_they_share(world):
    first, second = sorted(RunsFolder(world.runs).summaries(), key=lambda one: one["name"])
    assert (first["name"], second["name"]) == ("first", "second")
    assert first["same"] == second["same"]
    assert first["title"] == "Volumes"
    assert first["report"]
    record = json.loads((world.runs / "first" / "triage.json").read_text())
    row = next(row for row in record["entries"] if row["name"] == "copy-last")
    shown = next(row for row in first["options"] if row["name"] == "copy-last")
    assert shown["metrics"]["R@5"] == row["metrics"]["R@5"]
    assert RunsFolder(world.runs / "first").summaries()[0]["name"] == "."


def test_other_windows_are_other_questions(copied):
    change_record(copied / "second", windows=7)
    first, second = RunsFolder(copied).summaries()
    assert first["same"] != second["same"]


def test_a_blocked_run_shows_no_number_and_a_broken_one_says_so(copied):
    change_record(copied / "first", blocked=["SG101"], unsafe=False)
    (copied / "second" / "triage.json").write_text("{ not JSON")
    found = {one["name"]: one for one in RunsFolder(copied).summaries()}
    assert {metric["value"] for row in found["first"]["options"] for metric in row["metrics"].values()} == {None}
    assert "is not JSON" in found["second"]["unreadable"]


@pytest.mark.parametrize("name", ["third", "../runs/first", "/etc", "first/", ""])
def test_only_runs_of_the_list_are_read(world, name):
    with pytest.raises(InputError, match="no such run"):
        RunsFolder(world.runs).run(name)


@pytest.mark.parametrize("option", ["nothing", "../../first/options/bm25", ""])
def test_only_rows_of_the_record_are_read(world, option):
    with pytest.raises(InputError, match="does not have this entry"):
        RunsFolder(world.runs).run("first").answers(option)


def test_a_run_that_changes_is_read_again(copied):
    folder = RunsFolder(copied)
    before = folder.run("first")
    assert folder.run("first") is before
    change_record(copied / "first", title="Another")
    assert folder.run("first").record.title == "Another"


def test_windows_are_what_stands_before_each_target(world):
    run = RunsFolder(world.runs).run("first")
    answered = run.answers("bm25")
    stored = Evaluation.load(world.runs / "first" / "options" / "bm25" / "fold-0" / "evaluation")
    assert answered.ranks.tolist() == stored.ranks.tolist()
    for target, context in zip(answered.targets.tolist(), answered.context.tolist(), strict=True):
        assert context == [target - 3, target - 2, target - 1]
        assert run.bank.document_of[context[0]] == run.bank.document_of[target]


def test_every_row_that_is_read_is_logged_once_as_a_look(copied):
    run = RunsFolder(copied).run("first")
    before = len(read_jsonl(copied / "first" / "looks.jsonl"))
    for option in ("bm25", "mean", "bm25"):
        run.answers(option)
    looks = read_jsonl(copied / "first" / "looks.jsonl")[before:]
    assert [(look["option"], look["for"]) for look in looks] == [
        ("bm25", "reading failures"),
        ("mean", "reading failures"),
    ]


def test_a_look_that_cannot_be_logged_is_not_taken(copied):
    (copied / "first" / "looks.jsonl").unlink()
    (copied / "first" / "looks.jsonl").mkdir()
    with pytest.raises(StorageError):
        RunsFolder(copied).run("first").answers("bm25")


def test_a_bank_that_is_gone_or_was_changed_is_named(copied, tmp_path):
    recipe = copied / "first" / "recipe.json"
    settings = read_json(recipe)
    recipe.write_text(json.dumps(settings | {"bank": {**settings["bank"], "path": str(tmp_path / "nowhere")}}))
    gone = {"path": str(tmp_path / "nowhere"), "relative": "../nowhere"}
    place = copied / "first" / "bank.json"
    place.write_text(json.dumps(read_json(place) | gone))
    with pytest.raises(InputError, match=r"not there.*nowhere"):
        RunsFolder(copied).run("first").answers("bm25")
    split = copied / "second" / "split.json"
    edit(split, bank="another")
    record = copied / "second" / "triage.json"
    edit(record, of=read_json(record)["of"] | {"split.json": file_sha256(split)})
    with pytest.raises(InputError, match="has changed"):
        RunsFolder(copied).run("second").answers("bm25")


def test_each_kind_of_failure_by_hand(monkeypatch):
    monkeypatch.setattr(failures, "chance_cosine", lambda bank: 0.2)
    bank = make_bank(at(0, 10, 20, 30, 100, 60, 85, 21, 40, 5, 170), [7, 4])  # rows 0 to 6 are one document
    read = [0, 1]
    cases = {  # target, first answer, rank
        "right": (2, 2, 1),
        "near-copy": (2, 7, 2),  # 20 and 21 degrees
        "soon": (3, 5, 3),  # 30 and 60 degrees, two passages later
        "break": (4, 8, 9),  # 100 degrees: cosine to 10 is cos 90 = 0
        "same-document": (5, 3, 4),  # two passages before it
        "copying": (5, 9, 5),  # 60 is 50 from the last read, the answer 5 from it
        "other": (5, 10, 6),  # 160 degrees from the last read
    }
    targets, firsts, ranks = zip(*cases.values(), strict=True)
    found = classify(bank, answers([read] * len(cases), targets, [[first] for first in firsts], ranks))
    assert [KINDS[kind] for kind in found.kind] == list(cases)


def test_a_passage_that_is_answered_for_everything_is_a_hub(monkeypatch):
    monkeypatch.setattr(failures, "chance_cosine", lambda bank: -2.0)
    bank = make_bank(at(*range(0, 60, 10), 170, 160), [6, 2])
    many = answers([[0, 1]] * 4, [2, 3, 4, 5], [[6], [6], [6], [7]], [9, 9, 9, 9])
    found = classify(bank, many)
    assert found.hub == 3
    assert [KINDS[kind] for kind in found.kind] == ["hub", "hub", "hub", "other"]


def test_chance_is_what_19_of_20_random_pairs_stay_below():
    vectors = np.random.default_rng(5).standard_normal((60, 8))
    bank = make_bank(vectors, [60])
    cosines = (bank.vectors @ bank.vectors.T)[np.triu_indices(60, 1)]
    assert chance_cosine(bank) == pytest.approx(np.quantile(cosines, 0.95), abs=0.04)


def test_the_reasons_are_the_cosines_one_can_compute():
    bank = make_bank(at(0, 10, 60, 20, 50), [4, 1], texts=["a", "b", "c", "d", "e"])
    answered = answers([[0, 1]], [2], [[3, 4, -1]], [3])
    told = describe_window(bank, answered, classify(bank, answered), 0, {"bm25": 7})
    assert [one["text"] for one in told["read"]] == ["a", "b"]
    assert told["read"][0]["to_truth"] == pytest.approx(np.cos(ANGLE(60)), abs=1e-6)
    assert told["others"] == {"bm25": 7}
    assert [one["text"] for one in told["found"]] == ["d", "e"]
    near = f"nearer to the last passage read ({np.cos(ANGLE(10)):.2f}) than what came next ({np.cos(ANGLE(50)):.2f})"
    assert told["found"][0]["why"][:2] == ["same document, one passage later", near]
    second = told["found"][1]["why"]
    assert second[0] == f"nearly what came next (cosine {np.cos(ANGLE(10)):.2f})"
    assert second[1].startswith(f"nearer to the last passage read ({np.cos(ANGLE(40)):.2f})")
    mean = (np.cos(ANGLE(50)) + np.cos(ANGLE(40))) / 2
    assert second[2].startswith(f"nearer to the passages read on average ({mean:.2f})")


def test_windows_are_ordered_by_rank_or_by_reading():
    some = answers([[0]] * 3, [9, 4, 7], [[1]] * 3, [5, 80, 5])
    assert order_windows(some, "worst").tolist() == [1, 2, 0]
    assert order_windows(some, "best").tolist() == [2, 0, 1]
    assert order_windows(some, "reading").tolist() == [1, 2, 0]


def difference_of(world, *options: str) -> Difference:
    runs = [Run(name, world.runs / name) for name in ("first", "second")]
    return Difference(tuple(runs), tuple(run.answers(option) for run, option in zip(runs, options, strict=True)))


def test_differences_agree_with_a_naive_count(world):
    found = difference_of(world, "bm25", "copy-last")
    first, second = (one.ranks.tolist() for one in found.answers)
    pairs = list(zip(first, second, strict=True))
    summary = found.summary
    assert summary["counts"] == {
        "only-first": sum(a <= 5 < b for a, b in pairs),
        "only-second": sum(b <= 5 < a for a, b in pairs),
        "both": sum(a <= 5 and b <= 5 for a, b in pairs),
        "neither": sum(a > 5 and b > 5 for a, b in pairs),
    }
    gain = sum((b <= 5) - (a <= 5) for a, b in pairs) / len(pairs)
    assert summary["differences"]["R@5"]["value"] == pytest.approx(gain)
    assert summary["differences"]["MRR"]["value"] == pytest.approx(sum(1 / b - 1 / a for a, b in pairs) / len(pairs))
    changes = [abs(1 / row["ranks"][0] - 1 / row["ranks"][1]) for row in found.windows("all", 0, 1000)]
    assert changes == sorted(changes, reverse=True)
    assert len(changes) == summary["windows"] == len(pairs)


def test_a_blocked_run_and_other_candidates_give_no_difference(copied):
    change_record(copied / "first", blocked=["SG101"])
    runs = [Run(name, copied / name) for name in ("first", "second")]
    both = [run.answers("bm25") for run in runs]
    blocked = Difference(tuple(runs), tuple(both)).summary
    assert (blocked["refused"], blocked["differences"]) == (True, None)
    assert runs[0].bank.num_rows.tolist() == [LENGTH] * DOCUMENTS
    smaller = EntryAnswers(
        **{name: getattr(both[0], name) for name in EntryAnswers.__dataclass_fields__} | {"pool_size": 9}
    )
    other = Difference((runs[1], runs[1]), (smaller, both[1])).summary
    assert (other["comparable"], other["differences"], other["pools"][0]) == (False, None, 9)


def client_of(folder) -> TestClient:
    app = FastAPI()
    app.include_router(runs_routes(None if folder is None else str(folder)))
    add_error_handlers(app)
    return TestClient(app)


def test_windows_are_paged_and_filtered_by_kind(world):
    client, row = client_of(world.runs), {"run": "first", "option": "copy-last"}
    whole = client.get("/runs/windows", params={**row, "limit": 100}).json()
    pages = [client.get("/runs/windows", params={**row, "offset": offset, "limit": 7}).json()["windows"]
             for offset in range(0, whole["total"], 7)]  # fmt: skip
    assert [one["id"] for page in pages for one in page] == [one["id"] for one in whole["windows"]]
    for kind, count in whole["kinds"].items():
        found = client.get("/runs/windows", params={**row, "kind": kind, "limit": 100}).json()
        assert found["total"] == count
        assert [one["id"] for one in found["windows"]] == [one["id"] for one in whole["windows"] if one["kind"] == kind]


def test_other_rows_ranks_stand_beside_a_window(world):
    run, client = RunsFolder(world.runs).run("first"), client_of(world.runs)
    words = run.answers("bm25")
    name = run.bank.passage_ids(words.targets[:1])[0]
    told = client.get("/runs/window", params={"run": "first", "option": "copy-last", "id": name}).json()
    assert told["others"]["bm25"] == words.ranks[0]
    assert "copy-last" not in told["others"]


def test_a_blocked_runs_windows_are_shown_without_any_count(copied):
    change_record(copied / "first", blocked=["SG101"])
    found = client_of(copied).get("/runs/windows", params={"run": "first", "option": "copy-last"}).json()
    assert (found["refused"], found["kinds"]) == (True, None)
    assert found["windows"]


def test_a_report_is_shown_as_it_is_and_reaches_nothing(world):
    answer = client_of(world.runs).get("/runs/report", params={"run": "first"})
    assert answer.text == (world.runs / "first" / "report.html").read_text(encoding="utf-8")
    assert "sandbox allow-scripts" in answer.headers["content-security-policy"]
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    (script,) = re.findall(r"<script>(.*?)</script>", answer.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in answer.headers["content-security-policy"]  # its script, and no other


def test_a_report_that_is_a_link_elsewhere_is_not_shown(copied, tmp_path):
    (tmp_path / "secret").write_text("secret")
    (copied / "first" / "report.html").unlink()
    (copied / "first" / "report.html").symlink_to(tmp_path / "secret")
    assert client_of(copied).get("/runs/report", params={"run": "first"}).status_code == 404


@pytest.mark.parametrize(("path", "asked", "status"), [
    ("windows", {"run": "first", "option": "bm25", "offset": -1}, 422),
    ("windows", {"run": "first", "option": "bm25", "limit": 101}, 422),
    ("windows", {"run": "first", "option": "bm25", "kind": "unheard"}, 422),
    ("windows", {"run": "first", "option": "bm25", "more": 1}, 422),
    ("windows", {"run": "first"}, 422),
    ("windows", {"run": "..", "option": "bm25"}, 404),
    ("windows", {"run": "first", "option": "oracle/../bm25"}, 404),
    ("window", {"run": "first", "option": "bm25", "id": "no#1"}, 404),
    ("report", {"run": "../../etc/passwd"}, 404),
    ("report", {"run": "first\0"}, 404),
    ("differences", {"first": "first", "first_option": "bm25", "second": "third", "second_option": "bm25"}, 404),
])  # fmt: skip
def test_bad_questions_about_runs_are_refused(world, path, asked, status):
    assert client_of(world.runs).get(f"/runs/{path}", params=asked).status_code == status


def test_a_server_without_runs_says_how_to_show_them_and_a_wrong_folder_is_refused(tmp_path):
    answer = client_of(None).get("/runs/list")
    assert answer.status_code == 404
    assert "--runs" in answer.json()["error"]["message"]
    with pytest.raises(InputError, match="no such folder of runs"):
        client_of(tmp_path / "nothing")


def test_a_wrong_folder_of_runs_is_told_before_the_bundle_is_read(tmp_path):
    with pytest.raises(InputError, match="no such folder of runs"):
        serve(tmp_path / "no-bundle", runs=str(tmp_path / "none"))
