"""Parts of one's own: by import path, by entry point, from Python; and the errors where there is none."""

import collections
import math
import pickle
import re

import pytest
from fake_encoder import HashEncoder
from installed import install
from own_models import Honest

from segue import parts
from segue.errors import InputError, SettingsError
from segue.parts import (
    GROUPS,
    given_parts,
    hand_in,
    installed,
    load_part,
    make_part,
    part_name,
    part_table,
    take_over,
)

CODE = """
class Words:
    def __init__(self, depth=2):
        self.depth = depth
"""


class Depth:
    """Keeps its arguments as attributes, as scikit-learn asks."""

    def __init__(self, depth=2, *, names=()):
        self.depth, self.names = depth, names


def test_an_import_path_is_a_class_and_its_options_make_an_instance():
    assert load_part("loss", "collections:Counter") is collections.Counter
    assert make_part("loss", "collections:Counter", {"a": 2}) == {"a": 2}


def test_a_function_is_the_part_and_gets_its_options_at_every_call():
    assert make_part("loss", "math:hypot") is math.hypot
    assert make_part("metric", "json:dumps", {"indent": 1})([1]) == "[\n 1\n]"


def test_an_entry_point_of_an_installed_package_is_found_by_its_name(tmp_path, monkeypatch):
    assert "words" not in installed("retriever")
    install(tmp_path, monkeypatch, CODE, module="words_package", retrievers={"words": "Words"}, losses={"w": "Words"})
    assert installed("retriever") == ("words",)
    assert make_part("retriever", "words", {"depth": 3}).depth == 3
    with pytest.raises(SettingsError, match="unknown encoder: got 'words'"):
        load_part("encoder", "words")


def test_an_unknown_name_names_the_nearest_of_what_there_is(tmp_path, monkeypatch):
    install(tmp_path, monkeypatch, CODE, module="words_package", retrievers={"words": "Words"})
    message = (
        "unknown retriever: got 'wrods', expected one of bm25, words; an import path 'package.module:Name' or an "
        "installed segue.retrievers. To fix it: write 'words'."
    )
    with pytest.raises(SettingsError, match=re.escape(message)):
        load_part("retriever", "wrods", known=("bm25",))


@pytest.mark.parametrize(
    ("name", "got"), [("no_such_module:Net", "ModuleNotFoundError"), ("math:Net", "AttributeError")]
)
def test_what_cannot_be_imported_is_one_clear_error(name, got):
    with pytest.raises(SettingsError, match=rf"model '{name}' cannot be imported: got {got}.*beside the recipe"):
        load_part("model", name)


def test_options_that_a_class_does_not_take_are_an_error_with_its_signature():
    with pytest.raises(
        InputError, match=r"options \{'width': 3\} \(TypeError.*expected Depth\(depth=2, \*, names=\(\)\)"
    ):
        parts.with_options("retriever", Depth, {"width": 3})


def test_a_class_or_a_function_from_python_is_named_by_its_import_path():
    assert hand_in("model", Honest) == ("own_models:Honest", {})
    assert hand_in("loss", pickle.dumps) == ("_pickle:dumps", {})
    assert part_table("model", Honest, key="name") == {"name": "own_models:Honest"}


def test_an_instance_is_named_by_its_class_and_arguments_and_stays_the_same_object_here():
    class Local(Depth):
        pass

    part = collections.Counter()  # a mapping, with other arguments than attributes
    name, options = hand_in("encoder", part)
    assert (name, options) == ("__given__:Counter_1", {})  # its fingerprint tells it apart
    assert make_part("encoder", name) is part
    assert hand_in("encoder", part) == (name, options)
    local = Local(3)
    name, options = hand_in("retriever", local)
    assert name.startswith("__given__:Local_")
    assert make_part("retriever", name) is local
    assert part_name(local) == "Local"


def test_a_tuple_is_a_list_in_a_recipe_and_a_tuple_again_where_the_default_is_one():
    name, options = hand_in("retriever", Depth(1, names=("a", "b")))
    assert (name, options) == (f"{__name__}:Depth", {"depth": 1, "names": ["a", "b"]})
    parts._given.pop(parts._key(name, options))
    assert make_part("retriever", name, options).names == ("a", "b")


def test_what_one_process_alone_has_gets_another_name_in_each_process(monkeypatch):
    names = []
    for process in ("one", "two"):
        monkeypatch.setattr(parts, "_given", {})
        monkeypatch.setattr(parts, "_PROCESS", process)
        names.append((hand_in("retriever", lambda: 0)[0], parts.hand_in_value(lambda: 0)))
    assert not set(names[0]) & set(names[1])


class Adjusted:
    """Holds more than its constructor takes."""

    value = 0


def test_instances_of_the_same_arguments_that_hold_something_else_are_two_parts():
    one, other, same = Adjusted(), Adjusted(), Adjusted()
    one.value, other.value, same.value = 1, 2, 1
    names = [hand_in("retriever", part) for part in (one, other, one, other)]
    assert names == [(f"{__name__}:Adjusted", {}), names[1]] * 2
    assert [make_part("retriever", *name).value for name in names] == [1, 2, 1, 2]
    assert hand_in("retriever", same) == names[0]  # made again, as when a cell is run again


def test_arguments_that_json_cannot_hold_make_it_a_part_of_this_process_alone():
    encoder = HashEncoder(5)  # keeps `name` in its space alone
    name, options = hand_in("encoder", encoder)
    assert (name, options) == ("__given__:HashEncoder_1", {})
    assert make_part("encoder", name) is encoder


def test_a_part_that_another_process_was_given_is_sent_to_it(monkeypatch):
    function = lambda texts: texts  # noqa: E731
    name, _ = hand_in("encoder", function)
    sent = given_parts(f'{{"encoder": {{"name": "{name}"}}}}')
    assert list(sent.values()) == [function]
    assert given_parts("{}") == {}
    monkeypatch.setattr(parts, "_given", {})
    with pytest.raises(SettingsError, match=rf"encoder '{name}' cannot be made.*define it in a module"):
        load_part("encoder", name)
    take_over(*next(iter(sent.items())))
    assert make_part("encoder", name) is function


def test_a_table_keeps_its_own_options_before_those_of_the_instance():
    importable = HashEncoder
    assert part_table("encoder", {"name": importable, "options": {"dimension": 3}}, key="name") == {
        "name": "fake_encoder:HashEncoder", "options": {"dimension": 3}}  # fmt: skip
    assert part_table("encoder", "minilm", key="name") == {"name": "minilm"}
    assert part_table("encoder", 5, key="name") == 5


def test_each_kind_has_a_group_of_its_own():
    assert len(set(GROUPS.values())) == len(GROUPS) == 10
