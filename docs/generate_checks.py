"""Write the page of the numbered checks: their texts from the registry, their examples from real runs.

``examples`` injects the faults that examples are taken from (some minutes) and writes the findings to
``checks_examples.json``, with the whole fault matrix of ``tests/faults``; ``checks_page`` makes the page from that file
and the registry alone.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from segue.checks import AUDIT, CHECKS, DIAGNOSIS, Check
from segue.reports.sections.checks import LOUD, OUTCOMES
from segue.reports.text import plain, to_markdown
from segue.windows.windows import SHARED

PAGE = Path(__file__).with_name("checks.md")
RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"
RATES, SPOILT, REAL = (RESULTS / f"{name}.json" for name in ("check_error_rates", "spoilt_data", "healthy_corpora"))
EXAMPLES = Path(__file__).with_name("checks_examples.json")
TESTS = Path(__file__).parents[1] / "tests"
MARKS = {outcome: OUTCOMES[outcome].mark for outcome in LOUD}

HEAD = """# The numbered checks

*Made from the checks and from real runs by `python docs/generate.py`; do not edit by hand.*

One check, one question, one stable code. **Integrity** checks (SG1xx) ask whether a number may be printed: an issue
blocks the headline number. **Diagnosis** checks (SG2xx) ask why a number is not better; they block nothing.
`segue audit` runs the integrity checks. `segue diagnose` runs the diagnosis checks and derives root causes from their
outcomes. Every triage runs both, without the slow diagnosis checks. An entry that breaks a rule on purpose declares it
(the oracle, the projected option, context left in); only undeclared breaches count.

Every check has a fault that it must catch: `tests/faults/` injects each fault into a healthy experiment, and the
whole [fault matrix](#the-fault-matrix) is tested. The examples below are findings of real runs with those faults.
*False blocks* are counted over synthetic healthy experiments of 15 to 60 documents, *power* is the number of seeds in
which a fault of the size stated in the matrix was raised (60 documents, 18 of them for test):
`benchmarks/check_error_rates.py`, `benchmarks/results/check_error_rates.json`. Data that was spoilt before it reached
Segue is counted on synthetic essays (60 documents of 24 passages): `benchmarks/spoilt_data.py`. What the checks say of
real corpora stands [below](#real-corpora).
"""

OUTCOME_WORDS = {
    "issue": "something is wrong; blocks the headline number where the code is SG1xx",
    "tip": "worth knowing; blocks nothing",
    "passed": "nothing wrong was found",
    "not-applicable": "there is nothing to examine; the finding says why",
    "skipped": "not carried out: too slow for `--fast`, or impossible, with the reason; it proves nothing",
    "muted": "switched off by its code, which the report names",
}

MUTING = """## Muting a check

`--mute SG208` (may be given again) leaves a check out. The finding is recorded as *muted*, and the report names it.
Where an integrity check was muted or skipped, numbers are labelled UNSAFE wherever they are printed.
`--unsafe` prints, with the same label, numbers that an issue blocks.
"""

UNSEEN = """## What no check sees

A model whose weights were fitted elsewhere to the very documents that it is evaluated on looks like a good model to
every check, as long as its answers change gradually with the context (SG119 finds what is looked up, from a weight of
about a tenth). The reverse: a memory of training passages is taken for a copy of the bank where the next passage is
nearly certain and few different ones exist (4 of 5 synthetic worlds of five topics; none of 21 others).
"""

REAL_CORPORA = """## Real corpora

Is a healthy corpus refused? `segue triage` on COUNT real corpora (the first documents of each, at most MOST, of at
most LONGEST passages; context 3; baselines and one trained option): **BLOCKED blocked**. *Left out* are windows of
validation and test whose target's text several documents share. `benchmarks/healthy_corpora.py`, commits COMMIT.
"""

MATRIX = f"""## The fault matrix

A healthy experiment is broken in one way at a time. {MARKS["issue"]} marks an issue, {MARKS["tip"]} a tip; what is not
marked has the outcome of the healthy experiment. The rules for root causes were written on the faults of the *written*
half and are evaluated on those of the *unseen* half: SCORE
"""


def checks_page() -> str:
    """Return the whole page."""
    record = json.loads(EXAMPLES.read_text(encoding="utf-8"))
    matrix = MATRIX.replace("SCORE", _score(json.loads(RATES.read_text(encoding="utf-8"))["cause"]))
    parts = [HEAD, _outcomes(), MUTING, UNSEEN, *_overview(), *_checks(record), matrix, *_matrix(record),
             *_real_corpora(json.loads(REAL.read_text(encoding="utf-8")))]  # fmt: skip
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _score(causes: Mapping[str, Any]) -> str:
    """Describe how many unseen faults had their root cause named."""
    named, first, quiet = (causes[key] for key in ("named", "named_first", "silent_where_nothing_is_to_name"))
    return (f"the cause was named for {named['hits']} of {named['total']}, as the first for {first['hits']}; where "
            f"there was nothing to name, nothing was named for {quiet['hits']} of {quiet['total']}.")  # fmt: skip


def _real_corpora(record: Mapping[str, Any]) -> Iterator[str]:
    corpora = {name: found for name, found in record["corpora"].items() if found["outcome"] != "missing"}
    blocked = sum(found["outcome"] != "passed" for found in corpora.values())
    commits = sorted({f"`{found['environment']['commit']}`" for found in corpora.values()})
    facts = {"COUNT": len(corpora), "MOST": record["documents"], "LONGEST": record["passages"], "BLOCKED": blocked,
             "COMMIT": " and ".join(commits)}  # fmt: skip
    words = REAL_CORPORA
    for name, value in facts.items():
        words = words.replace(name, str(value))
    yield words
    rows = [(name, found["kind"], _text(found["source"]), found["licence"], f"{found['documents']:,}",
             f"{found['passages']:,}", str(found["left_out"].get(SHARED, 0)), ", ".join(found["tips"]) or "–")
            for name, found in corpora.items()]  # fmt: skip
    yield _table(
        ("corpus", "what it is", "source", "licence", "test documents", "candidates", "left out", "tips"), rows
    )


def _text(value: object) -> str:
    """Make a text safe inside Markdown and its tables."""
    return to_markdown(plain(value))


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _outcomes() -> str:
    rows = [(f"{OUTCOMES[name].mark} {OUTCOMES[name].word}", words) for name, words in OUTCOME_WORDS.items()]
    return "## Six outcomes\n\n" + _table(("outcome", "meaning"), rows)


def _overview() -> Iterator[str]:
    yield "## All checks"
    rows = [(f"[{check.code}](#{_anchor(check)})", _text(check.title), _text(check.question)) for check in CHECKS]
    yield _table(("code", "title", "question"), rows)


def _anchor(check: Check) -> str:
    """Return the anchor that a renderer makes of the check's heading."""
    kept = "".join(char for char in _heading(check).lower() if char.isalnum() or char in " -_")
    return kept.strip().replace(" ", "-")


def _heading(check: Check) -> str:
    return f"{check.code}: {check.title}"


def _checks(record: Mapping[str, Any]) -> Iterator[str]:
    rates = json.loads(RATES.read_text(encoding="utf-8"))
    spoilt = json.loads(SPOILT.read_text(encoding="utf-8"))["essays"]
    for title, checks in (("Integrity", AUDIT), ("Diagnosis", DIAGNOSIS)):
        yield f"## {title}"
        for check in checks:
            yield f"### {_heading(check)}\n\n**{_text(check.question)}**"
            facts = [*_facts(check), *_measured(check, rates, spoilt)]
            yield "\n".join(f"- *{name}:* {words}" for name, words in facts if words)
            yield _example(record["examples"].get(check.code))


def _facts(check: Check) -> Iterator[tuple[str, str]]:
    yield "How it is detected", _text(check.detection)
    yield "Why it matters", _text(check.why)
    yield "Healthy", _text(check.healthy)
    yield "To fix it", _text(check.fix)
    yield "Measured in", _text(check.unit)
    yield "Blocks the headline number", "yes" if check.code.startswith("SG1") else "no"
    yield "With `--fast`", "left out" if check.slow else "carried out"


def _measured(check: Check, rates: Mapping[str, Any], spoilt: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Describe how often a check raised a false alarm, and how often it found a fault, over seeds."""
    error = rates["error"]["issues"].get(check.code)
    if error is not None:
        yield "False blocks", (f"{error['hits']} of {error['total']} healthy experiments "
                               f"(95 %: at most {100 * error['high']:.1f} %)")  # fmt: skip
    power = [f"`{fault}` {found['hits']} of {found['total']}"
             for fault, found in rates["power"]["checks"].get(check.code, {}).items()]  # fmt: skip
    power += [f"{way} {counts[f'{check.code} issue']} of {spoilt['seeds']}"
              for way, counts in spoilt["raised"].items() if f"{check.code} issue" in counts]  # fmt: skip
    yield "Power", ", ".join(power)


def _example(example: Mapping[str, Any] | None) -> str:
    if example is None:
        return "*No example yet.*"
    fault, shown = example["fault"], OUTCOMES[example["outcome"]]
    about = f"fault `{fault}`: {_text(example['what'])}" if fault else "on the healthy experiment"
    return f"Example ({about}):\n\n> {shown.mark} {shown.word}. {_text(example['statement'])}"


def _matrix(record: Mapping[str, Any]) -> Iterator[str]:
    faults = record["faults"]
    for title, checks in (("integrity", AUDIT), ("diagnosis", DIAGNOSIS)):
        codes = [check.code for check in checks]
        loud = [fault for fault in faults if set(codes) & set(fault["outcomes"])]
        loud.sort(key=lambda fault: min(codes.index(code) for code in fault["outcomes"] if code in codes))
        rows = [(f"`{fault['name']}`", *(MARKS.get(fault["outcomes"].get(code, ""), "") for code in codes))
                for fault in loud]  # fmt: skip
        yield f"### What {title} says of the faults"
        yield _table(("fault", *(code.removeprefix("SG") for code in codes)), rows)
    said = ", ".join(f"{code} {outcome}" for code, outcome in record["healthy"].items()) or "nothing"
    yield f"Of the healthy experiment itself the checks say: {said}."
    yield "### The faults"
    rows = [(f"`{fault['name']}`", _text(fault["what"]), fault["half"], fault["cause"] or "–", _text(fault["why_more"]))
            for fault in faults]  # fmt: skip
    yield _table(("fault", "what was done wrong", "half", "root cause", "why more than one check is raised"), rows)


def fault_matrix() -> Sequence[Any]:
    """Return the faults of ``tests/faults``, which is no part of the package."""
    sys.path[:0] = [str(TESTS), str(TESTS / "faults")]
    faults: Sequence[Any] = importlib.import_module("test_fault_matrix").FAULTS
    return faults


def examples() -> dict[str, Any]:
    """Run the faults that examples are taken from, and return what the checks said, with the whole matrix."""
    faults = fault_matrix()
    with tempfile.TemporaryDirectory() as folder:
        sound = importlib.import_module("healthy").run_healthy(Path(folder) / "run")
        before = {code: finding for code, finding in _ask(sound.case, CHECKS).items() if finding["outcome"] in LOUD}
        found = {code: _kept(finding) for code, finding in before.items()}
        for number, (fault, checks) in enumerate(_chosen(faults)):
            print(f"{fault.name}: {', '.join(check.code for check in checks)}", file=sys.stderr)
            said = _ask(fault.inject(sound, Path(folder) / str(number)), checks)
            found |= {code: _kept(finding, fault) for code, finding in said.items()}
    return {
        "healthy": {code: finding["outcome"] for code, finding in before.items()},
        "faults": [_row(fault) for fault in faults],
        "examples": dict(sorted(found.items())),
    }


def _chosen(faults: Sequence[Any]) -> list[tuple[Any, list[Check]]]:
    """Choose for each check a fault that raises it, an issue before a tip; return them fault by fault."""
    of_check = {check.code: fault for check in CHECKS if (fault := _first(check.code, faults)) is not None}
    chosen = [(fault, [check for check in CHECKS if of_check.get(check.code) is fault]) for fault in faults]
    return [(fault, checks) for fault, checks in chosen if checks]


def _first(code: str, faults: Sequence[Any]) -> Any:
    """Return the fault that raises a check and little else, the first of equals; None where none does."""
    for outcome in LOUD:
        raising = [fault for fault in faults if fault.raises.get(code) == outcome]
        if raising:
            return min(raising, key=lambda fault: len(fault.raises))
    return None


def _ask(case: Any, checks: Sequence[Check]) -> dict[str, dict[str, Any]]:
    from segue.checks.run import run_checks

    return {finding.code: finding.to_json() for finding in run_checks(checks, case)}


def _kept(finding: Mapping[str, Any], fault: Any = None) -> dict[str, Any]:
    """Keep of a finding what the page prints, and which fault it is about; folders of the machine are left out."""
    kept = {key: finding[key] for key in ("code", "outcome", "statement", "measured", "threshold", "unit")}
    kept["statement"] = re.sub(rf"{re.escape(tempfile.gettempdir())}/\S*/(?=\w)", "", kept["statement"])
    return {"fault": fault and fault.name, "what": fault.what if fault else "", **kept}


def _row(fault: Any) -> dict[str, Any]:
    """Return a row of the fault matrix as JSON."""
    words = {key: getattr(fault, key) for key in ("name", "what", "half", "cause", "why_more")}
    return {**words, "outcomes": dict(fault.raises)}


def write_examples() -> None:
    """Run what examples are taken from and write the JSON file."""
    _write(examples())


def write_matrix() -> None:
    """Bring the matrix in the JSON file up to date, without running anything."""
    record = json.loads(EXAMPLES.read_text(encoding="utf-8"))
    _write(record | {"faults": [_row(fault) for fault in fault_matrix()]})


def _write(record: Mapping[str, Any]) -> None:
    EXAMPLES.write_text(json.dumps(record, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
