"""Running checks: what is muted, skipped, missing or broken says so, and hides nothing."""

import numpy as np
import pytest
import worlds

from segue.checks import CHECKS, Case, Check, Verdict
from segue.checks.run import BROKE, blocked, require_codes, run_checks, unproven
from segue.errors import InputError, SettingsError, StorageError
from segue.ranking.pool import Pool


def check(examine, *, code="SG199", needs=(), slow=False) -> Check:
    return Check(code, "title", "question", "detection", "why", "healthy", "fix", "share", examine, needs, slow)


def says(outcome: str):
    return lambda case: Verdict(outcome, "said", 1.0, 0.0)


def raises(error: Exception):
    def examine(case):
        raise error

    return examine


@pytest.fixture
def case() -> Case:
    bank = worlds.make_bank(np.eye(4), [4])
    return Case(bank, Pool(bank))


def outcomes(case, *checks, **how) -> list[str]:
    return [finding.outcome for finding in run_checks(checks, case, **how)]


def test_outcomes_are_passed_on(case):
    checks = [check(says(outcome)) for outcome in ("issue", "tip", "passed", "not-applicable")]
    assert outcomes(case, *checks) == ["issue", "tip", "passed", "not-applicable"]


def test_fast_skips_the_slow_and_mute_leaves_out_the_named(case):
    slow, quick = check(says("issue"), slow=True), check(says("issue"), code="SG198")
    assert outcomes(case, slow, quick, fast=True) == ["skipped", "issue"]
    assert outcomes(case, slow, quick, mute=["SG198"]) == ["issue", "muted"]


def test_what_a_case_lacks_makes_a_check_not_applicable_with_the_reason(case):
    (finding,) = run_checks([check(says("issue"), needs=("windows",))], case)
    assert finding.outcome == "not-applicable"
    assert "no windows yet" in finding.statement


def test_a_check_that_cannot_be_carried_out_is_skipped_and_leaves_the_number_unproven(case):
    findings = run_checks([check(raises(InputError("the file is gone.")))], case)
    assert (findings[0].outcome, findings[0].statement) == ("skipped", "could not be examined: the file is gone.")
    assert unproven(findings) == ["SG199"]
    assert blocked(findings) == []


def test_a_broken_check_does_not_take_the_others_with_it(case):
    findings = run_checks([check(raises(IndexError("7"))), check(says("issue"), code="SG198")], case)
    assert findings[0].statement == f"{BROKE}, please report it: IndexError: 7"
    assert [finding.outcome for finding in findings] == ["skipped", "issue"]
    assert blocked(findings) == ["SG198"]


def test_a_full_disk_is_no_finding(case):
    with pytest.raises(StorageError):
        run_checks([check(raises(StorageError("disk full")))], case)


def test_only_an_issue_of_an_integrity_check_blocks(case):
    findings = run_checks([check(says("tip")), check(says("issue"), code="SG299")], case)
    assert blocked(findings) == []
    assert unproven(findings) == []


def test_a_wrong_code_names_the_nearest():
    with pytest.raises(SettingsError, match="write SG104"):
        require_codes(["sg104"], CHECKS)
