"""Every fault raises its own checks and no other; a healthy experiment raises no integrity check."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
from fault import Fault, changed
from healthy import Healthy, run_healthy
from replay import trained_once
from type_checks import shapes_checked

from segue.checks import AUDIT, CHECKS
from segue.checks.run import BROKE, run_checks

pytestmark = pytest.mark.timeout(1200)  # the matrix examines more than 100 faults in one fixture
MODULES = sorted(path.stem for path in Path(__file__).parent.glob("faults_*.py"))
FAULTS: list[Fault] = [fault for name in MODULES for fault in importlib.import_module(name).FAULTS]


@pytest.fixture(scope="session")
def healthy(tmp_path_factory) -> Healthy:
    with shapes_checked():
        return run_healthy(tmp_path_factory.mktemp("healthy") / "run")


@pytest.fixture(scope="session")
def of_healthy(known, healthy):
    with shapes_checked(), trained_once(known):
        return run_checks(CHECKS, healthy.case)


def test_a_healthy_experiment_raises_no_integrity_check(of_healthy):
    integrity = [finding for finding in of_healthy if finding.code.startswith("SG1")]
    assert len(integrity) == len(AUDIT)
    assert {finding.code: finding.statement for finding in integrity if finding.outcome not in QUIET} == {}


QUIET = ("passed", "not-applicable")


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_raises_its_own_checks_and_no_other(fault, healthy, of_healthy, tmp_path):
    findings = run_checks(CHECKS, fault.inject(healthy, tmp_path / "broken"))
    assert [finding.statement for finding in findings if finding.statement.startswith(BROKE)] == []
    assert changed(findings, of_healthy) == dict(fault.raises), [
        (finding.code, finding.statement) for finding in findings if finding.outcome not in QUIET
    ]


def test_every_check_has_a_fault_that_raises_it(of_healthy):
    raised = {code for fault in FAULTS for code in fault.raises} | {
        finding.code for finding in of_healthy if finding.outcome in ("issue", "tip")
    }
    assert {check.code for check in CHECKS} - raised == set()


def test_there_are_enough_faults_and_each_name_is_used_once():
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) >= 30
    assert {fault.half for fault in FAULTS} == {"written", "unseen"}


MADE_BY_NO_USER = {
    "SG101": "the pool of a comparison is made of the whole bank; the index of a bundle is built from that pool",
    "SG102": "windows are made of the bank's rows",
    "SG105": "documents are split by one function, before windows are made",
    "SG107": "models are given passages before the target alone; a vector that holds the next passage is SG115's",
    "SG108": "what was read is excluded by the ranking, not by models",
    "SG109": "models and encoders are given no ids, row numbers or positions",
    "SG110": "whether a loss has a projection head is recorded by its training",
    "SG113": "a comparison searches exactly",
    "SG114": "all options of a run have one pool, one exclusion and the same windows",
    "SG217": "what an option counts over the bank is declared by its retriever",
    "SG218": "the pools and the rerankers that it compares are the package's",
}
"""Checks that only a fault in the package's own code can raise, and why."""


def test_every_check_that_a_user_can_raise_has_a_fault_that_enters_as_a_user_s_does():
    by_users = {code for fault in FAULTS if fault.enters != "case" for code in fault.raises}
    assert by_users.isdisjoint(MADE_BY_NO_USER)
    assert by_users | set(MADE_BY_NO_USER) == {check.code for check in CHECKS}
