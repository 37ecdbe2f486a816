"""The front page of a replay: ``replay.json`` becomes ``README.md``, with every number beside its control."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Record = Mapping[str, Any]
CUTOFF = "R@5"


def forms_lines(record: Record) -> list[str]:
    """Say in a line per form whether it was blocked, and why."""
    return [f"({name}) {form['title']}: {_blocked(form)}" for name, form in record["forms"].items()]


def _blocked(form: Record) -> str:
    if not form["blocked"]:
        return "not blocked"
    causes = f"; causes: {', '.join(form['causes'])}" if form["causes"] else ""
    return f"blocked by {', '.join(form['blocked'])}{causes}"


def page(record: Record) -> str:
    """Return the page in Markdown."""
    forms = record["forms"]
    parts = [
        "# Phase 1 of the original work, replayed",
        _about(record),
        table(("form", "outcome", "report"), [_form(name, form) for name, form in forms.items()]),
        *_expected(record["unexpected"]),
        *_as_done(forms["a"]),
        *_leaked(forms["b"]),
        *_clean(forms["c"]),
    ]
    return "\n\n".join(parts) + "\n"


def _about(record: Record) -> str:
    bank = record["bank"]
    return (
        f"{bank['documents']:,} documents, {bank['passages']:,} passages; model `{record['model']}`, size "
        f"`{record['size']}`, {record['steps']} steps each; Segue {record['segue']}, {record['created']}. The baseline "
        "`encoder-context` is left out: it is the slowest one, and no part of the story."
    )


def _form(name: str, form: Record) -> tuple[str, str, str]:
    return f"({name}) {form['title']}", _blocked(form), f"[report.html]({form['folder']}/report.html)"


def _expected(unexpected: Sequence[str]) -> list[str]:
    if not unexpected:
        return ["Every form was blocked, or not, by the checks that were made for its defects."]
    return ["**Not as expected:**", "\n".join(f"- {line}" for line in unexpected)]


def _as_done(form: Record) -> list[str]:
    documents, queries, keys = form["documents"], form["queries"], form["keys"]
    said = (
        f"{documents['queried']} documents were queried, {documents['indexed']} were indexed, "
        f"{documents['queried_and_indexed']} were both. Of {queries['stored']:,} stored queries "
        f"{queries['dropped']:,} had a key that the index does not hold and were dropped. A stored target's cosine "
        f"with the row at its key was {keys['matched']:.3f}, with the rows at the keys of other documents' queries "
        f"{keys['random']:.3f}: the keys said nothing. The other targets were overwritten with those rows."
    )
    models = [_model(name, row, form["chance"][CUTOFF]) for name, row in form["rows"].items()]
    heads = ("model", "R@1", CUTOFF, "chance", "Contain@50", "cosine, matched", "cosine, random", "difference",
             "validation cosine")  # fmt: skip
    return [
        "## (a) As it was done: blocked, not to be quoted",
        said,
        table(heads, models),
        "The projection-head compatibility test, on the stored queries as in the original report and on pairs that "
        "belong together:",
        _heads(form["compatibility"]),
        *_learnt(form["rows"]),
        *_fixed(form["rows"]),
    ]


def _fixed(rows: Record) -> list[str]:
    """Show what the same weights find where the answers can be found."""
    lines = [
        (name, interval(row["metrics"][CUTOFF]), interval(row["fixed"][CUTOFF]), number(row["fixed"], "cosine"))
        for name, row in rows.items()
        if "fixed" in row
    ]
    return [
        "The same weights, evaluated on the same documents once these are in the index and the truth is the passage "
        "that is really next (the context excluded):",
        table(("model", f"{CUTOFF} as it was done", f"{CUTOFF}, queries fixed", "cosine, queries fixed"), lines),
    ]


def _learnt(rows: Record) -> list[str]:
    """Say where InfoNCE ended on training batches, beside chance: whether a head has learnt anything."""
    ended = {name: row["last_step"] for name, row in rows.items() if "infonce" in row.get("last_step", {})}
    return [
        f"On its training batches the InfoNCE of `{name}` ended at {last['infonce']:.2f} nats, where chance is "
        f"{last['InfoNCE at chance']:.2f}."
        for name, last in ended.items()
    ]


def _model(name: str, row: Record, chance: float) -> tuple[str, ...]:
    metrics, cosine = row["metrics"], row["cosine"]
    shown = [interval(metrics["R@1"]), interval(metrics[CUTOFF]), share(chance), interval(metrics["Contain@50"])]
    return name, *shown, *_cosines(cosine), number(row["validation"], "cosine")


def _cosines(found: Record) -> tuple[str, ...]:
    """Write a matched and a random cosine, and their difference where it has an interval."""
    both = f"{found['matched']:.3f}", f"{found['random']:.3f}"
    difference = found.get("difference")
    if difference is None or difference["low"] is None:
        return *both, "–"
    return *both, f"{difference['value']:+.3f} [{difference['low']:+.3f}, {difference['high']:+.3f}]"


def _heads(spaces: Record) -> str:
    lines = [(pairs, space, *_cosines(found)) for pairs, both in spaces.items() for space, found in both.items()]
    return table(("pairs", "space", "cosine, matched", "cosine, random", "difference"), lines)


def _leaked(form: Record) -> list[str]:
    said = (
        f"{form['trained_on']} of {form['evaluated']} evaluated documents "
        f"({share(form['trained_on'] / form['evaluated'])}) were trained on, in the place of as many others. The "
        "inflated number is blocked; the honest one is the same model on the same windows, trained without the leak."
    )
    lines = [
        (name, interval(row["leaked"]), interval(row["honest"]), points(row["difference"]))
        for name, row in form["rows"].items()
    ]
    heads = ("model", f"{CUTOFF}, inflated (SG104)", f"{CUTOFF}, honest", "difference in points, paired")
    return ["## (b) A leaked split: the inflated number is blocked", said, table(heads, lines)]


def _clean(form: Record) -> list[str]:
    said = (
        f"{form['windows']:,} windows of {form['documents']} documents that no model was trained on; "
        f"{form['pool']:,} candidates."
    )
    heads = ("model", CUTOFF, f"Δ{CUTOFF} to ar-cosine", "to infonce-projected", "to copy-last", "MRR", "cosine")
    parts = ["## (c) Clean", said, table(heads, _measured(form["rows"]))]
    parts += ["From validation to test:", table(("model", f"{CUTOFF}, validation", "test", "cosine, validation",
                                                 "test"), _drops(form["rows"]))]  # fmt: skip
    tested = {name: row["compatibility"] for name, row in form["rows"].items() if row["compatibility"]}
    for name, found in tested.items():
        spaces = {"validation windows": {space: found[space] for space in ("raw", "projected")}}
        searched = ", ".join(f"{space} {share(found[space]['recall_5'])}" for space in ("raw", "projected"))
        parts += [f"The projection head of `{name}`; {CUTOFF} searched in each space: {searched}.", _heads(spaces)]
    if form.get("conflict"):
        parts += ["Do the terms of its loss oppose each other (SG204)? " + form["conflict"]["statement"]]
    return parts


def _measured(rows: Record) -> list[tuple[str, ...]]:
    return [
        (name, interval(row["metrics"][CUTOFF]),
         *(points(row["delta"].get(other)) for other in ("ar-cosine", "infonce-projected", "copy-last")),
         number(row["metrics"], "MRR"), number(row["metrics"], "cosine"))
        for name, row in rows.items()
    ]  # fmt: skip


def _drops(rows: Record) -> list[tuple[str, ...]]:
    return [
        (name, share(row["validation"][CUTOFF]), share(row["metrics"][CUTOFF]["value"]),
         number(row["validation"], "cosine"), number(row["metrics"], "cosine"))
        for name, row in rows.items() if row["validation"] and row["intent"] != "control"
    ]  # fmt: skip


def interval(found: Record) -> str:
    """Write a share with its 95 % interval.

    >>> interval({"value": 0.25, "low": 0.2, "high": 0.312})
    '25.0 % [20.0, 31.2]'
    """
    if found["low"] is None or found["high"] is None:
        return share(found["value"])
    return f"{share(found['value'])} [{100 * found['low']:.1f}, {100 * found['high']:.1f}]"


def points(found: Record | None) -> str:
    """Write a difference of shares with its 95 % interval; a dash where nothing was compared.

    >>> points({"value": 0.05, "low": -0.01, "high": 0.1})
    '+5.0 [-1.0, +10.0]'
    """
    if found is None:
        return "–"
    if found["low"] is None or found["high"] is None:
        return f"{100 * found['value']:+.1f}"
    return f"{100 * found['value']:+.1f} [{100 * found['low']:+.1f}, {100 * found['high']:+.1f}]"


def share(value: float) -> str:
    """Write a share in per cent.

    >>> share(0.0008)
    '0.1 %'
    """
    return f"{100 * value:.1f} %"


def number(found: Record, name: str) -> str:
    """Write a number, or an interval's value, with three decimals; a dash where it was not measured.

    >>> number({"MRR": {"value": 0.25}}, "MRR"), number({}, "MRR")
    ('0.250', '–')
    """
    value = found.get(name)
    return "–" if value is None else f"{value['value'] if isinstance(value, Mapping) else value:.3f}"


def table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table.

    >>> print(table(("a", "b"), [("1", "2")]))
    | a | b |
    |---|---|
    | 1 | 2 |
    """
    rows = [f"| {' | '.join(line)} |" for line in (heads, *lines)]
    return "\n".join([rows[0], "|" + "---|" * len(heads), *rows[1:]])
