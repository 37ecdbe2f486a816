"""SG212: can the contrast teach anything at this temperature?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from segue.checks.case import Case, CaseEntry
from segue.checks.check import Check, Judgement, Verdict, not_applicable
from segue.checks.statistics import percent
from segue.training.gradients import held_out_batches
from segue.training.losses.in_batch import contrast_logits, describe_logits, num_negatives
from segue.training.losses.loss import LossTerm

SATURATED = 0.99
"""Largest probability above which a prediction's logits teach nothing more."""
FLAT = 0.95
"""Entropy over its maximum above which all negatives have the same effect."""
ISSUE_SHARE, TIP_SHARE = 0.5, 0.2
"""Shares of saturated or flat predictions: an issue, a tip."""
BATCHES = 4
CONTROLS = (0.05, 0.07, 0.1)
MINIMUM_BATCH_SIZE = 8


@dataclass(frozen=True)
class TemperatureContrast:
    """One InfoNCE term on held-out batches.

    Attributes:
        entropy: mean entropy of the softmax over log(1 + negatives).
        saturated, flat: shares of predictions.
        entropy_at: the entropy at other temperatures.
    """

    temperature: float
    entropy: float
    negatives: float
    saturated: float
    flat: float
    entropy_at: dict[str, float]

    @property
    def useless(self) -> float:
        """The larger of the shares of saturated and of flat predictions."""
        return max(self.saturated, self.flat)


def examine(case: Case) -> Verdict:
    """Measure the softmax over in-batch logits on held-out windows, at each entry's own temperature."""
    found = {entry.name: terms for entry in case.explained if (terms := _contrasts(case, entry))}
    if not found:
        reason = "no entry of the diagnosis was trained with InfoNCE, or there are too few validation windows"
        return not_applicable(reason)
    measured = [(name, term) for name, terms in found.items() for term in terms.values()]
    name, term = max(measured, key=lambda one: (one[1].useless > TIP_SHARE, one[0] == case.subject, one[1].useless))
    severe = term.useless > ISSUE_SHARE and case.subject in (name, None)
    outcome: Judgement = "passed" if term.useless <= TIP_SHARE else "issue" if severe else "tip"
    at = ", ".join(f"{100 * share:.0f} % at τ {tau}" for tau, share in term.entropy_at.items())
    said = (f"In {name} at τ {term.temperature:g} the entropy over {term.negatives:.0f} held-out negatives is "
            f"{100 * term.entropy:.0f} % of log(1 + negatives) = {math.log1p(term.negatives):.2f} nats (the same "
            f"predictions: {at}); {percent(term.saturated)} of the predictions are saturated (largest probability "
            f"above {SATURATED:g}), {percent(term.flat)} flat (entropy above {100 * FLAT:.0f} %).")  # fmt: skip
    is_usual = min(CONTROLS) <= term.temperature <= max(CONTROLS)
    fix = "let the loss learn τ ([loss] learn_temperature): the present one is in the usual range" if is_usual else ""
    return Verdict(outcome, said, term.useless, ISSUE_SHARE, {"rows": found}, fix=fix)


@torch.no_grad()
def _contrasts(case: Case, entry: CaseEntry) -> dict[str, TemperatureContrast]:
    """Measure each InfoNCE term of an entry; nothing with too few validation windows."""
    loss = entry.training.loss
    terms = {name: term for name, term in zip(loss.names, loss.settings.terms, strict=True) if term.kind == "infonce"}
    cosines = {name: _cosine_logits(case, entry, term) for name, term in terms.items()}
    return {name: _contrast(logits, loss.temperatures[name]) for name, logits in cosines.items() if logits}


def _contrast(cosines: list[Float[Tensor, "_ _"]], temperature: float) -> TemperatureContrast:
    def described(tau: float) -> list[Float[np.ndarray, "_"]]:
        parts = zip(*(describe_logits(logits / tau) for logits in cosines), strict=True)
        return [torch.cat(part).numpy() for part in parts]

    entropy, largest = described(temperature)
    return TemperatureContrast(
        temperature=round(temperature, 4),
        entropy=float(entropy.mean()),
        negatives=float(np.mean([float(num_negatives(logits).float().mean()) for logits in cosines])),
        saturated=float((largest > SATURATED).mean()),
        flat=float((entropy > FLAT).mean()),
        entropy_at={f"{tau:g}": float(described(tau)[0].mean()) for tau in CONTROLS},
    )


def _cosine_logits(case: Case, entry: CaseEntry, term: LossTerm) -> list[Float[Tensor, "_ _"]]:
    """Return the cosines of predictions and targets of held-out batches, where the term computes them."""
    trained, windows = entry.training, case.fold_of(entry).validation
    size = min(trained.settings.batch_size, max(len(windows) // BATCHES, MINIMUM_BATCH_SIZE), len(windows))
    if size < MINIMUM_BATCH_SIZE:
        return []
    predictor = trained.predictor.eval()
    found = []
    for batch in held_out_batches(case.bank, windows, size=size, most=BATCHES, seed=case.seed,
                                  texts=predictor.reads_text):  # fmt: skip
        pair = predictor(batch.context, batch.mask, batch.texts), predictor.encode_documents(batch.target)
        if term.space == "projected":
            pair = trained.loss.project(pair[0]), trained.loss.project(pair[1])
        groups = batch.context_groups if term.mask_context else None
        found.append(contrast_logits(*pair, temperature=1.0, groups=batch.groups, context_groups=groups))
    return found


CHECK = Check(
    code="SG212",
    title="Temperature",
    question="Can the contrastive loss learn at this temperature?",
    detection="The entry's predictions of held-out batches are contrasted at its own τ, in the space of its loss. For "
    f"each prediction: entropy over log(1 + negatives), and the largest probability. Above {SATURATED:g} it is "
    f"saturated, above {100 * FLAT:.0f} % of the entropy flat. An issue of the subject where more than "
    f"{100 * ISSUE_SHARE:.0f} % of the predictions are either, a tip above {100 * TIP_SHARE:.0f} %. The same "
    f"predictions at τ {', '.join(f'{tau:g}' for tau in CONTROLS)} are the control. (Temperature as a choice of which "
    "negatives count: Wang and Liu 2021, Understanding the Behaviour of Contrastive Loss.)",
    why="If the temperature is too high, all negatives have the same weight, and the near misses that decide R@1 "
    "count no more than random passages. If it is too low, only a few windows have a gradient, and the model learns "
    "noise.",
    healthy="an entropy between 20 % and 90 % of its maximum, and hardly any prediction that is saturated or flat",
    fix="set τ between 0.05 and 0.1, or learn it ([loss] learn_temperature)",
    unit="share of predictions",
    examine=examine,
    needs=("windows", "trained"),
)
