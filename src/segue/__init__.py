"""Segue predicts which passage comes next, and reports whether the prediction can be trusted.

The names below are in the order of the flow; each is imported when it is first used.
"""

# ruff: noqa: F401

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from segue.version import __version__ as __version__

if TYPE_CHECKING:
    from segue.bank.bank import PassageBank
    from segue.bundles.released_retriever import load
    from segue.encoders import load_encoder
    from segue.errors import SegueError
    from segue.evaluation.evaluate import Evaluation
    from segue.evaluation.score import score
    from segue.models import Predictor
    from segue.recipe import Recipe, load_recipe
    from segue.retrieval.retrievers import Retriever
    from segue.types import Document, Passage, Windows
    from segue.windows.splits import make_splits
    from segue.windows.windows import make_windows
    from segue.workflows.audit import audit
    from segue.workflows.bank import add as add_to_bank
    from segue.workflows.bank import build as build_bank
    from segue.workflows.bank import convert as convert_bank
    from segue.workflows.bank import remove as remove_from_bank
    from segue.workflows.bank import update as update_bank
    from segue.workflows.bundle import bundle
    from segue.workflows.compare import compare
    from segue.workflows.demo import demo
    from segue.workflows.diagnose import diagnose
    from segue.workflows.evaluate import evaluate
    from segue.workflows.index import build as index_bank
    from segue.workflows.index import tune as tune_index
    from segue.workflows.index import update as update_index
    from segue.workflows.own_training import experiment, record_training
    from segue.workflows.predict import predict
    from segue.workflows.report import report
    from segue.workflows.serve import serve
    from segue.workflows.train import train
    from segue.workflows.triage import Comparison, triage

_PLACES = {
    "SegueError": "segue.errors",
    "Document": "segue.types",
    "Passage": "segue.types",
    "load_encoder": "segue.encoders",
    "PassageBank": "segue.bank.bank",
    "make_splits": "segue.windows.splits",
    "Windows": "segue.types",
    "make_windows": "segue.windows.windows",
    "Predictor": "segue.models",
    "Retriever": "segue.retrieval.retrievers",
    "Evaluation": "segue.evaluation.evaluate",
    "load": "segue.bundles.released_retriever",
    "Recipe": "segue.recipe",
    "load_recipe": "segue.recipe",
    "demo": "segue.workflows.demo",
    "build_bank": "segue.workflows.bank:build",
    "add_to_bank": "segue.workflows.bank:add",
    "convert_bank": "segue.workflows.bank:convert",
    "remove_from_bank": "segue.workflows.bank:remove",
    "update_bank": "segue.workflows.bank:update",
    "audit": "segue.workflows.audit",
    "train": "segue.workflows.train",
    "experiment": "segue.workflows.own_training",
    "score": "segue.evaluation.score",
    "record_training": "segue.workflows.own_training",
    "evaluate": "segue.workflows.evaluate",
    "diagnose": "segue.workflows.diagnose",
    "triage": "segue.workflows.triage",
    "compare": "segue.workflows.compare",
    "Comparison": "segue.workflows.triage",
    "report": "segue.workflows.report",
    "index_bank": "segue.workflows.index:build",
    "tune_index": "segue.workflows.index:tune",
    "update_index": "segue.workflows.index:update",
    "bundle": "segue.workflows.bundle",
    "predict": "segue.workflows.predict",
    "serve": "segue.workflows.serve",
}

__all__ = list(_PLACES)


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that ``import segue`` is fast."""
    if name not in _PLACES:
        raise AttributeError(f"module 'segue' has no attribute {name!r}")
    module, _, inner = _PLACES[name].partition(":")
    return getattr(importlib.import_module(module), inner or name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_PLACES])
