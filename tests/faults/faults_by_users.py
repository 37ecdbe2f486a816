"""Faults that enter as those of users do: through a recipe, a corpus, an encoder or a model class."""

from __future__ import annotations

import time

import numpy as np
import torch
from fault import Fault
from faults_training import _bank
from healthy import Healthy, run_healthy
from story import story_texts
from torch import nn

from segue.evaluation.gates import Condition, GateSettings
from segue.models import ModelSettings
from segue.windows.splits import SplitSettings

OPTION = "infonce"
PAUSE = 0.004
"""Seconds that a slow model sleeps."""


def again(folder, *, texts=None, model=None, trained=(OPTION,), **tables) -> Healthy:
    """Run the healthy experiment again with one trained option, on other texts, another model class or settings."""
    if model is not None:
        tables["model"] = ModelSettings(name=f"{__name__}:{model.__name__}", anchor=False)
    bank = None if texts is None else _bank(texts)
    return run_healthy(folder / "run", bank=bank, trained=trained, **tables)


def with_model(model, **how):
    return lambda healthy, folder: again(folder, model=model, **how).case


def with_split(**shares):
    return lambda healthy, folder: again(folder, trained=("mlp",), split=SplitSettings(seed=1, **shares)).case


# Corpora


def noise_corpus(healthy, folder):
    """No passage has a word in common with the one before."""
    generator = np.random.default_rng(0)
    texts = [[" ".join(f"word{number}" for number in generator.integers(0, 10**6, 11)) for _ in passages]
             for passages in story_texts()]  # fmt: skip
    return again(folder, texts=texts, trained=()).case


def two_editions(healthy, folder):
    """Every document is in the corpus twice, the second time with the words of each passage in another order."""
    texts = story_texts(0, 40)
    return again(
        folder, texts=[*texts, *([" ".join(text.split()[::-1]) for text in passages] for passages in texts)]
    ).case


# Model classes


class Constant(nn.Module):
    """Forgets to read its input."""

    def __init__(self, dimension, context):
        super().__init__()
        self.answer = nn.Parameter(torch.randn(dimension))

    def forward(self, context, mask):
        return self.answer.to(context.dtype).expand(len(context), -1)


class CopiesTheLast(nn.Module):
    """A residual connection whose correction is scaled away."""

    def __init__(self, dimension, context):
        super().__init__()
        self.correction = nn.Linear(dimension, dimension)

    def forward(self, context, mask):
        return context[:, -1] + 1e-4 * self.correction(context[:, -1])


class Plain(nn.Module):
    """A small net on the last passage."""

    def __init__(self, dimension, context):
        super().__init__()
        self.inner = nn.Linear(dimension, 64)
        self.head = nn.Linear(64, dimension)

    def forward(self, context, mask):
        return self.head(torch.tanh(self.inner(context[:, -1])))


class Slow(Plain):
    """Takes its time for an answer."""

    def forward(self, context, mask):
        time.sleep(PAUSE if len(context) == 1 else 0)
        return super().forward(context, mask)


class Edited(Plain):
    """A class that was edited after its training."""

    edited = False

    def forward(self, context, mask):
        return self.head((torch.relu if Edited.edited else torch.tanh)(self.inner(context[:, -1])))


def edited_class(healthy, folder):
    Edited.edited = False
    case = again(folder, model=Edited).case
    Edited.edited = True
    return case


GATES = (GateSettings(name="answer", any_of=(Condition(metric="total_p95_ms", at_most=3),)),)

FAULTS = [
    Fault("noise-corpus", "", noise_corpus, enters="corpus"),
    Fault("two-editions-of-a-corpus", "", two_editions, enters="corpus"),
    Fault("constant-class", "", with_model(Constant), enters="class"),
    Fault("copying-class", "", with_model(CopiesTheLast), enters="class"),
    Fault("slow-class", "", with_model(Slow, as_measured=True, gates=GATES), enters="class"),
    Fault("edited-class", "", edited_class, enters="class"),
    Fault("few-training-documents", "", with_split(test=0.6, validation=0.3), enters="recipe"),
    Fault("few-test-documents", "", with_split(test=0.05, validation=0.15), enters="recipe"),
]
