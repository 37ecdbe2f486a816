"""The fine-tuned text encoder as a retriever: contexts are encoded, and the passages where they were trained too."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Literal

from segue.bank.reencoded import reencode_texts
from segue.encoders import Encoder
from segue.ranking.pool import Pool
from segue.retrieval.retrievers.cache import QueryCache
from segue.retrieval.retrievers.encoding import EncoderOnContext
from segue.retrieval.retrievers.reencoded import ReencodedRetriever, reencoded_retriever
from segue.retrieval.retrievers.vector import VectorRetriever
from segue.types import Progress, no_progress


def dual_encoder_retriever(
    encoder: Encoder,
    pool: Pool,
    *,
    name: str,
    documents: Literal["trained", "frozen"],
    folder: Path,
    progress: Progress = no_progress,
) -> VectorRetriever | ReencodedRetriever:
    """Return the retriever of a trained dual encoder.

    Args:
        encoder: fine-tuned; what it reads of a context is its own limit of tokens.
        pool: the candidates, of the bank it was trained with.
        name: the row's name.
        documents: as it was trained. ``trained`` encodes the whole bank anew, which takes minutes; ``frozen`` searches
            the bank as it is.
        folder: where encoded banks and queries are kept.
        progress: told how far the bank is encoded.
    """
    key = f"{pool.bank.hash}, {encoder.space.revision}"
    cache = QueryCache(folder / "queries.npz", key=key)
    retriever = VectorRetriever(name, "candidate", EncoderOnContext(encoder), pool, stage="encode", cache=cache)
    if documents == "frozen":
        return retriever
    encode = partial(reencode_texts, encoder=encoder, folder=folder, progress=progress)
    return reencoded_retriever(retriever, encode)
