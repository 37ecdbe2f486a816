"""Curves and tables in TensorBoard, Weights & Biases and MLflow, read back by each tool's own reader."""

from __future__ import annotations

import ast
import json
import logging
import signal
import struct
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import worlds
from doc_blocks import blocks
from processes import environment

import segue
from recipes import write_import
from segue.errors import MissingExtraError
from segue.training import watch

TOOLS = ("tensorboard", "wandb", "mlflow")
OPTIONS = ("infonce", "ar-cosine")
pytestmark = pytest.mark.usefixtures("quick_comparisons")


@pytest.fixture(autouse=True)
def _nothing_failed_before(monkeypatch):
    monkeypatch.setattr(watch, "_left_out", set())


def write(folder: Path, report_to=TOOLS, **tables) -> Path:
    bank = worlds.drift_world(seed=2, documents=20, length=10, dimension=8)
    columns = {"document_id": [bank.document_ids[number] for number in bank.document_of], "position": bank.position}
    training = {"batch_size": 32, "steps": 6, "evaluations": 2, "report_to": list(report_to)}
    return write_import(folder, bank.vectors, columns, training=training, **tables)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A comparison that reports to all three tools."""
    folder = tmp_path_factory.mktemp("watched")
    recipe = write(folder, triage={"options": list(OPTIONS), "budget_minutes": 3},
                   evaluation={"resamples": 100, "latency_queries": 0, "run_depth": 10})  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(watch, "_left_out", set())
        return segue.triage(recipe, folder / "runs" / "first")


def curve_of(run: Path, option: str) -> list[dict]:
    text = (run / "options" / option / "fold-0" / "training" / "metrics.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def points(curve: list[dict]) -> dict[str, list[tuple[int, float]]]:
    """Return (step, value) of each number of a curve, named as in the tools."""
    found: dict[str, list[tuple[int, float]]] = {}
    for record in curve:
        for name, value in record.items():
            if name != "step" and value is not None:
                training = name.startswith("loss") or name in ("learning_rate", "grad_norm", "temperature", "seconds")
                found.setdefault(f"{'train' if training else 'validation'}/{name}", []).append((record["step"], value))
    return found


def read_tensorboard(run: Path, name: str):
    """Return the points and the texts of a training."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run / "tensorboard" / name))
    events.Reload()
    numbers = {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    texts = {tag: events.Tensors(tag)[0].tensor_proto.string_val[0].decode() for tag in events.Tags()["tensors"]}
    return numbers, texts


def read_wandb(run: Path, name: str):
    """Return the points and the tables of the one offline file of a training: LevelDB's log of W&B's messages."""
    from wandb.proto.wandb_internal_pb2 import Record

    for folder in (run / "wandb").glob("offline-run-*"):
        data, messages, part = next(folder.glob("*.wandb")).read_bytes(), [], b""
        place = 7  # after the header
        while place + 7 <= len(data):
            if 32768 - place % 32768 < 7:  # a block's end that holds no header
                place += 32768 - place % 32768
                continue
            length, kind = struct.unpack("<HB", data[place + 4 : place + 7])
            part += data[place + 7 : place + 7 + length]
            place += 7 + length
            if kind in (1, 4):  # a whole message, or its last part
                messages.append(Record.FromString(part))
                part = b""
        about = [message.run for message in messages if message.WhichOneof("record_type") == "run"]
        if about[0].display_name != name:
            continue
        numbers: dict[str, list[tuple[int, float]]] = {}
        for message in messages:
            items = {item.key or "/".join(item.nested_key): json.loads(item.value_json)
                     for item in message.history.item}  # fmt: skip
            for key, value in items.items():
                if isinstance(value, int | float) and not key.startswith("_"):
                    numbers.setdefault(key, []).append((message.history.step.num, value))
        tables = [json.loads(path.read_text()) for path in folder.rglob("*.table.json")]
        return numbers, tables
    raise AssertionError(f"no file of {name}")


def read_mlflow(run: Path, name: str):
    """Return the points and the table of the one run of this name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mlflow import MlflowClient

        client = MlflowClient(f"sqlite:///{(run / 'mlflow.db').absolute()}")
        experiment = client.get_experiment_by_name("segue").experiment_id
        (found,) = [one for one in client.search_runs([experiment]) if one.info.run_name == name]
        numbers = {key: [(point.step, point.value) for point in client.get_metric_history(found.info.run_id, key)]
                   for key in found.data.metrics}  # fmt: skip
    table = run / "mlflow" / found.info.run_id / "artifacts" / "comparison.json"
    return numbers, json.loads(table.read_text()) if table.exists() else found.info.status


READERS = {"tensorboard": read_tensorboard, "wandb": read_wandb, "mlflow": read_mlflow}


def assert_same(found, expected, *, tool):
    if tool == "mlflow":
        expected = {name.replace("@", "_at_").replace("%", "_"): values for name, values in expected.items()}
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert sorted(found[name]) == [(step, pytest.approx(value, rel=1e-6)) for step, value in values], name


@pytest.mark.parametrize("tool", TOOLS)
def test_a_tool_holds_the_curve_of_every_training(run, tool):
    for option in OPTIONS:
        curve = curve_of(run.path, option)
        assert [record["step"] for record in curve] == [0, 3, 6]
        assert_same(READERS[tool](run.path, f"{option}/fold-0")[0], points(curve), tool=tool)


@pytest.mark.parametrize("tool", TOOLS)
def test_a_tool_holds_the_table_of_the_comparison(run, tool):
    numbers, table = READERS[tool](run.path, "comparison")
    frame = run.to_pandas()
    expected = {f"{metric}/{row['name']}": [(0, row[metric])] for _, row in frame.iterrows()
                for metric in ("R@5", "R@5 low", "MRR") if row[metric] == row[metric]}  # fmt: skip
    assert_same({name: values for name, values in numbers.items() if name.replace("_at_", "@") in expected}, expected,
                tool=tool)  # fmt: skip
    if tool == "tensorboard":
        lines = table["comparison/text_summary"].splitlines()
        rows = [line.strip("| ").split(" | ")[0] for line in lines[2:]]
    else:
        table = table[0] if tool == "wandb" else table
        assert table["columns"][:3] == ["name", "status", "intent"]
        rows = [row[0] for row in table["data"]]
    assert rows == frame["name"].tolist()


def test_a_run_goes_on_with_other_tools(run):
    """The curves are no part of the results, so the folder stays that of the same recipe."""
    recipe = segue.load_recipe(run.path.parents[1] / "recipe.toml", overrides={"training": {"report_to": []}})
    before = (run.path / "report_to.json").read_bytes()
    segue.train(recipe, run.path)
    assert (run.path / "report_to.json").read_bytes() == before


@pytest.mark.filterwarnings("ignore")  # of MLflow and its packages
def test_the_example_of_the_page_reads_the_curves_back(run, monkeypatch, capsys):
    (block,) = blocks(Path(__file__).parents[2] / "docs" / "howto" / "watch-training.md", "python")
    monkeypatch.chdir(run.path.parents[1])
    exec(block, {})
    events, *runs = capsys.readouterr().out.splitlines()
    curve = [(record["step"], pytest.approx(record["MRR"])) for record in curve_of(run.path, "infonce")]
    assert ast.literal_eval(events) == curve
    assert sorted(line.rpartition(" ")[0] for line in runs) == ["ar-cosine/fold-0", "comparison", "infonce/fold-0"]


CURVE = [{"step": step, "seconds": float(step), "loss": 1.0 / (1 + step), "MRR": 0.1 * step, "hit %": step / 8,
          "R@5": None}
         for step in range(6)]  # fmt: skip
CHILD = """
import json, os, signal, sys
from pathlib import Path
from segue.training.watch import watching
folder, curve, tools = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3])
with watching(tools, Path(folder), "a/fold-0", {"seed": 1}) as follow:
    for count in range(1, 5):
        follow(curve[:count])
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_trainings_side_by_side_of_which_one_is_killed_and_resumed_have_no_point_twice(tmp_path):
    watch.begin_watching(TOOLS, tmp_path)
    given = [str(tmp_path), json.dumps(CURVE), json.dumps(TOOLS)]
    where = environment()
    where.pop("WANDB_SERVICE", None)  # of this process, which would outlive the child
    child = subprocess.Popen([sys.executable, "-W", "ignore", "-c", CHILD, *given], env=where, cwd=tmp_path)
    with watch.watching(TOOLS, tmp_path, "b/fold-0", {"seed": 1}) as follow:
        follow(CURVE)
    assert child.wait() == -signal.SIGKILL
    with watch.watching(TOOLS, tmp_path, "a/fold-0", {"seed": 1}) as follow:
        follow(CURVE[:3])  # the state was written before the last point
        follow(CURVE)
    for tool in TOOLS:
        for name in ("a/fold-0", "b/fold-0"):
            assert_same(READERS[tool](tmp_path, name)[0], points(CURVE), tool=tool)
    assert read_mlflow(tmp_path, "a/fold-0")[1] == "FINISHED"


def test_a_run_of_mlflow_whose_settings_cannot_be_written_has_failed(tmp_path):
    watch.begin_watching(["mlflow"], tmp_path)
    with watch.watching(["mlflow"], tmp_path, "a/fold-0", {"no name {": 1}):
        pass
    assert read_mlflow(tmp_path, "a/fold-0") == ({}, "FAILED")


CLOSED: list[bool] = []


class Broken:
    def __init__(self, folder, name, facts):
        pass

    def point(self, step, values):
        raise OSError("no route to host\nmore of it")

    def table(self, columns, rows):
        raise AssertionError("left out")

    def close(self, finished):
        CLOSED.append(finished)


def test_a_tool_that_fails_is_reported_once_and_ends_nothing(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(watch, "_LOGGERS", {"tensorboard": Broken})
    with caplog.at_level(logging.WARNING, logger="segue.training"):
        found = segue.train(write(tmp_path, ["tensorboard"]), tmp_path / "run")
    assert found["steps"] == 6
    assert [record.message for record in caplog.records] == [
        "tensorboard is left out of this run: OSError: no route to host"
    ]


def test_a_tool_that_failed_is_closed_and_used_again_by_the_next_run(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(watch, "_LOGGERS", {"tensorboard": Broken})
    CLOSED.clear()
    with caplog.at_level(logging.WARNING, logger="segue.training"):
        for folder in (tmp_path / "a", tmp_path / "b", tmp_path / "a"):  # the third goes on in the folder of the first
            folder.mkdir(exist_ok=True)
            watch.begin_watching(["tensorboard"], folder)
            with watch.watching(["tensorboard"], folder, "x/fold-0", {}) as follow:
                follow(CURVE)
            watch.watch_table(["tensorboard"], folder, [{"name": "x", "MRR": 0.5}], {})
    assert len(caplog.records) == 3
    assert CLOSED == [False] * 3


@pytest.mark.parametrize("verb", [segue.train, segue.triage])
@pytest.mark.parametrize("tool", TOOLS)
def test_a_missing_package_is_reported_before_anything_is_trained(tmp_path, monkeypatch, verb, tool):
    monkeypatch.setattr(watch, "PACKAGES", {tool: ("no_such_package",)})
    with pytest.raises(MissingExtraError, match=rf"needs no_such_package.*pip install 'segue\[{tool}\]'"):
        verb(write(tmp_path, [tool]), tmp_path / "run")
    assert not (tmp_path / "bank").exists()
    assert not (tmp_path / "run").exists()
