"""The rules of ``rules.py`` and three more, for tests of an architecture of one's own (``segue.conformance``).

A broken rule raises ``AssertionError``.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from segue.models import rules
from segue.models.build import assemble_model
from segue.models.checkpoint import load_predictor, save_predictor
from segue.models.model_card import ModelCard
from segue.models.predictor import Predictor
from segue.models.rules import (
    CONTEXT,
    DIMENSION,
    as_if_trained,
    check_every_parameter_learns,
    check_start_is_the_anchor,
    example_batch,
)
from segue.models.settings import ModelSettings
from segue.parts import hand_in

__all__ = ["RULES", "as_if_trained", "check_save_and_load", "example_batch", "subject"]


def subject(make: Callable[[int, int], nn.Module]) -> Predictor:
    """Return an untrained predictor of an architecture, in float64, so that rounding breaks no rule.

    Args:
        make: the class, or a function ``(dimension, context) -> nn.Module``.
    """
    name, _ = hand_in("model", make if isinstance(make, type) else functools.partial(make))
    torch.manual_seed(1)
    return _assemble(ModelSettings(name=name)).double()


def _assemble(settings: ModelSettings) -> Predictor:
    return assemble_model(settings, dimension=DIMENSION, context=CONTEXT)[0]


def check_weights_are_all(predictor: Predictor) -> None:
    """Check that another net with the same weights gives the same answers: nothing else has to be saved."""
    torch.manual_seed(2)
    rules.check_weights_are_all(predictor, _assemble(predictor.settings).double())


def check_save_and_load(predictor: Predictor) -> None:
    """Check that a loaded checkpoint computes the same bits."""
    context, mask = example_batch(predictor.dimension, predictor.context)
    predictor = as_if_trained(predictor.float())
    with tempfile.TemporaryDirectory() as folder:
        save_predictor(predictor, Path(folder) / "model", card=ModelCard(name="contract"))
        loaded, _ = load_predictor(Path(folder) / "model")
    texts = rules.example_texts(mask)
    assert torch.equal(loaded(context, mask, texts), predictor(context, mask, texts)), "loading changes the answers"
    passages = context[:, -1]
    same = torch.equal(loaded.encode_documents(passages), predictor.encode_documents(passages))
    assert same, "loading changes the encoded passages"


RULES: tuple[Callable[[Predictor], None], ...] = (
    *rules.RULES,
    check_weights_are_all,
    check_start_is_the_anchor,
    check_every_parameter_learns,
    check_save_and_load,
)
"""All rules of an architecture."""
