"""Shared by all tests: shapes in annotations are checked, threads stay few, nothing reaches a network."""

import os
from pathlib import Path

import pytest
from type_checks import shapes_checked

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("LOKY_MAX_CPU_COUNT", "1")  # comparisons start no processes unless a test asks for them
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

from jaxtyping import install_import_hook

hook = install_import_hook("segue", "type_checks.check")

TESTS = Path(__file__).parent
CHECKED = {"bank", "checks", "corpus", "encoders", "evaluation", "models", "ranking", "retrieval", "text_models",
           "training", "windows"}  # fmt: skip
"""Folders whose tests check the shapes and types of every call.

The other folders run whole comparisons, which call the same functions thousands of times: checking would double their
time. Of these, the run below is checked, and the healthy case of the fault matrix.
"""


FIRST = ("faults", "test_healthy_demo.py", "test_readme.py", "test_numbers_stay.py", "serving", "runs", "bundles")
"""What takes longest, and what shares a session's fixtures: begun first, one after the other, so that a run of several
processes makes these fixtures in one of them, and ends with short tests.
"""


def pytest_collection_modifyitems(items):
    def place(item):
        name = item.path.relative_to(TESTS).parts[0] if item.path.is_relative_to(TESTS) else ""
        return FIRST.index(name) if name in FIRST else len(FIRST)

    items.sort(key=place)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    with shapes_checked(not CHECKED.isdisjoint(Path(item.location[0]).parts)):
        return (yield)


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """A finished run with a trained row, a tower, and rows that rerank."""
    from bundle_world import make_run

    names = ("mlp", "two-tower", "copy-last-rerank", "bm25-by-model", "fusion")
    with shapes_checked():
        return make_run(tmp_path_factory.mktemp("run"), names=names)


@pytest.fixture(scope="session")
def bundle(run, tmp_path_factory):
    """The bundle of a row that reranks; read only."""
    return run.bundle("copy-last-rerank", tmp_path_factory.mktemp("bundles") / "reranked")


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """A folder of runs and a bundle, for tests of the pages; what they write is a look in a log."""
    from page_world import make_world

    return make_world(tmp_path_factory.mktemp("pages"))


@pytest.fixture(scope="module")
def quick_comparisons():
    """Leave out what comparisons spend most time on where the world is tiny: drawing (see tests/reports), and timing.

    For folders whose tests run many comparisons and look at none of the plots.
    """
    from segue.comparison import calibration
    from segue.reports.document import Figure

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "svg", '<svg viewBox="0 0 1 1"></svg>')
        patch.setattr(calibration, "CALIBRATION_SHARE", 0.001)
        yield
