"""A folder of bundles: promoting, going back, and being killed in between; bundles on a hub."""

import json
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from processes import environment

from segue.bundles import hub
from segue.bundles.files import verify
from segue.bundles.store import CURRENT, current_bundle, list_bundles, promote, rollback
from segue.cli.main import main
from segue.errors import InputError, StorageError


@pytest.fixture(scope="module")
def three(run, tmp_path_factory):
    """Three bundles."""
    folder = tmp_path_factory.mktemp("three")
    return [run.bundle(name, folder / name, name=name) for name in ("copy-last", "mean", "exp-mean")]


def test_what_is_promoted_is_current_and_the_one_before_can_be_gone_back_to(three, tmp_path):
    first, second, _ = three
    versions = [promote(first, tmp_path), promote(second, tmp_path)]
    assert verify(current_bundle(tmp_path)).version == versions[1]
    assert rollback(tmp_path) == versions[0]
    assert verify(current_bundle(tmp_path)).version == versions[0]
    listed = {one.version: (one.name, one.current) for one in list_bundles(tmp_path)}
    assert listed == {versions[0]: ("copy-last", True), versions[1]: ("mean", False)}
    assert rollback(tmp_path, versions[1]) == versions[1]


def test_a_damaged_bundle_is_neither_promoted_nor_gone_back_to(three, tmp_path):
    damaged = tmp_path / "damaged"
    shutil.copytree(three[0], damaged)
    (damaged / "README.md").write_text("another card")
    with pytest.raises(StorageError, match=r"README\.md"):
        promote(damaged, tmp_path / "folder")
    assert not (tmp_path / "folder" / CURRENT).exists()
    version = promote(three[0], tmp_path / "folder")
    promote(three[1], tmp_path / "folder")
    (tmp_path / "folder" / version / "README.md").write_text("another card")
    with pytest.raises(StorageError, match=r"README\.md"):
        rollback(tmp_path / "folder")


@pytest.mark.parametrize("version", ["../elsewhere", "nothing", ".", ""])
def test_a_version_is_a_name_in_the_folder(three, tmp_path, version):
    promote(three[0], tmp_path)
    with pytest.raises(InputError, match="does not have this bundle"):
        rollback(tmp_path, version)


def test_there_is_nothing_to_go_back_to_at_first(three, tmp_path):
    with pytest.raises(InputError, match="is not a folder of bundles"):
        rollback(tmp_path)
    promote(three[0], tmp_path)
    with pytest.raises(InputError, match="no earlier bundle"):
        rollback(tmp_path)


PROMOTE = """
import sys
from processes import CallCounter
from segue.bundles.store import promote
CallCounter(int(sys.argv[1])).start()
while True:
    for bundle in sys.argv[3:]:
        promote(bundle, sys.argv[2])
"""


def test_promoting_killed_at_any_moment_leaves_one_whole_current_bundle(three, tmp_path):
    """A process that promotes without end is killed again and again, and whatever it leaves is looked at."""
    promote(three[0], tmp_path)
    known = {verify(path).version for path in three}
    for calls in np.geomspace(20, 20_000, 8).round().astype(int):
        for version in known - {current_bundle(tmp_path).name}:
            shutil.rmtree(tmp_path / version, ignore_errors=True)  # so that there is something to copy
        words = [sys.executable, "-c", PROMOTE, str(calls), str(tmp_path), *map(str, three)]
        assert subprocess.run(words, env=environment(), check=False).returncode == -signal.SIGKILL
        current = verify(current_bundle(tmp_path))
        assert current.version in known
        json.loads((tmp_path / CURRENT).read_text())
    for bundle in three:  # what was killed stands in nobody's way
        assert promote(bundle, tmp_path) in known
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".part")]


def test_the_command_line_promotes_lists_and_goes_back(three, tmp_path, capsys, monkeypatch):
    def segue(*words: str) -> dict:
        monkeypatch.setattr(sys, "argv", ["segue", "bundle", *words, "--json"])
        with pytest.raises(SystemExit) as stopped:
            main()
        assert not stopped.value.code
        return json.loads(capsys.readouterr().out)

    folder = str(tmp_path / "folder")
    first = segue("promote", str(three[0]), folder)["version"]
    second = segue("promote", str(three[1]), folder)["version"]
    listed = segue("list", folder)["bundles"]
    assert {one["version"]: one["current"] for one in listed} == {first: False, second: True}
    assert segue("rollback", folder)["version"] == first


def test_a_bundle_goes_to_a_repository_and_comes_back_the_same(three, tmp_path):
    repository = f"file://{tmp_path / 'repository'}"
    version = hub.push_to_hub(three[0], repository)
    back = hub.from_pretrained(repository, tmp_path / "back")
    assert verify(back).version == version
    assert hub.from_pretrained(repository, tmp_path / "back") == back
    hub.push_to_hub(three[1], repository)
    with pytest.raises(InputError, match="already exists"):
        hub.from_pretrained(repository, tmp_path / "back")
    (tmp_path / "repository" / "README.md").write_text("another card")
    with pytest.raises(StorageError, match=r"README\.md"):
        hub.from_pretrained(repository, tmp_path / "third")
    assert not (tmp_path / "third").exists()


class LocalHub:
    """Keeps repositories in a folder and is called as ``huggingface_hub.HfApi`` is."""

    def __init__(self, folder):
        self.folder, self.private = folder, {}

    def create_repo(self, repo_id, *, private, exist_ok, repo_type):
        assert (exist_ok, repo_type) == (True, "model")
        self.private[repo_id] = private

    def upload_folder(self, *, folder_path, repo_id, repo_type, delete_patterns, commit_message):
        assert (repo_type, delete_patterns) == ("model", "*")
        assert repo_id in self.private
        shutil.rmtree(self.folder / repo_id, ignore_errors=True)
        shutil.copytree(folder_path, self.folder / repo_id)
        (self.folder / repo_id / ".gitattributes").write_text("")

    def download(self, repo_id, *, revision):
        return str(self.folder / repo_id)


def test_the_hub_is_asked_as_its_own_client_is(three, tmp_path):
    import inspect

    from huggingface_hub import HfApi, snapshot_download

    local = LocalHub(tmp_path / "hub")
    version = hub.push_to_hub(three[0], "me/next", api=local)
    assert local.private == {"me/next": True}
    back = hub.from_pretrained("me/next", tmp_path / "back", download=local.download)
    assert verify(back).version == version
    for timed_loss, real in [(local.create_repo, HfApi.create_repo), (local.upload_folder, HfApi.upload_folder),
                           (local.download, snapshot_download)]:  # fmt: skip
        assert set(inspect.signature(timed_loss).parameters) <= set(inspect.signature(real).parameters)


def test_a_hub_that_is_not_reached_says_so(tmp_path):
    with pytest.raises(InputError, match="cannot download"):
        hub.from_pretrained("not a name", tmp_path / "out")
