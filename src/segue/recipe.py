"""A recipe: one TOML file that combines the settings of all rooms.

Every key but [corpus] has a documented default. All problems of a recipe are reported at once, unknown keys with the
nearest valid one. Relative paths in a recipe file are relative to the folder of that file; in tables given from Python,
to the current folder.
"""

from __future__ import annotations

import difflib
import importlib.util
import os
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, Field, ValidationError
from pydantic_core import ErrorDetails

from segue.bank.bank import BankSettings
from segue.checks.own import CheckSettings
from segue.comparison.settings import OWN_TABLES, ComparisonSettings
from segue.corpus import Corpus, corpus_kinds
from segue.corpus.passages import PassageSettings
from segue.encoders import EncoderSettings
from segue.encoders.endpoint import PREFIX
from segue.errors import SettingsError
from segue.parts import is_import_path
from segue.settings import Settings
from segue.storage import place_of, pull
from segue.windows.splits import SplitSettings
from segue.windows.windows import WindowSettings

PATHS = {"corpus": ("path", "vectors", "table"), "bank": ("path",), "triage": ("plan",)}
"""Keys that hold a path, by table."""


class DataSettings(Settings):
    """The tables that make the bank and its windows."""

    title: str = Field("", description="printed at the head of the report")
    import_from: str = Field(
        "", description='folder of modules of your own, named as "module:Class"; empty: the folder of the recipe'
    )
    corpus: Corpus = Field(description="where documents come from")
    passages: PassageSettings = PassageSettings()
    encoder: EncoderSettings = EncoderSettings()
    bank: BankSettings = BankSettings()
    split: SplitSettings = SplitSettings()
    windows: WindowSettings = WindowSettings()


class Recipe(ComparisonSettings, DataSettings):
    """Everything one run needs to know; each table is documented in the room that it configures."""

    checks: CheckSettings = CheckSettings()


AnyRecipe = Recipe | Mapping[str, object] | Path | str
"""A recipe, its tables, or the path of its file."""


def load_recipe(path: Path | str, *, overrides: Mapping[str, object] | None = None) -> Recipe:
    """Read a recipe file; its relative paths become absolute, from the folder of the file.

    Args:
        path: a TOML file.
        overrides: tables whose keys replace the file's, as ``{"triage": {"budget_minutes": 5}}``; relative paths in
            them are relative to the current folder.

    Raises:
        SettingsError: the file is missing, is not TOML, or has problems; the message lists all of them.
        InputError: its URL holds a password, or is none.
        MissingExtraError: its URL needs a client of object storage that is not installed.
        StorageError: its URL cannot be read.
    """
    path = pull(path)
    try:
        return parse_recipe(_merge(_located(_read_toml(path), path.parent), overrides or {}), where=str(path))
    except RecursionError as error:
        got, fix = "lists or tables many hundred deep", "write it flatter"
        raise SettingsError(f"recipe {path} cannot be read", got=got, fix=fix) from error


def load_corpus(path: Path | str) -> Corpus:
    """Read the [corpus] table of a TOML file; other tables are checked if they are there, and not used.

    Raises:
        SettingsError: as ``load_recipe``.
    """
    return load_recipe(path).corpus


def parse_recipe(tables: Mapping[str, object], *, where: str = "recipe") -> Recipe:
    """Validate the tables of a recipe, and let Python find the modules that it names.

    Raises:
        SettingsError: lists every problem, one a line.
    """
    try:
        own = {name: tuple(_table(tables, name)) for name in OWN_TABLES}
        named = {"metrics": tuple(_table(_table(tables, "evaluation"), "metrics")), "own": own}
        recipe = Recipe.model_validate(tables, context=named)
    except ValidationError as error:
        problems = [_problem(issue) for issue in error.errors(include_url=False)]
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise SettingsError(f"{where} has {count}:\n" + "\n".join(f"  - {line}" for line in problems)) from error
    if recipe.import_from:
        if recipe.import_from not in sys.path:
            sys.path.append(recipe.import_from)
        for path in _import_paths(tables):
            _require_found_in(recipe.import_from, path.split(":")[0].split(".")[0])
    return recipe


def _require_found_in(folder: str, module: str) -> None:
    """Refuse a module beside the recipe that Python does not import from there, since a process has each name once.

    Raises:
        SettingsError: another module of this name was imported before, or is found first.
    """
    beside = [path for path in (Path(folder, f"{module}.py"), Path(folder, module, "__init__.py")) if path.exists()]
    spec = importlib.util.find_spec(module) if beside else None
    if spec is not None and spec.origin is not None and not any(path.samefile(spec.origin) for path in beside):
        raise SettingsError(f"the module {module!r} beside the recipe is not the one that Python imports",
                            got=spec.origin, expected=str(beside[0]),
                            fix="give it another name, or run this recipe in a process of its own")  # fmt: skip


def _read_toml(path: Path) -> Mapping[str, object]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise SettingsError(f"recipe {path} does not exist", fix="check the path") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"recipe {path} is not TOML", got=str(error), fix="correct that line") from error
    except OSError as error:
        what = f"recipe {path} cannot be read"
        raise SettingsError(what, got=error.strerror, fix="name a TOML file") from error


def _located(tables: Mapping[str, object], folder: Path) -> Mapping[str, object]:
    """Return the tables of a file with absolute paths; an absent [bank] path is the default beside the file."""
    located: dict[str, object] = {"bank": {}, **tables}
    if any(_import_paths(tables)):
        located["import_from"] = _place_in(folder, tables.get("import_from", ""))
    if isinstance(located["bank"], Mapping):
        located["bank"] = {"path": BankSettings().path, **located["bank"]}
    for name, keys in PATHS.items():
        table = _table(located, name)
        places = {key: _places_in(folder, table[key]) for key in keys if _is_path(table, key)}
        located |= {name: {**table, **places}} if places else {}
    encoder = _table(located, "encoder").get("name")
    if isinstance(encoder, str) and _is_folder(folder, encoder):
        located["encoder"] = {**_table(located, "encoder"), "name": _place_in(folder, encoder)}
    return located


def _import_paths(value: object) -> Iterator[str]:
    """Yield the import paths that a table, a list or a string holds."""
    if isinstance(value, Mapping):
        value = [inner for key, inner in value.items() if key != "title"]
    if isinstance(value, list):
        for inner in value:
            yield from _import_paths(inner)
    elif isinstance(value, str) and is_import_path(value) and not value.startswith(PREFIX):
        yield value


def _is_folder(folder: Path, encoder: str) -> bool:
    """Return whether the name of an encoder is a path: it begins with a dot, or is a folder beside the recipe."""
    return encoder.startswith(".") or (encoder not in ("", "minilm") and os.path.isdir(folder / encoder))


def _table(tables: Mapping[str, object], name: str) -> Mapping[str, object]:
    table = tables.get(name, {})
    return table if isinstance(table, Mapping) else {}


def _is_path(table: Mapping[str, object], key: str) -> bool:
    """Return whether a key holds a path, or a list of them; "demo" names the sample of Wikipedia."""
    value = table.get(key)
    if (table.get("kind"), value) == ("wikipedia-dump", "demo"):
        return False
    return all(isinstance(one, str) and one != "" for one in (value if isinstance(value, list) else [value]))


def _places_in(folder: Path, paths: object) -> object:
    """Return paths from the folder of a recipe; a URL stays as it is."""
    if isinstance(paths, list):
        return [_places_in(folder, path) for path in paths]
    return paths if "://" in str(paths) else _place_in(folder, paths)


def _place_in(folder: Path, path: object) -> str:
    return place_of(os.path.abspath(folder / str(path)))


def _merge(base: Mapping[str, object], overrides: Mapping[str, object]) -> Mapping[str, object]:
    merged = dict(base)
    for key, value in overrides.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def _problem(issue: ErrorDetails) -> str:
    """Describe one problem: where, what, and for unknown keys the nearest valid one."""
    where = _place(issue["loc"])
    if issue["type"] == "extra_forbidden":
        key = str(issue["loc"][-1])
        valid = sorted(_fields(issue["loc"][:-1]))
        near = difflib.get_close_matches(key, valid, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"valid keys: {', '.join(valid)}"
        return f"{where}: unknown key; {hint}"
    if issue["type"] == "missing":
        return f"{where}: required, but missing"
    if issue["type"] in ("union_tag_invalid", "union_tag_not_found"):
        return f"[{where}] kind: {_wrong_kind(issue['input'].get('kind'))}"
    if issue["type"] == "value_error":  # one of ours, with what it got
        return f"{where}: {issue['msg'].removeprefix('Value error, ')}"
    message = issue["msg"][0].lower() + issue["msg"][1:]
    return f"{where}: {message}, got {issue['input']!r}"


def _wrong_kind(kind: object) -> str:
    kinds = corpus_kinds()
    near = difflib.get_close_matches(str(kind), kinds, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    what = "required, but missing" if kind is None else f"unknown kind {kind!r}"
    return f"{what}; {hint}valid kinds: {', '.join(kinds)}"


def _place(loc: tuple[Any, ...]) -> str:
    """Turn a location into ``[table] key``; tags of a union are left out.

    >>> _place(("windows", "context"))
    '[windows] context'
    """
    parts = [str(part) for part in loc]
    if len(parts) > 1 and parts[0] == "corpus" and parts[1] in corpus_kinds():
        parts.pop(1)
    return parts[0] if len(parts) == 1 else f"[{parts[0]}] {'.'.join(parts[1:])}"


def _fields(loc: tuple[Any, ...]) -> set[str]:
    """Return the keys that are valid at a location."""
    model: Any = Recipe
    for part in loc:
        if model is None:
            break
        if part in corpus_kinds():
            model = corpus_kinds()[part]
        elif isinstance(part, str) and part in model.model_fields:
            model = _inner_model(model.model_fields[part].annotation)
    return set(model.model_fields) if model is not None else set()


def _inner_model(annotation: Any) -> type[BaseModel] | None:
    """Find the settings class inside an annotation such as ``tuple[GateSettings, ...]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _inner_model(part))), None)
