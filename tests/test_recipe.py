"""A recipe's problems are all told at once, each with the nearest fix."""

import importlib
import sys
from pathlib import Path

import pytest

from segue.errors import SettingsError
from segue.recipe import Recipe, load_recipe, parse_recipe

FOLDER = {"kind": "folder", "path": "my-docs"}


def test_everything_but_the_corpus_has_a_default():
    recipe = parse_recipe({"corpus": FOLDER})
    assert recipe.windows.context == 5
    assert recipe.split.test == 0.1
    assert recipe.model.name == "gru"
    assert recipe.triage.options == "core"


def test_all_problems_are_told_at_once():
    tables = {
        "corpus": {**FOLDER, "globb": "*"},
        "windows": {"context": 0},
        "splitt": {},
        "model": {"name": "grru"},
        "training": {"batch_size": 1, "learning_rat": 0.1},
    }
    with pytest.raises(SettingsError) as caught:
        parse_recipe(tables, where="mine.toml")
    text = str(caught.value)
    assert "mine.toml has 6 problems" in text
    assert "did you mean 'glob'?" in text
    assert "[windows] context" in text
    assert "did you mean 'split'?" in text
    assert "'gru'" in text
    assert "[training] batch_size" in text
    assert "did you mean 'learning_rate'?" in text


def test_an_unknown_corpus_kind_names_the_known_ones():
    with pytest.raises(SettingsError, match=r"wikipedia-dump.*folder"):
        parse_recipe({"corpus": {"kind": "wikipedia"}})


@pytest.mark.parametrize(
    ("content", "problem"),
    [("corpus = [", "is not TOML"), ("", r"\[?corpus\]?: required"), ("a = 1\na = 2", "is not TOML")],
)
def test_a_broken_file_is_one_clear_error(tmp_path, content, problem):
    path = tmp_path / "recipe.toml"
    path.write_text(content)
    with pytest.raises(SettingsError, match=problem):
        load_recipe(path)


def test_a_missing_file_is_one_clear_error(tmp_path):
    with pytest.raises(SettingsError, match="does not exist"):
        load_recipe(tmp_path / "nowhere.toml")


def test_overrides_replace_single_keys():
    path = Path(__file__).parents[1] / "src" / "segue" / "demo.toml"
    recipe = load_recipe(path, overrides={"triage": {"budget_minutes": 1}})
    assert recipe.triage.budget_minutes == 1
    assert recipe.split.folds == load_recipe(path).split.folds


def test_a_recipe_survives_json():
    recipe = parse_recipe({"corpus": FOLDER, "gates": "report"})
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe


@pytest.mark.parametrize("path", sorted((Path(__file__).parents[1] / "recipes").glob("*.toml")), ids=lambda p: p.name)
def test_every_recipe_of_the_project_is_valid(path):
    assert load_recipe(path).corpus is not None


def test_unknown_options_are_told_with_the_other_problems():
    tables = {"corpus": {"kind": "folder", "path": "x"}, "triage": {"options": ["ar-onyl"]}, "modle": {}}
    with pytest.raises(
        SettingsError, match=r"(?s)2 problems.*\[triage\] options: .*'ar-onyl' \(nearest: 'ar-cosine'\)"
    ):
        parse_recipe(tables)


def test_a_byte_order_mark_is_no_problem(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text('[corpus]\nkind = "folder"\npath = "x"\n', encoding="utf-8-sig")
    assert load_recipe(path).corpus.kind == "folder"


def test_a_module_of_the_name_of_an_imported_one_is_refused(tmp_path, monkeypatch):
    """A process has one module of a name: the second recipe would be given the class of the first."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine_in_two_places.py").write_text("class Net: ...")
        recipe = '[corpus]\nkind = "folder"\npath = "docs"\n[model]\nname = "mine_in_two_places:Net"\n'
        (tmp_path / folder / "recipe.toml").write_text(recipe)
    load_recipe(tmp_path / "first" / "recipe.toml")
    monkeypatch.setitem(sys.modules, "mine_in_two_places", importlib.import_module("mine_in_two_places"))
    load_recipe(tmp_path / "first" / "recipe.toml")
    with pytest.raises(SettingsError, match=r"not the one that Python imports: got .*first.*, expected .*second"):
        load_recipe(tmp_path / "second" / "recipe.toml")
