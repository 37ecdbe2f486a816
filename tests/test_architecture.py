"""The shape of the package: imports point upstream, and the flow reads the same wherever it is listed."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import segue
from segue.cli.main import VERBS

SOURCE = Path(segue.__file__).parent
FLOORS = [
    ["errors", "settings", "types", "run_folder", "hardware"],
    ["data"],
    ["learning"],
    ["retrieval"],
    ["evaluation"],
    ["release"],
    ["recipe"],
    ["benchmarks"],
    ["verbs"],
    ["console", "cli_output", "cli_release", "cli", "__main__", "__init__"],
]
MODULES = sorted(path.relative_to(SOURCE) for path in SOURCE.rglob("*.py"))


def floor_of(module: str) -> int:
    """Return the floor of ``data.bank`` or ``errors``."""
    head = module.split(".")[0]
    return next(number for number, rooms in enumerate(FLOORS) if head in rooms)


def imports_of(path: Path) -> list[str]:
    """Return the segue modules that a file imports, with `segue.` cut off; what only a type checker sees counts too."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("segue"):
            found += [node.module] if node.module != "segue" else [f"segue.{name.name}" for name in node.names]
        elif isinstance(node, ast.Import):
            found += [name.name for name in node.names if name.name.startswith("segue")]
    return [name.removeprefix("segue").removeprefix(".") for name in found]


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_a_floor_imports_only_floors_above_it(module):
    if module == Path("__init__.py"):
        pytest.skip("public names come from everywhere")
    own = floor_of(module.with_suffix("").parts[0])
    for imported in imports_of(SOURCE / module):
        if imported in ("", "__version__"):
            continue
        assert floor_of(imported) <= own, f"{module} imports segue.{imported} from a floor below"


def test_every_public_name_can_be_imported():
    for name in segue.__all__:
        assert getattr(segue, name) is not None
    assert set(segue.__all__) == set(segue._PLACES)


def test_importing_segue_loads_nothing_heavy():
    code = "import segue, sys; print([m for m in ('torch', 'faiss', 'numpy', 'transformers') if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_the_command_line_and_the_package_list_the_verbs_in_one_order():
    public = [name.removesuffix("_bank").removesuffix("_phase1").replace("build", "bank") for name in segue._PLACES]
    places = [public.index(verb) for verb in VERBS]
    assert places == sorted(places)


def test_every_module_says_what_it_is():
    for module in MODULES:
        assert ast.get_docstring(ast.parse((SOURCE / module).read_text(encoding="utf-8"))), f"{module} has no docstring"
