"""What is on disk is either old or new, never a half."""

import errno
import fcntl
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.errors import InputError, StorageError
from segue.files import append_jsonl, atomic_path, exclusive, is_locked, read_json, read_jsonl, write_folder, write_json


def test_a_failure_while_writing_leaves_the_old_file_and_nothing_else(tmp_path):
    write_json(tmp_path / "a.json", {"old": 1})
    with pytest.raises(ZeroDivisionError), atomic_path(tmp_path / "a.json") as temporary:
        temporary.write_text(f"half {1 / (temporary.write_text('half') - 4)}")
    assert read_json(tmp_path / "a.json") == {"old": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_full_disk_is_a_storage_error_that_names_the_file(tmp_path):
    with pytest.raises(StorageError, match=r"a\.json.*No space left"), atomic_path(tmp_path / "a.json"):
        raise OSError(28, "No space left on device")


def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    for attempt in (
        lambda: write_json(tmp_path / "file" / "a.json", 1),
        lambda: append_jsonl(tmp_path / "file" / "a.jsonl", {}),
        lambda: write_folder(tmp_path / "file" / "folder", lambda place: None),
    ):
        with pytest.raises(StorageError, match="cannot write"):
            attempt()


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    def fail(place):
        (place / "first").write_text("1")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_folder(tmp_path / "made", fail)
    assert list(tmp_path.iterdir()) == []
    write_folder(tmp_path / "made", lambda place: (place / "first").write_text("1"))
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["first"]


def test_a_line_cut_short_by_a_kill_spoils_no_other(tmp_path):
    path = tmp_path / "looks.jsonl"
    append_jsonl(path, {"n": 1})
    with path.open("a") as handle:
        handle.write('{"n": ')
    append_jsonl(path, {"n": 2})
    assert path.read_text() == '{"n": 1}\n{"n": 2}\n'
    assert read_jsonl(path) == [{"n": 1}, {"n": 2}]


@given(st.lists(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=3), max_size=4))
def test_jsonl_reads_back_what_was_written(tmp_path_factory, records):
    path = tmp_path_factory.mktemp("jsonl") / "a.jsonl"
    for record in records:
        append_jsonl(path, record)
    assert read_jsonl(path) == records


def test_json_never_holds_what_other_readers_refuse(tmp_path):
    with pytest.raises(ValueError, match="Out of range"):
        write_json(tmp_path / "a.json", float("nan"))
    (tmp_path / "b.json").write_text("{")
    with pytest.raises(InputError, match="is not JSON"):
        read_json(tmp_path / "b.json")


def test_a_lock_is_held_by_one_and_noticed_by_others(tmp_path):
    lock = tmp_path / "folder" / ".lock"
    assert not is_locked(lock)
    with exclusive(lock.parent):
        assert is_locked(lock)
        with pytest.raises(StorageError, match=r"folder is in use: got another process"), exclusive(lock.parent):
            pass
    assert not is_locked(lock)


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_refuses_nothing_and_says_so(tmp_path, monkeypatch, caplog, code):
    def refuse(handle, operation):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    (tmp_path / ".left.json.part").touch()
    with exclusive(tmp_path):
        assert not (tmp_path / ".left.json.part").exists()
    assert not is_locked(tmp_path / ".lock")
    assert f"cannot be locked ({os.strerror(code)})" in caplog.text
