"""The rules of an architecture, run on predictors of any settings."""

import torch

from segue.models import build_model
from segue.models.conformance import check_save_and_load
from segue.models.rules import CONTEXT, DIMENSION, RULES, check_every_parameter_learns, check_start_is_the_anchor
from segue.models.settings import ARCHITECTURE_NAMES

OF_VECTORS = tuple(name for name in ARCHITECTURE_NAMES if name != "tokens")
"""Architectures that need no text encoder."""


def check_rules(settings):
    """Check each rule but that of the weights on a new predictor."""
    for check in (*RULES, check_start_is_the_anchor, check_every_parameter_learns, check_save_and_load):
        torch.manual_seed(1)
        check(build_model(settings, dimension=DIMENSION, context=CONTEXT))
