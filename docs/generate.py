"""Write the pages that are generated from the code.

``python docs/generate.py`` (part of ``make docs``) writes ``recipe.md`` from the settings classes, ``checks.md`` from
the checks and ``api.md`` from the public names; tests compare the committed pages with what would be written now.
``--examples`` first injects the faults of the fault matrix (some minutes), so that the examples in ``checks.md`` are
real findings.
"""

from __future__ import annotations

import sys
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from segue.comparison.options import OPTIONS, RECIPE_MODEL, WINNING_LOSS, Option
from segue.corpus import Corpus
from segue.evaluation.gates import REPORT_GATES, STANDARD_GATES, GateSettings
from segue.recipe import Recipe
from segue.training.losses.loss import LOSSES, LossSettings

PAGE = Path(__file__).with_name("recipe.md")
BOUNDS = {"ge": "≥ {}", "gt": "> {}", "le": "≤ {}", "lt": "< {}"}
WORDS = {int: "integer", float: "number", bool: "true or false", str: "string", dict: "table", Any: "any value"}
MISSING = "–"

HEAD = """# The recipe: every table, key, default and range

*Made from the settings classes by `make docs`; do not edit by hand.*

A recipe is one TOML file. Only `[corpus]` is required; all other keys have the defaults below. An unknown key is an
error that names the nearest valid one, and all problems of a recipe are reported at once. A relative path
(corpus, bank, plan, an encoder's folder) is relative to the recipe's folder, wherever the command is run; `--out` is
relative to the current folder. [choosing.md](choosing.md) says which settings matter.

TOML has no null: where the default is `null`, leave the key out. Where null is not the default
(`[training] patience`, `[triage] validation_windows`), set it from Python:
`load_recipe(path, overrides={"training": {"patience": None}})`.

**Your own parts.** `[corpus] reader`, `[encoder] name`, `[model] name`, `[[loss.terms]] kind`, `[checks] own`,
`[evaluation.metrics]`, `[[gates]] decide` and the tables `[models]`, `[losses]`, `[retrievers]` and `[rerankers]`
take an import path, `"package.module:Name"`, or the name of an installed part: [Your own parts](parts/index.md).
"""


def recipe_page() -> str:
    """Return the whole page."""
    parts = [HEAD, *_tables(), _option_section(), _loss_section(), _gate_section()]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _tables() -> Iterator[str]:
    plain = {name: field for name, field in Recipe.model_fields.items() if not (_is_table(field) or _named(field))}
    yield "## Keys outside tables\n\n" + _rows(plain)
    for name, field in Recipe.model_fields.items():
        if name == "corpus":
            yield from _corpus_tables()
        elif _is_table(field):
            yield from _model_tables(f"[{name}]", typing.cast(type[BaseModel], field.annotation))
        elif (inner := _named(field)) is not None:
            about = f"{field.description}; the keys of {SAME[name]}" if name in SAME else str(field.description)
            yield f"## `[{name}.NAME]`\n\n{about[0].upper()}{about[1:]}." + (
                "" if name in SAME else f"\n\n{_rows(inner.model_fields)}")  # fmt: skip
    yield from _model_tables("[[gates]]", GateSettings)


def _is_table(field: FieldInfo) -> bool:
    return _is_model(field.annotation) or field.annotation == typing.get_args(Corpus)[0]


SAME = {"models": "`[model]`", "losses": "`[loss]`, or an import path alone"}
"""Tables of one's own entries that have the keys of another table."""


def _named(field: FieldInfo) -> type[BaseModel] | None:
    """Return the model of the tables in a table of tables by name, else None."""
    of_names = typing.get_origin(field.annotation) is dict
    return _inner_model(field.annotation) if of_names else None


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _corpus_tables() -> Iterator[str]:
    kinds = typing.get_args(typing.get_args(Corpus)[0])
    names = ", ".join(f"`{_kind(model)}`" for model in kinds)
    yield f"## `[corpus]`\n\nWhere documents come from; `kind` is one of {names}."
    for model in kinds:
        fields = {name: field for name, field in model.model_fields.items() if name != "kind"}
        yield f'### `[corpus]` with `kind = "{_kind(model)}"`\n\n{_first_line(model)}\n\n{_rows(fields)}'


def _kind(model: type[BaseModel]) -> str:
    """Return the value of `kind` for this model; a literal without a default is its only value."""
    return str(typing.get_args(model.model_fields["kind"].annotation)[0])


def _model_tables(title: str, model: type[BaseModel]) -> Iterator[str]:
    """Yield the table of a model, then those of the tables and lists of tables inside it."""
    yield f"## `{title}`\n\n{_first_line(model)}\n\n{_rows(model.model_fields)}"
    for name, field in model.model_fields.items():
        inner = _inner_model(field.annotation)
        if inner is not None:
            place = f"{title.strip('[]')}.{name}"
            yield from _model_tables(f"[{place}]" if _is_model(field.annotation) else f"[[{place}]]", inner)


def _inner_model(annotation: Any) -> type[BaseModel] | None:
    """Return the model of a table or of a list of tables, else None."""
    if _is_model(annotation):
        return typing.cast(type[BaseModel], annotation)
    return next((found for part in typing.get_args(annotation) if (found := _inner_model(part))), None)


def _first_line(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").strip().splitlines()[0].replace("``", "`")


def _rows(fields: Mapping[str, FieldInfo]) -> str:
    lines = ["| key | type | default | range | meaning |", "|---|---|---|---|---|"]
    for name, field in fields.items():
        cells = (f"`{name}`", describe_type(field.annotation), _default(field), _range(field), field.description or "")
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def describe_type(annotation: Any) -> str:
    """Describe a type in the words of TOML; the default shows whether a key may be left out.

    >>> describe_type(int | None), describe_type(tuple[str, ...]), describe_type(tuple[int, int])
    ('integer', 'list of strings', 'list of 2 integers')
    """
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        annotation, origin = arguments[0], None
    if origin is typing.Literal:
        return ", ".join(f'`"{value}"`' for value in arguments)
    if origin in (typing.Union, types.UnionType):
        return ", or ".join(describe_type(part) for part in arguments if part is not types.NoneType)
    if origin is tuple:
        inner = describe_type(arguments[0])
        if typing.get_origin(arguments[0]) is typing.Literal:
            return f"list of some of {inner}"
        return f"list of {'' if Ellipsis in arguments else f'{len(arguments)} '}{inner}s"
    if isinstance(annotation, type) and issubclass(annotation, PurePath):
        return "path"
    return "table" if _is_model(annotation) else WORDS[origin or annotation]


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    return f"`{_toml(field.get_default(call_default_factory=True))}`"


def _toml(value: Any) -> str:
    """Write a default as TOML, without the defaults of inner tables."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json", exclude_unset=True)
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case str() | PurePath():
            return f'"{value}"'
        case list() | tuple():
            return "[" + ", ".join(_toml(item) for item in value) + "]"
        case dict():
            return "{" + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + "}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _range(field: FieldInfo) -> str:
    """Describe the bounds that the class declares."""
    found = []
    for bound in field.metadata:
        found += [text.format(_number(getattr(bound, name))) for name, text in BOUNDS.items() if hasattr(bound, name)]
        found += [f"at least {bound.min_length} long"] if getattr(bound, "min_length", None) else []
        found += [f"matches `{bound.pattern}`"] if getattr(bound, "pattern", None) else []
    return ", ".join(found) or MISSING


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def _option_section() -> str:
    lines = [
        "## Names for `[triage] options`",
        "",
        "Controls and baselines always take part. Only a *candidate* can win.",
        "",
        "| option | what it does | model | loss | intent |",
        "|---|---|---|---|---|",
    ]
    for option in OPTIONS:
        lines.append(
            f"| `{option.name}` | {option.description} | {_model(option)} | {_loss(option)} | {option.intent} |"
        )
    return "\n".join(lines)


def _model(option: Option) -> str:
    if option.model is None:
        return MISSING
    name = "that of `[model]`" if option.model == RECIPE_MODEL else option.model
    return f"{name}, {'with' if option.anchor else 'without'} anchor"


def _loss(option: Option) -> str:
    return "the best on validation" if option.loss == WINNING_LOSS else f"`{option.loss}`" if option.loss else MISSING


def _loss_section() -> str:
    lines = [
        "## The losses of the options, as `[loss]` tables",
        "",
        "`segue train` minimises the recipe's own `[loss]`: any of these, or another sum.",
        "",
        "| loss | terms |",
        "|---|---|",
    ]
    lines += [f"| `{name}` | `{_terms(loss)}` |" for name, loss in LOSSES.items()]
    return "\n".join(lines)


def _terms(loss: LossSettings) -> str:
    more = f"`, negatives `{_toml(list(loss.negatives))}" if loss.negatives else ""
    return _toml(list(loss.terms)) + more


def _gate_section() -> str:
    lines = [
        "## Families of gates",
        "",
        '`gates = "standard"` or `gates = "report"`; or a list of your own, as `[[gates]]`. A gate passes when any of '
        "its conditions does. A difference to an under-trained option is not enough evidence.",
        "",
        "| gate | passes when | standard | report | the threshold comes from |",
        "|---|---|---|---|---|",
    ]
    for gate in REPORT_GATES:
        is_standard = "yes" if gate in STANDARD_GATES else "no"
        lines.append(f"| `{gate.name}` | {gate} | {is_standard} | yes | {gate.source} |")
    return "\n".join(lines)


if __name__ == "__main__":
    import generate_api  # both stand beside this script
    import generate_checks

    if "--examples" in sys.argv[1:]:
        generate_checks.write_examples()
    else:
        generate_checks.write_matrix()
    pages = (
        (PAGE, recipe_page()),
        (generate_checks.PAGE, generate_checks.checks_page()),
        (generate_api.PAGE, generate_api.api_page()),
    )
    for page, text in pages:
        page.write_text(text, encoding="utf-8")
        print(f"wrote {page.name}")
