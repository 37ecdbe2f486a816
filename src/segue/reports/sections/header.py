"""The head of the report: what was measured on what, and what must be read before any number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from segue.reports.document import Notice
from segue.reports.findings import unproven
from segue.reports.record import Comparison, mapping, number, sequence
from segue.reports.text.markup import code, plain, strong
from segue.reports.text.numbers import DASH, count, listing, of_things

EXCLUDED = {
    "context": "context excluded from the candidates",
    "prefix": "all that was read excluded from the candidates",
    "none": "nothing excluded from the candidates",
}


def facts(comparison: Comparison) -> tuple[tuple[str, str], ...]:
    """What was measured on what; what is not known is left out."""
    data = comparison.data
    found = (
        ("Corpus", _corpus(mapping(data.get("corpus")), beside=fresh_facts(comparison))),
        ("Fresh documents", _fresh(fresh_facts(comparison))),
        ("Pool", _things(comparison, "pool", "candidate")),
        ("Windows", _windows(comparison)),
        ("Test documents", _documents(comparison)),
        ("Encoder", _encoder(mapping(data.get("encoder")))),
        ("Seeds", _seeds(comparison)),
        ("Model sizes", code(data["size"]) if data.get("size") else ""),
        ("Measured", _version(data)),
    )
    return tuple((name, value) for name, value in found if value)


def _things(comparison: Comparison, key: str, thing: str) -> str:
    value = comparison.amount(key)
    return "" if value is None else of_things(value, thing)


def _counts(record: Mapping[str, Any]) -> str:
    """Counts with their reasons, zeros left out."""
    return ", ".join(f"{count(value)} {plain(reason)}" for reason, raw in record.items() if (value := number(raw)))


def fresh_facts(comparison: Comparison) -> Mapping[str, Any]:
    """The fresh documents that the test windows come from; empty where they come from the run's own corpus."""
    return mapping(comparison.data.get("fresh"))


def _named(corpus: Mapping[str, Any]) -> str:
    kind = code(corpus["kind"]) if corpus.get("kind") else ""
    name = plain(corpus.get("name") or "") if corpus.get("name") != corpus.get("kind") else ""
    return " ".join(part for part in (kind, name) if part)


def _fresh(fresh: Mapping[str, Any]) -> str:
    sizes = [
        of_things(value, thing)
        for key, thing in (("documents", "document"), ("windows", "window"))
        if (value := number(fresh.get(key))) is not None
    ]
    skipped = _counts(mapping(fresh.get("skipped")))
    parts = [part for part in (_named(fresh), listing(sizes)) if part]
    return ": ".join(parts) + (f"; skipped: {skipped}" if skipped else "")


def _seeds(comparison: Comparison) -> str:
    seeds = [plain(seed) for seed in sequence(comparison.data.get("seeds"))]
    each = ", one per fold" if len(seeds) > 1 and len(seeds) == comparison.amount("folds") else ""
    return listing(seeds) + each


def _corpus(corpus: Mapping[str, Any], *, beside: Mapping[str, Any]) -> str:
    """Name the run's corpus and count the bank; with fresh documents beside it both are in the counts."""
    sizes = [
        of_things(value, thing)
        for key, thing in (("documents", "document"), ("passages", "passage"), ("characters", "character"))
        if (value := number(corpus.get(key))) is not None
    ]
    parts = [part for part in (_named(corpus), listing(sizes)) if part]
    if beside:
        return ": ".join(parts) + ", with the fresh documents"
    skipped = _counts(mapping(corpus.get("skipped")))
    return ": ".join(parts) + (f"; skipped: {skipped}" if skipped else "")


def _windows(comparison: Comparison) -> str:
    context = comparison.amount("context")
    parts = [_things(comparison, "windows", "window")]
    parts += [f"{of_things(context, 'passage')} of context"] if context is not None else []
    parts += [EXCLUDED.get(str(comparison.data.get("exclude")), "")]
    dropped = _counts(mapping(comparison.data.get("dropped_windows")))
    return ", ".join(part for part in parts if part) + (f"; dropped: {dropped}" if dropped else "")


def _documents(comparison: Comparison) -> str:
    folds, tested = comparison.amount("folds"), comparison.amount("documents")
    if tested is None:
        return ""
    if folds is not None and folds > 1:
        return f"{count(tested)}, each tested once in {of_things(folds, 'fold')}"
    return count(tested) + (", one split" if folds == 1 else "")


def _encoder(encoder: Mapping[str, Any]) -> str:
    dimension, longest = number(encoder.get("dimension")), number(encoder.get("maximum_tokens"))
    parts = [code(encoder["encoder"])] if encoder.get("encoder") else []
    parts += [f"{count(dimension)} dimensions"] if dimension is not None else []
    parts += [f"{plain(encoder['pooling'])} pooling"] if encoder.get("pooling") else []
    parts += [plain(encoder["precision"])] if encoder.get("precision") else []
    parts += [f"at most {count(longest)} tokens"] if longest is not None else []
    return ", ".join(parts) + ("; declared, not verified" if encoder.get("declared") is True else "")


def _version(data: Mapping[str, Any]) -> str:
    when = str(data.get("created") or "").replace("T", " ").replace("+00:00", " UTC").replace("Z", " UTC")
    parts = [plain(when)] if when else []
    parts += [f"by Segue {plain(data['segue'])}"] if data.get("segue") else []
    parts += [f"at commit {code(str(data['commit'])[:12])}"] if data.get("commit") else []
    return ", ".join(parts)


def notices(comparison: Comparison) -> tuple[Notice, ...]:
    """What must be read before any number."""
    found = (_unsafe(comparison), _unproven(comparison), _phase_2(comparison), _small(comparison))
    return tuple(notice for notice in found if notice is not None)


def _unsafe(comparison: Comparison) -> Notice | None:
    if not comparison.unsafe:
        return None
    failed = listing([code(name) for name in comparison.blocked])
    reason = f"{failed} failed" if failed else "An integrity check was muted or skipped"
    text = f"{strong('UNSAFE.')} {reason}, and the numbers are printed all the same. Do not quote them."
    return Notice(text, "fail")


def _unproven(comparison: Comparison) -> Notice | None:
    """Name the integrity checks that nobody carried out."""
    parts = [
        f"{listing([code(name) for name in codes])} {'was' if len(codes) == 1 else 'were'} {outcome}"
        for outcome, codes in unproven(comparison).items()
    ]
    if not parts:
        return None
    one = sum(len(codes) for codes in unproven(comparison).values()) == 1
    asked = "what it asks" if one else "what they ask"
    heading = f"{strong('Not examined.')} The integrity check{'' if one else 's'}"
    return Notice(f"{heading} {listing(parts)}: nothing vouches for {asked}.")


def _phase_2(comparison: Comparison) -> Notice | None:
    if not fresh_facts(comparison):
        return None
    return Notice(
        f"{strong('Fresh documents.')} Training and validation come from the run (its first fold); the test windows "
        "come from fresh documents that it never met, in a pool of old and new passages.",
    )


def _small(comparison: Comparison) -> Notice | None:
    size = str(comparison.data.get("size") or "")
    if size in ("", "full") or comparison.refused:
        return None
    return Notice(
        f"Model sizes are {code(size)}: small enough to be trained in minutes. The rows compare the options with each "
        "other; they do not say what full sizes would reach.",
        "muted",
    )


def footer(comparison: Comparison) -> str:
    """How the report came about."""
    version = plain(comparison.data.get("segue") or DASH)
    return f"Segue {version}. Every number and sentence above is written from {code('triage.json')} by fixed rules."
