import importlib.util
import json
from pathlib import Path

import pytest

from benchmarks.speed import BENCHMARKS

FOLDER = Path(__file__).parents[2] / "benchmarks"


def guard():
    spec = importlib.util.spec_from_file_location("guard", FOLDER / "guard.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("better", "now", "lost"),
    [
        ("higher", 3.0, False),
        ("higher", 2.99, True),
        ("higher", 9.0, False),
        ("lower", 5.0, False),
        ("lower", 5.01, True),
    ],
)
def test_a_loss_of_more_than_a_quarter_is_told(better, now, lost):
    found = guard().losses({"x": {"ratio": 4.0, "better": better}}, [{"name": "x", "ratio": now}])
    assert bool(found) is lost


def test_a_row_that_is_gone_is_a_loss():
    assert guard().losses({"x": {"ratio": 4.0, "better": "higher"}}, []) == ["x: not measured any more"]


def test_what_is_kept_are_measurements_that_exist():
    kept = json.loads((FOLDER / "guard.json").read_text(encoding="utf-8"))["processors"]
    assert kept
    for processor, benchmarks in kept.items():
        assert benchmarks.keys() <= guard().SCALES.keys(), processor
        assert all(benchmarks.values())
    assert guard().SCALES.keys() <= set(BENCHMARKS)


def test_a_processor_without_kept_ratios_is_not_judged_by_another(tmp_path, monkeypatch):
    module = guard()
    monkeypatch.setattr(module, "KEPT", tmp_path / "guard.json")
    monkeypatch.setattr(module, "SCALES", {"ranks": 1.0})
    monkeypatch.setattr(module, "describe_machine", lambda: {"cpu": "mine"})
    monkeypatch.setattr(module, "bench", lambda *_: {"rows": [{"name": "x", "ratio": 1.5, "better": "higher"}]})
    (tmp_path / "guard.json").write_text(
        '{"processors": {"another": {"ranks": {"x": {"ratio": 9, "better": "higher"}}}}}'
    )
    monkeypatch.setattr("sys.argv", ["guard"])
    with pytest.raises(SystemExit, match="no ratios are kept for mine, only for another"):
        module.main()
    monkeypatch.setattr("sys.argv", ["guard", "--keep"])
    module.main()
    kept = json.loads((tmp_path / "guard.json").read_text())["processors"]
    assert kept["mine"] == {"ranks": {"x": {"ratio": 1.5, "better": "higher"}}}
    assert kept["another"]["ranks"]["x"]["ratio"] == 9
    monkeypatch.setattr("sys.argv", ["guard"])
    with pytest.raises(SystemExit) as ended:
        module.main()
    assert ended.value.code == 0
    monkeypatch.setattr(module, "bench", lambda *_: {"rows": [{"name": "x", "ratio": 1.1, "better": "higher"}]})
    with pytest.raises(SystemExit) as ended:
        module.main()
    assert ended.value.code == 1
