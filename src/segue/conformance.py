"""Rules that a part of your own has to keep, one test for each::

    import pytest
    from segue.conformance import rules

    @pytest.mark.parametrize("rule", rules("encoder", MyEncoder), ids=str)
    def test_my_encoder(rule):
        rule()

The rules of a kind are functions in its room; their docstrings state the reasons. This module names them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from segue.checks import rules as check_rules
from segue.corpus import rules as corpus_rules
from segue.encoders import rules as encoder_rules
from segue.errors import SettingsError
from segue.evaluation import gate_rules, metric_rules
from segue.models import conformance as model_rules
from segue.retrieval import rules as retrieval_rules
from segue.retrieval.index import rules as index_rules
from segue.training.losses import rules as loss_rules

__all__ = ["Rule", "rules"]

Check = Callable[[Any], None]
"""Checks one rule on a part; a broken rule raises ``AssertionError``."""

KINDS: Mapping[str, tuple[Callable[[Any], Any], Sequence[Check]]] = {
    "encoder": (encoder_rules.subject, encoder_rules.RULES),
    "model": (model_rules.subject, model_rules.RULES),
    "loss": (loss_rules.subject, loss_rules.RULES),
    "retriever": (retrieval_rules.retriever_subject, retrieval_rules.RETRIEVER_RULES),
    "reranker": (retrieval_rules.reranker_subject, retrieval_rules.RERANKER_RULES),
    "index": (index_rules.subject, index_rules.RULES),
    "corpus": (corpus_rules.subject, corpus_rules.RULES),
    "check": (check_rules.subject, check_rules.RULES),
    "gate": (gate_rules.subject, gate_rules.RULES),
    "metric": (metric_rules.subject, metric_rules.RULES),
}
"""For each kind, what turns ``make`` into what its rules are given, and the rules (functions ``check_…``)."""


@dataclass(frozen=True)
class Rule:
    """One rule, to be checked on one part; ``str(rule)`` is its name, for test ids.

    Attributes:
        kind: kind of the part.
        name: name of the rule, ``same-vectors-alone-and-in-a-batch``.
        reason: why the part is known to break it; None where it has to keep it.
    """

    kind: str
    name: str
    check: Callable[[], None]
    reason: str | None = None

    def __call__(self) -> None:
        """Check the rule on a new part.

        Raises:
            AssertionError: the part breaks the rule, or keeps it although it is an expected failure; the message begins
                with the rule's name.
        """
        try:
            self.check()
        except Exception as error:  # whatever the part raises
            if self.reason is None:
                said = str(error) if isinstance(error, AssertionError) else f"{type(error).__name__}: {error}"
                raise AssertionError(f"{self.name}: {said}") from error
        else:
            assert self.reason is None, f"{self.name}: no longer fails, though expected to: {self.reason}"

    def __str__(self) -> str:
        return self.name


def rules(kind: str, make: Any, *, expected_failures: Mapping[str, str] | None = None) -> list[Rule]:
    """Return the rules of a kind, each to be called in a test of its own.

    Args:
        kind: kind of the part, as ``encoder``.
        make: makes a new part: its class or a function without arguments (``model``: with ``dimension`` and
            ``context``). A function that is itself the part is wrapped: ``lambda: my_function``.
        expected_failures: reason by name of a rule that the part is known to break. It passes while the rule is broken,
            and fails once it is kept.

    Raises:
        SettingsError: there is no such kind, or no such rule.
    """
    expected_failures = expected_failures or {}
    if kind not in KINDS:
        raise SettingsError("unknown kind of part", got=repr(kind), expected=", ".join(KINDS))
    subject, checks = KINDS[kind]
    named = {check.__name__.removeprefix("check_").replace("_", "-"): check for check in checks}
    if unknown := sorted(set(expected_failures) - set(named)):
        raise SettingsError(f"unknown rules of {kind}", got=", ".join(unknown), expected=", ".join(named))
    return [Rule(kind, name, _bound(subject, make, named[name]), expected_failures.get(name)) for name in named]


def _bound(subject: Callable[[Any], Any], make: Any, check: Check) -> Callable[[], None]:
    return lambda: check(subject(make))
