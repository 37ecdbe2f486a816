"""The examples of docs/parts/examples: ``from part_examples import EXAMPLES, example``."""

import functools
import importlib.util
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[1] / "docs" / "parts" / "examples"


@functools.cache
def example(name):
    """Import an example once, as the module ``example_NAME``."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
