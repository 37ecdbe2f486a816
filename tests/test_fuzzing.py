"""Inputs that once ended in a traceback, and a few hundred new ones; ``benchmarks/fuzzing.py`` tries many more."""

import json
import time

import pytest
from fuzz_targets import Mutator, attempt, structured, targets
from hypothesis import HealthCheck, Phase, given, seed, settings

from segue.bundles.files import verify
from segue.corpus.jsonl import parse
from segue.errors import InputError, SegueError
from segue.files import read_json

NPY = b"\x93NUMPY\x01\x00\x76\x00"
LONG = "🚀" * 200
FOUND = {
    "npy": (
        NPY + b"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 3",  # the header is a Python literal
        NPY + b"{'descr': '''",
        b"PK\x03\x04 no archive",
    ),
    "recipe": (
        f'[encoder]\nname = "{LONG}{LONG}"\n'.encode(),  # longer than a file's name may be
        b"[own]\nx = " + b"[" * 400 + b"]" * 400 + b"\n",
    ),
    "checkpoint config": (b"[" * 100_000, b'{"a":' * 100_000),
    "bundle manifest": (
        b'{"format": 1}',
        b'{"format": 1, "files": {"a.txt": {"sha256": ""}}}',
        b'{"format": 1, "files": {"a.txt": 3}}',
        b'{"format": 1, "files": []}',
        json.dumps({"format": 1, "files": {"a" * 300: {"bytes": 1, "sha256": ""}}}).encode(),
        json.dumps({"format": 1, "files": {"../a": {"bytes": 1, "sha256": ""}}}).encode(),
    ),
}
"""Inputs that made a fault, by target; each is refused."""


@pytest.fixture(scope="module")
def every(tmp_path_factory):
    return targets(tmp_path_factory.mktemp("fuzzing"))


@pytest.mark.filterwarnings("ignore:Reading `.npy` or `.npz` file required additional header parsing")
@pytest.mark.parametrize(("name", "data"), [(name, data) for name, inputs in FOUND.items() for data in inputs])
def test_what_once_ended_in_a_traceback_is_refused(every, name, data):
    with pytest.raises(SegueError):
        every[name].run(data)


def test_a_message_with_half_a_character_can_be_written():
    assert str(InputError("no such name", got="a\ud800")).encode() == b"no such name: got a\\ud800."


def test_a_checkpoint_of_more_places_than_a_window_has_is_refused(every):
    config = {**json.loads(every["checkpoint config"].seeds[0]), "context": 10**30}
    del config["sha256"]  # as of somebody who wrote it
    with pytest.raises(InputError, match="does not describe a model"):
        every["checkpoint config"].run(json.dumps(config).encode())


def test_strings_of_parquet_that_are_no_utf_8_are_refused(every):
    whole = every["parquet"].seeds[2]
    place = whole.index(b"Snow.\n\nRain.")
    every["parquet"].run(whole[:place] + b"\xff\xfe" + whole[place + 2 :])


def test_a_manifest_names_files_of_its_bundle_only(every, tmp_path):
    every["bundle manifest"].run(every["bundle manifest"].seeds[0])
    with pytest.raises(InputError, match=r"names a file that is not in the bundle: got '/etc/passwd'"):
        every["bundle manifest"].run(b'{"format": 1, "files": {"/etc/passwd": {"bytes": 1, "sha256": ""}}}')
    with pytest.raises(InputError, match="not a bundle"):
        verify(tmp_path)


def test_a_record_nested_deep_is_refused(tmp_path):
    (tmp_path / "a.json").write_text("[" * 100_000)
    with pytest.raises(InputError, match=r"a\.json is not JSON"):
        read_json(tmp_path / "a.json")


def test_what_a_target_may_not_do_is_found(every):
    blind = type(every["jsonl"])("blind", json.loads, (b"{}",), ())
    assert "JSONDecodeError" in attempt(blind, b"{").fault
    assert attempt(blind, b"{}") is None


@pytest.mark.filterwarnings("ignore:Reading `.npy` or `.npz` file required additional header parsing")
def test_mutations_are_read_or_refused(every):
    for target in every.values():
        for data in target.seeds:
            target.run(data)
        mutator = Mutator(target, seed=1)
        for data in (mutator.draw(3000) for _ in range(10)):
            assert attempt(target, data) is None
    assert Mutator(target, 1).draw() == Mutator(target, 1).draw()


@pytest.mark.filterwarnings("ignore:Reading `.npy` or `.npz` file required additional header parsing")
@pytest.mark.parametrize("name", ["jsonl", "dialogue", "recipe", "checkpoint config", "bundle manifest"])
def test_structures_are_read_or_refused(every, name):
    @seed(1)
    @settings(max_examples=25, deadline=None, database=None, phases=(Phase.generate,),
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(structured(every[name]))
    def run(data):
        assert attempt(every[name], data) is None

    run()


def test_an_object_with_many_keys_and_one_twice_is_refused_at_once():
    began = time.process_time()
    text = "{" + ", ".join(f'"k{number}": 1' for number in range(50_000)) + ', "k49999": 2}'
    with pytest.raises(InputError, match="two values of 'k49999'"):
        parse(text, "a.jsonl:1")
    assert time.process_time() - began < 2


def test_links_that_are_never_closed_take_time_that_grows_with_them(every):
    head, tail = every["dump"].frame
    seconds = []
    for size in (12_500, 100_000):
        began = time.process_time()
        every["dump"].run(head + b"[[File:a.png|thumb|" * (size // 19) + tail)
        seconds.append(time.process_time() - began)
    assert seconds[1] < 20 * max(seconds[0], 0.02)


@pytest.mark.parametrize("name", ["text", "jsonl"])
def test_a_text_without_the_end_of_a_sentence_takes_time_that_grows_with_it(every, name):
    head, tail = every[name].frame
    seconds = []
    for size in (50_000, 400_000):
        began = time.process_time()
        every[name].run(head + b"x" * size + tail)
        seconds.append(time.process_time() - began)
    assert seconds[1] < 20 * max(seconds[0], 0.05)


@pytest.mark.parametrize(
    ("name", "piece", "middle"),
    [("text", b"`", b" a "), ("rst", b"{", b" a "), ("html", b"<h1>", b""), ("html", b"<a href='", b""),
     ("html", b"<br>", b""), ("html", b"\r\n", b"")],
)  # fmt: skip
def test_a_piece_that_comes_again_and_again_takes_time_that_grows_with_it(every, name, piece, middle):
    head, tail = every[name].frame
    seconds = []
    for size in (12_500, 100_000):
        half = piece * (size // len(piece) // 2)
        began = time.process_time()
        every[name].run(head + half + middle + half + tail)
        seconds.append(time.process_time() - began)
    assert seconds[1] < 40 * max(seconds[0], 0.02)  # the square would be 64
