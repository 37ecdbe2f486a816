"""Public names, what importing loads, and the order of the verbs; `make lint` checks the order of the rooms."""

import ast
import subprocess
import sys
from pathlib import Path

import segue
from segue.cli.main import VERBS

SOURCE = Path(segue.__file__).parent
MODULES = sorted(path.relative_to(SOURCE) for path in SOURCE.rglob("*.py"))


def test_every_public_name_can_be_imported():
    for name in segue.__all__:
        assert getattr(segue, name) is not None
    assert set(segue.__all__) == set(segue._PLACES)


def test_importing_segue_loads_nothing_heavy():
    code = "import segue, sys; print([m for m in ('torch', 'faiss', 'numpy', 'transformers') if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_the_command_line_and_the_package_list_the_verbs_in_one_order():
    public = [name.removesuffix("_bank").replace("build", "bank") for name in segue._PLACES]
    places = [public.index(verb) for verb in VERBS]
    assert places == sorted(places)


def test_every_module_says_what_it_is():
    for module in MODULES:
        assert ast.get_docstring(ast.parse((SOURCE / module).read_text(encoding="utf-8"))), f"{module} has no docstring"
