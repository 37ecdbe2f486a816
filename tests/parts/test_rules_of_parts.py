"""The examples of the pages keep every rule of their kind; a broken variant fails with the rule's name."""

import dataclasses

import numpy as np
import pytest
from part_examples import EXAMPLES, example

from segue.checks import Verdict
from segue.conformance import rules
from segue.evaluation.gates import Decision
from segue.evaluation.own_metrics import Metric
from segue.types import Document

CHECK, GATE, METRIC, CORPUS, INDEX = (example(name) for name in ("check", "gate", "metric", "corpus", "index"))


@pytest.fixture(scope="module")
def talks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("talks")
    for number in range(3):
        turns = [f"{name}: Turn {turn} of talk {number}." for turn, name in enumerate(("Ann", "Ben", "Ann"))]
        (folder / f"talk-{number}.txt").write_text("\n".join(turns))
    (folder / "short.txt").write_text("Ann: Hello.")
    return lambda: CORPUS.Talks(str(folder))


PAGES = {"check": "check", "gate": "gate", "metric": "metric", "corpus": "corpus", "index": "index-engine"}


@pytest.mark.parametrize("kind", PAGES)
def test_pages_name_the_rules_and_their_examples_are_short(kind):
    page = (EXAMPLES.parent / f"{PAGES[kind]}.md").read_text()
    for rule in rules(kind, None):
        assert f"| `{rule}` |" in page
    code = (EXAMPLES / f"{kind}.py").read_text()
    assert f"```python\n{code}```" in page
    assert len(code.splitlines()) < 40


HEALTHY = [
    *rules("check", lambda: CHECK.MY101),
    *rules("gate", lambda: GATE.helps_where_copying_fails),
    *rules("metric", lambda: METRIC.success_at_3),
    *rules("metric", lambda: METRIC.EFFORT),
    *rules("metric", lambda: METRIC.SUCCESS),
    *rules("index", INDEX.Hyperplanes),
]


@pytest.mark.parametrize("rule", HEALTHY, ids=lambda rule: f"{rule.kind}-{rule}")
def test_examples_keep_every_rule(rule):
    rule()


def broken(kind, make):
    """Return the names of the rules that a part breaks; each message begins with the rule's name."""
    found = {}
    for rule in rules(kind, make):
        try:
            rule()
        except AssertionError as error:
            found[str(rule)] = str(error)
    assert all(said.startswith(f"{name}: ") for name, said in found.items())
    return set(found)


@pytest.mark.parametrize("name", [str(rule) for rule in rules("corpus", None)])
def test_the_reader_of_the_page_keeps_the_rule(name, talks):
    (rule,) = [rule for rule in rules("corpus", talks) if str(rule) == name]
    rule()


def test_the_reader_of_the_page_yields_the_talks(talks):
    assert [item.id for item in talks().read() if isinstance(item, Document)] == ["talk-0", "talk-1", "talk-2"]


def reader(*items):
    return lambda: lambda: iter(items)


def test_broken_readers():
    one, two = Document("a", "", ("One.",)), Document("b", "", ("Two.",))
    assert broken("corpus", reader(one, two)) == set()
    assert broken("corpus", reader(one, one)) == {"ids-are-unique"}
    assert broken("corpus", reader(Document("a", "", ()))) == {"documents"}
    assert "documents" in broken("corpus", reader("One."))
    assert "text-can-be-stored" in broken("corpus", reader(Document("a", "", ("\ud800",))))

    def read_once():
        items = iter([one, two])
        return lambda: items

    assert broken("corpus", read_once) == {"same-documents-again", "readings-are-independent"}

    class Shared:
        def __init__(self):
            self.place = 0

        def read(self):
            while self.place < 2:
                self.place += 1
                yield (one, two)[self.place - 1]
            self.place = 0

    assert broken("corpus", Shared) == {"readings-are-independent"}


@pytest.mark.parametrize(
    ("function", "rule"),
    [
        (lambda ranks: (ranks <= 3).mean(), "one-number-per-window"),
        (lambda ranks: 1 / (ranks - 1.0), "one-number-per-window"),
        (lambda ranks: -ranks / ranks.max(), "same-values-alone-and-in-a-batch"),
        (lambda ranks: np.random.default_rng().random(len(ranks)), "same-values-again"),
        (lambda ranks: ranks.sort() or -ranks.astype(float), "ranks-are-kept"),
        (lambda ranks: ranks.astype(float), "better-ranks-are-not-worse"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_broken_metrics(function, rule):
    assert rule in broken("metric", lambda: function)


def test_limits_and_direction_of_a_metric_are_rules():
    assert broken("metric", lambda: Metric(lambda ranks: 2.0 / ranks, limits=(0, 1))) == {"within-its-limits"}
    assert broken("metric", lambda: Metric(lambda ranks: ranks * 1.0, larger_is_better=False)) == set()


def gate(decide):
    return broken("gate", lambda: decide)


def test_broken_gates():
    good = GATE.helps_where_copying_fails
    assert gate(lambda option, others: "pass") >= {"a-decision"}
    assert gate(lambda option, others: Decision("passed", "yes")) >= {"a-decision"}
    assert gate(lambda option, others: Decision("pass", "")) >= {"a-decision"}
    assert gate(lambda option, others: Decision("pass", "yes", float("nan"))) >= {"a-decision"}
    against = lambda option, others: good(option, {"copy-last": others["copy-last"]})  # noqa: E731
    assert gate(against) == {"other-options-may-be-missing"}
    cosine = lambda option, others: Decision("pass", "yes", float(option.values["cosine"].mean()))  # noqa: E731
    assert gate(cosine) == {"metrics-may-be-missing"}

    def paired(option, others):
        difference = [float((option.ranks - other.ranks).mean()) for other in others.values()]
        return Decision("fail", "compared", max(difference, default=0.0))

    assert gate(paired) == {"other-windows-are-no-evidence"}
    noise = np.random.default_rng(0)
    assert gate(lambda option, others: Decision("pass", "yes", noise.random())) == {"same-decision-again"}
    sorts = lambda option, others: option.ranks.sort() or Decision("pass", "yes")  # noqa: E731
    assert "measurements-are-kept" in gate(sorts)


def test_a_gate_that_divides_by_the_spread_of_documents_is_found():
    def decide(option, others):
        means = [option.ranks[option.groups == group].mean() for group in np.unique(option.groups)]
        return Decision("pass", "yes", float(np.mean(means) / len(means[1:]) * 1.0))

    assert gate(decide) == {"one-document-is-enough-to-run"}


def check(**changes):
    return broken("check", lambda: dataclasses.replace(CHECK.MY101, **changes))


def test_broken_checks():
    passed = Verdict("passed", "Nothing.")
    assert check(code="SG101") >= {"code"}
    assert check(code="mine") >= {"code"}
    assert check(title=" ") == {"words"}
    assert check(needs=()) == {"needs-are-declared", "verdict-is-json"}  # it divides by the number of test documents
    assert check(needs=("window",)) >= {"needs-are-declared"}
    assert check(examine=lambda case: True) >= {"needs-are-declared"}
    assert check(examine=lambda case: Verdict("passed", "", details={"ids": np.arange(3)})) == {"verdict-is-json"}
    noise = np.random.default_rng(0)
    assert check(examine=lambda case: Verdict("passed", "", noise.random())) == {"same-verdict-again"}

    def spoils(case):
        case.folds[0].test.target[0] -= 1
        return passed

    assert check(examine=spoils) == {"case-is-kept"}


class Broken(INDEX.Hyperplanes):
    """An engine that breaks one rule, by its name."""

    how, made = "", iter(range(600))

    def __init__(self, vectors):
        super().__init__(vectors)
        self.number = next(self.made)

    def search(self, queries, count, *, flips):
        if self.how == "queries-are-kept":
            queries *= 2
        found = super().search(queries, count, flips=flips)
        if self.how == "no-member-twice":
            found[:, 1] = found[:, 0]
        if self.how == "members-or-minus-one":
            found[found < 0] = len(self.vectors)
        if self.how == "same-members-alone-and-in-a-batch" and len(queries) > 1:
            found = found[::-1].copy()
        if self.how == "same-members-again":
            found[:, 0] = self.number
        return found[:, : min(count, 100)] if self.how == "all-members-can-be-requested" else found

    def efforts(self):
        if self.how == "the-greatest-effort-finds-the-nearest":
            return [{"flips": 0}]
        return super().efforts()[::-1] if self.how == "efforts-rise" else super().efforts()


@pytest.mark.parametrize("how", [str(rule) for rule in rules("index", INDEX.Hyperplanes) if "saved" not in str(rule)])
def test_broken_engines(how):
    assert how in broken("index", type("OneBroken", (Broken,), {"how": how}))


def test_an_engine_that_saves_itself_has_to_find_the_same():
    class Forgets(INDEX.Hyperplanes):
        def save(self, folder):
            (folder / "empty").write_text("")

        @classmethod
        def load(cls, folder, vectors):
            return cls(vectors[::-1].copy())

    assert broken("index", Forgets) == {"saved-and-loaded-it-finds-the-same"}
    half = type("Half", (INDEX.Hyperplanes,), {"save": lambda self, folder: None})
    assert broken("index", half) == {"saved-and-loaded-it-finds-the-same"}
