"""Text encoders as retrievers: the context's texts, joined, are one query text.

The end of a context is the most informative, so a text that is too long is cut at its beginning (``keep_end``).
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float

from segue.bank.reencoded import reencode_texts
from segue.encoders import Encoder
from segue.encoders.keep_end import keep_end
from segue.encoders.space import Space, require_same
from segue.errors import InputError
from segue.ranking.pool import Pool
from segue.retrieval.retrievers.bm25 import require_texts
from segue.retrieval.retrievers.vector import QueryCache, VectorRetriever
from segue.retrieval.saving import TEXT_MODEL, Description, PartReader, PartWriter
from segue.types import Bank, Contexts, Progress, no_progress


class EncoderOnContext:
    """Encodes the joined texts of a context.

    Args:
        encoder: the bank's encoder.
        bank: must have texts and share the encoder's space; None is not checked.
        maximum_tokens: tokens of the context's end that are encoded; None or more: the encoder's limit.

    Raises:
        InputError: the bank has no texts.
        SpaceError: the encoder's space is not the bank's.
    """

    def __init__(self, encoder: Encoder, bank: Bank | None = None, *, maximum_tokens: int | None = None) -> None:
        if bank is not None:
            require_texts(bank, "encoder-context")
            require_same(encoder.space, bank.space, "the encoder on the context and the bank")
        self._encoder = encoder
        limits = [limit for limit in (maximum_tokens, encoder.space.maximum_tokens) if limit is not None]
        self._limit = min(limits, default=None)

    @property
    def space(self) -> Space:
        """Space of its vectors."""
        return self._encoder.space

    def __call__(self, contexts: Contexts) -> Float[np.ndarray, "batch dim"]:
        """Return the encoded contexts, unit float32.

        Raises:
            InputError: the contexts bring no texts.
        """
        if contexts.texts is None:
            raise InputError("encoder-context reads texts, but the contexts bring vectors only",
                             fix="gather the contexts with texts")  # fmt: skip
        return self._encoder.encode([keep_end(texts, maximum_tokens=self._limit) for texts in contexts.texts])

    def save_part(self, writer: PartWriter) -> Description:
        """Copy the fine-tuned encoder, where it is not the bank's own."""
        if writer.text_model is not None:
            writer.copy(writer.text_model, TEXT_MODEL)
        kind = "encoder" if writer.text_model is None else "text-encoder"
        return {"kind": kind, "maximum_tokens": writer.context_tokens}

    @classmethod
    def load_part(cls, about: Description, reader: PartReader) -> EncoderOnContext:
        """Read what ``save_part`` wrote of the bank's own encoder."""
        return cls(reader.load_encoder(), reader.bank, maximum_tokens=about["maximum_tokens"])


def dual_encoder_retriever(
    encoder: Encoder,
    pool: Pool,
    *,
    name: str,
    documents: Literal["trained", "frozen"],
    folder: Path,
    progress: Progress = no_progress,
) -> VectorRetriever:
    """Return the retriever of a trained dual encoder: contexts are encoded, and passages where these were trained too.

    Args:
        encoder: fine-tuned; its own limit of tokens applies.
        pool: the candidates, of the bank it was trained with.
        name: name of the entry in tables and runs.
        documents: as it was trained. ``trained`` encodes the whole bank again, which takes minutes; ``frozen`` searches
            the bank as it is.
        folder: keeps encoded banks and queries.
        progress: called as the bank is encoded.
    """
    key = f"{pool.bank.hash}, {encoder.space.revision}"
    cache = QueryCache(folder / "queries.npz", key=key)
    retriever = VectorRetriever(name, "candidate", EncoderOnContext(encoder), pool, stage="encode", cache=cache)
    if documents == "frozen":
        return retriever
    return retriever.reencoded(partial(reencode_texts, encoder=encoder, folder=folder, progress=progress))


def load_dual_encoder_retriever(about: Description, reader: PartReader) -> VectorRetriever:
    """Read a saved dual encoder; the bank as it encoded it is in the same folder."""
    from segue.text_models.dual_encoder import load_dual_encoder

    model = reader.folder / TEXT_MODEL
    documents: Literal["trained", "frozen"] = "trained" if about.get("documents") else "frozen"
    found = dual_encoder_retriever(load_dual_encoder(model, reader.encoder), reader.pool, name=about["name"],
                                   documents=documents, folder=model / "encoded")  # fmt: skip
    return found.searched_with(reader.index) if documents == "frozen" else found.indexed()
