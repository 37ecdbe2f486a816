"""Tokenised texts become batches of like length, so that almost nothing of a batch is padding.

What enters: the features of many texts, padded to the longest. What leaves: batches, each trimmed to its longest text,
with the places its texts had. Which texts share a batch depends on the texts alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor


def batches_of_like_length(features: Mapping[str, Any], batch_size: int) -> list[tuple[np.ndarray, dict[str, Any]]]:
    """Cut features into batches of like token count, longest first, and trim each to its longest text.

    Features that are not one row per text (static embeddings keep all tokens in one list) stay one batch.
    """
    mask = features.get("attention_mask")
    if mask is None or mask.ndim != 2:
        count = len(features["offsets"]) if "offsets" in features else len(features["input_ids"])
        return [(np.arange(count), dict(features))]
    tokens = mask.sum(dim=1)
    order = torch.argsort(tokens, descending=True, stable=True)
    return [(rows.numpy(), _take(features, rows, int(tokens[rows[0]]))) for rows in order.split(batch_size)]


def _take(features: Mapping[str, Any], rows: Tensor, length: int) -> dict[str, Any]:
    """Take rows of every feature, without the columns that are padding in all of them, on whichever side they are."""
    mask = features["attention_mask"][rows]
    used = slice(None, length) if bool(mask[:, :length].sum() == mask.sum()) else slice(-length, None)
    count, width = features["attention_mask"].shape
    taken = {}
    for key, value in features.items():
        if torch.is_tensor(value) and value.shape[:2] == (count, width):
            taken[key] = value[rows][:, used]
        else:
            taken[key] = value[rows] if torch.is_tensor(value) and value.shape[:1] == (count,) else value
    return taken
