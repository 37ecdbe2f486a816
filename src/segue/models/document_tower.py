"""The document tower: what a passage's vector becomes before predictions are compared with it.

A two-tower model has a tower for the query (the predictor) and one for the documents. Here the second is a correction
of the passage's own vector, ``normalise(v + correction(v))``, and the correction starts at zero: untrained, passages
are as the encoder left them, so a two-tower model begins at its anchor like every other.

``identity``  no tower: the bank is searched as it is
``linear``    a matrix and a bias (a direction that all passages share can be taken out by the bias alone)
``mlp``       one hidden layer
``shared``    siamese: the query's own net reads the passage as a context of one, and a head of its own answers

All but the first move the passages into a space of their own: the bank has to be encoded anew.
"""

from __future__ import annotations

import hashlib
import math
from typing import Protocol, runtime_checkable

from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from segue.errors import SettingsError, explain
from segue.models.settings import DocumentKind, Size

HIDDEN: dict[Size, int] = {"toy": 32, "demo": 512, "full": 1024}
"""Width of the hidden layer of the ``mlp`` tower."""


@runtime_checkable
class Encoding(Protocol):
    """An architecture whose last layer can be taken off: ``forward`` is ``head(encode(context, mask))``."""

    head: nn.Linear

    def encode(
        self, context: Float[Tensor, "batch context dim"], mask: Bool[Tensor, "batch context"]
    ) -> Float[Tensor, "batch features"]:
        """Return what the head reads."""
        ...


class DocumentTower(nn.Module):
    """Passages → unit vectors in the space of the predictions.

    Args:
        dimension: components of an embedding.
        net: the correction, whose last layer is ``head``; None where the query's net is shared.
        head: the tower's own last layer; set to zero here.
    """

    def __init__(self, dimension: int, *, net: nn.Module | None, head: nn.Linear) -> None:
        super().__init__()
        self.scale = math.sqrt(dimension)  # as in the predictor: components of about 1
        self.net = net
        self.head = head
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)

    def forward(
        self, vectors: Float[Tensor, "batch dim"], features: Float[Tensor, "batch features"] | None = None
    ) -> Float[Tensor, "batch dim"]:
        """Return unit vectors.

        Args:
            vectors: unit vectors of passages.
            features: what the shared net made of them; only where there is no net of its own.
        """
        scaled = vectors * self.scale
        if features is None:
            assert self.net is not None, "a shared tower is given what the query's net made of the passage"
            features = self.net(scaled)
        # The sum is taken in the vectors' precision: autocast may round what is added, not what it is added to.
        return functional.normalize(scaled + self.head(features).to(vectors.dtype), dim=-1)


def build_document_tower(
    kind: DocumentKind, correction: nn.Module, *, dimension: int, size: Size
) -> DocumentTower | None:
    """Build an untrained tower; None for ``identity``.

    Args:
        kind: see the module.
        correction: the query's architecture; ``shared`` uses it for passages too.
        dimension: components of an embedding.
        size: of the ``mlp`` tower.

    Raises:
        SettingsError: ``shared`` is asked of an architecture without ``encode``.
    """
    if kind == "identity":
        return None
    if kind == "linear":
        return DocumentTower(dimension, net=nn.Identity(), head=nn.Linear(dimension, dimension))
    if kind == "mlp":
        hidden = HIDDEN[size]
        net = nn.Sequential(nn.Linear(dimension, hidden), nn.GELU())
        return DocumentTower(dimension, net=net, head=nn.Linear(hidden, dimension))
    if not isinstance(correction, Encoding):
        raise SettingsError(
            explain(
                'documents = "shared" needs an architecture whose last layer can be taken off',
                got=f"{type(correction).__name__} without a method 'encode'",
                expected="encode(context, mask), and forward(context, mask) = head(encode(context, mask))",
                fix='add that method, or set documents = "linear"',
            )
        )
    return DocumentTower(dimension, net=None, head=nn.Linear(correction.head.in_features, dimension))


def weights_hash(module: nn.Module) -> str:
    """Return the first 16 hexadecimal digits of the sha256 of all weights, names and shapes included."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(f"{name} {list(value.shape)} ".encode())
        digest.update(value.detach().cpu().contiguous().float().numpy().tobytes())
    return digest.hexdigest()[:16]
