"""SG212: is the temperature such that the contrast can teach anything?"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from segue.checks.case import Case, CaseEntry
from segue.checks.check import Check, Verdict, not_applicable
from segue.checks.statistics import percent
from segue.training.gradients import held_out_batches
from segue.training.losses.in_batch import contrast_logits, num_negatives
from segue.training.losses.loss import Loss, LossTerm

SATURATED = 0.99
"""Largest probability above which a row of logits teaches nothing any more."""
FLAT = 0.95
"""Entropy over its maximum above which all negatives push alike."""
MOST, SOME = 0.5, 0.2
"""Share of saturated or flat rows: an issue, a tip."""
BATCHES = 4
CONTROLS = (0.05, 0.07, 0.1)
SMALLEST = 8


def examine(case: Case) -> Verdict:
    """Look at the softmax over in-batch logits on held-out windows, at each row's own temperature."""
    rows = {row.name: row for row in (*case.subject_entries[:1], *case.shown) if row.trained is not None}
    found = {name: terms for name, row in rows.items() if (terms := _of_row(case, row))}
    if not found:
        return not_applicable("no row that is shown was trained with InfoNCE, or there are too few validation windows")
    worst = {name: max(terms.values(), key=_bad) for name, terms in found.items()}
    name = max(worst, key=lambda one: (_bad(worst[one]) > SOME, one == case.subject, _bad(worst[one])))
    bad, of_subject = _bad(worst[name]), case.subject in (name, None)
    outcome: Any = "passed" if bad <= SOME else "issue" if bad > MOST and of_subject else "tip"
    return Verdict(outcome, _say(name, worst[name]), bad, MOST, {"rows": found})


def _bad(found: dict[str, Any]) -> float:
    return float(max(found["saturated"], found["flat"]))


def _of_row(case: Case, row: CaseEntry) -> dict[str, dict[str, Any]]:
    """Return the figures of each InfoNCE term of a row, by the term's name."""
    assert row.trained is not None
    loss = row.trained.loss
    terms = zip(loss.names, loss.settings.terms, strict=True)
    found = {name: _of_term(case, row, loss, name=name, term=term) for name, term in terms if term.kind == "infonce"}
    return {name: figures for name, figures in found.items() if figures}


@torch.no_grad()
def _of_term(case: Case, row: CaseEntry, loss: Loss, *, name: str, term: LossTerm) -> dict[str, Any]:
    temperature = loss.temperatures[name]
    cosines = _cosine_logits(case, row, loss, term)
    if not cosines:
        return {}
    own = [describe_logits(logits / temperature) for logits in cosines]
    joined = {key: torch.cat([part[key] for part in own]).numpy() for key in own[0]}
    controls = {f"{tau:g}": _mean_entropy([logits / tau for logits in cosines]) for tau in CONTROLS}
    return {
        "temperature": round(temperature, 4),
        "entropy": float(joined["entropy"].mean()),
        "entropy_nats": float(joined["nats"].mean()),
        "negatives": float(np.mean([float(num_negatives(logits).float().mean()) for logits in cosines])),
        "saturated": float((joined["largest"] > SATURATED).mean()),
        "flat": float((joined["entropy"] > FLAT).mean()),
        "right": float(joined["right"].mean()),
        "entropy_at": controls,
    }


def _cosine_logits(case: Case, row: CaseEntry, loss: Loss, term: LossTerm) -> list[Float[Tensor, "batch batch"]]:
    """Return the cosines of predictions and targets of held-out batches, where the term computes them."""
    assert row.trained is not None
    windows = case.fold_of(row).validation
    size = min(row.trained.settings.batch_size, max(len(windows) // BATCHES, SMALLEST), len(windows))
    if size < SMALLEST:
        return []
    predictor = row.trained.predictor.eval()
    found = []
    for batch in held_out_batches(case.bank, windows, size=size, most=BATCHES, seed=case.seed):
        pair = predictor(batch.context, batch.mask), predictor.encode_documents(batch.target)
        if term.space == "projected":
            pair = loss.project(pair[0]), loss.project(pair[1])
        groups = batch.context_groups if term.mask_context else None
        found.append(contrast_logits(*pair, temperature=1.0, groups=batch.groups, context_groups=groups))
    return found


def describe_logits(logits: Float[Tensor, "batch batch"]) -> dict[str, Float[Tensor, "batch"]]:
    """Return of each row of logits the entropy, over log(1 + negatives) and in nats, its largest probability, and hits.

    >>> found = describe_logits(torch.zeros(4, 4))
    >>> [round(float(value[0]), 3) for value in found.values()]
    [1.0, 1.386, 0.25, 1.0]
    """
    log_shares = logits.log_softmax(dim=1)
    shares = log_shares.exp()
    nats = -(shares * log_shares.masked_fill(shares == 0, 0.0)).sum(dim=1)
    limit = torch.log1p(num_negatives(logits).float()).clamp(min=1e-9)
    right = (logits.diagonal() >= logits.max(dim=1).values).float()
    return {"entropy": nats / limit, "nats": nats, "largest": shares.max(dim=1).values, "right": right}


def _mean_entropy(logits: list[Float[Tensor, "batch batch"]]) -> float:
    return float(torch.cat([describe_logits(part)["entropy"] for part in logits]).mean())


def _say(name: str, found: dict[str, Any]) -> str:
    limit = math.log1p(found["negatives"])
    at = ", ".join(f"{100 * share:.0f} % at τ {tau}" for tau, share in found["entropy_at"].items())
    return (f"In {name} at τ {found['temperature']:g} the entropy over {found['negatives']:.0f} held-out negatives is "
            f"{100 * found['entropy']:.0f} % of log(1 + negatives) = {limit:.2f} nats (the same predictions: {at}); "
            f"{percent(found['saturated'])} of the rows are saturated (largest probability above {SATURATED:g}), "
            f"{percent(found['flat'])} flat (entropy above {100 * FLAT:.0f} %).")  # fmt: skip


CHECK = Check(
    code="SG212",
    title="Temperature",
    question="Is the temperature such that the contrast can teach anything?",
    detection="The row's predictions of held-out batches are contrasted at its own τ, in the space of its loss. Of "
    f"each row of logits: entropy over log(1 + negatives), and the largest probability. Above {SATURATED:g} a row "
    f"is saturated, above {100 * FLAT:.0f} % of the entropy flat. An issue of the subject where more than "
    f"{100 * MOST:.0f} % of the rows are one of both, a tip above {100 * SOME:.0f} %. The same predictions at τ "
    f"{', '.join(f'{tau:g}' for tau in CONTROLS)} stand beside it. (Temperature as a choice of which negatives "
    "count: Wang and Liu 2021, Understanding the Behaviour of Contrastive Loss.)",
    why="Too high a temperature pushes all negatives alike, so the near misses that decide R@1 teach as little as "
    "random passages; too low a one leaves a gradient from a handful of windows only, and noise is learnt.",
    healthy="an entropy between 20 % and 90 % of its maximum, and hardly a row that is saturated or flat",
    fix="set τ between 0.05 and 0.1, or let it be learnt ([loss] learn_temperature)",
    unit="share of rows",
    examine=examine,
    needs=("windows", "trained"),
)
