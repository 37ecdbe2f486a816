"""The head of the report: what was measured on what, and what must be read before any number."""

from __future__ import annotations

from collections.abc import Mapping

from segue.comparison.record import CorpusRecord, FreshRecord, Record
from segue.reports.document import Notice
from segue.reports.sections.checks import integrity_sentence, unproven
from segue.reports.text import code, count, listing, of_things, plain, strong

EXCLUDED = {
    "context": "context excluded from the candidates",
    "prefix": "all earlier passages excluded from the candidates",
    "none": "nothing excluded from the candidates",
}


def brief_facts(record: Record) -> tuple[tuple[str, str], ...]:
    """Return the facts of the head of the page: the corpus, what was tested, the vectors, the integrity checks."""
    corpus, fresh = record.corpus, record.fresh
    sizes = ((corpus.documents, "document"), (corpus.passages, "passage"))
    counts = listing([of_things(number, thing) for number, thing in sizes if number is not None])
    folds = f" in {of_things(record.folds, 'fold')}" if record.folds > 1 else ""
    found = (
        ("Corpus", f"{_named(corpus)}: {counts}" if counts else _named(corpus)),
        ("Fresh documents", f"{_named(fresh)}: {of_things(fresh.documents, 'document')}" if fresh else ""),
        ("Tested on", f"{of_things(record.windows, 'window')} of {of_things(record.documents, 'document')}{folds}, "
                      f"{of_things(record.pool, 'candidate')}"),
        ("Vectors", f"{code(record.encoder.encoder)}, {of_things(record.encoder.dimension, 'dimension')}"),
        ("Checks", integrity_sentence(record.audit) if record.audit else ""),
    )  # fmt: skip
    return tuple((name, value) for name, value in found if value)


def facts(record: Record) -> tuple[tuple[str, str], ...]:
    """Return what was measured on what, as name and value."""
    seeds = listing([str(seed) for seed in record.seeds])
    created = record.created.replace("T", " ").replace("+00:00", " UTC").replace("Z", " UTC")
    found = (
        ("Corpus", _corpus(record.corpus, fresh=record.fresh)),
        ("Fresh documents", _fresh(record.fresh) if record.fresh else ""),
        ("Pool", of_things(record.pool, "candidate")),
        ("Windows", _windows(record)),
        ("Test documents", _documents(record)),
        ("Encoder", _encoder(record)),
        ("Seeds", f"{seeds}, one per fold" if 1 < len(record.seeds) == record.folds else seeds),
        ("Model sizes", code(record.size)),
        ("Measured", f"{plain(created)}, by Segue {plain(record.segue)}"),
    )
    return tuple((name, value) for name, value in found if value)


def _counts(numbers: Mapping[str, int]) -> str:
    """Print counts with their reasons, zeros left out."""
    return ", ".join(f"{count(number)} {plain(reason)}" for reason, number in numbers.items() if number)


def _named(corpus: CorpusRecord | FreshRecord) -> str:
    name = f" {plain(corpus.name)}" if corpus.name != corpus.kind else ""
    return f"{code(corpus.kind)}{name}"


def _fresh(fresh: FreshRecord) -> str:
    text = f"{_named(fresh)}: {of_things(fresh.documents, 'document')} and {of_things(fresh.windows, 'window')}"
    skipped = _counts(fresh.skipped)
    return text + (f"; skipped: {skipped}" if skipped else "")


def _corpus(corpus: CorpusRecord, *, fresh: FreshRecord | None) -> str:
    """Name the run's corpus and count the bank; fresh documents are among the counts."""
    sizes = ((corpus.documents, "document"), (corpus.passages, "passage"), (corpus.characters, "character"))
    counts = listing([of_things(number, thing) for number, thing in sizes if number is not None])
    text = f"{_named(corpus)}: {counts}" if counts else _named(corpus)
    skipped = _counts(corpus.skipped)
    if fresh:
        return f"{text}, with the fresh documents"
    return text + (f"; skipped: {skipped}" if skipped else "")


def _windows(record: Record) -> str:
    context = of_things(record.context, "passage")
    text = f"{of_things(record.windows, 'window')}, {context} of context, {EXCLUDED[record.exclude]}"
    dropped = _counts(record.dropped_windows)
    return text + (f"; dropped: {dropped}" if dropped else "")


def _documents(record: Record) -> str:
    if record.folds == 1:
        return f"{count(record.documents)}, one split"
    return f"{count(record.documents)}, each tested once in {of_things(record.folds, 'fold')}"


def _encoder(record: Record) -> str:
    encoder = record.encoder
    parts = [code(encoder.encoder), of_things(encoder.dimension, "dimension"), f"{plain(encoder.pooling)} pooling",
             plain(encoder.precision)]  # fmt: skip
    parts += [f"at most {count(encoder.maximum_tokens)} tokens"] if encoder.maximum_tokens is not None else []
    return ", ".join(parts) + ("; declared, not verified" if encoder.declared else "")


def notices(record: Record) -> tuple[Notice, ...]:
    """Return what must be read before any number."""
    found = (_unsafe(record), _outdated(record), _not_examined(record), _fresh_notice(record))
    return tuple(notice for notice in found if notice is not None)


def _unsafe(record: Record) -> Notice | None:
    if not record.unsafe:
        return None
    failed = listing([code(name) for name in record.blocked])
    reason = f"{failed} failed" if failed else "An integrity check was muted or skipped"
    return Notice(f"{strong('UNSAFE.')} {reason}, but the numbers are printed. Do not quote them.", "fail")


def _outdated(record: Record) -> Notice | None:
    if record.bank_changes is None:
        return None
    return Notice(
        f"{strong('The bank has changed since this run:')} {plain(record.bank_changes)}. The numbers are those of the "
        "bank as it was; compare again in a new run folder for those of the present one."
    )


def _not_examined(record: Record) -> Notice | None:
    """Name the integrity checks that were not carried out."""
    found = unproven(record)
    if not found:
        return None
    parts = [
        f"{listing([code(name) for name in codes])} {'was' if len(codes) == 1 else 'were'} {outcome}"
        for outcome, codes in found.items()
    ]
    checks = of_things(sum(len(codes) for codes in found.values()), "integrity check")
    return Notice(f"{strong('Not examined:')} {checks}. {listing(parts)}.")


def _fresh_notice(record: Record) -> Notice | None:
    if record.fresh is None:
        return None
    return Notice(
        f"{strong('Fresh documents.')} Training and validation documents come from the run (its first fold); the test "
        "windows come from fresh documents that were not in it. The pool holds old and new passages."
    )


def footer(record: Record) -> str:
    """Return how the report came about."""
    return (
        f"Segue {plain(record.segue)}. All numbers and sentences are written from {code('triage.json')} by fixed rules."
    )
