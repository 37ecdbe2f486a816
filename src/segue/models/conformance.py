"""A check of your own architecture, for your tests.

    from segue.models import ModelSettings, build_model
    from segue.models.conformance import check_predictor

    def test_my_model():
        settings = ModelSettings(name="mypackage.module:MyNet")
        check_predictor(lambda dimension, context: build_model(settings, dimension=dimension, context=context))

The rules are functions of ``rules.py``. A broken rule raises ``AssertionError``.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

from segue.errors import InputError
from segue.models.checkpoint import load_predictor, save_predictor
from segue.models.model_card import ModelCard
from segue.models.predictor import Predictor
from segue.models.rules import (
    CONTEXT,
    DIMENSION,
    RULES,
    as_if_trained,
    check_every_parameter_learns,
    check_start_is_the_anchor,
    example_batch,
)

__all__ = ["as_if_trained", "check_predictor", "check_save_and_load", "example_batch"]

Build = Callable[[int, int], Predictor]
"""Returns an untrained predictor; called as ``build(dimension, context)``."""


def check_predictor(build: Build) -> None:
    """Check every rule on predictors from ``build``.

    Raises:
        AssertionError: a rule is broken; the message names it.
    """
    for check in (*RULES, check_start_is_the_anchor, check_every_parameter_learns, check_save_and_load):
        torch.manual_seed(1)
        try:
            predictor = build(DIMENSION, CONTEXT)
        except InputError as error:  # building checks the rules too
            raise AssertionError(str(error)) from error
        check(predictor)


def check_save_and_load(predictor: Predictor) -> None:
    """Check that a loaded checkpoint computes the same bits."""
    context, mask = example_batch(predictor.dimension, predictor.context)
    predictor = as_if_trained(predictor)
    with tempfile.TemporaryDirectory() as folder:
        save_predictor(predictor, Path(folder) / "model", card=ModelCard(name="contract"))
        loaded, _ = load_predictor(Path(folder) / "model")
    assert torch.equal(loaded(context, mask), predictor(context, mask)), "loading changes the answers"
    passages = context[:, -1]
    same = torch.equal(loaded.encode_documents(passages), predictor.encode_documents(passages))
    assert same, "loading changes the encoded passages"
