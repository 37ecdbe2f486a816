"""The encoder on what was read: the context's texts, joined, as one query text.

The end of a context says most about what follows, so a text that is too long is cut at its beginning (``keep_end``).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from segue.encoders import Encoder
from segue.encoders.keep_end import keep_end
from segue.encoders.space import Space, require_same
from segue.errors import InputError, explain
from segue.retrieval.retrievers.bm25 import require_texts
from segue.types import Bank, Contexts


class EncoderOnContext:
    """Encodes the joined texts of a context.

    Args:
        encoder: the bank's encoder.
        bank: where given, it must have texts and share the encoder's space.
        maximum_tokens: how much of the context's end is encoded; the encoder's own limit where that is less or None.

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
        """The space of its answers."""
        return self._encoder.space

    def __call__(self, contexts: Contexts) -> Float[np.ndarray, "batch dim"]:
        """Return the encoded contexts, unit float32.

        Raises:
            InputError: the contexts bring no texts.
        """
        if contexts.texts is None:
            raise InputError(explain("encoder-context reads texts, but the contexts bring vectors only",
                                     fix="gather the contexts with texts"))  # fmt: skip
        return self._encoder.encode([keep_end(texts, maximum_tokens=self._limit) for texts in contexts.texts])
