"""Document tower: passage vectors → vectors in the space of the predictions.

A two-tower model has a tower for the query (the predictor) and one for the documents. The second is a correction of the
passage's own vector, ``normalise(v + correction(v))``, that starts at zero: untrained, passages are as the encoder left
them, so a two-tower model starts at its anchor like the others.

``identity``  no tower: the bank is searched as it is
``linear``    a matrix and a bias (the bias alone can remove a direction that all passages share)
``mlp``       one hidden layer
``shared``    siamese: the query's net encodes the passage as a context of one, and a second head answers

All except ``identity`` require encoding the bank again.
"""

from __future__ import annotations

import hashlib
import math

from torch import nn
from torch.nn import functional

from segue.errors import SettingsError
from segue.models.architecture import Encoding, Features, Vectors
from segue.models.settings import DocumentKind, Size

HIDDEN: dict[Size, int] = {"toy": 32, "demo": 512, "full": 1024}
"""Width of the hidden layer of the ``mlp`` tower."""


class DocumentTower(nn.Module):
    """A correction of passage vectors that starts at zero.

    Args:
        dimension: components of an embedding.
        net: the correction without its last layer; None where the query's net is shared.
        head: the correction's last layer; set to zero here.
    """

    def __init__(self, dimension: int, *, net: nn.Module | None, head: nn.Linear) -> None:
        super().__init__()
        self.scale = math.sqrt(dimension)  # as in the predictor: components of about 1
        self.net = net
        self.head = head
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)

    def forward(self, vectors: Vectors, features: Features | None = None) -> Vectors:
        """Return unit vectors.

        Args:
            vectors: unit vectors of passages.
            features: outputs of the shared net; None where the tower has its own net.
        """
        scaled = vectors * self.scale
        if features is None:
            assert self.net is not None, "a shared tower is given the features of the query's net"
            features = self.net(scaled)
        # The sum is taken in the vectors' precision: autocast may round the correction, not the vectors.
        return functional.normalize(scaled + self.head(features).to(vectors.dtype), dim=-1)


def build_document_tower(
    kind: DocumentKind, correction: nn.Module, *, dimension: int, size: Size
) -> DocumentTower | None:
    """Build an untrained tower; None for ``identity``.

    Args:
        kind: ``identity``, ``linear``, ``mlp`` or ``shared``.
        correction: the query's architecture; ``shared`` uses it for passages too.
        dimension: components of an embedding.
        size: size of the ``mlp`` tower.

    Raises:
        SettingsError: ``shared`` needs an architecture with ``encode``.
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
            'documents = "shared" needs an architecture whose last layer can be removed',
            got=f"{type(correction).__name__} without a method 'encode'",
            expected="encode(context, mask), and forward(context, mask) = head(encode(context, mask))",
            fix='add that method, or set documents = "linear"',
        )
    return DocumentTower(dimension, net=None, head=nn.Linear(correction.head.in_features, dimension))


def weights_hash(module: nn.Module) -> str:
    """Return the first 16 hexadecimal digits of the sha256 of all weights, names and shapes included."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(f"{name} {list(value.shape)} ".encode())
        digest.update(value.detach().cpu().contiguous().float().numpy().tobytes())
    return digest.hexdigest()[:16]
