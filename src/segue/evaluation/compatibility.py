"""Compatibility of the raw and the projected space, on validation documents.

A projection head trained by InfoNCE gives unrelated pairs a low or negative cosine. So the cosine of prediction and
target behind the head is compared with that of random pairs, and with how well each space retrieves.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float

from segue.bank.reencoded import ReencodedBank, reencode
from segue.evaluation.metrics import summarise
from segue.models.document_tower import weights_hash
from segue.ranking.exact import target_ranks
from segue.ranking.pool import Pool
from segue.retrieval.retrievers import QueryFunction
from segue.training.losses.loss import Loss
from segue.types import Bank, Windows
from segue.windows.windows import gather_contexts

BATCH = 1024


def projected_bank(bank: Bank, loss: Loss) -> ReencodedBank:
    """Return a bank whose vectors went through a projection head."""
    return reencode(bank, functools.partial(project, loss), name=f"projection head {weights_hash(loss)}")


@torch.inference_mode()
def project(loss: Loss, vectors: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "rows projected"]:
    """Return unit vectors behind the loss's head."""
    device = next(loss.parameters()).device
    return loss.project(torch.from_numpy(np.array(vectors, dtype=np.float32)).to(device)).cpu().numpy()


def compatibility(
    query: QueryFunction, loss: Loss, bank: Bank, windows: Windows, *, seed: int = 1
) -> Mapping[str, Mapping[str, float | None]]:
    """Compare the raw and the projected space.

    Returns:
        For ``raw`` and ``projected``: ``matched``, the mean cosine of prediction and target, and ``random``, that of
        prediction and another window's target; and under ``R@5`` the recall of searching in each space.
    """
    other = np.random.default_rng(seed).permutation(windows.target)
    spaces: dict[str, Bank] = {"raw": bank, "projected": projected_bank(bank, loss)}
    found: dict[str, dict[str, float | None]] = {"R@5": {}}
    texts = bool(getattr(query, "reads_text", False))
    queries = np.concatenate([query(gather_contexts(bank, batch, texts=texts)) for batch in windows.batches(BATCH)])
    for name, space in spaces.items():
        seen = queries if name == "raw" else project(loss, queries)
        found[name] = {
            "matched": float(np.einsum("bd,bd->b", seen, space.gather(windows.target)).mean()),
            "random": float(np.einsum("bd,bd->b", seen, space.gather(other)).mean()),
        }
        ranks = target_ranks(seen, Pool(space), windows.target, exclude=windows.context)
        found["R@5"][name] = summarise(ranks)["R@5"]
    return found
