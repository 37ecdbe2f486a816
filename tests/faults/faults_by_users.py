"""Faults that enter as a user's do: through a recipe, a corpus or a model class, and a run from the start."""

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
    first = story_texts()
    second = [[" ".join(reversed(text.split())) for text in passages] for passages in first]
    return again(folder, texts=[*first, *second], trained=("mlp",)).case


# Model classes


class Narrow(nn.Module):
    """Passes everything through two numbers."""

    def __init__(self, dimension, context):
        super().__init__()
        self.inner = nn.Linear(dimension, 2)
        self.head = nn.Linear(2, dimension)

    def forward(self, context, mask):
        return self.head(torch.tanh(self.inner(context[:, -1])))


class CopiesTheLast(nn.Module):
    """A residual connection whose correction is scaled away."""

    def __init__(self, dimension, context):
        super().__init__()
        self.head = nn.Linear(dimension, dimension)

    def forward(self, context, mask):
        return context[:, -1] + 1e-4 * self.head(context[:, -1])


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

NET = "a small net without an anchor, on 33 documents, does not beat shared words and memorises"

FAULTS = [
    Fault("noise-corpus", "no passage of the corpus has a word in common with another", noise_corpus,
          {"SG103": "issue", "SG213": "issue"}, "what does not follow has no order either",
          cause="truth-is-wrong", enters="corpus"),
    Fault("two-editions", "the corpus holds every document twice, the second time with its words in another order",
          two_editions, {"SG104": "tip", "SG205": "tip", "SG210": "tip"},
          "editions are near-duplicates, and those of training documents are negatives of each other",
          enters="corpus"),
    Fault("narrow-class", "a model class passes everything through two numbers", with_model(Narrow),
          {"SG206": "issue", "SG208": "issue", "SG201": "issue", "SG216": "issue"},
          "a line has few neighbours, seldom the target", cause="collapsed", enters="class"),
    Fault("copying-class", "a model class scales its correction of the last passage away", with_model(CopiesTheLast),
          {"SG209": "issue", "SG111": "tip", "SG201": "issue", "SG216": "tip"},
          "a copy is no better than copying, and copying is not the best baseline", cause="copies-the-context",
          enters="class"),
    Fault("slow-class", "a model class takes milliseconds longer", with_model(Slow, as_measured=True, gates=GATES),
          {"SG214": "issue", "SG201": "issue", "SG202": "tip", "SG216": "tip"}, NET, cause="slow-stage",
          enters="class"),
    Fault("edited-class", "a model class was edited between training and the checks", edited_class,
          {"SG112": "issue", "SG201": "issue", "SG216": "tip"}, NET, cause="wrong-model", enters="class"),
    Fault("six-training-documents", "the recipe keeps nine documents in ten for validation and test",
          with_split(test=0.6, validation=0.3),
          {"SG201": "tip", "SG202": "issue", "SG205": "tip", "SG215": "tip"},
          "six documents do not fill a batch, are memorised, and are too few to beat shared words",
          cause="too-little-data", enters="recipe"),
    Fault("three-test-documents", "the recipe leaves one document in twenty for test",
          with_split(test=0.05, validation=0.15), {"SG219": "issue", "SG201": "tip", "SG103": "tip"},
          "with so few groups no comparison is conclusive", cause="too-few-documents", enters="recipe"),
]  # fmt: skip
