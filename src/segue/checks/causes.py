"""Root causes: written rules, each naming the checks it rests on.

Input: findings. Output: causes, the most fundamental first, each with its evidence and the options that address it.
An issue of a check of your own is a cause by itself.
A cause without evidence is not named, and "no cause found" is an allowed answer. While an integrity check fails the
measured numbers are not evidence, so only causes of that failure are named.
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from segue.comparison.record import Cause, Finding


@dataclass(frozen=True)
class Root:
    """Conditions under which a cause is named.

    Attributes:
        issues: one of these checks must have raised an issue; all that did are evidence.
        tips: these count as evidence where they raised a tip in addition to an issue.
        unless: it is not named when one of these raised an issue, which explains the same more simply.
        suspects: where none of ``issues`` did, a tip of one of these is enough, provided that
        confirmed_by: one of these raised an issue.
        last_resort: not named where any other cause was found.
    """

    name: str
    title: str
    issues: tuple[str, ...]
    fix: str
    options: tuple[str, ...] = ()
    tips: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()
    suspects: tuple[str, ...] = ()
    confirmed_by: tuple[str, ...] = ()
    last_resort: bool = False


RAW = ("infonce-ar", "infonce")
TEMPERATURES = tuple(f"infonce-ar-tau-{tau}" for tau in ("0.05", "0.10", "0.15"))
ARCHITECTURES = ("amn", "gru", "lstm", "transformer", "mamba", "mlp")

INTEGRITY: tuple[Root, ...] = (
    Root("target-not-searched", "the right answer is not in the index", ("SG101",),
         "build the index over the bank that holds the evaluated documents"),
    Root("truth-is-wrong", "the passage used as the target is not the next passage", ("SG102", "SG103"),
         "make the windows again from the bank; trace how targets were joined to contexts"),
    Root("target-was-read", "a part of the target is in the context", ("SG115",),
         "cut passages without overlap, and encode each passage alone"),
    Root("vectors-of-other-texts", "vectors are not those of their texts", ("SG116", "SG120"),
         "join texts and vectors by a key, and build the bank again", unless=("SG106",)),
    Root("documents-are-not-units", "documents or the order of their passages were lost at import", ("SG117",),
         "give all passages of a text one document_id, number them as integers, and import again"),
    Root("leaked-split", "evaluation documents were used for training", ("SG104", "SG105"),
         "split by document, near-duplicates together, before windows are made; train again"),
    Root("spaces-differ", "encoder, bank, checkpoint and index are not in one space", ("SG106",),
         "build the bank and the index again with the encoder that the checkpoint names"),
    Root("batch-dependence", "the answer depends on the other windows of the batch", ("SG118",),
         "compute each answer from its own context: check batch_first and every mean, norm and softmax"),
    Root("private-copy", "a model looks its answer up in passages that it holds", ("SG119",),
         "take the passages out of the model, and train again"),
    Root("query-is-the-truth", "the query is the answer, not a prediction", ("SG111",),
         "query with the predictor's output; declare an oracle as a control"),
    Root("future-leaks", "later passages influence the prediction", ("SG107",),
         "read context passages only; fit statistics on training documents", unless=("SG111",)),
    Root("metadata-oracle", "the ranking reads ids, row numbers or positions", ("SG109",),
         "remove those features; let ties count against the retriever", unless=("SG107", "SG111")),
    Root("wrong-model", "the evaluated model is not the one that was trained", ("SG112",),
         "load the checkpoint with the code it came with, or train again", unless=("SG118",)),
    Root("loss-space-not-served", "the loss was computed in another space than the one that is searched", ("SG110",),
         "serve that space, or train on the raw vectors", RAW),
    Root("index-misses", "the approximate index misses passages that an exact search finds", ("SG113",),
         "probe more, or search exactly", unless=("SG101", "SG106")),
    Root("not-comparable", "the entries were not measured on the same queries and candidates", ("SG114",),
         "evaluate all entries again under one recipe"),
    Root("unfair-candidates", "passages that were just read are among the candidates", ("SG108",),
         "exclude the context and its duplicates, or declare the entry context-left-in"),
)  # fmt: skip
"""Causes that block; the most fundamental first."""

DIAGNOSIS: tuple[Root, ...] = (
    Root("too-few-documents", "there are too few documents to tell", ("SG219",),
         "evaluate on more documents, or with folds, so that every document is a test document"),
    Root("no-order-to-learn", "the order of the passages does not predict what comes next", ("SG213",),
         "use a retriever of similar passages; no predictor of the next one can beat it",
         suspects=("SG213",), confirmed_by=("SG201",)),
    Root("collapsed", "the predictions fill far fewer directions than the targets", ("SG206",),
         "train with a contrastive loss on the raw vectors", RAW, tips=("SG207", "SG208")),
    Root("temperature", "at this temperature the loss can hardly learn", ("SG212",),
         "select the temperature by validation recall", TEMPERATURES),
    Root("too-few-negatives", "the loss has fewer negatives than claimed, or false ones", ("SG205",),
         "enlarge the batch itself, not its accumulation; mask duplicates", ("infonce-bank",)),
    Root("objectives-conflict", "the terms of the loss oppose each other, or one of them has no effect", ("SG204",),
         "drop a term, or bring both to one space and one scale", RAW, tips=("SG203",)),
    Root("loss-space-not-served", "the loss was computed in a projected space that is not searched", ("SG203",),
         "train on the raw vectors", RAW, unless=("SG204",)),
    Root("memorises", "the model memorises its training sequences", ("SG202",),
         "train shorter or smaller, with dropout; add documents", tips=("SG215",)),
    Root("too-little-data", "recall still rises with more training documents", ("SG215",),
         "add training documents", unless=("SG202",)),
    Root("copies-the-context", "the prediction is a copy of what was just read", ("SG209",),
         "train with a contrastive loss from the anchor, context passages masked", ARCHITECTURES),
    Root("hubs", "a few passages are retrieved for most queries", ("SG208",),
         "correct for hubness when ranking, or train against the whole bank", ("infonce-bank",),
         tips=("SG207",), unless=("SG206",)),
    Root("test-statistics", "features use statistics of test passages", ("SG217",),
         "fit them on training documents, or declare them"),
    Root("slow-stage", "one stage takes most of the latency", ("SG214",),
         "make that stage cheaper: a smaller model, an approximate index"),
    Root("fresh-pool", "the lead disappears in a fair comparison", ("SG218",),
         "also report the fresh pool, and copy-last with the same reranker", unless=("SG202",)),
    Root("weak-model", "no fault was found, and the model does not beat the untrained baselines", ("SG201",),
         "start from the anchor, or serve the baseline", ARCHITECTURES,
         last_resort=True),
)  # fmt: skip
"""Causes that explain; the most fundamental first."""


def root_causes(findings: Sequence[Finding]) -> list[Cause]:
    """Return the causes that the findings are evidence for; an empty list means that no cause was found."""
    issues = {finding.code for finding in findings if finding.outcome == "issue"}
    tips = {finding.code for finding in findings if finding.outcome == "tip"}
    statements = {finding.code: finding.statement for finding in findings}
    causes: list[Cause] = []
    blocked = any(finding.blocks for finding in findings)
    for rule in INTEGRITY if blocked else DIAGNOSIS:
        evidence = _evidence(rule, issues, tips)
        if evidence and not (rule.last_resort and causes):
            statement = " ".join(statements[code] for code in evidence)
            causes.append(Cause(name=rule.name, title=rule.title, statement=statement, evidence=evidence,
                                options=rule.options, fix=rule.fix))  # fmt: skip
    own = [found for found in findings if found.outcome == "issue" and not found.code.startswith("SG")]
    return causes + [Cause(name=found.code.lower(), title=found.title, statement=found.statement,
                           evidence=(found.code,), options=(), fix=found.fix)
                     for found in own if found.blocks or not blocked]  # fmt: skip


def _evidence(rule: Root, issues: AbstractSet[str], tips: AbstractSet[str]) -> tuple[str, ...]:
    """Return the codes that a rule rests on; empty where it does not apply."""
    found = [code for code in rule.issues if code in issues]
    if not found:
        suspects = [code for code in rule.suspects if code in tips]
        confirmed = [code for code in rule.confirmed_by if code in issues]
        found = [*suspects, *confirmed] if suspects and confirmed else []
    if not found or issues & set(rule.unless):
        return ()
    return (*found, *(code for code in rule.tips if code in issues | tips))
