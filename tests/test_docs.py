"""The pages in docs/ keep up with the code, their links and code blocks are valid, and the site needs no network."""

import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer.main
import yaml
from doc_blocks import FENCE, blocks, commands

from segue.cli.main import VERBS, app
from segue.comparison.options import OPTIONS
from segue.evaluation.gates import REPORT_GATES
from segue.old_names import CURRENT
from segue.recipe import Recipe, parse_recipe

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
SOURCE = ROOT / "src" / "segue"
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *DOCS.rglob("*.md")])
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
NOT_FOR_READERS = (r"/tmp/", r"/home/", r"/root/", r"localhost", r"index-url")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def generator(name="generate"):
    """Import a script of docs/, which is no part of the package."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def anchors(page: Path) -> set[str]:
    """Return the anchors that a renderer makes of a page's headings."""
    heads = re.findall(r"^#+ (.+)$", FENCE.sub("", text_of(page)), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}


def test_the_recipe_page_is_what_the_settings_say():
    assert text_of(DOCS / "recipe.md") == generator().recipe_page(), "run `make docs`"


def test_the_api_page_has_the_public_names():
    assert text_of(DOCS / "api.md") == generator("generate_api").api_page(), "run `make docs`"


def test_the_recipe_page_names_every_table_and_every_key():
    page = text_of(DOCS / "recipe.md")
    for name, field in Recipe.model_fields.items():
        assert f"`[{name}]`" in page or f"| `{name}` |" in page
        for key in getattr(field.annotation, "model_fields", {}):
            assert f"| `{key}` |" in page


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_nothing_is_left_to_fill_in(page):
    assert not re.search(r"@@|TODO|FIXME", FENCE.sub("", text_of(page)))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_inside_the_project_lead_somewhere(page):
    for link in LINK.findall(FENCE.sub("", text_of(page))):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path) if path else page
        assert target.exists(), f"{page.name} links to {link}"
        assert not anchor or anchor in anchors(target), f"{page.name} links to {link}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_pages_name_no_machine_and_no_host_of_packages(page):
    for pattern in NOT_FOR_READERS:
        assert not re.search(pattern, text_of(page)), f"{page.name} contains {pattern}"


@pytest.mark.parametrize("page", ["architecture.md", "run-folder.md", "metrics.md", "performance.md"])
def test_modules_that_pages_name_exist(page):
    for name in re.findall(r"`((?:\w+/)*\w+\.py)`", text_of(DOCS / page)):
        assert list((ROOT / "src" / "segue").rglob(name)) or (ROOT / name).exists(), f"{page} names {name}"


def test_the_choosing_page_names_options_and_losses_that_exist():
    page = text_of(DOCS / "choosing.md")
    known = {option.name for option in OPTIONS} | {gate.name for gate in REPORT_GATES}
    for names in re.findall(r'`\["([^`]*)"\]`', page):
        assert set(names.split('", "')) <= known


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "toml")], ids=name_of)
def test_toml_of_pages_is_valid(page):
    for block in blocks(page, "toml"):
        tables = {"corpus": {"kind": "wikipedia-dump"}, **tomllib.loads(block)}
        assert parse_recipe(tables).model_fields_set == set(tables)


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=name_of)
def test_python_of_pages_compiles_and_uses_names_that_exist(page):
    """It is not run: it needs the reader's files. The README's is run by test_readme.py."""
    import segue

    for block in blocks(page, "python"):
        compile(block, name_of(page), "exec")
        for name in re.findall(r"\bsegue\.(\w+)\(", block):
            assert name in segue.__all__, f"{name_of(page)} uses segue.{name}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_of_pages_exist_with_their_options(page):
    for words in commands(page, "segue"):
        command, rest = typer.main.get_command(app), words[1:]
        while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
            if rest[0] in ("bench", "replay"):
                return  # the page of old names and the changelog
            assert rest[0] in command.commands, f"segue has no verb {rest[0]}"
            command, rest = command.commands[rest[0]], rest[1:]
        known = {name for parameter in command.params for name in parameter.opts} | {"--help"}
        assert {word.partition("=")[0] for word in rest if word.startswith("--")} <= known, words


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_make_targets_of_pages_exist(page):
    makefile = text_of(ROOT / "Makefile")
    for words in commands(page, "make"):
        assert re.search(rf"^{words[1]}:", makefile, flags=re.MULTILINE), words


def test_the_site_lists_every_page():
    def files(entries):
        for entry in entries:
            for value in entry.values():
                yield from files(value) if isinstance(value, list) else [value]

    listed = list(files(yaml.safe_load(text_of(ROOT / "mkdocs.yml"))["nav"]))
    assert sorted(listed) == sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))


@pytest.mark.slow
def test_the_site_is_built_and_loads_nothing_from_elsewhere(tmp_path):
    pytest.importorskip("material")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    for page in tmp_path.rglob("*.html"):
        html = page.read_text(encoding="utf-8")
        found = re.findall(r"<(?:script|img|iframe|source)\b[^>]*\bsrc=[\"']?(?:https?:)?//[^\"'> ]+", html)
        found += re.findall(
            r"<link\b(?=[^>]*rel=[\"']?(?:stylesheet|preconnect|icon|preload))[^>]*href=[\"']?(?:https?:)?//[^>]+", html
        )
        assert not found, f"{page.name} loads {found}"


def tree_of_rooms() -> list[str]:
    """Return the folders and modules of src/segue that the tree of architecture.md names, in its order."""
    block = next(block for block in blocks(DOCS / "architecture.md", "") if block.startswith("src/segue/"))
    return [
        match[1]
        for match in re.finditer(r"^  (\w+(?:\.py|/))", block.partition("\nbenchmarks/")[0], flags=re.MULTILINE)
    ]


def test_the_tree_names_every_room_and_nothing_else():
    rooms = {path.name + "/" for path in SOURCE.iterdir() if (path / "__init__.py").exists() or path.name == "runs"}
    modules = {path.name for path in SOURCE.glob("*.py") if not path.stem.startswith("__")}
    assert sorted(tree_of_rooms()) == sorted(rooms | modules)


def test_the_tree_is_in_the_order_of_the_layers():
    """import-linter lists the last room first."""
    project = tomllib.loads(text_of(ROOT / "pyproject.toml"))
    layers = project["tool"]["importlinter"]["contracts"][0]["layers"]
    place = {name.strip(): number for number, layer in enumerate(reversed(layers)) for name in layer.split(":")}
    numbers = [place[name.removesuffix(".py").rstrip("/")] for name in tree_of_rooms()]
    assert numbers == sorted(numbers)


def test_the_table_of_old_names_has_all_of_them():
    page = text_of(DOCS / "run-folder.md").partition("## Names of version 0.1")[2]
    for old in CURRENT:
        if not re.search(r"-0\.(10|15)$", old):
            assert f"`{old}`" in page


def test_the_help_lists_the_verbs_in_the_order_of_the_flow():
    assert typer.main.get_command(app).list_commands(None) == list(VERBS)


def test_the_run_folder_page_names_every_table_that_shapes_results():
    from segue.workflows.prepare import RESULT_TABLES

    row = next(line for line in text_of(DOCS / "run-folder.md").splitlines() if line.startswith("| `recipe.json`"))
    assert set(RESULT_TABLES) <= set(re.findall(r"`(\w+)`", row))


def test_the_run_folder_page_names_the_files_that_the_code_names():
    from segue.bank.manifest import BUILD, DOCUMENTS, MANIFEST, TOMBSTONES
    from segue.models import checkpoint
    from segue.training.state import LOSS_FILE, METRICS_FILE, STATE_FILE

    page = text_of(DOCS / "run-folder.md")
    of_checkpoint = (checkpoint.WEIGHTS, checkpoint.CONFIG, checkpoint.DOCUMENTS, checkpoint.GOLDEN, checkpoint.CARD)
    for name in (STATE_FILE, METRICS_FILE, LOSS_FILE):
        assert f"`training/{name}`" in page
    for name in of_checkpoint:
        assert f"`checkpoint/{name}`" in page
    for name in (BUILD, DOCUMENTS, MANIFEST, TOMBSTONES):
        assert f"`{name}`" in page
