"""A fault at some writes of some commands; ``python -m benchmarks.write_faults`` tries thousands."""

import contextlib

import pytest
from faulty_disk import KINDS, FaultyDisk, Killed, faulty
from write_faults import ANOTHER_PROCESS, COMMANDS, Sweep, places

from segue import files
from segue.errors import StorageError
from segue.files import append_jsonl, read_json, write_folder, write_json


def test_the_faulty_disk_counts_and_fails_as_it_is_told(tmp_path):
    with faulty() as disk:
        write_json(tmp_path / "a.json", {"a": 1})
    assert disk.count == 4  # open, write, sync, rename
    assert type(files.disk) is files.Disk
    for at in (1, 2, 3, 4):
        with faulty("broken", at), pytest.raises(StorageError, match="Input/output error"):
            write_json(tmp_path / "a.json", {"a": 2})
        assert read_json(tmp_path / "a.json") == {"a": 1}
        assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    with faulty("killed", 4), pytest.raises(Killed):
        write_json(tmp_path / "a.json", {"a": 2})
    assert len(list(tmp_path.iterdir())) == 2  # nothing is tidied up after a kill


def write_both(path):
    with files.atomic_file(path) as handle:
        handle.write(b"x" * 2000)
    append_jsonl(path.with_name("other"), {})


def test_what_was_not_synced_is_torn(tmp_path, monkeypatch):
    monkeypatch.setattr(FaultyDisk, "sync", lambda self, path: None)  # a layer that forgets it
    for kind, expected in (("torn", b"x" * 1000), ("reordered", bytes(512) + b"x" * 1488)):
        path = tmp_path / kind
        with faulty(kind, 4), pytest.raises(Killed):  # after an opening, a write and a renaming
            write_both(path)
        assert path.read_bytes() == expected


def test_a_folder_is_replaced_in_one_step(tmp_path):
    write_folder(tmp_path / "made", lambda place: write_json(place / "a.json", {"a": 1}))
    with faulty() as disk:
        write_folder(tmp_path / "made", lambda place: write_json(place / "a.json", {"a": 2}))
    for at in range(1, disk.count + 1):
        write_folder(tmp_path / "made", lambda place: write_json(place / "a.json", {"a": 1}))
        with faulty("killed", at), pytest.raises(Killed):
            write_folder(tmp_path / "made", lambda place: write_json(place / "a.json", {"a": 2}))
        assert read_json(tmp_path / "made" / "a.json")["a"] in (1, 2)


def test_what_another_machine_writes_is_left_alone(tmp_path):
    here, there = (
        tmp_path / f".a.json.{files.HERE}-{ANOTHER_PROCESS}.part",
        tmp_path / f".a.json.0-{ANOTHER_PROCESS}.part",
    )
    here.touch()
    there.touch()
    write_json(tmp_path / "a.json", {"a": 1})
    assert not here.exists()
    assert there.exists()


def test_a_sweep_notices_what_is_left_behind_and_what_differs(tmp_path, monkeypatch):
    sweep = Sweep(COMMANDS["bank remove"], tmp_path)
    monkeypatch.setattr("segue.bank.changes.exclusive", lambda folder: contextlib.nullcontext())
    monkeypatch.setattr(files, "_remove_leftovers", lambda path: None)
    found = [sweep.cell("killed", at).outcome for at in range(sweep.operations - 4, sweep.operations)]
    assert any("differs" in outcome and ".part" in outcome for outcome in found)
    monkeypatch.setattr(files.Disk, "rename", lambda self, path, target: target.write_bytes(path.read_bytes()[:-1]))
    assert sweep.cell("", 0).outcome.startswith("then")


@pytest.mark.parametrize("name", ["bank build", "bank update", "bank remove", "train", "index build"])
def test_a_command_with_a_fault_is_run_again_and_ends_as_if_nothing_had_happened(tmp_path, name):
    sweep = Sweep(COMMANDS[name], tmp_path)
    found = [sweep.cell(kind, next(places(sweep.operations, 1, seed=len(kind)))) for kind in KINDS]
    assert [cell for cell in found if not cell.fine] == []
    assert sum(cell.outcome == "killed" for cell in found) == 3
