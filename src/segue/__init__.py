"""Segue predicts which passage comes next, and says whether the prediction can be trusted.

The names below are in the order of the flow; each is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segue.data.bank import PassageBank
    from segue.data.encoders import load_encoder
    from segue.data.splits import make_splits
    from segue.data.windows import make_windows
    from segue.errors import SegueError
    from segue.evaluation.evaluate import Evaluation
    from segue.learning.models import Predictor
    from segue.recipe import Recipe, load_recipe
    from segue.release.released import load
    from segue.retrieval.retrievers import Retriever
    from segue.types import Document, Passage, Windows
    from segue.verbs.audit import audit
    from segue.verbs.bank import build as build_bank
    from segue.verbs.bench import bench
    from segue.verbs.bundle import bundle
    from segue.verbs.demo import demo
    from segue.verbs.diagnose import diagnose
    from segue.verbs.evaluate import evaluate
    from segue.verbs.index import build as index_bank
    from segue.verbs.index import tune as tune_index
    from segue.verbs.predict import predict
    from segue.verbs.replay import replay_phase1
    from segue.verbs.report import report
    from segue.verbs.serve import serve
    from segue.verbs.train import train
    from segue.verbs.triage import Comparison, triage

__version__ = "0.1.0"

_PLACES = {
    "SegueError": "segue.errors",
    "Document": "segue.types",
    "Passage": "segue.types",
    "load_encoder": "segue.data.encoders",
    "PassageBank": "segue.data.bank",
    "make_splits": "segue.data.splits",
    "Windows": "segue.types",
    "make_windows": "segue.data.windows",
    "Predictor": "segue.learning.models",
    "Retriever": "segue.retrieval.retrievers",
    "Evaluation": "segue.evaluation.evaluate",
    "load": "segue.release.released",
    "Recipe": "segue.recipe",
    "load_recipe": "segue.recipe",
    "demo": "segue.verbs.demo",
    "build_bank": "segue.verbs.bank:build",
    "audit": "segue.verbs.audit",
    "train": "segue.verbs.train",
    "evaluate": "segue.verbs.evaluate",
    "diagnose": "segue.verbs.diagnose",
    "triage": "segue.verbs.triage",
    "Comparison": "segue.verbs.triage",
    "replay_phase1": "segue.verbs.replay",
    "report": "segue.verbs.report",
    "index_bank": "segue.verbs.index:build",
    "tune_index": "segue.verbs.index:tune",
    "bundle": "segue.verbs.bundle",
    "predict": "segue.verbs.predict",
    "serve": "segue.verbs.serve",
    "bench": "segue.verbs.bench",
}

__all__ = [
    "Comparison",
    "Document",
    "Evaluation",
    "Passage",
    "PassageBank",
    "Predictor",
    "Recipe",
    "Retriever",
    "SegueError",
    "Windows",
    "audit",
    "bench",
    "build_bank",
    "bundle",
    "demo",
    "diagnose",
    "evaluate",
    "index_bank",
    "load",
    "load_encoder",
    "load_recipe",
    "make_splits",
    "make_windows",
    "predict",
    "replay_phase1",
    "report",
    "serve",
    "train",
    "triage",
    "tune_index",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is asked for, so that ``import segue`` stays quick."""
    if name not in _PLACES:
        raise AttributeError(f"module 'segue' has no attribute {name!r}")
    module, _, inner = _PLACES[name].partition(":")
    return getattr(importlib.import_module(module), inner or name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_PLACES])
