"""The page of the checks says what the checks say, and its fault matrix is the one that is asserted."""

import json
import re

import pytest
from test_docs import DOCS, generator, text_of
from test_fault_matrix import FAULTS

from segue.checks import CHECKS

AGAIN = "run `python docs/generate.py --examples`"
RECORD = json.loads(text_of(DOCS / "checks_examples.json"))
PAGE = text_of(DOCS / "checks.md")


def test_the_page_is_what_the_checks_and_the_committed_examples_say():
    assert generator("generate_checks").checks_page() == PAGE, "run `make docs`"


def words_of(text):
    """Return the words and numbers of a text, without marks and markup."""
    return re.findall(r"[^\W_]+", text)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.code)
def test_the_section_of_a_check_tells_its_question_its_fix_and_a_fault_that_raises_it(check):
    """Read from the page itself, and compared with the check and the fault, whatever makes the page."""
    section = PAGE[PAGE.index(f"### {check.code}: ") :].split("\n### ")[0].split("\n## ")[0]
    example = RECORD["examples"][check.code]
    fault = next((fault for fault in FAULTS if fault.name == example["fault"]), None)
    told = " ".join(words_of(section))
    about = [fault.name, fault.what] if fault else ["on the healthy experiment"]
    for text in (check.title, check.question, check.detection, check.why, check.healthy, check.fix, check.unit, *about,
                 example["statement"]):  # fmt: skip
        assert " ".join(words_of(text)) in told, text
    blocks = "yes" if check.code.startswith("SG1") else "no"
    assert f"*Blocks the headline number:* {blocks}" in section


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.code)
def test_every_check_has_an_example_that_a_fault_raised(check):
    assert check.code in RECORD["examples"], AGAIN
    example = RECORD["examples"][check.code]
    raises = {fault.name: fault.raises for fault in FAULTS}
    expected = raises[example["fault"]] if example["fault"] else RECORD["healthy"]
    assert example["outcome"] == expected[check.code], AGAIN


def test_the_matrix_on_the_page_is_the_one_that_is_asserted():
    printed = {fault["name"]: (fault["outcomes"], fault["cause"], fault["half"]) for fault in RECORD["faults"]}
    assert printed == {fault.name: (dict(fault.raises), fault.cause, fault.half) for fault in FAULTS}, "run `make docs`"


def test_the_page_marks_as_many_cells_as_faults_raise_outcomes():
    matrix = PAGE[PAGE.index("## The fault matrix") : PAGE.index("### The faults")]
    cells = [cell.strip() for line in matrix.splitlines() if line.startswith("| `") for cell in line.split("|")]
    outcomes = [outcome for fault in FAULTS for outcome in fault.raises.values()]
    assert [cells.count("✕"), cells.count("!")] == [outcomes.count("issue"), outcomes.count("tip")]


def test_every_heading_of_a_check_is_linked_from_the_overview():
    links = re.findall(r"\]\(#(sg\d+[^)]*)\)", PAGE)
    assert len(links) == len(CHECKS)
