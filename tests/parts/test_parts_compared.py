"""Parts of one's own in comparisons: from Python as objects, from a recipe by import path and by entry point."""

import json
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
from command_line import run as command
from fake_encoder import HashEncoder
from installed import install
from own_world import write_talks
from part_examples import EXAMPLES, example

import segue
from recipes import write_recipe
from segue.bundles.files import CARD, CONTRACT, GATES
from segue.checks import Verdict
from segue.errors import BlockedError, InputError, SettingsError
from segue.evaluation.own_metrics import Metric
from segue.ranking.exact import top_k
from segue.retrieval.index.store import load_index
from segue.types import Document
from segue.workflows.check_record import CheckPolicy

CHECK, GATE, METRIC, CORPUS, INDEX = (example(name) for name in ("check", "gate", "metric", "corpus", "index"))
SMALL = {"windows": {"context": 3}, "split": {"test": 0.3, "validation": 0.2}, "passages": {"target_characters": 80},
         "triage": {"options": ["copy-last", "mean", "chance"]}}  # fmt: skip
QUICK = {"resamples": 200, "latency_queries": 5, "run_depth": 10}
EITHER = {"name": "either", "any_of": [{"metric": "success at 3", "at_least": 0.9}]}


def hashed(texts):
    """Return twice the vectors of the tests' encoder; an encoder that is a function need not know of lengths."""
    return 2 * HashEncoder().encode(texts)


@pytest.fixture(scope="module")
def from_python(tmp_path_factory):
    """A comparison whose parts are objects, and its folder."""
    folder = tmp_path_factory.mktemp("objects")
    talks = CORPUS.Talks(str(write_talks(folder / "talks")))
    tables = {
        "corpus": {"kind": "custom", "reader": talks}, "bank": {"path": str(folder / "bank")},
        "encoder": hashed, **SMALL,
        "evaluation": {**QUICK, "metrics": {"success at 3": METRIC.SUCCESS, "log rank": METRIC.log_rank,
                                            "effort": METRIC.EFFORT}},
        "gates": [EITHER, {"name": "hard windows", "decide": GATE.helps_where_copying_fails, "source": "our contract"},
                  {"name": "fails itself", "decide": lambda option, others: 1 / 0}],
        "checks": {"own": [CHECK.MY101, RAISES]},
    }  # fmt: skip
    return segue.triage(tables, folder / "run"), folder


def _raises(case):
    raise KeyError("publisher")


RAISES = type(CHECK.MY101)("MY201", "Raises", "Does it raise?", "It does.", "", "", "correct it", "", _raises)


def ranks_of(comparison, option="copy-last"):
    frame = comparison.to_pandas(per="window")
    return frame[frame["entry"] == option]["rank"].to_numpy()


def test_metrics_are_means_over_windows_with_intervals_everywhere(from_python):
    comparison, folder = from_python
    ranks = ranks_of(comparison)
    assert comparison.metric("copy-last", "success at 3") == pytest.approx((ranks <= 3).mean())
    assert comparison.metric("copy-last", "effort") == pytest.approx(np.log2(ranks).mean())
    assert comparison.metric("copy-last", "log rank") == comparison.metric("copy-last", "effort")
    found = comparison.record.entry("mean").metrics["effort"]
    assert found.low < found.value < found.high
    frame = comparison.to_pandas().set_index("name")
    assert frame.loc["mean", "effort low"] == found.low
    public = json.loads((folder / "run" / "report.json").read_text())
    (mean,) = [option for option in public["options"] if option["name"] == "mean"]
    assert mean["metrics"]["effort"] == {"value": found.value, "low": found.low, "high": found.high}
    again = segue.Comparison.open(folder / "run")
    assert again.metric("mean", "effort") == found.value
    assert again.record.own_metrics["effort"].larger_is_better is False


def test_metrics_are_columns_of_the_wide_table_and_of_the_report(from_python, capsys):
    _, folder = from_python
    assert command("report", str(folder / "run"), "--wide") == 0
    head = capsys.readouterr().out.splitlines()[0]
    assert "success at 3" in head
    assert "effort" in head
    page = text_of(folder / "run" / "report.html")
    assert "effort" in page
    assert "halvings left to search" in page


def text_of(path):
    reader, parts = HTMLParser(), []
    reader.handle_data = parts.append
    reader.feed(path.read_text(encoding="utf-8"))
    return " ".join(" ".join(parts).split())


def test_gates_judge_own_metrics_and_own_gates_stand_beside_them(from_python):
    comparison, folder = from_python
    gates = {gate.name: gate for gate in comparison.record.gates}
    assert gates["either"].outcome == "fail"
    assert gates["either"].value == comparison.metric(comparison.winner, "success at 3")
    hard = gates["hard windows"]
    assert "windows that copying ranks below 10" in hard.reason
    assert (hard.threshold, hard.source, hard.candidate) == (0.05, "our contract", comparison.winner)
    copied, ranks = ranks_of(comparison) > 10, ranks_of(comparison, comparison.winner)
    assert hard.value == pytest.approx((ranks[copied] <= 10).mean())
    broken = gates["fails itself"]
    assert (broken.outcome, broken.threshold) == ("not-enough-evidence", None)
    assert broken.reason == "the gate failed: ZeroDivisionError: division by zero"
    assert "hard windows" in text_of(folder / "run" / "report.html")
    assert "hard windows" in str(comparison)


def test_checks_of_ones_own_run_with_the_others(from_python):
    comparison, folder = from_python
    (mine,) = [found for found in comparison.record.audit if found.code == "MY101"]
    assert (mine.outcome, mine.measured, mine.details) == ("passed", 0.0, {"documents": []})
    (raises,) = [found for found in comparison.record.diagnosis if found.code == "MY201"]
    assert raises.outcome == "skipped"
    assert raises.statement == "the check itself failed: KeyError: 'publisher'"
    assert "Published texts only" in text_of(folder / "run" / "report.html")


def test_a_function_is_the_encoder_of_bank_and_comparison(from_python):
    comparison, folder = from_python
    bank = segue.PassageBank.open(folder / "bank")
    some = np.arange(3)
    np.testing.assert_allclose(bank.gather(some), HashEncoder().encode(bank.texts(some)), atol=1e-6)
    assert json.loads((folder / "run" / "recipe.json").read_text())["encoder"]["name"] == f"{__name__}:hashed"
    assert comparison.record.encoder.encoder == f"{__name__}:hashed"
    assert f"{__name__}:hashed" in text_of(folder / "run" / "report.html")


def test_the_corpus_is_named_and_what_it_left_out_is_counted(from_python):
    comparison, folder = from_python
    assert comparison.record.corpus.documents == 20
    assert comparison.record.corpus.skipped == {"fewer than 2 turns": 1}
    recipe = json.loads((folder / "run" / "recipe.json").read_text())
    assert recipe["corpus"]["reader"] == "example_corpus:Talks"
    assert recipe["corpus"]["options"] == {"folder": str(folder / "talks"), "minimum_turns": 2}
    assert recipe["evaluation"]["metrics"]["effort"] == "example_metric:EFFORT"
    assert recipe["checks"]["own"][0] == "example_check:MY101"


def test_an_audit_of_the_run_runs_them_too_and_others_may_be_given(from_python):
    _, folder = from_python
    found = {finding.code: finding.outcome for finding in segue.audit(folder / "run").findings}
    assert found["MY101"] == "passed"
    assert "MY201" not in found  # diagnosis
    blocks = _with(CHECK.MY101, lambda case: Verdict("issue", "It is wrong."))
    run = shutil.copytree(folder / "run", folder / "other")
    audit = segue.audit(run, checks=[blocks])
    assert audit.blocked == ["MY101"]
    opened = segue.Comparison.open(run)
    assert opened.record.refused
    assert [(cause.name, cause.fix) for cause in opened.record.causes] == [("my101", CHECK.MY101.fix)]
    assert "MY101" in text_of(run / "report.html")
    found = segue.diagnose(run, checks=[_with(RAISES, lambda case: Verdict("tip", "Look here."))], fast=True)
    assert found.findings[-1].statement == "Look here."


def _with(check, examine):
    return type(check)(**{**vars(check), "examine": examine})


def test_a_muted_check_of_ones_own_is_not_run(from_python):
    bank = from_python[1] / "bank"
    assert segue.audit(bank, checks=[CHECK.MY101], mute=["MY101"]).findings[-1].outcome == "muted"
    with pytest.raises(SettingsError, match="no check has this code: got MY102"):
        segue.audit(bank, checks=[CHECK.MY101], mute=["MY102"])
    CheckPolicy(mute=("MY102",))  # which checks there are is known when a recipe is


def test_an_own_check_of_the_data_blocks_before_anything_is_trained(from_python, tmp_path):
    _, folder = from_python
    bank = segue.PassageBank.open(folder / "bank")
    blocks = _with(CHECK.MY101, lambda case: Verdict("issue", "It is wrong."))
    with pytest.raises(BlockedError, match=r"MY101.*It is wrong.*leave drafts"):
        segue.compare(bank, ["copy-last"], windows={"context": 3}, checks={"own": [blocks]}, out=tmp_path / "run")


@pytest.fixture(scope="module")
def from_recipe(tmp_path_factory):
    """A comparison whose parts are named in a recipe: some beside it, some of an installed package; and its folder."""
    folder = tmp_path_factory.mktemp("names")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("check", "metric"):
            shutil.copy(EXAMPLES / f"{name}.py", folder / f"my_{name}.py")
        code = "".join((EXAMPLES / f"{name}.py").read_text() for name in ("corpus", "gate", "check", "metric", "index"))
        code = code.replace("from __future__ import annotations\n", "").replace("MY101", "OUR101")
        install(folder / "site", patch, code, module="their_parts", corpora={"talks": "Talks"},
                gates={"hard": "helps_where_copying_fails"}, checks={"published": "OUR101"},
                metrics={"effort": "EFFORT"}, indexes={"planes": "Hyperplanes"})  # fmt: skip
        recipe = write_recipe(
            folder, corpus={"kind": "custom", "reader": "talks", "options": {"folder": str(write_talks(folder / "t"))}},
            encoder={"name": "fake_encoder:HashEncoder"}, **SMALL,
            evaluation={"metrics": {"effort": "effort", "success-at-3": "my_metric:SUCCESS"}},
            checks={"own": ["my_check:MY101", "published"]},
        )  # fmt: skip
        with recipe.open("a") as file:
            file.write('\n[[gates]]\nname = "hard windows"\ndecide = "hard"\n')
        yield segue.triage(recipe, folder / "run"), folder


def test_parts_of_a_recipe_are_found_beside_it_and_installed(from_recipe, from_python):
    comparison, folder = from_recipe
    record = comparison.record
    assert (record.corpus.name, record.corpus.documents) == ("talks", 20)
    assert [found.outcome for found in record.audit if not found.code.startswith("SG")] == ["passed", "passed"]
    assert [gate.outcome for gate in record.gates] == [from_python[0].record.gates[1].outcome]
    ranks = ranks_of(comparison)
    assert comparison.metric("copy-last", "effort") == pytest.approx(np.log2(ranks).mean())
    assert comparison.metric("copy-last", "success-at-3") == pytest.approx((ranks <= 3).mean())
    page = text_of(folder / "run" / "report.html")
    for words in ("talks", "OUR101", "hard windows", "halvings left"):
        assert words in page


@pytest.mark.parametrize("kind", ["planes", "example_index:Hyperplanes"])
def test_an_index_of_ones_own_is_built_by_its_name_or_import_path(kind, from_recipe, tmp_path, capsys):
    words = ("index", "build", str(from_recipe[1] / "bank"), "--out", str(tmp_path / "index"), "--kind", kind, "--json")
    assert command(*words) == 0
    assert json.loads(capsys.readouterr().out)["kind"] == kind


def test_an_index_of_ones_own_is_built_tuned_bundled_and_opened_again(from_recipe, capsys):
    _, folder = from_recipe
    bank, index = str(folder / "bank"), str(folder / "index")
    assert command("index", "build", bank, "--out", index, "--kind", "planes", "--json") == 0
    assert json.loads(capsys.readouterr().out)["kind"] == "planes"
    queries = segue.PassageBank.open(bank).gather(np.arange(60))
    np.save(folder / "queries.npy", queries)
    how = ("--queries", str(folder / "queries.npy"), "--recall", "0.9", "-k", "5", "--json")
    assert command("index", "tune", index, bank, *how) == 0
    tuned = json.loads(capsys.readouterr().out)
    assert tuned["confirmed_recall"] >= 0.8
    assert json.loads((folder / "index" / "index.json").read_text())["effort"] == tuned["chosen"]["effort"]
    segue.bundle(folder / "run", folder / "bundle", option="copy-last", index=index)
    with_index, texts = segue.load(folder / "bundle"), ["What was read.", "And then that."]
    contract = json.loads((folder / "bundle" / CONTRACT).read_text())
    assert contract["index"]["kind"] == "planes"
    assert {"kind": "index", "part": "planes"} in contract["parts"]
    assert (contract["corpus"]["kind"], contract["corpus"]["name"]) == ("custom", "talks")
    card = (folder / "bundle" / CARD).read_text()
    for words in ("| effort |", "hard windows", "`planes` (index)"):
        assert words in card
    stated = json.loads((folder / "bundle" / GATES).read_text())
    assert {"MY101", "OUR101"} <= {found["code"] for found in stated["checks"]}
    answers = with_index.next(passages=texts, k=3)
    segue.bundle(folder / "run", folder / "exact", option="copy-last")
    exact = segue.load(folder / "exact").next(passages=texts, k=3)
    assert answers[0].score <= exact[0].score + 1e-6
    with pytest.raises(InputError, match="expected a kind of graph, inverted-lists, lance, or an import path"):
        segue.index_bank(bank, folder / "other", kind="plane")


class _Deep:
    """Finds the member of one number, whatever the query."""

    def __init__(self, vectors, depth=0, places=1):
        self.depth, self.places = depth, places

    def search(self, queries, count):
        return np.full((len(queries), count), self.depth)


class _Bare(_Deep):
    def __init__(self, vectors, depth):
        pass


def test_an_engine_from_python_is_made_again_with_its_arguments(from_python, tmp_path):
    """It was made with other vectors than the bank's."""
    bank = segue.PassageBank.open(from_python[1] / "bank")
    index = segue.index_bank(bank.path, tmp_path / "index", kind=_Deep(np.eye(4, dtype=np.float32), depth=7), places=3)
    assert index.engine.settings.options == {"depth": 7, "places": 3}
    again, nothing = load_index(tmp_path / "index", index.pool), np.empty((5, 0), dtype=np.int64)
    found = again.search(bank.gather(np.arange(5)), 3, exclude=nothing)
    assert found.rows[:, 0].tolist() == index.pool.members[[7] * 5].tolist()
    with pytest.raises(InputError, match=r"engine .*_Bare cannot be made again: got arguments that are not its attrib"):
        segue.index_bank(bank.path, tmp_path / "other", kind=_Bare(np.eye(4), depth=1))


def test_an_index_from_python_follows_the_ranking_rule(from_python):
    bank = segue.PassageBank.open(from_python[1] / "bank")
    index = segue.index_bank(bank.path, from_python[1] / "index", kind=INDEX.Hyperplanes, planes=4)
    assert index.facts()["kind"] == "example_index:Hyperplanes"
    pool, rows = index.pool, np.arange(0, 200, 10)
    exclude = np.stack([rows, rows + 1], axis=1)
    found = index.search(bank.gather(rows), 8, exclude=exclude)
    wanted = top_k(bank.gather(rows), pool, 8, exclude=exclude)
    assert np.array_equal(found.rows, wanted.rows)  # until it is tuned, it looks at everything
    np.testing.assert_allclose(found.scores, wanted.scores, atol=1e-6)
    again = load_index(from_python[1] / "index", pool)
    assert again.engine.settings.options == {"planes": 4}
    assert np.array_equal(again.search(bank.gather(rows), 8, exclude=exclude).rows, wanted.rows)


class _Bad:
    def __init__(self, vectors, found=None):
        self.found = found

    def search(self, queries, count):
        if self.found is None:
            raise RuntimeError("no device")
        return np.full((len(queries), count), self.found)


class _Unsaved(_Bad):
    @classmethod
    def load(cls, folder, vectors):
        return cls(vectors)


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        ("example_index:np", {}, "example_index:np is no engine"),
        ("example_index:Gone", {}, "cannot be imported"),
        (INDEX.Hyperplanes, {"plane": 3}, "cannot be made: got TypeError"),
        (_Unsaved, {}, r"cannot be kept: got load\(\) alone"),
        (_Bad, {}, "fails: got RuntimeError: no device"),
        (_Bad, {"found": 0.5}, r"fails: got float64 \[1, \d+\], expected integers"),
        (_Bad, {"found": 10_000}, "fails: got members 10000 to 10000, expected -1, or 0 to"),
    ],
)
def test_wrong_engines_are_refused_with_the_reason(kind, options, said, from_python, tmp_path):
    bank = segue.PassageBank.open(from_python[1] / "bank")
    with pytest.raises(segue.SegueError, match=said):
        segue.index_bank(bank.path, tmp_path / "index", kind=kind, **options).search(
            bank.gather(np.array([0])), 3, exclude=np.empty((1, 0), dtype=np.int64)
        )


SHORT = {"target_characters": 40, "minimum_characters": 1}
DOCUMENTS = [("a", "One. Two.\n\nThree."), {"id": "b", "text": "Four."}, {"id": "c", "paragraphs": ["Five.", "Six."]},
             Document("d", "", ("Seven.",))]  # fmt: skip


@pytest.mark.parametrize("given", [DOCUMENTS, tuple(DOCUMENTS), "iterator", "function"])
def test_documents_from_python_become_a_bank(given, tmp_path):
    documents = {"iterator": iter(DOCUMENTS), "function": lambda: iter(DOCUMENTS)}.get(given, given) if isinstance(
        given, str) else given  # fmt: skip
    bank = segue.build_bank(documents=documents, out=tmp_path / "bank", encoder={"name": "fake_encoder:HashEncoder"},
                            passages=SHORT)  # fmt: skip
    assert bank.document_ids == ["a", "b", "c", "d"]
    assert " ".join(bank.texts(np.arange(len(bank)))) == "One. Two. Three. Four. Five. Six. Seven."


def test_a_folder_is_not_taken_for_a_bank_of_other_documents(tmp_path):
    how = {"out": tmp_path / "bank", "encoder": {"name": "fake_encoder:HashEncoder"}, "passages": SHORT}
    bank = segue.build_bank(documents=DOCUMENTS, **how)
    assert segue.build_bank(documents=list(DOCUMENTS), **how).hash == bank.hash
    with pytest.raises(InputError, match="documents_"):
        segue.build_bank(documents=DOCUMENTS[:2], **how)
    with pytest.raises(InputError, match="from a recipe, or from documents"):
        segue.build_bank()
    with pytest.raises(SettingsError, match="document 0 yielded a wrong object: got int"):
        segue.build_bank(documents=[3], **how)


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ({"checks": {"own": ["example_check:examine"]}}, "example_check:examine is no check: got function"),
        ({"checks": {"own": ["example_check:MY999"]}}, "example_check:MY999.*cannot be imported"),
        ({"checks": {"own": [_with(CHECK.MY101, _raises), CHECK.MY101]}}, "two checks of your own have one code"),
        ({"evaluation": {"metrics": {"R@5": METRIC.SUCCESS}}}, "'R@5' is the name of another metric"),
        ({"evaluation": {"metrics": {"x": "example_metric:np"}}}, "metric 'x' is no function: got module"),
        ({"evaluation": {"metrics": {"x": lambda ranks: 1.0}}}, "metric 'x' has not one value per window"),
        ({"evaluation": {"metrics": {"x": lambda ranks: 1 / 0}}}, "metric 'x' fails: got ZeroDivisionError"),
        ({"evaluation": {"metrics": {"x": Metric(np.log2, limits=(0, 1))}}}, "metric 'x' leaves its limits"),
        ({"gates": [{**EITHER, "any_of": [{"metric": "success at 4", "at_least": 0.1}]}],
          "evaluation": {"metrics": {"success at 3": METRIC.SUCCESS}}}, "did you mean 'success at 3'"),
        ({"gates": [{"name": "x", "decide": "a:b", "any_of": [{"metric": "R@5", "at_least": 0}]}]},
         "exactly one of any_of and decide"),
        ({"gates": [{"name": "none"}]}, "exactly one of any_of and decide"),
        ({"gates": [{"name": "type", "decide": Metric}]}, "what decides the gate 'type' is no function"),
        ({"gates": [{"name": "gone", "decide": "example_gate:gone"}]}, "example_gate:gone.*cannot be imported"),
    ],
)  # fmt: skip
def test_wrong_parts_are_refused_before_any_work(tables, said, from_python, tmp_path):
    bank = segue.PassageBank.open(from_python[1] / "bank")
    with pytest.raises(segue.SegueError, match=said):
        segue.compare(bank, ["copy-last"], windows={"context": 3}, out=tmp_path / "run", **tables)
    assert not (tmp_path / "run" / "options").exists()
