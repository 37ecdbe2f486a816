"""The examples of docs/parts keep every rule, and one that is broken fails with the rule's name."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from encoder import HashedWords
from loss import SmoothedInfoNCE
from model import Convolution
from reranker import NearTheTopic
from retriever import RareWords, last_two
from torch import nn

from segue.conformance import rules

EXAMPLES = {
    "encoder": HashedWords,
    "model": Convolution,
    "loss": SmoothedInfoNCE,
    "retriever": RareWords,
    "reranker": NearTheTopic,
}
RULES = [pytest.param(rule, id=f"{kind}-{rule}") for kind, example in EXAMPLES.items() for rule in rules(kind, example)]


@pytest.mark.parametrize("rule", RULES)
def test_an_example_keeps_the_rule(rule):
    rule()


@pytest.mark.parametrize("rule", rules("retriever", lambda: last_two), ids=str)
def test_a_function_of_contexts_is_a_retriever(rule):
    rule()


class Restless(HashedWords):
    """Changes with every call."""

    calls = 0

    def encode(self, texts, **more):
        self.calls += 1
        return np.roll(super().encode(texts, **more), self.calls, axis=1)


class FirstOfTheBatch(Convolution):
    def forward(self, context, mask):
        return super().forward(context, mask) + super().forward(context, mask)[:1]


class Arc(nn.Module):
    """The angle, whose gradient is infinite at 0."""

    def forward(self, prediction, target):
        return torch.arccos((prediction * target).sum(dim=-1)).mean()


class Downhill(nn.Module):
    """Is least for the opposite of the target."""

    def forward(self, prediction, target):
        return (prediction * target).sum(dim=-1).mean()


class LateRows(RareWords):
    """Prefers the rows at the end of the bank."""

    def scores(self, contexts):
        return super().scores(contexts) + np.arange(len(self.words))


class Remembers(RareWords):
    """Scores by what was asked before."""

    asked = 0

    def scores(self, contexts):
        self.asked += 1
        return np.roll(super().scores(contexts), self.asked, axis=1)


class Unsaved(RareWords):
    """Has settings that it does not keep."""

    def __init__(self, strength=1.0):
        super().__init__(strength)


class ByPlace(NearTheTopic):
    """Prefers what stands first."""

    def scores(self, contexts, candidates):
        return np.zeros(candidates.rows.shape) - np.arange(candidates.rows.shape[1])


@pytest.mark.parametrize(
    ("kind", "broken", "rule"),
    [
        ("encoder", Restless, "same-bytes-again"),
        ("model", FirstOfTheBatch, "rows-are-independent"),
        ("loss", Arc, "finite-at-a-perfect-prediction"),
        ("loss", Downhill, "less-for-the-target-than-for-its-opposite"),
        ("retriever", LateRows, "order-of-the-bank-does-not-matter"),
        ("retriever", Remembers, "same-answers-again"),
        ("retriever", Unsaved, "made-again-elsewhere"),
        ("reranker", ByPlace, "order-of-candidates-does-not-matter"),
    ],
)
def test_a_broken_example_fails_with_the_name_of_the_rule(kind, broken, rule):
    (checked,) = [one for one in rules(kind, broken) if str(one) == rule]
    with pytest.raises(AssertionError, match=f"^{rule}: "):
        checked()


@pytest.mark.parametrize("kind", EXAMPLES)
def test_a_page_shows_its_example_and_names_every_rule(kind):
    folder = Path(__file__).parents[2] / "docs" / "parts"
    page, example = folder.joinpath(f"{kind}.md").read_text(), folder.joinpath(f"examples/{kind}.py").read_text()
    assert f"```python\n{example}```" in page
    assert set(re.findall(r"^\| `([a-z0-9-]+)` \| ", page.partition("## Rules")[2], flags=re.MULTILINE)) == {
        str(rule) for rule in rules(kind, EXAMPLES[kind])}  # fmt: skip
    assert len(example.splitlines()) < 40
