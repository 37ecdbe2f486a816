"""SG205: how many negatives does the loss really see, and are they negatives?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from segue.checks.case import Case, CaseEntry, pair_cosines
from segue.checks.check import Check, Judgement, Verdict, not_applicable
from segue.checks.statistics import percent
from segue.training.batches import Batches
from segue.training.losses.in_batch import contrast_logits, num_negatives

MINIMUM_SEEN_SHARE = 0.9
"""Share of the claimed negatives that has to be seen."""
FALSE_NEGATIVE_COSINE = 0.95
"""Cosine with the target from which a negative counts as a false one."""
ISSUE_SHARE, TIP_SHARE = 0.25, 0.05
"""Shares of predictions with a false negative: an issue, a tip."""
MASK_FIX = "remove near-copies from the training documents: only passages of equal text are masked"
BATCHES = 4
MAXIMUM_BATCH_SIZE = 2048
"""Windows of a batch whose pairs are compared; larger batches are cut, and counts scaled."""


@dataclass(frozen=True)
class NegativesSeen:
    """Negatives of an entry's training batches: counts as means per prediction, and shares (0 to 1).

    ``claimed`` is what the batch size promises by settings or record; ``windows`` are all there are to train on;
    ``seen`` have a finite logit. Both ``at_random`` are shares of random pairs: as near as a false negative (None with
    a single document), and of one document.
    """

    claimed: int
    windows: int
    claims: dict[str, int]
    batches: int
    seen: float
    false_negatives: float
    with_false_negative: float
    of_same_document: float
    near_at_random: float | None
    same_document_at_random: float

    @property
    def seen_share(self) -> float:
        """Share of the claimed negatives that is seen."""
        return self.seen / max(1, self.claimed)

    @property
    def is_all(self) -> bool:
        """Whether a batch of the settings' size is larger than all training windows together."""
        return self.windows <= self.claims["settings"]


def examine(case: Case) -> Verdict:
    """Count the finite logits of real training batches, and compare the negatives with their targets."""
    found = {entry.name: _negatives(case, entry) for entry in case.explained
             if any(term.kind == "infonce" for term in entry.training.loss_settings.terms)}  # fmt: skip
    if not found:
        return not_applicable("no entry of the diagnosis was trained with InfoNCE")
    few, few_seen = min(found.items(), key=lambda item: item[1].seen_share)
    false, most_false = max(found.items(), key=lambda item: item[1].with_false_negative)
    share, false_share = few_seen.seen_share, most_false.with_false_negative
    severe = [(share < MINIMUM_SEEN_SHARE and not few_seen.is_all, few), (false_share > ISSUE_SHARE, false)]
    outcome: Judgement = "tip" if share < MINIMUM_SEEN_SHARE or false_share > TIP_SHARE else "passed"
    if any(wrong and case.subject in (name, None) for wrong, name in severe):
        outcome = "issue"
    near, expected = most_false.near_at_random, most_false.seen * most_false.same_document_at_random
    chance = "" if near is None else f" (of random pairs of two documents {100 * near:.2f} % are as near)"
    said = (f"In {few} a prediction is contrasted with {few_seen.seen:.1f} negatives where a batch of "
            f"{few_seen.claimed + 1:,} claims {few_seen.claimed:,}. In {false} {percent(false_share)} of the "
            f"predictions have a negative of cosine ≥ {FALSE_NEGATIVE_COSINE:g} with their target{chance}; "
            f"{most_false.of_same_document:.2f} negatives each are of the target's document, chance would give "
            f"{expected:.2f}.")  # fmt: skip
    if share >= MINIMUM_SEEN_SHARE and false_share > TIP_SHARE:  # what decides is what is measured
        return Verdict(outcome, said, 1 - false_share, 1 - TIP_SHARE, {"rows": found}, fix=MASK_FIX)
    fix = ""
    if share < MINIMUM_SEEN_SHARE and few_seen.is_all:
        said += f" There are only {few_seen.windows:,} training windows, so no batch holds more."
        fix = "add training documents: a larger batch_size cannot add negatives"
    return Verdict(outcome, said, share, MINIMUM_SEEN_SHARE, {"rows": found}, fix=fix)


def _negatives(case: Case, entry: CaseEntry) -> NegativesSeen:
    trained, windows = entry.training, case.fold_of(entry).train
    batches = case.batches(case.bank, windows, batch_size=trained.settings.batch_size, seed=trained.settings.seed)
    term = next(term for term in trained.loss_settings.terms if term.kind == "infonce")
    steps = range(min(BATCHES, batches.steps_per_epoch))
    counts = np.mean([_counts(case, batches, step, masks_context=term.mask_context) for step in steps], axis=0)
    sizes = {"settings": trained.settings.batch_size, "record": trained.record.get("batch_size")}
    claims = {name: int(size) - 1 for name, size in sizes.items() if size is not None}
    near, same = _at_random(case, entry)
    seen, false, with_false, own = counts.tolist()
    return NegativesSeen(
        max(claims.values()), len(windows), claims, len(steps), seen, false, with_false, own, near, same
    )


def _counts(case: Case, batches: Batches, step: int, *, masks_context: bool) -> tuple[float, float, float, float]:
    """Count per prediction: negatives, false ones, whether there is one, and those of the target's document."""
    batch = batches.batch(step)
    # The targets replace the predictions: which logits are masked does not depend on them.
    logits = contrast_logits(batch.target, batch.target, temperature=1.0, groups=batch.groups,
                             context_groups=batch.context_groups if masks_context else None)  # fmt: skip
    target = batches.windows.take(batches.chosen(step)).target[:MAXIMUM_BATCH_SIZE]
    finite = torch.isfinite(logits[:MAXIMUM_BATCH_SIZE, :MAXIMUM_BATCH_SIZE]).numpy()
    np.fill_diagonal(finite, False)
    vectors = batch.target[:MAXIMUM_BATCH_SIZE].numpy()
    false = finite & (vectors @ vectors.T >= FALSE_NEGATIVE_COSINE)
    document = case.bank.document_of[target]
    own = finite & (document[:, None] == document)
    cut = len(target) / len(batch.target)  # negatives per prediction grow with the batch
    return (
        float(num_negatives(logits).float().mean()),
        float(false.sum(axis=1).mean()) / cut,
        float(false.any(axis=1).mean()),
        float(own.sum(axis=1).mean()) / cut,
    )


def _at_random(case: Case, entry: CaseEntry) -> tuple[float | None, float]:
    """Return the share of random pairs of other documents that are near, and of pairs of one document."""
    drawn = case.generator("SG205 pairs").choice(case.fold_of(entry).train.target, (2, 20_000))
    documents = case.bank.document_of[drawn]
    apart = documents[0] != documents[1]
    if not apart.any():
        return None, 1.0
    cosine = pair_cosines(*(case.bank.gather(rows) for rows in drawn[:, apart]))
    return float((cosine >= FALSE_NEGATIVE_COSINE).mean()), float(1 - apart.mean())


CHECK = Check(
    code="SG205",
    title="Negatives seen",
    question="How many negatives does the loss really see, and how many of them are false?",
    detection=f"The first {BATCHES} training batches are made as training makes them; the finite logits other than the "
    "target's are counted, and compared with the batch size that the settings and the training record claim, minus "
    f"one. An issue: fewer than {100 * MINIMUM_SEEN_SHARE:.0f} % are seen; a tip where there are not as many training "
    "windows as a batch claims. A negative whose cosine with the target is "
    f"at least {FALSE_NEGATIVE_COSINE:g} is false: an issue where more than {100 * ISSUE_SHARE:.0f} % of the "
    f"predictions have one, a tip above {100 * TIP_SHARE:.0f} %. The control is random pairs of training targets.",
    why="Gradient accumulation adds up losses, not negatives: an effective batch of 1,024 made of four batches of 256 "
    "has 255 negatives. A duplicate of the target among the negatives penalises the right answer, which limits what "
    "the model can learn.",
    healthy="the batch size minus one, except for a few that are masked",
    fix="raise [training] batch_size itself instead of accumulating",
    unit="share of the claimed negatives, or of predictions without a false negative",
    examine=examine,
    needs=("windows", "trained"),
)
