"""Parts of the user's own: how they are named, found, made and recorded.

A part is given from Python (a class, a function, an instance), or named in a recipe: by its import path,
``package.module:Name``, or by an *entry point* of an installed package in the group of its kind. A class is called with
its options; a function is the part itself and gets them at every call; an instance is the part itself.

What is given from Python becomes a name and options too (``hand_in``), so that it can stand in a recipe and be made
again by another process: the import path, and the arguments of the constructor where the instance has them as
attributes, as in scikit-learn. Anything else is known to this process alone, under a name that begins with
``__given__``; so is a second instance of the same arguments that holds something else.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import importlib
import importlib.metadata
import importlib.util
import inspect
import json
import pickle
import re
import secrets
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from segue.errors import InputError, SettingsError
from segue.settings import Settings

Kind = Literal["encoder", "model", "loss", "retriever", "reranker", "index", "corpus", "check", "gate", "metric"]
"""The kinds of parts."""
GROUPS: Mapping[Kind, str] = {
    "encoder": "segue.encoders",
    "model": "segue.models",
    "loss": "segue.losses",
    "retriever": "segue.retrievers",
    "reranker": "segue.rerankers",
    "index": "segue.indexes",
    "corpus": "segue.corpora",
    "check": "segue.checks",
    "gate": "segue.gates",
    "metric": "segue.metrics",
}
"""Group of the entry points of each kind."""
IMPORT_PATH = r"^[^\W\d][\w.]*:[^\W\d]\w*$"
"""Pattern of an import path, ``package.module:Name``."""
GIVEN = "__given__"
"""Stands for the module in the name of a part that no other process can import."""
_PROCESS = secrets.token_hex(4)
"""Ends the names of parts that this process alone has, so that no other process continues its work with others."""
HERE_ALONE = (f"{GIVEN}:", "__main__:")
"""Beginnings of the names of parts that only the program that has them can make."""

_given: dict[str, Any] = {}
"""Parts that were given to this process, by name and options."""
_chosen: set[str] = set()
"""Import paths that a recipe of this process names, or whose parts were given from Python: the user's own choice."""
_states: dict[str, str | None] = {}
"""Hash of what an instance held when it was given, by the same key; None: it cannot be hashed."""


def is_import_path(name: str) -> bool:
    """Return whether a name is an import path.

    >>> is_import_path("mine.nets:Net"), is_import_path("minilm"), is_import_path("cuda:0")
    (True, False, False)
    """
    return re.match(IMPORT_PATH, name) is not None


def installed(kind: Kind) -> tuple[str, ...]:
    """Return the names of the parts of a kind that installed packages offer, in alphabetical order."""
    return tuple(sorted(importlib.metadata.entry_points(group=GROUPS[kind]).names))


def is_own(kind: Kind, name: str) -> bool:
    """Return whether a name is an import path or that of an installed part, and not one that is built in."""
    return is_import_path(name) or name in installed(kind)


def load_part(kind: Kind, name: str, *, known: Collection[str] = ()) -> Any:
    """Return what a name stands for: the class, function or instance.

    Args:
        kind: the kind of part.
        name: an import path, or the name of an entry point.
        known: names that are built in, for the message.

    Raises:
        SettingsError: there is no such part, or its module cannot be imported.
    """
    if name.startswith(f"{GIVEN}:") and _key(name, {}) in _given:
        return _given[_key(name, {})]
    entries = importlib.metadata.entry_points(group=GROUPS[kind])
    if not is_import_path(name) and name not in entries.names:
        raise _unknown(kind, name, sorted({*known, *entries.names}))
    if name.startswith(f"{GIVEN}:"):
        raise SettingsError(
            f"{kind} {name!r} cannot be made",
            got="a part that was given from Python to another process",
            expected="'package.module:Name'",
            fix=f"define it in a module, give the {kind} by that name, and run again",
        )
    try:
        if not is_import_path(name):
            return entries[name].load()
        module, _, attribute = name.partition(":")
        return getattr(importlib.import_module(module), attribute)
    except Exception as error:  # importing runs the user's code
        raise SettingsError(
            f"{kind} {name!r} cannot be imported",
            got=f"{type(error).__name__}: {error}",
            expected="'package.module:Name'",
            fix="put the module beside the recipe, or install its package into this environment",
        ) from error


def choose_parts(names: Iterable[str]) -> None:
    """Let files name the parts that a recipe names, wherever their code is: a recipe is code itself."""
    _chosen.update(filter(is_import_path, names))


def require_own_part(kind: Kind, name: str, folder: Path) -> None:
    """Refuse a part that a file names, which may be someone else's, unless its code is the user's own.

    A bundle, a bank, an index and a checkpoint name parts with options. So they may name neither a module of Python or
    of an installed package (its functions would be called with a stranger's arguments) nor a file of their own folder.
    A package that depends on Segue, or has entry points for it, is meant to be named. So is what a recipe of this
    process names, or was given from Python: a run's checkpoints name the parts of its recipe.

    Args:
        kind: the kind of part.
        name: an import path; any other name stands for what is built in or offered by an entry point.
        folder: the folder of the file.

    Raises:
        SettingsError: the code is not the user's own, or cannot be imported.
    """
    if not is_import_path(name) or name.startswith(f"{GIVEN}:") or name in _chosen:
        return
    module = name.partition(":")[0]
    _require_own_module(kind, name, module, folder)
    found = load_part(kind, name)
    if inspect.isclass(found) or inspect.isroutine(found):  # a module may have imported it from another one
        _require_own_module(kind, name, str(found.__module__), folder)


def _require_own_module(kind: Kind, name: str, module: str, folder: Path) -> None:
    top, *inner = module.split(".")
    if top in sys.stdlib_module_names or top in sys.builtin_module_names or top in _libraries():
        got = f"a {kind} in the module {module}, which is not made for Segue"
    elif _is_inside(folder, top, inner):
        got = f"a {kind} in a module of that folder itself"
    else:
        return
    raise SettingsError(f"{folder} names code that is not run: {name}", got=got,
                        expected="a module of your own, or of a package that depends on Segue",
                        fix="if you trust it, give it from Python, or put it into such a module")  # fmt: skip


def _is_inside(folder: Path, top: str, inner: list[str]) -> bool:
    """Return whether a module would be imported from a file of a folder; nothing is imported."""
    spec = None if top in sys.modules and sys.modules[top].__spec__ is None else importlib.util.find_spec(top)
    if spec is None:
        return False
    places = [Path(place, *inner) for place in spec.submodule_search_locations or ()]
    places += [] if spec.origin is None else [Path(spec.origin)]
    return any(place.resolve().is_relative_to(folder.resolve()) for place in places)


@functools.cache
def _libraries() -> frozenset[str]:
    """Return the top modules of the installed packages that neither depend on Segue nor have entry points for it."""
    every = importlib.metadata.packages_distributions()
    return frozenset(top for top, names in every.items() if not any(map(_is_for_segue, set(names))))


def _is_for_segue(package: str) -> bool:
    found = importlib.metadata.distribution(package)
    required = [re.split(r"[^\w.-]", requirement)[0].lower() for requirement in found.requires or ()]
    return "segue" in required or any(entry.group in GROUPS.values() for entry in found.entry_points)


def make_part(kind: Kind, name: str, options: Mapping[str, Any] | None = None, *, known: Collection[str] = ()) -> Any:
    """Return the part of a name: what was given to this process under it, or made with the options.

    Args:
        kind: the kind of part.
        name: as ``load_part``.
        options: arguments of a class or of a function.
        known: names that are built in, for the message.

    Raises:
        InputError: it cannot be made with these options.
        SettingsError: as ``load_part``.
    """
    options = dict(options or {})
    if _key(name, options) in _given and not inspect.isclass(_given[_key(name, options)]):
        return _given[_key(name, options)]
    return with_options(kind, load_part(kind, name, known=known), options, name=name)


def with_options(kind: Kind, part: Any, options: Mapping[str, Any], *, name: str = "") -> Any:
    """Call a class with its options, bind a function's, or return an instance, which takes none.

    Raises:
        InputError: it cannot be made with these options.
    """
    try:
        if inspect.isclass(part):
            return part(**_with_tuples(part, options))
        if options:
            return functools.partial(part, **_with_tuples(part, options))
        return part
    except Exception as error:  # making it runs the user's code
        raise InputError(
            f"cannot make the {kind} {name or part_name(part)}",
            got=f"options {options} ({type(error).__name__}: {error})",
            expected=_signature(part),
            fix=f"correct [{kind}.options]" if kind in ("encoder", "model", "corpus") else "correct its options",
        ) from error


def hand_in(kind: Kind, part: Any) -> tuple[str, dict[str, Any]]:
    """Return the name and the options under which a part from Python stands in a recipe; this process keeps the part.

    Args:
        kind: the kind of part.
        part: a class, a function or an instance; a name stays as it is. An engine (index) stands for its class and its
            arguments, since it is made again with the vectors of a bank.

    Raises:
        InputError: the arguments of an engine are not known.
    """
    if isinstance(part, str):
        return part, {}
    if kind == "index" and not inspect.isclass(part) and hasattr(part, "search"):
        return _engine(part)
    path, options = _import_path(part), _options(part)
    if kind == "model" and not (inspect.isclass(part) or inspect.isroutine(part)):
        path = None  # a module has weights of its own
    if path is None or options is None or _holds_something_else(_key(path, options), part):
        path, options = _own_name(part, "" if kind == "encoder" else _PROCESS), {}  # a fingerprint tells encoders apart
    if not (inspect.isclass(part) or inspect.isroutine(part)) or path.startswith(GIVEN):
        _given[_key(path, options)] = part
    _chosen.add(path)
    return path, options


def _engine(part: Any) -> tuple[str, dict[str, Any]]:
    """Return the name of an engine's class, and its arguments other than the vectors that it was made with."""
    options = _options(part, skip=1)
    if options is None:
        raise InputError(f"the engine {part_name(part)} cannot be made again",
                         got="arguments that are not its attributes", expected=_signature(type(part)),
                         fix="give the class, and its options")  # fmt: skip
    return hand_in("index", type(part))[0], options


def part_table(kind: Kind, value: Any, *, key: str = "part") -> Any:
    """Return a table of a recipe in which names and options stand for the part that was given from Python.

    Args:
        kind: kind of the part.
        value: the part, its name, or a table that holds it under ``key``; anything else is left to validation.
        key: the key of the part's name.
    """
    if value is None or isinstance(value, Settings | bool | int | float | bytes | list | tuple | set):
        return value
    table = dict(value) if isinstance(value, Mapping) else {key: value}
    if key in table and not isinstance(table[key], str):
        table[key], options = hand_in(kind, table[key])
        if options:
            table["options"] = {**options, **table.get("options", {})}
    return table


def hand_in_value(value: Any) -> Any:
    """Return the name under which a function, or a value of a module, stands in a recipe; this process keeps others.

    Args:
        value: what was given from Python; names, and what is no part of any kind, are left to validation.

    >>> hand_in_value(re.compile), hand_in_value("mine:CHECK")
    ('re:compile', 'mine:CHECK')
    """
    if value is None or isinstance(value, str | bool | int | float | bytes | list | tuple | set | Mapping):
        return value
    path = _import_path(value) if inspect.isclass(value) or inspect.isroutine(value) else _value_path(value)
    if path is None:
        path = _own_name(value, _PROCESS)
        _given[_key(path, {})] = value
    return path


PartName = Annotated[str, BeforeValidator(hand_in_value)]
"""A key of a recipe: the name of a function or of a value of a module, which may itself be given from Python."""


def part_name(part: Any) -> str:
    """Return the import path of a part, or of its class; the name alone where it cannot be imported.

    >>> part_name(re.compile), part_name("mine:Net")
    ('re:compile', 'mine:Net')
    """
    if isinstance(part, str):
        return part
    return _import_path(part) or _words(part)


def given_parts(text: str) -> dict[str, Any]:
    """Return the parts that only this process has and that a text (a recipe in JSON) names, for other processes."""
    return {key: part for key, part in _given.items() if json.dumps(key.partition(" ")[0]) in text}


def take_over(key: str, part: Any) -> None:
    """Keep a part that another process was given, under its key there."""
    _given[key] = part


def pickled_parts(text: str) -> dict[str, bytes]:
    """Return what only this process has and a text (settings in JSON) names, pickled, for ``take_pickled``.

    These are classes of a script or notebook, named as ``__main__:Class``, and parts that were given from Python; those
    that a process can make again may be missing.

    Raises:
        SettingsError: one that no other process can make cannot be pickled.
    """
    import cloudpickle

    main = sys.modules["__main__"]
    classes = {name: getattr(main, name.partition(":")[2], None) for name in re.findall(r'"(__main__:\w+)"', text)}
    found = {}
    for key, part in {**classes, **given_parts(text)}.items():
        if part is None:
            continue  # whatever needs it says that it is missing
        try:
            found[key] = cloudpickle.dumps(part)
        except Exception as error:  # whatever it refers to may refuse
            if key in classes or key.startswith(GIVEN):
                name = repr(key) if key in classes else part_name(part)
                raise SettingsError(
                    f"{name} cannot be sent to other processes",
                    got=f"{type(error).__name__}: {error}",
                    expected="a class that does not refer to locks, open files or the like",
                    fix="put it in a module beside your script and name that, or set [compute] processes = 1",
                ) from error
    return found


def take_pickled(found: Mapping[str, bytes]) -> None:
    """Keep in this process what ``pickled_parts`` returned in another one."""
    for key, pickled in found.items():
        if " " not in key:  # a class; parts have their options behind a space
            setattr(sys.modules["__main__"], key.partition(":")[2], pickle.loads(pickled))
        else:
            take_over(key, pickle.loads(pickled))


@contextlib.contextmanager
def as_in_another_process() -> Iterator[None]:
    """Forget what was given to this process, until the end of the block."""
    kept, states = dict(_given), dict(_states)
    _given.clear()
    try:
        yield
    finally:
        _given.update(kept)
        _states.update(states)


def _key(name: str, options: Mapping[str, Any]) -> str:
    return f"{name} {json.dumps(options, sort_keys=True, default=repr)}"


def _unknown(kind: Kind, name: str, names: list[str]) -> SettingsError:
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
    expected = "an import path 'package.module:Name' or an installed " + GROUPS[kind]
    return SettingsError(f"unknown {kind}", got=repr(name),
                         expected=f"one of {', '.join(names)}; {expected}" if names else expected,
                         fix=f"write {near[0]!r}" if near else "")  # fmt: skip


def _words(part: Any) -> str:
    return str(getattr(part, "__name__", type(part).__name__))


def _import_path(part: Any) -> str | None:
    """Return the path under which a class, a function or the class of an instance is found again, or None."""
    named = part if inspect.isclass(part) or inspect.isroutine(part) else type(part)
    module, name = getattr(named, "__module__", None), getattr(named, "__qualname__", "")
    path = f"{module}:{name}"
    if not is_import_path(path):
        return None
    try:
        return path if getattr(importlib.import_module(str(module)), name, None) is named else None
    except ImportError:
        return None


def _value_path(value: Any) -> str | None:
    """Return the path of the module's variable that holds a value, in the module of its class or of its functions."""
    holders = [value, *getattr(value, "__dict__", {}).values()]
    for module in dict.fromkeys(str(getattr(holder, "__module__", "")) for holder in holders):
        for name, other in list(vars(sys.modules[module]).items()) if module in sys.modules else ():
            if other is value and is_import_path(f"{module}:{name}"):
                return f"{module}:{name}"
    return None


def _options(part: Any, *, skip: int = 0) -> dict[str, Any] | None:
    """Return the arguments that make an instance again, read from its attributes; None where they are not known.

    The first ``skip`` arguments are left out.
    """
    if inspect.isclass(part) or inspect.isroutine(part):
        return {}
    try:
        parameters = [*inspect.signature(type(part)).parameters.values()][skip:]
        options = {parameter.name: getattr(part, parameter.name) for parameter in parameters}
        again: dict[str, Any] = json.loads(json.dumps(options))
        return again if _with_tuples(type(part), again) == options else None
    except (TypeError, ValueError, AttributeError):
        return None


def _with_tuples(part: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options with a tuple for a list where the default is a tuple: a recipe has lists alone."""
    try:
        parameters = inspect.signature(part).parameters
    except (TypeError, ValueError):
        return dict(options)
    tuples = {name for name, parameter in parameters.items() if isinstance(parameter.default, tuple)}
    return {name: tuple(one) if name in tuples and isinstance(one, list) else one for name, one in options.items()}


def _own_name(part: Any, process: str) -> str:
    """Return the name of a part that cannot be imported: the one it was given before, or a new one."""
    if isinstance(own := getattr(part, "own_name", None), str):
        return f"{GIVEN}:{own}"
    for key, known in _given.items():
        if known is part and key.startswith(GIVEN):
            return key.partition(" ")[0]
    word = re.sub(r"\W", "", _words(part)) or "part"
    taken = sum(key.startswith(f"{GIVEN}:{word}_") for key in _given)
    return f"{GIVEN}:{word}_{taken + 1}" + (f"_{process}" if process else "")


def _holds_something_else(key: str, part: Any) -> bool:
    """Return whether another instance was given under a key, and held other attributes than this one does now."""
    if inspect.isclass(part) or inspect.isroutine(part) or _given.get(key) is part:
        return False
    import joblib

    try:
        state = joblib.hash(vars(part))
    except Exception:  # whatever it holds may refuse
        state = None
    if key in _given and (state is None or state != _states.get(key)):
        return True
    _states[key] = state
    return False


def _signature(part: Any) -> str:
    try:
        return f"{_words(part)}{inspect.signature(part)}"
    except (TypeError, ValueError):
        return f"the arguments of {_words(part)}"
