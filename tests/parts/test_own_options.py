"""Own parts in a comparison: from Python and from a recipe, in table, report, audit and bundle."""

import json
import sys

import numpy as np
import pytest
from encoder import HashedWords
from installed import install
from loss import SmoothedInfoNCE
from model import Convolution
from own_world import QUICK, write_corpus
from reranker import NearTheTopic
from retriever import RareWords, last_two
from torch import nn

import segue
from segue.errors import InputError, SettingsError
from segue.files import read_json
from segue.parts import as_in_another_process
from segue.recipe import parse_recipe
from segue.retrieval.own import OwnPart
from segue.retrieval.saving import PartWriter
from segue.workflows.prepare import require_own_parts


class Learns:
    """Adds the mean step from passage to passage, which it learns."""

    def fit(self, bank, windows):
        self.step = (bank.gather(windows.target) - bank.gather(windows.context[:, -1])).mean(axis=0)

    def query(self, contexts):
        return contexts.vectors[:, -1] + self.step

    def save(self, folder):
        np.save(folder / "step.npy", self.step)

    @classmethod
    def load(cls, folder):
        found = cls()
        found.step = np.load(folder / "step.npy")
        return found


def narrow(dimension, context) -> nn.Module:
    return Convolution(dimension, context, width=8)


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bank")
    recipe = {"corpus": write_corpus(folder), "bank": {"path": str(folder / "bank")}}
    return segue.build_bank(recipe, encoder=HashedWords(64))


@pytest.fixture(scope="module")
def comparison(bank, tmp_path_factory, quick_comparisons):
    """One comparison that serves all tests of parts from Python."""
    return segue.compare(
        bank,
        out=tmp_path_factory.mktemp("own") / "run",
        encoder=HashedWords(64),
        retrievers={"rare-words": RareWords(2.0), "last-two": last_two, "learns": Learns},
        rerankers={"topic": NearTheTopic(0.3), "of-words": {"part": NearTheTopic(0.3), "first": "rare-words"}},
        models={"convolution": Convolution, "function": narrow},
        losses={"smoothed": SmoothedInfoNCE(0.05)},
        **QUICK,
    )


OWN = {
    "rare-words": "own", "last-two": "own", "learns": "own", "topic": "rerank", "of-words": "rerank",
    "convolution": "architecture", "function": "architecture", "smoothed": "loss",
}  # fmt: skip


def test_own_parts_are_candidates_like_every_other(comparison):
    entries = {entry.name: entry for entry in comparison.record.entries}
    assert {name: entries[name].family for name in OWN} == OWN
    assert {entries[name].status for name in OWN} <= {"done", "under-trained"}
    assert {entries[name].intent for name in OWN} == {"candidate"}
    assert comparison.record.blocked == ()


def test_a_comparison_of_which_no_own_model_was_measured_says_so(comparison):
    assert comparison.nothing_trained is None
    names = ("convolution", "copy-last")
    failed = {"status": "failed", "reason": "it fell", "metrics": {}}
    entries = [
        comparison.record.entry(name).model_copy(update=failed if name == "convolution" else {}) for name in names
    ]
    record = comparison.record.model_copy(update={"entries": tuple(entries)})
    assert segue.Comparison(comparison.path, record).nothing_trained == "convolution: failed: it fell"


def test_the_numbers_are_those_of_the_parts(comparison):
    """A function that answers as a baseline has its numbers; what reads rare words beats what reads no words."""
    assert comparison.metric("rare-words", "R@5") > comparison.metric("copy-last", "R@5")
    assert comparison.metric("of-words", "R@5") > comparison.metric("topic", "R@5")
    assert comparison.metric("encoder-context", "R@5") is not None


def test_own_parts_are_in_table_report_and_json(comparison):
    report = comparison.report.read_text(encoding="utf-8")
    assert "Your own retrievers" in report
    for name in OWN:
        assert name in str(comparison)
        assert name in report
    assert "hashed-words" in report
    assert "encoder-context" in str(comparison)
    assert set(OWN) <= {option["name"] for option in comparison.to_json()["options"]}


def test_the_run_keeps_import_paths_and_options(comparison):
    recipe = read_json(comparison.path / "recipe.json")
    assert recipe["encoder"]["name"] == "encoder:HashedWords"
    assert recipe["encoder"]["options"] == {"dimension": 64}
    assert recipe["retrievers"]["rare-words"] | {"description": ""} == {
        "part": "retriever:RareWords", "options": {"power": 2.0}, "description": ""}  # fmt: skip
    assert recipe["retrievers"]["last-two"]["part"] == "retriever:last_two"
    assert recipe["models"]["convolution"]["name"] == "model:Convolution"


def test_a_later_audit_makes_them_again(comparison):
    with as_in_another_process():
        audit = segue.audit(comparison.path)
    assert audit.blocked == []
    outcomes = {finding.code: finding.outcome for finding in audit.findings}
    assert [outcomes[code] for code in ("SG107", "SG108", "SG109", "SG112", "SG118")] == ["passed"] * 5


@pytest.mark.parametrize(
    ("option", "parts"),
    [
        ("rare-words", {"retriever:RareWords"}),
        ("learns", {f"{__name__}:Learns"}),
        ("of-words", {"reranker:NearTheTopic", "retriever:RareWords"}),
        ("convolution", {"model:Convolution"}),
        ("function", {f"{__name__}:narrow"}),
        ("smoothed", set()),  # the loss is not needed to answer
    ],
)
def test_a_bundle_answers_as_the_run_and_lists_the_parts_it_needs(option, parts, comparison, bank, tmp_path):
    built = segue.bundle(comparison.path, tmp_path / "bundle", option=option)
    contract = read_json(built.path / "bundle.json")
    assert {own["part"] for own in contract["parts"]} == parts | {"encoder:HashedWords"}
    assert "Needs parts of your own" in (built.path / "README.md").read_text(encoding="utf-8")
    with as_in_another_process():  # loading answers the golden queries again
        answer = segue.load(built.path).next(ids=bank.passage_ids(np.arange(3)), k=3)
    assert len(list(answer)) == 3


@pytest.mark.parametrize(
    ("option", "kind", "part"),
    [
        ("rare-words", "retriever", "retriever:RareWords"),
        ("of-words", "reranker", "reranker:NearTheTopic"),
        ("convolution", "model", "model:Convolution"),
        ("last-two", "encoder", "encoder:HashedWords"),
    ],
)
def test_a_bundle_without_one_of_its_parts_is_refused_by_its_name(
    option, kind, part, comparison, tmp_path, monkeypatch
):
    segue.bundle(comparison.path, tmp_path / "bundle", option=option)
    monkeypatch.setitem(sys.modules, kind, None)
    with as_in_another_process():
        with pytest.raises(SettingsError, match=f"{kind} '{part}' cannot be imported: got ModuleNotFoundError"):
            segue.load(tmp_path / "bundle")
        if kind == "model":  # the checkpoint of the run is opened, too
            with pytest.raises(SettingsError, match=f"{kind} '{part}' cannot be imported"):
                segue.bundle(comparison.path, tmp_path / "again", option=option)
            assert not (tmp_path / "again").exists()


def test_another_part_under_a_name_of_the_run_is_refused(comparison, bank):
    with pytest.raises(InputError, match=r"changes in \[retrievers.rare-words\]"):
        segue.compare(bank, out=comparison.path, encoder=HashedWords(64), retrievers={"rare-words": last_two}, **QUICK)


PACKAGE = """
import numpy as np


class Newest:
    def query(self, contexts):
        return contexts.vectors[:, -1]


def first_score(contexts, candidates, bank):
    return candidates.first


def angle(prediction, target):
    return 1 - (prediction * target).sum(dim=-1).mean()
"""


@pytest.mark.usefixtures("quick_comparisons")
def test_a_recipe_names_parts_by_import_path_and_by_entry_point(tmp_path, monkeypatch):
    install(tmp_path / "site", monkeypatch, PACKAGE, module="own_package", retrievers={"newest": "Newest"},
            rerankers={"as-drawn": "first_score"}, losses={"angle": "angle"},
            encoders={"hashed": "HashedWords"}, models={"convolution": "Convolution"})  # fmt: skip
    module = tmp_path / "site" / "own_package.py"
    examples = "from encoder import HashedWords\nfrom model import Convolution\n"
    module.write_text(examples + PACKAGE, encoding="utf-8")
    tables = {
        "corpus": write_corpus(tmp_path, documents=24),
        "bank": {"path": str(tmp_path / "bank")},
        "encoder": {"name": "hashed", "options": {"dimension": 48}},
        "retrievers": {"one": "newest", "two": "retriever:last_two"},
        "rerankers": {"three": {"part": "as-drawn", "first": "one"}, "four": "reranker:NearTheTopic"},
        "models": {"five": {"name": "convolution", "options": {"width": 8}}, "six": "model:Convolution"},
        "losses": {"seven": "angle", "eight": {"terms": [{"kind": "loss:SmoothedInfoNCE"}, {"kind": "mse"}]}},
        **QUICK,
        "triage": {"options": ["one", "five"], "budget_minutes": 3},
    }
    record = segue.triage(json.loads(json.dumps(tables)), tmp_path / "run").record
    entries = {entry.name: entry for entry in record.entries}
    names = ("one", "two", "three", "four", "five", "six", "seven", "eight")
    assert {entries[name].status for name in names} <= {"done", "under-trained"}, [entries[n].reason for n in names]
    for metric in ("R@5", "MRR"):
        assert entries["one"].value(metric) == entries["three"].value(metric) == entries["copy-last"].value(metric)
    assert entries["eight"].training.loss == "1 SmoothedInfoNCE + 1 MSE"
    assert segue.load(segue.bundle(tmp_path / "run", tmp_path / "bundle", option="three").path).bundle.contract[
        "parts"] == [{"kind": "retriever", "part": "newest"}, {"kind": "reranker", "part": "as-drawn"},
                     {"kind": "encoder", "part": "hashed"}]  # fmt: skip
    assert "own_package" in sys.modules


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"retrievers": {"bm25": "a:b"}}, "cannot have the name 'bm25'"),
        ({"retrievers": {"x": "a:b"}, "models": {"x": "a:b"}}, "cannot have the name 'x'"),
        ({"rerankers": {"x": {"part": "a:b", "first": "infonce"}}}, "x has no such first stage: got 'infonce'"),
        ({"retrievers": {"x": {"prat": "a:b"}}}, r"\[retrievers\] x.prat: unknown key; did you mean 'part'"),
        ({"retrievers": {"x": "a:b"}, "tuning": {"options": ["x"]}}, "nothing to tune: got x"),
        ({"models": {"xyz": "a:b"}, "tuning": {"options": ["xy"]}}, r"unknown options: got 'xy' \(nearest: 'xyz'\)"),
        ({"losses": {"x": "ar-cosin"}}, "unknown kind: got 'ar-cosin'.*write 'ar-cosine'"),
        ({"models": {"x": "gur"}}, "unknown architecture: got 'gur'"),
        ({"retrievers": 3}, "valid dictionary"),
    ],
)
def test_wrong_tables_are_one_clear_error(tables, message, bank):
    with pytest.raises(SettingsError, match=message):
        segue.compare(bank, **tables)


@pytest.mark.parametrize(
    ("kind", "tables"),
    [
        ("retriever", {"retrievers": {"x": "retriever:Missing"}}),
        ("reranker", {"rerankers": {"x": "reranker:Missing"}}),
        ("model", {"models": {"x": "model:Missing"}}),
        ("model", {"model": {"name": "model:Missing"}}),
        ("loss", {"losses": {"x": "loss:Missing"}}),
        ("loss", {"loss": {"terms": [{"kind": "loss:Missing"}]}}),
    ],
)
def test_a_part_that_cannot_be_imported_is_refused_before_any_work(kind, tables):
    recipe = parse_recipe({"corpus": {"kind": "wikipedia-dump"}, **tables})
    with pytest.raises(SettingsError, match=f"{kind} '{kind}:Missing' cannot be imported: got AttributeError"):
        require_own_parts(recipe)


@pytest.mark.parametrize("path", ["__main__:Mine", "__given__:Mine_1"])
def test_a_part_of_one_program_alone_is_not_put_into_a_bundle(path, tmp_path):
    part = OwnPart("retriever", "mine", path, {}, last_two)
    with pytest.raises(InputError, match="a bundle cannot hold the retriever mine"):
        part.save(PartWriter(tmp_path, None, None, lambda: np.zeros(0), None))


def divide(*given, **named):
    return 1 / 0


def test_a_part_that_cannot_be_used_or_made_again_is_named_with_the_reason(bank, quick_comparisons, tmp_path):
    wrong = {"shape": lambda c: np.zeros((len(c), 3)), "nothing": "retriever:np", "divides": divide}
    here = {"here": lambda contexts: contexts.vectors[:, -1]}
    models = {
        "net": Convolution(64, 3, width=8),
        "lambda": lambda dimension, context: Convolution(dimension, context, width=4),
    }
    run = segue.compare(bank, out=tmp_path / "run", encoder=HashedWords(64), retrievers=wrong | here, models=models,
                        rerankers={"orders": divide}, losses={"sums": divide}, **QUICK)  # fmt: skip
    reasons = {entry.name: entry.reason for entry in run.record.entries}
    for name in ("divides", "orders", "sums"):
        assert "failed: got ZeroDivisionError: division by zero" in reasons[name]
    assert "returned a wrong array: got shape" in reasons["shape"]
    assert "without query() and scores()" in reasons["nothing"]
    assert run.metric("here", "R@5") == run.metric("copy-last", "R@5")
    assert {run.record.entry(name).status for name in models} <= {"done", "under-trained"}
    with pytest.raises(InputError, match="hold the retriever here: got a part that only the process it was given to"):
        segue.bundle(tmp_path / "run", tmp_path / "bundle", option="here")
    assert not (tmp_path / "bundle").exists()
    message = (
        r"retriever '__given__:lambda_\w+' cannot be made: got a part that was given from Python to another process"
    )
    with as_in_another_process(), pytest.raises(SettingsError, match=message):
        segue.audit(tmp_path / "run")
