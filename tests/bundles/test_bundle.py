"""Bundles: what may win a triage can be released, answers as it did, and refuses to load once anything is changed."""

import json
import shutil

import numpy as np
import pytest
from bundle_world import CONTEXT, make_run, sentence
from fake_encoder import HashEncoder

import segue
from segue.bundles.files import CONTRACT, GOLDEN, MANIFEST, SEAL, seal, verify
from segue.comparison.entries import load_retriever
from segue.comparison.entries.baselines import Baselines
from segue.errors import InputError, SpaceError, StorageError
from segue.files import read_json, write_json
from segue.retrieval.index.approximate import ApproximateIndex
from segue.retrieval.index.store import build_index, index_settings, save_index
from segue.retrieval.saving import PREDICTOR
from segue.windows.windows import gather_contexts

RELEASED = (
    "copy-last", "mean", "exp-mean", "ridge", "bm25", "bm25-context", "encoder-context", "mlp",
    "two-tower", "copy-last-rerank", "bm25-by-model", "fusion",
)  # fmt: skip


@pytest.mark.parametrize("name", RELEASED)
def test_every_row_that_may_win_answers_from_its_bundle_as_it_did_in_its_run(run, tmp_path, name):
    answers_as_in_its_run(run, name, tmp_path)


@pytest.mark.parametrize("reranker", ["listwise", "both"])
def test_every_kind_of_reranker_answers_from_its_bundle_as_it_did_in_its_run(tmp_path, reranker):
    run = make_run(tmp_path, names=("copy-last-rerank",), kind=reranker)
    answers_as_in_its_run(run, "copy-last-rerank", tmp_path)
    assert read_json(tmp_path / "bundle" / CONTRACT)["retriever"]["reranker"]["kind"] == {"both": "mixture"}.get(
        reranker, reranker
    )


def test_tokens_and_two_steps_answer_from_a_bundle_as_in_the_run_and_for_a_new_text(tmp_path):
    groups = ("prediction", "words", "tokens", "places")
    run = make_run(tmp_path, names=("copy-last-rerank",), features=groups, kept=6, quick=("prediction", "context"))
    answers_as_in_its_run(run, "copy-last-rerank", tmp_path)
    about = read_json(tmp_path / "bundle" / CONTRACT)["retriever"]["reranker"]
    assert (about["kind"], about["kept"], about["reranker"]["features"]["groups"]) == ("two-steps", 6, list(groups))
    assert (tmp_path / "bundle" / "bank" / "tokens" / "tokens.json").exists()
    shutil.rmtree(tmp_path / "run")
    shutil.rmtree(tmp_path / "bank")
    assert len(segue.load(tmp_path / "bundle").next(["Here is a passage of no volume."], k=3)) == 3


def answers_as_in_its_run(run, name, tmp_path):
    """Build the bundle of a row, load it, and compare its answers with those of the row itself."""
    released = segue.load(run.bundle(name, tmp_path / "bundle"))
    option = next(one for one in run.job.options if one.name == name)
    live = load_retriever(run.job, option, run.job.experiment.folds[0], Baselines(run.job))
    windows = run.job.experiment.folds[0].test.take(slice(0, 3))
    contexts = gather_contexts(run.job.experiment.bank, windows, texts=live.reads_text)
    expected = [run.job.experiment.bank.passage_ids(rows) for rows in live.rank(contexts, 4).rows]
    for rows, ids in zip(windows.context, expected, strict=True):
        answer = released.next(ids=run.job.experiment.bank.passage_ids(rows), k=4)
        assert [passage.id for passage in answer] == ids


@pytest.fixture(scope="module")
def index(run, tmp_path_factory):
    """A graph over the run's bank that looks at everything, so that its answers are the exact ones."""
    folder = tmp_path_factory.mktemp("indexes") / "graph"
    save_index(build_index(run.job.experiment.pool, index_settings("graph")), folder)
    return folder


@pytest.mark.parametrize("name", ["copy-last", "mlp", "copy-last-rerank"])
def test_a_bundle_searches_with_the_index_that_it_was_given(run, index, tmp_path, name):
    exact, fast = (segue.load(run.bundle(name, tmp_path / str(n), index=one)) for n, one in enumerate((None, index)))
    first = getattr(fast.bundle.retriever, "first", fast.bundle.retriever)
    assert isinstance(first.index, ApproximateIndex)
    assert read_json(tmp_path / "1" / CONTRACT)["index"]["kind"] == "graph"
    for rows in run.job.experiment.folds[0].test.context[:3]:
        asked = run.job.experiment.bank.passage_ids(rows)
        assert [found.id for found in fast.next(ids=asked, k=4)] == [found.id for found in exact.next(ids=asked, k=4)]


def test_an_index_that_does_not_fit_is_not_released(run, index, tmp_path):
    (tmp_path / "other").mkdir()
    other = make_run(tmp_path / "other", names=("mlp",), salt="another")
    with pytest.raises(InputError, match="was built over other passages"):
        other.bundle("mlp", tmp_path / "bundle", index=index)
    with pytest.raises(InputError, match="does not search the bank's vectors"):
        run.bundle("two-tower", tmp_path / "bundle", index=index)
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize("name", ["chance", "oracle"])
def test_a_control_is_not_released(run, tmp_path, name):
    with pytest.raises(InputError, match="a candidate, not a control"):
        run.bundle(name, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists(), "a bundle that failed leaves nothing behind"


def test_it_answers_without_the_run(run, tmp_path):
    path = run.bundle("mlp", tmp_path / "bundle")
    elsewhere = shutil.move(path, tmp_path / "moved")
    text = "\n\n".join(sentence(0, place) for place in range(CONTEXT))
    assert len(segue.load(elsewhere).next(text=text, k=3)) == 3


def test_each_byte_of_each_file_counts(bundle, tmp_path):
    files = sorted(path.relative_to(bundle) for path in bundle.rglob("*") if path.is_file())
    assert len(files) >= 12
    for number, inside in enumerate(files):
        copy = tmp_path / str(number)
        shutil.copytree(bundle, copy)
        content = bytearray((copy / inside).read_bytes())
        content[(37 * number) % len(content)] ^= 1
        (copy / inside).write_bytes(content)
        with pytest.raises((StorageError, InputError), match=inside.name):
            segue.load(copy, texts=False)
        shutil.rmtree(copy)


def test_a_missing_an_added_and_a_shortened_file_are_named(bundle, tmp_path):
    for name, change in {
        "golden.json": lambda path: path.unlink(),
        "stranger.bin": lambda path: path.write_bytes(b"x"),
        "README.md": lambda path: path.write_text(""),
    }.items():
        copy = tmp_path / name
        shutil.copytree(bundle, copy)
        change(copy / name)
        with pytest.raises(StorageError, match=name):
            verify(copy)


def test_its_hashes_are_those_that_sha256sum_computes(bundle):
    import hashlib

    files = read_json(bundle / MANIFEST)["files"]
    for inside, facts in files.items():
        assert hashlib.sha256((bundle / inside).read_bytes()).hexdigest() == facts["sha256"]
    said = (bundle / SEAL).read_text().split()
    assert said == [hashlib.sha256((bundle / MANIFEST).read_bytes()).hexdigest(), MANIFEST]
    assert segue.load(bundle).bundle.version == said[0][:12]


def test_what_a_whole_bundle_says_is_checked_too(bundle, tmp_path):
    """Somebody who seals a changed bundle again is refused by the golden questions."""
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    golden = read_json(copy / GOLDEN)
    golden["answers"] = [list(reversed([row + 1 for row in answers])) for answers in golden["answers"]]
    write_json(copy / GOLDEN, golden)
    for name in (MANIFEST, SEAL):
        (copy / name).unlink()
    seal(copy, name="changed", created="2026-01-01T00:00:00+00:00")
    with pytest.raises(InputError, match="does not answer as it did"):
        segue.load(copy)


def test_another_encoder_is_refused(bundle):
    stranger = HashEncoder(dimension=12, salt="another")
    with pytest.raises(SpaceError, match="the bundle's bank and the encoder"):
        segue.load(bundle, encoder=stranger)
    contract = read_json(bundle / CONTRACT)
    same = HashEncoder(**contract["encoder"]["options"])
    assert segue.load(bundle, encoder=same).reads_texts


def test_a_predictor_of_another_space_is_refused(run, tmp_path):
    path = run.bundle("mlp", tmp_path / "bundle")
    config = read_json(path / PREDICTOR / "config.json")
    config["space"] = HashEncoder(dimension=12, salt="another").space.to_json()
    write_json(path / PREDICTOR / "config.json", config)
    for name in (MANIFEST, SEAL):
        (path / name).unlink()
    seal(path, name="mixed", created="2026-01-01T00:00:00+00:00")
    with pytest.raises(SpaceError, match="the bundle's predictor and its bank"):
        segue.load(path)


def test_the_contract_and_the_card_say_what_it_is(run, bundle):
    contract, gates = read_json(bundle / CONTRACT), read_json(bundle / "gates.json")
    fold = run.job.experiment.folds[0]
    assert contract["context"] == CONTEXT
    assert contract["exclude"] == "context"
    assert contract["index"] == {"kind": "exact"}
    assert contract["training_documents"] == len(fold.split.train)
    assert {gate["name"] for gate in gates["gates"]} >= {"contain", "recall", "latency"}
    measured = run.record.entry("copy-last-rerank").value("R@5")
    assert f"{100 * measured:.1f}" in (bundle / "README.md").read_text()


def test_a_reranked_row_is_told_beside_copies_reranked_alike(run, tmp_path):
    def told(option):
        path = run.bundle(option, tmp_path / option)
        return {row["name"] for row in read_json(path / "gates.json")["rows"]}

    assert told("fusion") == {"copy-last", "copy-last-rerank", "fusion"}
    assert told("mean") == {"copy-last", "mean"}


def test_the_training_documents_are_hashes_of_their_ids(run, bundle):
    import hashlib

    fold, bank = run.job.experiment.folds[0], run.job.experiment.bank
    ids = [bank.document_ids[number] for number in fold.split.train]
    expected = [hashlib.sha256(name.encode()).hexdigest() for name in ids]
    assert (bundle / "training_documents.txt").read_text().split() == expected


def test_there_is_no_pickle_in_it(bundle):
    for path in bundle.rglob("*"):
        if path.is_file():
            assert path.suffix in {".json", ".sha256", ".md", ".txt", ".parquet", ".npy", ".safetensors"}, path
    for path in bundle.rglob("*.npy"):
        np.load(path, allow_pickle=False)


def test_a_folder_that_exists_is_not_written_into(run, tmp_path):
    (tmp_path / "mine").mkdir()
    with pytest.raises(InputError, match="already exists"):
        run.bundle("copy-last", tmp_path / "mine")


def test_a_folder_without_a_manifest_is_no_bundle(tmp_path):
    (tmp_path / "note.json").write_text(json.dumps({}))
    with pytest.raises(InputError, match="is not a bundle"):
        segue.load(tmp_path)
