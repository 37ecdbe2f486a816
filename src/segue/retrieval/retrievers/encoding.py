"""The encoder on what was read: the context's texts, joined, as one query text.

Encoders drop what exceeds their length at the end, but the end of a context says most about what follows. So the text
is cut at its beginning instead, before the encoder sees it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from segue.data.encoders import Encoder
from segue.data.encoders.space import require_same
from segue.errors import InputError, explain
from segue.retrieval.retrievers.bm25 import require_texts
from segue.types import Bank, Contexts

CHARACTERS_PER_TOKEN = 3.5
"""Below what English prose has (3.8 to 4.9 with word pieces), so that the estimate rarely exceeds the limit."""


class EncoderOnContext:
    """Encodes the joined texts of a context.

    Args:
        encoder: the bank's encoder.
        bank: where given, it must have texts and share the encoder's space.

    Raises:
        InputError: the bank has no texts.
        SpaceError: the encoder's space is not the bank's.
    """

    def __init__(self, encoder: Encoder, bank: Bank | None = None) -> None:
        if bank is not None:
            require_texts(bank, "encoder-context")
            require_same(encoder.space, bank.space, "the encoder on the context and the bank")
        self._encoder = encoder

    def __call__(self, contexts: Contexts) -> Float[np.ndarray, "batch dim"]:
        """Return the encoded contexts, unit float32.

        Raises:
            InputError: the contexts bring no texts.
        """
        if contexts.texts is None:
            raise InputError(explain("encoder-context reads texts, but the contexts bring vectors only",
                                     mend="gather the contexts with texts"))  # fmt: skip
        limit = self._encoder.space.maximum_tokens
        return self._encoder.encode([keep_end(texts, maximum_tokens=limit) for texts in contexts.texts])


def keep_end(texts: Sequence[str], *, maximum_tokens: int | None) -> str:
    """Join texts and cut words off the beginning until the rest should fit into ``maximum_tokens``.

    >>> keep_end(["Snow reflects light.", "Ice melts."], maximum_tokens=4)
    'Ice melts.'
    """
    joined = " ".join(text.strip() for text in texts)
    if maximum_tokens is None:
        return joined
    room = int(maximum_tokens * CHARACTERS_PER_TOKEN)
    if len(joined) <= room:
        return joined
    start = joined.find(" ", len(joined) - room - 1)
    return joined[start + 1 :] if start >= 0 else joined[-room:]
