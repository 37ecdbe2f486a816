"""SG205: how many negatives does the loss really see, and are they negatives?"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from segue.checks.case import Case, CaseEntry
from segue.checks.check import Check, Verdict, not_applicable
from segue.checks.diagnosis.short_runs import t_interval
from segue.checks.statistics import percent
from segue.training.batches import Batch, Batches
from segue.training.losses.in_batch import contrast_logits, num_negatives
from segue.types import Bank

SEEN = 0.9
"""Share of the claimed negatives that has to be seen."""
SAME = 0.95
"""Cosine with the target from which a negative counts as a false one."""
MANY, SOME = 0.25, 0.05
"""Share of predictions with a false negative: an issue, a tip."""
BATCHES = 4
LARGEST = 2048
"""Of a batch whose pairs are compared; larger ones are cut, and counts scaled."""


def examine(case: Case) -> Verdict:
    """Count the finite logits of real training batches, and look at what the negatives are."""
    rows = {row.name: row for row in (*case.subject_entries[:1], *case.shown) if _contrasts(row)}
    if not rows:
        return not_applicable("no row that is shown was trained with InfoNCE")
    found = {name: _of_row(case, row) for name, row in rows.items()}
    worst_seen = min(found, key=lambda name: found[name]["seen"] / max(1, found[name]["claimed"]))
    worst_false = max(found, key=lambda name: found[name]["with_false_negative"])
    share = found[worst_seen]["seen"] / max(1, found[worst_seen]["claimed"])
    false = found[worst_false]["with_false_negative"]
    outcome = _outcome(case, worst_seen, worst_false, share=share, false=false)
    said = f"{_say_seen(worst_seen, found[worst_seen])} {_say_false(worst_false, found[worst_false])}"
    if share >= SEEN and false > SOME:  # what decides is what is measured
        return Verdict(outcome, said, 1 - false, 1 - SOME, {"rows": found})
    return Verdict(outcome, said, share, SEEN, {"rows": found})


def _outcome(case: Case, seen: str, false_in: str, *, share: float, false: float) -> Any:
    few, many = share < SEEN, false > MANY
    if (few and case.subject in (seen, None)) or (many and case.subject in (false_in, None)):
        return "issue"
    return "tip" if few or false > SOME else "passed"


def _contrasts(row: CaseEntry) -> bool:
    return row.trained is not None and any(term.kind == "infonce" for term in row.trained.loss_settings.terms)


def _of_row(case: Case, row: CaseEntry) -> dict[str, Any]:
    assert row.trained is not None
    trained, windows = row.trained, case.fold_of(row).train
    batches = case.batches(case.bank, windows, batch_size=trained.settings.batch_size, seed=trained.settings.seed)
    term = next(term for term in trained.loss_settings.terms if term.kind == "infonce")
    steps = range(min(BATCHES, batches.steps_per_epoch))
    parts = [_of_batch(case.bank, batches, step, masks_context=term.mask_context) for step in steps]
    mean = {name: float(np.mean([part[name] for part in parts])) for name in parts[0]}
    said = {"settings": trained.settings.batch_size, "record": trained.record.get("batch_size")}
    claims = {name: int(size) - 1 for name, size in said.items() if size is not None}
    return {"claimed": max(claims.values()), "claims": claims, "batches": len(parts), **mean, **_random(case, row)}


def _of_batch(bank: Bank, batches: Batches, step: int, *, masks_context: bool) -> dict[str, float]:
    """Count the negatives of one training batch, and the false ones among at most ``LARGEST`` of its windows."""
    batch = batches.batch(step)
    seen = num_negatives(_logits(batch, masks_context=masks_context)).float().mean()
    target = batches.windows.take(batches.chosen(step)).target[:LARGEST]
    finite = torch.isfinite(_logits(batch, masks_context=masks_context)[:LARGEST, :LARGEST]).numpy()
    np.fill_diagonal(finite, False)
    false = false_negatives(batch.target[:LARGEST].numpy(), finite)
    document = bank.document_of[target]
    own = (document[:, None] == document[None, :]) & finite
    cut = len(target) / len(batch.target)  # negatives per prediction grow with the batch
    return {
        "seen": float(seen),
        "false_negatives": float(false.sum(axis=1).mean()) / cut,
        "with_false_negative": float(false.any(axis=1).mean()),
        "of_same_document": float(own.sum(axis=1).mean()) / cut,
    }


def _logits(batch: Batch, *, masks_context: bool) -> Float[Tensor, "batch batch"]:
    """Return the logits that the loss masks; their values play no part here, so the targets stand for predictions."""
    context_groups = batch.context_groups if masks_context else None
    return contrast_logits(batch.target, batch.target, temperature=1.0, groups=batch.groups,
                           context_groups=context_groups)  # fmt: skip


def false_negatives(
    targets: Float[np.ndarray, "batch dim"], negatives: Bool[np.ndarray, "batch batch"]
) -> Bool[np.ndarray, "batch batch"]:
    """Tell which negatives are nearly the target itself.

    >>> same = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> false_negatives(same, ~np.eye(3, dtype=bool)).astype(int).tolist()
    [[0, 1, 0], [1, 0, 0], [0, 0, 0]]
    """
    return negatives & (targets @ targets.T >= SAME)


def _random(case: Case, row: CaseEntry) -> dict[str, float | None]:
    """Return what chance gives: the share of random pairs of other documents as near as that, and of one document."""
    target = case.fold_of(row).train.target
    drawn = case.generator("SG205 pairs").choice(target, (2, 20_000))
    documents = case.bank.document_of[drawn]
    apart = documents[0] != documents[1]
    if not apart.any():
        return {"near_at_random": None, "same_document_at_random": 1.0}
    cosine = np.einsum("pd,pd->p", *(case.bank.gather(rows) for rows in drawn[:, apart]))
    return {
        "near_at_random": t_interval((cosine >= SAME).astype(float).tolist()).value,
        "same_document_at_random": float(1 - apart.mean()),
    }


def _say_seen(name: str, found: dict[str, Any]) -> str:
    return (f"In {name} a prediction is told from {found['seen']:.1f} negatives where a batch of "
            f"{found['claimed'] + 1:,} claims {found['claimed']:,}.")  # fmt: skip


def _say_false(name: str, found: dict[str, Any]) -> str:
    near, share = found["near_at_random"], percent(found["with_false_negative"])
    chance = "" if near is None else f" (of random pairs of two documents {100 * near:.2f} % are as near)"
    expected = found["seen"] * found["same_document_at_random"]
    return (f"In {name} {share} of the predictions have a negative of cosine ≥ {SAME:g} with their target{chance}; "
            f"{found['of_same_document']:.2f} negatives each are of the target's document, chance would give "
            f"{expected:.2f}.")  # fmt: skip


CHECK = Check(
    code="SG205",
    title="Negatives seen",
    question="How many negatives does the loss really see, and how many of them are false?",
    detection=f"The first {BATCHES} training batches are made as training makes them; the finite logits beside the "
    "target are counted, and compared with the batch size that the settings and the training record claim, less "
    f"one. An issue: fewer than {100 * SEEN:.0f} % are seen. A negative whose cosine with the target is at least "
    f"{SAME:g} is false: an issue where more than {100 * MANY:.0f} % of the predictions have one, a tip above "
    f"{100 * SOME:.0f} %. Beside it stand random pairs of training targets.",
    why="Gradient accumulation adds up losses, not negatives: an effective batch of 1,024 made of four times 256 "
    "has 255. And a duplicate among the negatives asks the model to tell a passage from itself, which caps what it "
    "can learn.",
    healthy="all but the few that are masked: the batch size less one",
    fix="raise [training] batch_size itself instead of accumulating, and group near-duplicates so that they are masked",
    unit="share of the claimed negatives, or of predictions without a false one",
    examine=examine,
    needs=("windows", "trained"),
)
