"""Checks of one's own: their codes, what is no check, and that a broken one is a finding with the reason."""

import dataclasses

import numpy as np
import pytest
from check_cases import small_case
from type_checks import shapes_checked
from worlds import drift_world

from segue.checks import AUDIT, Check, Verdict
from segue.checks.causes import root_causes
from segue.checks.own import OWN_CODE, load_checks
from segue.checks.run import blocked, run_checks, unproven
from segue.errors import SettingsError

CASE = small_case(drift_world(0, 8, 8, 8))


def check(code="MY101", examine=lambda case: Verdict("passed", "Nothing."), **more):
    return Check(code, "Title", "Question?", "How.", "Why.", "healthy", "fix it", "share", examine, **more)


def found_by(examine, code="MY101", **more):
    (found,) = run_checks([check(code, examine, **more)], CASE)
    return found


@pytest.mark.parametrize("code", ["MY101", "ABCDEF199", "MY201", "AB299"])
def test_codes_of_ones_own(code):
    found = load_checks([check(code)])
    assert found.all == (check(code),) or found.all[0].code == code
    assert len(found.integrity) == (code[-3] == "1")
    assert len(found.diagnosis) == (code[-3] == "2")


@pytest.mark.parametrize(
    "code", ["SG101", "SG299", "SGX101", "M101", "my101", "MY301", "MY001", "MY1001", "MYLONGER101", "MY10"]
)
def test_other_codes_are_refused(code):
    assert not OWN_CODE.fullmatch(code)
    with pytest.raises(SettingsError, match=r"MY101"):
        load_checks([check(code)])


def test_what_is_no_check_is_refused():
    with pytest.raises(SettingsError, match=r"numpy:log2 is no check: got ufunc, expected a segue\.checks\.Check"):
        load_checks(["numpy:log2"])
    with pytest.raises(SettingsError, match="two checks of your own have one code: got MY101"):
        load_checks([check(), check()])
    with shapes_checked(on=False):  # as a user's process
        mistyped = check(needs=("windows", "text"))
    with pytest.raises(SettingsError, match=r"needs what no case has: got text, expected texts, windows"):
        load_checks([mistyped])
    assert load_checks([]).all == ()


def test_an_issue_of_100_to_199_blocks_and_is_a_cause():
    issue = lambda case: Verdict("issue", "It is wrong.")  # noqa: E731
    integrity, diagnosis = found_by(issue), found_by(issue, "MY201")
    assert blocked([integrity, diagnosis]) == ["MY101"]
    causes = root_causes([diagnosis])
    assert [(cause.name, cause.title, cause.statement, cause.evidence, cause.fix) for cause in causes] == [
        ("my201", "Title", "It is wrong.", ("MY201",), "fix it")
    ]
    assert [cause.name for cause in root_causes([integrity, diagnosis])] == ["my101"]  # other numbers are no evidence
    passed = dataclasses.replace(check(), examine=lambda case: Verdict("passed", ""))
    assert root_causes(run_checks([passed], CASE)) == []


@pytest.mark.parametrize(
    ("examine", "said"),
    [
        (lambda case: {}["x"], "the check itself failed: KeyError: 'x'"),
        (lambda case: Verdict("issue", "", details={"ids": np.arange(2)}), "the check itself failed: "),
        (lambda case: Verdict("passed", "", measured=float("nan")), "the check itself failed: "),
        (lambda case: None, "the check itself failed: "),
        (lambda case: Verdict("wrong", ""), "the check itself failed: "),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_one_that_fails_is_skipped_with_the_reason(examine, said):
    found = found_by(examine)
    assert found.outcome == "skipped"
    assert found.statement.startswith(said)
    assert unproven([found]) == ["MY101"]


def test_a_built_in_check_that_fails_is_to_be_reported():
    broken = dataclasses.replace(AUDIT[0], needs=(), examine=lambda case: 1 / 0)
    assert "please report it" in run_checks([broken], CASE)[0].statement
