"""Presets name options that exist, and option names of version 0.1 are still read."""

import json

import pytest

from segue import old_names
from segue.comparison.options import CORE, NOT_IN_PHASE_1, OPTIONS, choose_options
from segue.comparison.plan import load_plan
from segue.comparison.settings import TriageSettings, TuningSettings
from segue.errors import InputError, SettingsError
from segue.recipe import parse_recipe

ALWAYS = [option.name for option in OPTIONS if option.family in ("baseline", "control")]


@pytest.fixture(autouse=True)
def nothing_reported():
    old_names._report.cache_clear()


def names(chosen):
    return [option.name for option in choose_options(chosen)]


def test_core_is_the_default_and_adds_nine_options_to_the_baselines():
    assert TriageSettings().options == "core"
    assert set(names("core")) == {*ALWAYS, *CORE}
    assert len(CORE) == 9


def test_phase1_leaves_out_only_what_the_original_report_did_not_know():
    assert [name for name in names("all") if name not in names("phase1")] == [
        name for name in names("all") if name in NOT_IN_PHASE_1
    ]
    assert set(NOT_IN_PHASE_1) <= set(names("all"))


def test_all_is_every_option_once_in_reading_order():
    assert names("all") == [option.name for option in OPTIONS]
    assert len(set(names("all"))) == len(OPTIONS)


def test_named_options_come_in_reading_order_after_the_baselines():
    assert names(["rerank", "infonce"]) == [*ALWAYS, "infonce", "rerank"]


def test_an_unknown_option_is_answered_with_the_nearest():
    with pytest.raises(SettingsError, match=r"'infonse' \(nearest: 'infonce'\)"):
        choose_options(["infonse"])


def test_every_option_can_be_chosen_by_its_old_name():
    assert set(old_names.CURRENT.values()) <= {option.name for option in OPTIONS}


def test_old_names_in_a_recipe_are_read_with_one_line_each(capsys):
    tables = {
        "corpus": {"kind": "jsonl", "path": "documents.jsonl"},
        "triage": {"options": ["option-3-pure", "model-gru"]},
        "tuning": {"options": ["option-3-pure"]},
    }
    recipe = parse_recipe(tables)
    assert recipe.triage.options == ("infonce", "gru")
    assert recipe.tuning.options == ("infonce",)
    assert capsys.readouterr().err.splitlines() == [
        "segue: option 'option-3-pure' was renamed to 'infonce' in version 0.2",
        "segue: option 'model-gru' was renamed to 'gru' in version 0.2",
    ]


def test_old_names_in_a_plan_are_read_with_one_line_each(tmp_path, capsys):
    record = {"steps": {"option-3-pure": 40, "mlp": 40}, "steps_per_second": {"option-3-pure": 10.0, "mlp": 9.0},
              "score_seconds": 0.1, "budget_minutes": 1.0}  # fmt: skip
    path = tmp_path / "plan.json"
    path.write_text(json.dumps({"format": 1, **record}))
    plan = load_plan(path, options=("infonce", "mlp"))
    assert (plan.steps, plan.steps_per_second) == ({"infonce": 40, "mlp": 40}, {"infonce": 10.0, "mlp": 9.0})
    assert capsys.readouterr().err == "segue: option 'option-3-pure' was renamed to 'infonce' in version 0.2\n"


def test_a_plan_whose_steps_are_not_counts_is_refused(tmp_path):
    (tmp_path / "plan.json").write_text(json.dumps({"steps": [1], "steps_per_second": {}, "score_seconds": 0.1,
                                                    "budget_minutes": 1.0}))  # fmt: skip
    with pytest.raises(InputError, match="steps that are not counts"):
        load_plan(tmp_path / "plan.json", options=())


def test_only_trained_options_are_tuned_and_each_once():
    with pytest.raises(ValueError, match="nothing to tune"):
        TuningSettings(options=("copy-last",))
    with pytest.raises(ValueError, match="tuned once"):
        TuningSettings(options=("infonce", "infonce"))
