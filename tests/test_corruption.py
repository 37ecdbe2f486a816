"""Files that were damaged or exchanged are refused; ``python -m benchmarks.corruption`` tries thousands."""

from collections import Counter

import numpy as np
import pytest
from corruption import KINDS, Place, cells, changed, small_places

from segue.bank.bank import PassageBank
from segue.errors import InputError, StorageError
from segue.files import hashes_of, read_json, read_npy, require_hashes, write_json


def test_a_record_whose_contents_or_seal_changed_is_refused(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"a": 1, "b": [2.5, "ü"]})
    assert read_json(path) == {"a": 1, "b": [2.5, "ü"]}
    whole = path.read_text()
    for old, new in (('"a": 1', '"a": 3'), ('"b"', '"c"'), ('"sha256"', '"sha257"'), ("2.5", "2.25")):
        path.write_text(whole.replace(old, new))
        with pytest.raises(InputError, match=r"a\.json has changed since it was written"):
            read_json(path)
    path.write_text(whole.replace("  ", "\t"))
    assert read_json(path) == {"a": 1, "b": [2.5, "ü"]}


def test_a_record_of_version_0_1_or_of_a_user_has_no_seal(tmp_path):
    (tmp_path / "a.json").write_text('{"a": 1, "vectors_sha256": "%s"}' % ("0" * 64))
    assert read_json(tmp_path / "a.json")["a"] == 1


def test_a_file_that_is_not_the_one_beside_the_record_is_named(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"one")
    known = hashes_of(tmp_path, ["a.bin", "missing.bin"])
    assert list(known) == ["a.bin"]
    require_hashes(tmp_path, known)
    require_hashes(tmp_path, None)
    (tmp_path / "a.bin").write_bytes(b"two")
    with pytest.raises(StorageError, match=r"a\.bin is not the file"):
        require_hashes(tmp_path, known)


def test_bytes_after_the_end_of_an_array_are_refused(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.arange(6.0).reshape(2, 3))
    assert read_npy(path, mapped=True).tolist() == [[0, 1, 2], [3, 4, 5]]
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(InputError, match=r"a\.npy does not end where its header says: got 177 bytes, expected 176"):
        read_npy(path)
    path.write_bytes(b"\x93NUMPY\x01\x00\x10\x00{'descr': '<f4',")  # the header ends inside a Python literal
    with pytest.raises(InputError, match=r"a\.npy cannot be read"):
        read_npy(path)


def test_a_changed_vector_is_noticed_when_it_is_first_read(tmp_path):
    PassageBank.from_arrays(np.eye(4, dtype=np.float32), ["a", "a", "b", "b"], path=tmp_path / "bank")
    path = tmp_path / "bank" / "vectors-00000.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(StorageError, match=r"vectors-00000\.npy has changed"):
        PassageBank.open(tmp_path / "bank").gather(np.array([0]))


def test_a_sweep_notices_a_reader_that_checks_nothing(tmp_path):
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.bin").write_bytes(name.encode() * 50)
    place = Place("blind", tmp_path / "one", lambda folder: (folder / "a.bin").read_bytes().hex(), tmp_path / "other")
    found = list(cells(place, tmp_path / "work", rounds=2))
    assert {cell.kind for cell in found} == set(KINDS) - {"older"}
    assert {cell.outcome for cell in found} == {"another answer"}


def test_changes_are_what_they_are_called():
    data, draw = bytes(range(1, 101)), np.random.default_rng(0)
    assert changed(data, "emptied", draw) == b""
    assert data.startswith(changed(data, "truncated", draw))
    assert changed(data, "extended", draw).startswith(data)
    flipped = changed(data, "bit flipped", draw)
    assert sum((one ^ other).bit_count() for one, other in zip(data, flipped, strict=True)) == 1


def test_every_small_folder_is_refused_or_read_as_it_was(tmp_path):
    found = [
        cell
        for place in small_places(tmp_path / "places")
        for cell in cells(place, tmp_path / "work" / place.name, rounds=1)
    ]
    assert [cell for cell in found if not cell.fine] == []
    outcomes = Counter(cell.outcome for cell in found)
    assert len(found) > 200
    assert outcomes["refused"] > outcomes["harmless"]
