"""The public rules: one test id for each, expected failures by their reason."""

import numpy as np
import pytest
from fake_encoder import HashEncoder

from segue.conformance import rules
from segue.errors import SettingsError


class Doubled(HashEncoder):
    def encode(self, texts, **options):
        return 2 * super().encode(texts, **options)


@pytest.mark.parametrize("rule", rules("encoder", HashEncoder), ids=str)
def test_an_encoder_that_keeps_the_rules(rule):
    rule()


@pytest.mark.parametrize(
    "rule", rules("encoder", lambda: lambda texts: np.array([[len(t), 1] for t in texts])), ids=str
)
def test_a_function_from_texts_to_vectors_is_an_encoder(rule):
    rule()


def broken(kind, make, **more):
    """Return the message of each rule that a part breaks, by name."""
    found = {}
    for rule in rules(kind, make, **more):
        try:
            rule()
        except AssertionError as error:
            found[str(rule)] = str(error)
    return found


def test_a_broken_rule_is_named_first():
    found = broken("encoder", Doubled)
    assert set(found) == {"unit-float32-vectors"}
    assert found["unit-float32-vectors"].startswith("unit-float32-vectors: lengths 2.0000 to 2.0000, expected 1")


def test_an_error_of_the_part_is_a_broken_rule():
    found = broken("encoder", lambda: lambda texts: 1 / 0)
    assert found["same-bytes-again"] == "same-bytes-again: ZeroDivisionError: division by zero"


def test_an_expected_failure_passes_while_it_fails_and_fails_once_it_passes():
    known = {"unit-float32-vectors": "lengths matter later"}
    assert broken("encoder", Doubled, expected_failures=known) == {}
    found = broken("encoder", HashEncoder, expected_failures=known)
    assert found == {
        "unit-float32-vectors": "unit-float32-vectors: no longer fails, though expected to: lengths matter later"
    }


def test_unknown_kinds_and_rules_are_errors():
    with pytest.raises(SettingsError, match="unknown kind of part: got 'encodr'"):
        rules("encodr", HashEncoder)
    with pytest.raises(SettingsError, match="unknown rules of encoder: got unit"):
        rules("encoder", HashEncoder, expected_failures={"unit": "?"})
