"""The pages in docs/ keep up with the code, and point at what is there."""

import importlib.util
import re
from pathlib import Path

import pytest

from segue.comparison.options import OPTIONS
from segue.evaluation.gates import REPORT_GATES
from segue.recipe import Recipe, parse_recipe

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *DOCS.glob("*.md")])
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```$", flags=re.MULTILINE | re.DOTALL)
NOT_FOR_READERS = (r"/tmp/", r"/home/", r"/root/", r"localhost", r"index-url")


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


def test_the_recipe_page_names_every_table_and_every_key():
    page = text_of(DOCS / "recipe.md")
    for name, field in Recipe.model_fields.items():
        assert f"`[{name}]`" in page or f"| `{name}` |" in page
        for key in getattr(field.annotation, "model_fields", {}):
            assert f"| `{key}` |" in page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_nothing_is_left_to_fill_in(page):
    assert not re.search(r"@@|TODO|FIXME", FENCE.sub("", text_of(page)))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_inside_the_project_lead_somewhere(page):
    for link in LINK.findall(FENCE.sub("", text_of(page))):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path) if path else page
        assert target.exists(), f"{page.name} links to {link}"
        assert not anchor or anchor in anchors(target), f"{page.name} links to {link}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_name_no_machine_and_no_host_of_packages(page):
    for pattern in NOT_FOR_READERS:
        assert not re.search(pattern, text_of(page)), f"{page.name} contains {pattern}"


@pytest.mark.parametrize("page", ["architecture.md", "run-folder.md", "metrics.md"])
def test_modules_that_pages_name_exist(page):
    for name in re.findall(r"`((?:\w+/)*\w+\.py)`", text_of(DOCS / page)):
        assert list((ROOT / "src" / "segue").rglob(name)) or (ROOT / name).exists(), f"{page} names {name}"


def test_the_choosing_page_names_options_and_losses_that_exist():
    page = text_of(DOCS / "choosing.md")
    known = {option.name for option in OPTIONS} | {gate.name for gate in REPORT_GATES}
    for names in re.findall(r'`\["([^`]*)"\]`', page):
        assert set(names.split('", "')) <= known


@pytest.mark.parametrize("block", re.findall(r"^```toml\n(.*?)^```$", text_of(DOCS / "choosing.md"), re.M | re.S))
def test_toml_of_the_choosing_page_is_valid(block):
    import tomllib

    parse_recipe({"corpus": {"kind": "wikipedia-dump"}, **tomllib.loads(block)})


def test_the_run_folder_page_names_every_table_that_shapes_results():
    from segue.workflows.prepare import SHAPING

    row = next(line for line in text_of(DOCS / "run-folder.md").splitlines() if line.startswith("| `recipe.json`"))
    assert set(SHAPING) <= set(re.findall(r"`(\w+)`", row))


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
