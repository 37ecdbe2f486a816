"""Wrong input to the public functions: a SegueError, a TypeError for a wrong type, or what the function documents."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import segue
from segue.bundles.released_retriever import ReleasedRetriever
from segue.errors import SegueError
from segue.windows.splits import SplitSettings
from segue.windows.windows import WindowSettings

NAN, LONG = float("nan"), "The snow of this winter lies deep in the valley, and nobody has crossed it yet. " * 10


@dataclass
class World:
    """A bank, a bundle, a run, and a folder with a letter and an empty folder."""

    bank: segue.PassageBank
    bundle: ReleasedRetriever
    run: Path
    folder: Path

    @property
    def letter(self) -> Path:
        return self.folder / "letter.txt"

    @property
    def empty(self) -> Path:
        return self.folder / "empty"

    @property
    def new(self) -> Path:
        return self.folder / "new"


@pytest.fixture(scope="module")
def opened(bundle):
    return segue.load(bundle)


@pytest.fixture
def world(run, opened, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "letter.txt").write_text("Dear reader, nothing in this file is what you think it is.")
    (tmp_path / "empty").mkdir()
    bank = segue.PassageBank.from_arrays(np.eye(6), list("aabbcc"), [f"Text {n}." for n in range(6)])
    return World(bank, opened, run.job.out, tmp_path)


arrays = segue.PassageBank.from_arrays
CALLS = {
    "from_arrays none": lambda w: arrays(None, ["a"]),
    "from_arrays one dimension": lambda w: arrays(np.ones(3), list("abc")),
    "from_arrays no rows": lambda w: arrays(np.empty((0, 3)), []),
    "from_arrays nan": lambda w: arrays(np.full((2, 2), NAN), list("ab")),
    "from_arrays objects": lambda w: arrays(np.array([["x", "y"]], dtype=object), ["a"]),
    "from_arrays ragged": lambda w: arrays([[1.0], [1.0, 2.0]], list("ab")),
    "from_arrays whole numbers": lambda w: arrays(np.eye(2, dtype=int), list("ab")),
    "from_arrays fewer ids": lambda w: arrays(np.eye(3), list("ab")),
    "from_arrays no ids": lambda w: arrays(np.eye(3), None),
    "from_arrays empty ids": lambda w: arrays(np.eye(2), ["", ""]),
    "from_arrays ids of none": lambda w: arrays(np.eye(2), [None, None]),
    "from_arrays ids apart": lambda w: arrays(np.eye(3), list("aba"), ["x", None, 5]),
    "from_arrays texts of numbers": lambda w: arrays(np.eye(2), list("ab"), [1, 2]),
    "from_arrays half a character": lambda w: arrays(np.eye(2), list("ab"), ["\ud800", "b"]),
    "from_arrays into a file": lambda w: arrays(np.eye(2), list("ab"), path=w.letter),
    "from_arrays into a full folder": lambda w: arrays(np.eye(2), list("ab"), path=w.folder),
    "bank nothing": lambda w: segue.PassageBank.open(w.new),
    "bank none": lambda w: segue.PassageBank.open(None),
    "bank a file": lambda w: segue.PassageBank.open(w.letter),
    "bank empty": lambda w: segue.PassageBank.open(w.empty),
    "bank empty name": lambda w: segue.PassageBank.open(""),
    "bank null character": lambda w: segue.PassageBank.open("a\0b"),
    "recipe half a character": lambda w: segue.load_recipe("\ud800"),
    "report a long name": lambda w: segue.report("x" * 5000),
    "audit a null character": lambda w: segue.audit("a\0b"),
    "load a long name": lambda w: segue.load("x" * 5000),
    "predict a null character": lambda w: segue.predict("a\0b", ids=["a#0"]),
    "index a long name": lambda w: segue.index_bank(w.bank.path, "x" * 5000),
    "bank long name": lambda w: segue.PassageBank.open("x" * 5000),
    "bank url": lambda w: segue.PassageBank.open("https://example.invalid/bank"),
    "passage beyond": lambda w: w.bank[6],
    "passage by name": lambda w: w.bank["a"],
    "gather beyond": lambda w: w.bank.gather(np.array([6])),
    "gather before": lambda w: w.bank.gather(np.array([-1])),
    "texts beyond": lambda w: w.bank.texts(np.array([0, 99])),
    "texts before": lambda w: w.bank.texts([-1]),
    "passage ids beyond": lambda w: w.bank.passage_ids([-1]),
    "gather fractions": lambda w: w.bank.gather(np.array([0.5])),
    "texts fractions": lambda w: w.bank.texts(np.array([0.5])),
    "gather names": lambda w: w.bank.gather(["a"]),
    "blocks of none": lambda w: list(w.bank.blocks(0)),
    "blocks below none": lambda w: list(w.bank.blocks(-1)),
    "search none": lambda w: w.bank.search(None),
    "search words": lambda w: w.bank.search("snow"),
    "search nan": lambda w: w.bank.search(np.full(6, NAN)),
    "search another dimension": lambda w: w.bank.search(np.ones(3)),
    "search three dimensions": lambda w: w.bank.search(np.ones((1, 1, 6))),
    "search k of none": lambda w: w.bank.search(np.ones(6), k=0),
    "search k beyond": lambda w: w.bank.search(np.ones(6), k=7),
    "search k a fraction": lambda w: w.bank.search(np.ones(6), k=1.5),
    "search k a word": lambda w: w.bank.search(np.ones(6), k="2"),
    "splits of two documents": lambda w: segue.make_splits(arrays(np.eye(2), list("ab")), SplitSettings()),
    "splits of other groups": lambda w: segue.make_splits(w.bank, SplitSettings(), groups=np.zeros(2, dtype=int)),
    "splits of groups of words": lambda w: segue.make_splits(w.bank, SplitSettings(), groups=np.array(list("abc"))),
    "windows of no document": lambda w: segue.make_windows(w.bank, np.array([3]), WindowSettings()),
    "windows of a list beyond": lambda w: segue.make_windows(w.bank, [-1], WindowSettings()),
    "windows of names": lambda w: segue.make_windows(w.bank, ["a"], WindowSettings()),
    "windows of other groups": lambda w: segue.make_windows(w.bank, [0], WindowSettings(), groups=np.zeros(9, int)),
    "encoder none": lambda w: segue.load_encoder(None),
    "encoder empty": lambda w: segue.load_encoder(""),
    "encoder number": lambda w: segue.load_encoder(5),
    "encoder unknown key": lambda w: segue.load_encoder({"name": "minilm", "nmae": 1}),
    "encoder no module": lambda w: segue.load_encoder("no_such_module:Encoder"),
    "encoder an empty folder": lambda w: segue.load_encoder(str(w.empty)),
    "encoder a file": lambda w: segue.load_encoder(str(w.letter)),
    "recipe none": lambda w: segue.load_recipe(None),
    "recipe nothing": lambda w: segue.load_recipe(w.new),
    "recipe a folder": lambda w: segue.load_recipe(w.empty),
    "recipe a letter": lambda w: segue.load_recipe(w.letter),
    "recipe null character": lambda w: segue.load_recipe("a\0b"),
    "recipe long name": lambda w: segue.load_recipe("x" * 5000),
    "build nothing": lambda w: segue.build_bank(),
    "build a number": lambda w: segue.build_bank(42),
    "build no tables": lambda w: segue.build_bank({}),
    "build a list": lambda w: segue.build_bank([1, 2]),
    "build tables of none": lambda w: segue.build_bank({"corpus": None}),
    "build no documents": lambda w: segue.build_bank(documents=[], out=w.new),
    "build a number as documents": lambda w: segue.build_bank(documents=42, out=w.new),
    "build documents of numbers": lambda w: segue.build_bank(documents=[1], out=w.new),
    "build documents of none": lambda w: segue.build_bank(documents=[None], out=w.new),
    "build triples": lambda w: segue.build_bank(documents=[("a", "b", "c")], out=w.new),
    "build mappings without a text": lambda w: segue.build_bank(documents=[{"id": "a"}], out=w.new),
    "build a wrong encoder": lambda w: segue.build_bank(documents=[("a", "b")], out=w.new, encoder=42),
    "build encoder keys": lambda w: segue.build_bank(documents=[("a", "b")], out=w.new, encoder={"nmae": "x"}),
    "build passages": lambda w: segue.build_bank(documents=[("a", "b")], out=w.new, passages=5),
    "build into a file": lambda w: segue.build_bank(documents=[("a", "b")], out=w.letter),
    "add none": lambda w: segue.add_to_bank(w.bank, None),
    "add a number": lambda w: segue.add_to_bank(w.bank, 42),
    "add numbers": lambda w: segue.add_to_bank(w.bank, [1, 2]),
    "add nothing there": lambda w: segue.add_to_bank(w.bank, w.new),
    "add a null character": lambda w: segue.add_to_bank(w.bank, "a\0b"),
    "add to nothing": lambda w: segue.add_to_bank(w.new, [("a", "b")]),
    "add another encoder": lambda w: segue.add_to_bank(w.bank, [("d", LONG)], encoder=42),
    "add without an encoder": lambda w: segue.add_to_bank(w.bank, [("d", LONG)]),
    "remove none": lambda w: segue.remove_from_bank(w.bank, None),
    "remove a number": lambda w: segue.remove_from_bank(w.bank, 5),
    "remove unknown": lambda w: segue.remove_from_bank(w.bank, ["z"]),
    "remove numbers": lambda w: segue.remove_from_bank(w.bank, [1]),
    "remove all": lambda w: segue.remove_from_bank(w.bank, list("abc")),
    "update nothing": lambda w: segue.update_bank(w.new),
    "update a letter": lambda w: segue.update_bank(w.letter),
    "convert nothing": lambda w: segue.convert_bank(w.new, w.folder / "lance"),
    "convert none": lambda w: segue.convert_bank(None, w.folder / "lance"),
    "convert into a file": lambda w: segue.convert_bank(w.bank, w.letter),
    "convert at": lambda w: segue.convert_bank(w.bank, w.new, at="abc"),
    "audit none": lambda w: segue.audit(None),
    "audit nothing": lambda w: segue.audit(w.new),
    "audit a file": lambda w: segue.audit(w.letter),
    "audit a toml that is not there": lambda w: segue.audit("missing.toml"),
    "audit mute": lambda w: segue.audit(w.bank.path, mute=["SG1"]),
    "audit mute numbers": lambda w: segue.audit(w.bank.path, mute=[104]),
    "audit checks": lambda w: segue.audit(w.bank.path, checks=["no_such_module:CHECK"]),
    "audit checks of numbers": lambda w: segue.audit(w.bank.path, checks=[5]),
    "train none": lambda w: segue.train(None, w.new),
    "train nothing": lambda w: segue.train(w.folder / "missing.toml", w.new),
    "train into none": lambda w: segue.train({"corpus": {"kind": "bank", "path": str(w.bank.path)}}, None),
    "train a corpus that is not there": lambda w: segue.train({"corpus": {"kind": "folder", "path": "missing"}}, w.new),
    "experiment nothing": lambda w: segue.experiment(w.folder / "missing.toml"),
    "experiment too small": lambda w: segue.experiment({"corpus": {"kind": "bank", "path": str(w.bank.path)}}),
    "evaluate nothing": lambda w: segue.evaluate(w.new),
    "evaluate an empty folder": lambda w: segue.evaluate(w.empty),
    "evaluate none": lambda w: segue.evaluate(None),
    "diagnose nothing": lambda w: segue.diagnose(w.new),
    "diagnose none": lambda w: segue.diagnose(None),
    "triage none": lambda w: segue.triage(None, w.new),
    "triage nothing": lambda w: segue.triage(w.new, w.folder / "run"),
    "compare none": lambda w: segue.compare(None),
    "compare nothing": lambda w: segue.compare(w.new),
    "compare unknown options": lambda w: segue.compare(w.bank, ["snow"]),
    "compare a number of options": lambda w: segue.compare(w.bank, 42),
    "compare too small": lambda w: segue.compare(w.bank),
    "compare unknown tables": lambda w: segue.compare(w.bank, snow={}),
    "compare wrong tables": lambda w: segue.compare(w.bank, windows={"context": 0}),
    "compare tables of none": lambda w: segue.compare(w.bank, triage=None),
    "comparison nothing": lambda w: segue.Comparison.open(w.new),
    "comparison none": lambda w: segue.Comparison.open(None),
    "comparison a file": lambda w: segue.Comparison.open(w.letter),
    "report nothing": lambda w: segue.report(w.new),
    "report a file": lambda w: segue.report(w.letter),
    "index nothing": lambda w: segue.index_bank(w.new, w.folder / "index"),
    "index none": lambda w: segue.index_bank(None, w.folder / "index"),
    "index too few": lambda w: segue.index_bank(w.bank.path, w.folder / "index"),
    "index unknown kind": lambda w: segue.index_bank(w.bank.path, w.folder / "index", kind="tree"),
    "index number": lambda w: segue.index_bank(w.bank.path, w.folder / "index", kind=5),
    "index unknown setting": lambda w: segue.index_bank(w.bank.path, w.folder / "index", neighbors=5),
    "tune nothing": lambda w: segue.tune_index(w.new, w.bank.path),
    "update no index": lambda w: segue.update_index(w.empty, w.bank.path),
    "bundle nothing": lambda w: segue.bundle(w.new, w.folder / "bundle"),
    "bundle an empty folder": lambda w: segue.bundle(w.empty, w.folder / "bundle"),
    "load nothing": lambda w: segue.load(w.new),
    "load none": lambda w: segue.load(None),
    "load a file": lambda w: segue.load(w.letter),
    "load an empty folder": lambda w: segue.load(w.empty),
    "load a bank": lambda w: segue.load(w.bank.path),
    "load device": lambda w: segue.load(w.bundle.bundle.path, device="abacus"),
    "load a wrong encoder": lambda w: segue.load(w.bundle.bundle.path, encoder="minilm"),
    "next nothing": lambda w: w.bundle.next(),
    "next two ways": lambda w: w.bundle.next(["a"], text="b"),
    "next no passage": lambda w: w.bundle.next([]),
    "next one text": lambda w: w.bundle.next("a text"),
    "next none inside": lambda w: w.bundle.next([None]),
    "next number inside": lambda w: w.bundle.next([1]),
    "next number": lambda w: w.bundle.next(5),
    "next bytes": lambda w: w.bundle.next(b"snow"),
    "next empty text": lambda w: w.bundle.next(text=""),
    "next text of a number": lambda w: w.bundle.next(text=5),
    "next half a character": lambda w: w.bundle.next(["\ud800"]),
    "next id": lambda w: w.bundle.next(ids="volume/0 №0#1"),
    "next unknown id": lambda w: w.bundle.next(ids=["z#1"]),
    "next ids of numbers": lambda w: w.bundle.next(ids=[3]),
    "next vectors of words": lambda w: w.bundle.next(vectors=["a"]),
    "next vectors nan": lambda w: w.bundle.next(vectors=np.full((1, 12), NAN)),
    "next vectors zero": lambda w: w.bundle.next(vectors=np.zeros((1, 12))),
    "next vectors of another dimension": lambda w: w.bundle.next(vectors=np.eye(3)),
    "next vector": lambda w: w.bundle.next(vectors=np.eye(12)[0]),
    "next no vectors": lambda w: w.bundle.next(vectors=np.empty((0, 12))),
    "next ragged vectors": lambda w: w.bundle.next(vectors=[[1.0], [1.0, 2.0]]),
    "next k none": lambda w: w.bundle.next(["a"], k=None),
    "next k zero": lambda w: w.bundle.next(["a"], k=0),
    "next k word": lambda w: w.bundle.next(["a"], k="5"),
    "next k fraction": lambda w: w.bundle.next(["a"], k=1.5),
    "next exclude unknown": lambda w: w.bundle.next(["a"], exclude=["z"]),
    "next exclude number": lambda w: w.bundle.next(["a"], exclude=[5]),
    "next documents unknown": lambda w: w.bundle.next(["a"], documents=["z"]),
    "next documents number": lambda w: w.bundle.next(["a"], documents=[5]),
    "next no documents": lambda w: w.bundle.next(["a"], documents=[]),
    "next batch of numbers": lambda w: w.bundle.next_batch([5]),
    "predict nothing": lambda w: w.bundle.predict(),
    "search vector none": lambda w: w.bundle.search(None),
    "search vector nan": lambda w: w.bundle.search(np.full(12, NAN)),
    "search vector of another dimension": lambda w: w.bundle.search(np.ones(3)),
    "search vector k": lambda w: w.bundle.search(np.eye(12)[0], k=0),
    "search vector exclude": lambda w: w.bundle.search(np.eye(12)[0], exclude=["z"]),
    "search vector no documents": lambda w: w.bundle.search(np.eye(12)[0], documents=[]),
    "encode one text": lambda w: w.bundle.encode("snow"),
    "encode numbers": lambda w: w.bundle.encode([1]),
    "encode none": lambda w: w.bundle.encode(None),
    "following unknown": lambda w: w.bundle.following("z"),
    "following number": lambda w: w.bundle.following(5),
    "passages beyond": lambda w: w.bundle.passages_of(np.array([10**6])),
    "predict file nothing": lambda w: segue.predict(w.new, text=w.letter),
    "predict without a text": lambda w: segue.predict(w.bundle.bundle.path),
    "predict text nothing": lambda w: segue.predict(w.bundle.bundle.path, text=w.new),
    "predict text a folder": lambda w: segue.predict(w.bundle.bundle.path, text=w.empty),
    "predict text null character": lambda w: segue.predict(w.bundle.bundle.path, text="a\0b"),
    "predict vectors a letter": lambda w: segue.predict(w.bundle.bundle.path, vectors=w.letter),
    "predict vectors a folder": lambda w: segue.predict(w.bundle.bundle.path, vectors=w.empty),
    "predict ids number": lambda w: segue.predict(w.bundle.bundle.path, ids=[5]),
    "predict bank": lambda w: segue.predict(w.bundle.bundle.path, ids=["volume/0 №0#1"], bank=w.new),
    "serve nothing": lambda w: segue.serve(w.new, port=0),
    "serve port": lambda w: segue.serve(w.bundle.bundle.path, port=-1),
    "serve port word": lambda w: segue.serve(w.bundle.bundle.path, port="http"),
    "serve unknown setting": lambda w: segue.serve(w.bundle.bundle.path, prot=0),
    "serve runs": lambda w: segue.serve(w.bundle.bundle.path, port=0, runs=w.new),
    "evaluation nothing": lambda w: segue.Evaluation.load(w.new),
    "evaluation a file": lambda w: segue.Evaluation.load(w.letter),
}
DOCUMENTED = {"passage beyond": IndexError}
"""What is not an error of Segue."""


@pytest.mark.parametrize("name", CALLS)
def test_wrong_input_is_refused_by_an_error_that_is_documented(world, name):
    with pytest.raises((SegueError, TypeError, DOCUMENTED.get(name, SegueError))):
        CALLS[name](world)
