"""Root causes rest on evidence: no issue, no cause; a failed integrity check silences what it makes worthless."""

import pytest

from segue.checks import CHECKS, Finding
from segue.checks.causes import DIAGNOSIS, INTEGRITY, root_causes
from segue.comparison.options import OPTIONS

CODES = {check.code for check in CHECKS}


def finding(code: str, outcome: str = "issue") -> Finding:
    return Finding(code=code, title="title", question="question", outcome=outcome, statement=f"{code} says so.")


def names(*findings: Finding) -> list[str]:
    return [cause.name for cause in root_causes(findings)]


def test_without_an_issue_no_cause_is_found():
    assert names() == []
    assert names(finding("SG104", "passed"), finding("SG206", "tip"), finding("SG213", "muted")) == []


@pytest.mark.parametrize("rule", [*INTEGRITY, *DIAGNOSIS], ids=lambda rule: f"{rule.name}-{rule.issues[0]}")
def test_every_rule_names_existing_checks_and_options(rule):
    assert {*rule.issues, *rule.tips, *rule.unless} <= CODES
    assert set(rule.options) <= {option.name for option in OPTIONS}


@pytest.mark.parametrize("rule", [*INTEGRITY, *DIAGNOSIS], ids=lambda rule: f"{rule.name}-{rule.issues[0]}")
def test_every_rule_speaks_on_its_own_evidence(rule):
    (cause,) = [cause for cause in root_causes([finding(rule.issues[0])]) if cause.name == rule.name]
    assert cause.evidence == (rule.issues[0],)
    assert cause.statement == f"{rule.issues[0]} says so."


def test_every_check_that_can_raise_an_issue_leads_to_some_cause():
    led = {code for rule in (*INTEGRITY, *DIAGNOSIS) for code in (*rule.issues, *rule.tips)}
    no_cause = ["SG210", "SG211", "SG216"]  # where the truth is, how cosine would select, what reranking could gain
    assert sorted(CODES - led) == no_cause


def test_what_segue_never_does_is_no_cause():
    assert names(finding("SG211", "tip"), finding("SG211")) == []


def test_while_an_integrity_check_fails_nothing_downstream_is_evidence():
    assert names(finding("SG104"), finding("SG206")) == ["leaked-split"]


def test_the_more_fundamental_cause_comes_first_and_its_consequences_are_left_out():
    assert names(finding("SG201"), finding("SG206"), finding("SG208")) == ["collapsed"]
    assert names(finding("SG111"), finding("SG107")) == ["query-is-the-truth"]


def test_tips_are_evidence_only_beside_an_issue():
    (cause,) = root_causes([finding("SG204"), finding("SG203", "tip")])
    assert cause.evidence == ("SG204", "SG203")


def test_a_suspicion_needs_confirmation():
    assert names(finding("SG213", "tip")) == []
    assert names(finding("SG213", "tip"), finding("SG201")) == ["no-order-to-learn"]


def test_a_weak_model_is_the_last_resort():
    assert names(finding("SG201")) == ["weak-model"]
    assert names(finding("SG201"), finding("SG208")) == ["hubs"]
