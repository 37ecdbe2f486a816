"""Predictor: context vectors → one unit vector, the predicted embedding of the next passage.

``normalise(anchor(context) + correction(context))`` with an anchor, ``normalise(correction(context))`` without.

The class is final. An architecture is a *correction*, a module of its own that the predictor wraps; the predictor adds
what all of them share: padding, scale, anchor, zero start, unit length.
"""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import cast, final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from segue.errors import InputError, SegueError
from segue.models.anchor import Anchor
from segue.models.architecture import (
    Context,
    Correction,
    Encoding,
    Features,
    Mask,
    Texts,
    Vectors,
    is_exported,
    pad_at_front,
)
from segue.models.document_tower import DocumentTower
from segue.models.export import write_onnx
from segue.models.settings import ModelSettings
from segue.models.tokens import Tokens


@final
class Predictor(nn.Module):
    """An architecture made into a predictor.

    Args:
        correction: the architecture; a module that follows ``Correction``.
        settings: settings of the architecture; a checkpoint needs them to build it again.
        dimension: components of an embedding.
        context: places of the window, at least 1.
        documents: the document tower; None leaves passages as they are.
    """

    def __init__(
        self,
        correction: nn.Module,
        settings: ModelSettings,
        *,
        dimension: int,
        context: int,
        documents: DocumentTower | None = None,
    ) -> None:
        super().__init__()
        self.settings = settings
        self.dimension = dimension
        self.context = context
        self.correction = correction
        self.documents = documents
        self.anchor = Anchor(context) if settings.anchor else None
        if self.anchor is not None:
            # The last layer still learns: its gradient does not depend on its own weights.
            head = cast(Correction, correction).head
            with torch.no_grad():
                head.weight.zero_()
                if head.bias is not None:
                    head.bias.zero_()

    @property
    def reads_text(self) -> bool:
        """Whether contexts must bring texts."""
        return bool(getattr(self.correction, "reads_text", False))

    def rates(self) -> dict[nn.Parameter, float]:
        """Return the learning rates of weights that learn at another rate than the recipe's, as factors of it."""
        return self.correction.rates() if isinstance(self.correction, Tokens) else {}

    def forward(self, context: Context, mask: Mask, texts: Texts | None = None) -> Vectors:
        """Predict the next passage.

        Args:
            context: unit vectors, oldest first; values where ``mask`` is False are ignored.
            mask: True where there is a passage; at least one in each row.
            texts: texts of the passages that are there, oldest first; only for an architecture that reads them.

        Returns:
            Unit vectors.

        Raises:
            InputError: an architecture of your own fails, or it reads texts and there are none.
        """
        if not is_exported():
            assert context.shape[1:] == (self.context, self.dimension), "the contexts do not have the predictor's shape"
            assert mask.any(1).all(), "a context without any passage has no continuation"
        context, mask = pad_at_front(context, mask)
        # Components of unit vectors are about 1/√dim; initialisations assume about 1. The scale makes a correction of
        # ordinary size about as long as the anchor, so a first step of the optimiser cannot drown it.
        scale = math.sqrt(self.dimension)
        total = self._correct(context * scale, mask, texts).to(context.dtype)
        if self.anchor is not None:
            total = total + self.anchor(context, mask) * scale
        return functional.normalize(total, dim=-1)

    def _correct(self, context: Context, mask: Mask, texts: Texts | None) -> Vectors:
        """Call the architecture; an error of one of your own becomes one that names it."""
        if self.reads_text and texts is None:
            raise InputError(f"model {self.settings.name!r} reads texts, but the contexts bring vectors only",
                             fix="gather the contexts with texts")  # fmt: skip
        try:
            return cast(Vectors, self.correction(context, mask, *((texts,) if self.reads_text else ())))
        except SegueError:
            raise
        except Exception as error:
            if ":" not in self.settings.name:
                raise
            where = f"contexts of shape {tuple(context.shape)} in {str(context.dtype).removeprefix('torch.')}"
            fix = "correct its forward()"
            if isinstance(error, RuntimeError) and "dtype" in str(error):
                fix = "keep constants as buffers (self.register_buffer), or convert them with .to(context.dtype)"
            got = f"{type(error).__name__}: {error}"
            raise InputError(f"model {self.settings.name!r} fails on {where}", got=got, fix=fix) from error

    def encode_documents(self, vectors: Vectors) -> Vectors:
        """Return unit vectors of passages in the space of the predictions; without a document tower, ``vectors``.

        Args:
            vectors: unit vectors of passages.
        """
        if self.documents is None:
            return vectors
        return self.documents(vectors, self._as_context(vectors) if self.documents.net is None else None)

    def _as_context(self, vectors: Vectors) -> Features:
        """Encode each passage with the query's net, as a context of one."""
        context = functional.pad(vectors[:, None] * math.sqrt(self.dimension), (0, 0, self.context - 1, 0))
        mask = torch.arange(self.context, device=vectors.device).expand(len(vectors), -1) == self.context - 1
        return cast(Encoding, self.correction).encode(context, mask)

    def to_onnx(self, path: Path | str) -> Path:
        """Write the predictor as an ONNX file; it is run and compared before it takes its place.

        Inputs: ``context``, float32 [batch, context, dim], unit vectors, oldest first; ``mask``, bool [batch, context],
        true where there is a passage, at least one in each row. Output: ``prediction``, float32 [batch, dim], unit
        vectors. The batch size is free. A document tower is not part of the file.

        Raises:
            MissingExtraError: onnx, onnxscript or ONNX Runtime is not installed.
            InputError: the architecture cannot be exported, or the file answers otherwise than the predictor.
            StorageError: the file cannot be written.
        """
        if self.reads_text:
            raise InputError(f"model {self.settings.name!r} cannot be exported to ONNX",
                             got="a model that reads texts", expected="one that reads vectors alone")  # fmt: skip
        net = copy.deepcopy(self).cpu().float().eval()
        write_onnx(net, Path(path), dimension=self.dimension, context=self.context, name=self.settings.name)
        return Path(path)

    @torch.no_grad()
    def start_anchor(self, weights: Float[Tensor, "context"]) -> None:
        """Set the anchor's first weights (see ``anchor_weights``), chosen on validation."""
        assert self.anchor is not None, "this predictor was built without an anchor"
        self.anchor.weights.copy_(weights)


def num_parameters(module: nn.Module) -> int:
    """Count the numbers that training can change.

    >>> num_parameters(nn.Linear(3, 2))
    8
    """
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
