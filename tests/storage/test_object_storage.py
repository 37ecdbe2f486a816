"""Every path of a recipe is a URL of object storage: the same bank, the same numbers, the same answers."""

import asyncio

import pytest
from bundle_world import sentence
from fsspec.implementations.memory import MemoryFileSystem

import segue
from segue.bundles.store import list_bundles, promote, rollback
from segue.comparison.run import _Run
from segue.errors import InputError, StorageError


@pytest.fixture(scope="module", autouse=True)
def _quick(quick_comparisons):
    """Comparisons draw no plots."""


def measured(comparison):
    """Return all that was measured but times."""
    return {entry.name: {name: found for name, found in entry.metrics.items() if not name.endswith("_ms")}
            for entry in comparison.record.entries}  # fmt: skip


def test_bank_run_bundle_and_service_in_a_bucket_are_those_of_local_folders(
    bucket, forget, tmp_path, monkeypatch, world, capsys
):
    (corpus, tables), here, there = world, str(tmp_path), bucket.url
    bucket.write("corpus.jsonl", corpus())
    (tmp_path / "corpus.jsonl").write_bytes(corpus())
    text = tmp_path / "read.txt"
    text.write_text(sentence(3, 2))
    local = segue.triage(tables(here), f"{here}/run")
    remote = segue.triage(tables(there), f"{there}/run")
    assert remote.bank.hash == local.bank.hash
    assert measured(remote) == measured(local)
    for more, message in ((), "already exists"), (("bundle.json",), r"holds other files: got notes\.txt"):
        for name in ("notes.txt", *more):
            bucket.write(f"taken/{name}", b"{}")
        before = bucket.contents("taken")
        with pytest.raises(InputError, match=f"{there}/taken {message}"):
            segue.bundle(f"{here}/run", f"{there}/taken", option="mean")
        assert bucket.contents("taken") == before
    forget()
    bucket.write("bundle/bundle.json", b"{}")  # of an upload that was interrupted
    winner = segue.bundle(f"{there}/run", f"{there}/bundle", option="mean")
    assert winner.to_json()["path"] == f"{there}/bundle"
    other = segue.bundle(f"{there}/run", f"{here}/other", option="copy-last").path
    forget()
    answer = segue.predict(f"{there}/bundle", text)
    assert (answer.bundle, answer.outdated) == (winner.version, None)
    expected = segue.predict(segue.bundle(f"{here}/run", f"{here}/bundle", option="mean").path, text)
    assert [one.id for one in answer.answer] == [one.id for one in expected.answer]

    bucket.write(f"bundles/{winner.version}/bundle.json", b"{}")
    versions = [promote(one, f"{there}/bundles") for one in (other, f"{there}/bundle")]
    forget()
    served = []

    def run(server, listening, started):
        served.append(server.current.released.bundle.version)
        served.append([one.id for one in server.current.released.next(text=text.read_text())])
        rollback(f"{there}/bundles")
        assert asyncio.run(server.current.change())
        served.append(server.current.released.bundle.version)

    monkeypatch.setattr("segue.serving.server.run", run)
    segue.serve(f"{there}/bundles", port=0)
    assert served == [versions[1], [one.id for one in expected.answer], versions[0]]
    assert [one.current for one in list_bundles(f"{there}/bundles")].count(True) == 1

    weights = bytearray(bucket.read("bundle/bank/vectors-00001.npy"))
    weights[-5] ^= 1
    bucket.write("bundle/bank/vectors-00001.npy", bytes(weights))
    with pytest.raises(StorageError, match=r"bundle/bank/vectors-00001\.npy has changed"):
        segue.predict(f"{there}/bundle", text)


def test_a_killed_comparison_goes_on_from_what_the_bucket_has(cache, forget, monkeypatch, world):
    corpus, tables = world
    store = MemoryFileSystem.store
    store.clear()
    MemoryFileSystem().pipe_file("memory://corpus.jsonl", corpus())
    recipe = tables("memory://", triage={"options": ["mean"], "budget_minutes": 3})
    keep, kept = _Run._keep, []

    def keep_and_die(self, option, fold, result):
        keep(self, option, fold, result)
        kept.append(option.name)
        if len(kept) in (3, 3 + len(self.job.options)):  # in the middle, and before the checks
            raise KeyboardInterrupt

    monkeypatch.setattr(_Run, "_keep", keep_and_die)

    def finished():
        return {name: content.modified for name, content in store.items() if name.endswith("result.json")}

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            segue.triage(recipe, "memory://run")
        forget()
        if len(kept) == 3:
            before = finished()
    assert {name.split("/")[3] for name in before} == set(kept[:3])
    assert before.items() < finished().items()
    assert {name.split("/")[3] for name in finished()} == set(kept)
