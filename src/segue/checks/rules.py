"""Rules of checks of your own.

Each rule is a function; its docstring states the reason. A broken rule raises ``AssertionError``.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args

import numpy as np

from segue.bank.bank import PassageBank
from segue.checks.build_case import case_of_bank, case_of_experiment
from segue.checks.case import Case, CaseEntry
from segue.checks.check import Check, Judgement, Verdict
from segue.checks.own import load_checks
from segue.checks.run import NEEDS, run_checks
from segue.evaluation.evaluate import EvaluationSettings, evaluate
from segue.evaluation.experiment import build_experiment
from segue.ranking.pool import Pool
from segue.retrieval.retrievers import Retriever, VectorRetriever
from segue.retrieval.retrievers.baselines import CopyLast, Mean
from segue.windows.splits import SplitSettings
from segue.windows.windows import WindowSettings

DOCUMENTS, LENGTH, DIMENSION = 24, 10, 16


def subject(make: Callable[[], Any]) -> Check:
    """Return the check."""
    check: Check = make()
    return check


@functools.cache
def example_case() -> Case:
    """Return a healthy case: 24 documents that wander, two baselines and their evaluations, nothing trained."""
    generator, steps = np.random.default_rng(3), []
    current = generator.standard_normal((DOCUMENTS, DIMENSION))
    for _ in range(LENGTH):
        current = current + 0.5 * generator.standard_normal(current.shape)
        steps.append(current / np.linalg.norm(current, axis=1, keepdims=True))
    vectors = np.stack(steps, axis=1).reshape(-1, DIMENSION)
    ids = [f"document-{number // LENGTH}" for number in range(len(vectors))]
    texts = [f"Passage {number} says something about subject {number}." for number in range(len(vectors))]
    bank = PassageBank.from_arrays(vectors, ids, texts)
    experiment = build_experiment(bank, SplitSettings(test=0.3, validation=0.2), WindowSettings(context=3))
    case, fold = case_of_experiment(experiment), experiment.folds[0]
    settings, entries = EvaluationSettings(resamples=100, latency_queries=5), []
    for name, query in (("copy-last", CopyLast()), ("mean", Mean())):
        retriever = VectorRetriever(name, "candidate", query, Pool(bank))
        found = evaluate(retriever, bank, fold.test, groups=experiment.groups, settings=settings)
        entries.append(CaseEntry(name, "candidate", 0, "baseline", functools.partial(_same, retriever), found))
    return replace(case, entries=tuple(entries), _cache={})


def _same(retriever: Retriever) -> Retriever:
    return retriever


def partial_cases() -> dict[str, Case]:
    """Return cases with less and less in them, as ``segue audit`` examines them."""
    whole = example_case()
    return {
        "a comparison": whole,
        "a recipe": replace(whole, entries=(), _cache={}),
        "a bank": case_of_bank(whole.bank),
    }


def check_code(check: Check) -> None:
    """Check that it is a ``Check`` with a code of its own: MY101 blocks the headline number, MY201 explains it."""
    load_checks([check])


def check_words(check: Check) -> None:
    """Check that title, question, detection and fix are there; reports print them beside every finding."""
    for name in ("title", "question", "detection", "fix"):
        text = getattr(check, name)
        assert isinstance(text, str), f"{name} is {type(text).__name__}, expected str"
        assert text.strip(), f"{name} is empty"


def check_needs_are_declared(check: Check) -> None:
    """Check that ``needs`` names what it reads: it is called with whatever has that, a bank alone included."""
    unknown = set(check.needs) - set(NEEDS)
    assert not unknown, f"unknown needs {sorted(unknown)}, expected some of {sorted(NEEDS)}"
    for what, case in partial_cases().items():
        if all(NEEDS[need][0](case) for need in check.needs):
            _verdict(check, case, what)


def check_verdict_is_json(check: Check) -> None:
    """Check that its verdict can be written to triage.json: plain numbers and strings, nothing infinite."""
    for what, case in partial_cases().items():
        (finding,) = run_checks([check], case)
        assert finding.outcome != "skipped", f"on {what}: {finding.statement}"
        json.dumps(finding.to_json(), allow_nan=False)


def check_same_verdict_again(check: Check) -> None:
    """Check that the same case always has the same verdict: draw with ``case.generator(purpose)``."""
    for what, case in partial_cases().items():
        first, again = (run_checks([check], replace(case, _cache={}))[0] for _ in range(2))
        same = first.model_copy(update={"seconds": 0.0}) == again.model_copy(update={"seconds": 0.0})
        assert same, f"another verdict the second time, on {what}"


def check_case_is_kept(check: Check) -> None:
    """Check that it changes nothing of the case: other checks read it after this one."""
    case = example_case()
    evaluations = [entry.evaluation for entry in case.entries if entry.evaluation is not None]
    arrays = [case.folds[0].test.context, case.folds[0].test.target, *(found.ranks for found in evaluations)]
    before = [array.copy() for array in arrays]
    run_checks([check], case)
    kept = all(np.array_equal(*pair) for pair in zip(before, arrays, strict=True))
    assert kept, "windows or ranks are changed"


RULES: tuple[Callable[[Check], None], ...] = (
    check_code,
    check_words,
    check_needs_are_declared,
    check_verdict_is_json,
    check_same_verdict_again,
    check_case_is_kept,
)


def _verdict(check: Check, case: Case, what: str) -> Verdict:
    try:
        found = check.examine(case)
    except Exception as error:
        raise AssertionError(f"on {what}: {type(error).__name__}: {error}") from error
    assert isinstance(found, Verdict), f"on {what}: {type(found).__name__} returned, expected a Verdict"
    assert found.outcome in get_args(Judgement), f"on {what}: unknown outcome {found.outcome!r}"
    return found
