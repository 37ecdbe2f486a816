"""Tokens: the bank's own encoder reads the end of the context; its vector, times a learnt gain, is the correction.

The encoder starts from its own weights, and its last layers learn; embeddings and the layers below stay as they are and
are computed without a gradient. Passages keep their vectors: only the context is read as text, so the bank is not
encoded again. With an anchor (the weighted sum of the context's vectors) the gain starts at zero.

A context is the text of its passages, joined; its last tokens are read. Vectors dropped in training (article dropout)
leave their text.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from segue.errors import InputError
from segue.models.architecture import Context, Mask, Sizes, Texts, Vectors

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from segue.encoders import Encoder

SIZES: Sizes = {
    "toy": {"depth": 1, "maximum_tokens": 32},
    "demo": {"depth": 3, "maximum_tokens": 128},
    "full": {"depth": 6, "maximum_tokens": 256},
}

GAIN_RATE = 30.0
"""Learning rate of the gain, as a factor of the recipe's: it starts at zero and has to reach about 1 soon."""
LONGEST_TOKEN = 12
"""Letters of a token, on average at most: more text than so many times the tokens is not tokenised."""
READ_TOGETHER = 16
"""Texts read together where nothing learns; more do not stay in a CPU's cache."""


class Tokens(nn.Module):
    """A sentence-transformers model over the last tokens of the context, with a learnt gain.

    Args:
        dimension: components of an embedding.
        context: places of the window (the net itself does not depend on it).
        depth: last layers that learn.
        maximum_tokens: tokens of the context's end that are read.
        rate: learning rate of the transformer's weights, as a factor of the recipe's.
        dropout: rate after each part of the layers that learn, [0, 1).
    """

    reads_text = True

    def __init__(
        self,
        dimension: int,
        context: int,
        *,
        depth: int = 3,
        maximum_tokens: int = 128,
        rate: float = 0.1,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if depth < 1 or maximum_tokens < 8 or not 0 < rate <= 1:
            raise InputError("depth is at least 1, maximum_tokens at least 8, and rate is in (0, 1]")
        self.dimension, self.depth, self.maximum_tokens = dimension, depth, maximum_tokens
        self.rate, self.dropout = rate, dropout
        self.head = nn.Linear(1, 1, bias=False)
        nn.init.ones_(self.head.weight)
        self.reader: Any = None

    def read_with(self, reader: SentenceTransformer) -> None:
        """Take a model to read with, and free its last layers.

        Raises:
            InputError: it is no transformer, has fewer layers, reads fewer tokens, or makes vectors of another length.
        """
        from segue.encoders.sentence_transformer import limit_tokens

        made = int(reader.get_embedding_dimension() or 0)
        if made != self.dimension:
            raise InputError("the encoder does not make the bank's vectors", got=f"{made} components",
                             expected=self.dimension)  # fmt: skip
        layers = free_last_layers(reader, self.depth, fix="lower depth in [model] options")
        limit_tokens(reader, self.maximum_tokens, where="[model] options")
        reader.tokenizer.truncation_side = "left"  # saved with the model
        self.reader = reader.eval()
        self._dropouts = [part for layer in layers for part in layer.modules() if isinstance(part, nn.Dropout)]
        for part in self._dropouts:
            part.p = self.dropout

    def rates(self) -> dict[nn.Parameter, float]:
        """Return the learning rates of the transformer's weights and of the gain, as factors of the recipe's."""
        return {self.head.weight: GAIN_RATE, **dict.fromkeys(self.reader.parameters(), self.rate)}

    def train(self, mode: bool = True) -> Tokens:
        """Switch to training or evaluation; of the reader, dropout alone: its own settings are not the recipe's."""
        super().train(mode)
        self.reader.eval()
        for part in self._dropouts:
            part.train(mode and self.dropout > 0)
        return self

    def forward(self, context: Context, mask: Mask, texts: Texts) -> Vectors:
        """Return one correction for each context."""
        return self.head((self.read(texts) * math.sqrt(self.dimension))[..., None]).squeeze(-1)

    def read(self, texts: Texts) -> Vectors:
        """Return the unit vector of each context's end; texts of like length are read together where nothing learns."""
        from segue.encoders.sentence_transformer import batches_of_like_length

        features = self.reader.preprocess([self._end(passages) for passages in texts])
        if torch.is_grad_enabled():
            return self._encode(features)
        vectors = torch.empty(len(texts), self.dimension, dtype=self.head.weight.dtype, device=self.head.weight.device)
        for places, part in batches_of_like_length(features, READ_TOGETHER):
            vectors[places] = self._encode(part).to(vectors.dtype)
        return vectors

    def _encode(self, features: Any) -> Float[Tensor, "text dim"]:
        """Run the transformer in the precision of the context (autocast), what follows in that of the weights."""
        first, *others = self.reader
        weight = self.head.weight
        hidden = first({name: part.to(weight.device) if isinstance(part, Tensor) else part
                        for name, part in features.items()})  # fmt: skip
        for name, part in hidden.items():
            if isinstance(part, Tensor) and part.is_floating_point():
                hidden[name] = part.to(weight.dtype)
        for module in others:
            hidden = module(hidden)
        return functional.normalize(hidden["sentence_embedding"], dim=1)

    def _end(self, passages: Sequence[str]) -> str:
        """Join the last passages that hold the tokens that are read."""
        kept: list[str] = []
        for passage in reversed(passages):
            kept.append(passage.strip())
            if sum(map(len, kept)) > LONGEST_TOKEN * self.maximum_tokens:
                break
        return " ".join(reversed(kept))


def free_last_layers(model: SentenceTransformer, count: int, *, fix: str) -> list[nn.Module]:
    """Make only the transformer's last layers and the modules after it (such as a dense layer) trainable.

    Returns:
        Those layers.

    Raises:
        InputError: it is no transformer, or has fewer layers.
    """
    model.requires_grad_(False)
    layers = list(layers_of(model))
    if count > len(layers):
        raise InputError("the encoder has fewer layers", got=count, expected=f"1 to {len(layers)}", fix=fix)
    for module in [*layers[len(layers) - count :], *list(model)[1:]]:
        module.requires_grad_(True)
    return layers[len(layers) - count :]


def layers_of(model: SentenceTransformer) -> nn.ModuleList:
    """Return a transformer's layers: its longest list of modules.

    Raises:
        InputError: it is no transformer.
    """
    lists = [module for module in model[0].modules() if isinstance(module, nn.ModuleList)]
    if not lists:
        raise not_trainable(type(model[0]).__name__)
    return max(lists, key=len)


def reader_of(encoder: Encoder) -> SentenceTransformer:
    """Return a copy of an encoder's model to read with, in float32.

    Raises:
        InputError: it is not a model of sentence-transformers.
    """
    from segue.encoders.sentence_transformer import SentenceTransformerEncoder

    if not isinstance(encoder, SentenceTransformerEncoder):
        raise not_trainable(encoder.space.encoder)
    return encoder.copy_to_train()


def load_reader(folder: Path) -> SentenceTransformer:
    """Load what ``save_reader`` wrote.

    Raises:
        InputError: it cannot be loaded.
    """
    from segue.encoders.sentence_transformer import load_module

    return load_module(folder)


def save_reader(reader: SentenceTransformer, folder: Path) -> None:
    """Write a folder that ``SentenceTransformer(folder)`` and ``load_reader`` read."""
    from segue.encoders.sentence_transformer import progress_bars

    with progress_bars(False):
        reader.save(str(folder), create_model_card=False)


def not_trainable(name: str) -> InputError:
    """Return the error of an encoder whose layers cannot learn."""
    return InputError(
        f"the encoder {name!r} cannot be fine-tuned",
        expected="a transformer of sentence-transformers",
        fix="name another one in [encoder], or leave out what reads text",
    )
