"""A net as an ONNX file, which ONNX Runtime, OpenVINO and others run without PyTorch.

The file is run by ONNX Runtime and compared with the net before it takes its place.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from segue.errors import InputError, MissingExtraError
from segue.files import atomic_path
from segue.models.architecture import Context, Mask
from segue.version import __version__

INPUTS, OUTPUT = ("context", "mask"), "prediction"
"""Names in the file."""
TOLERANCE = 1e-5
"""Largest difference of a component between the file's unit vectors and the net's."""


def write_onnx(net: nn.Module, path: Path, *, dimension: int, context: int, name: str) -> None:
    """Write a net that turns contexts and masks into unit vectors, with a free batch size.

    Args:
        net: on the CPU, in float32, not training.
        path: the file; one that exists is replaced.
        dimension: components of an embedding.
        context: places of the window.
        name: of the model, for errors.

    Raises:
        MissingExtraError: onnx, onnxscript or ONNX Runtime is not installed.
        InputError: the net cannot be exported, or the file answers otherwise than the net.
        StorageError: the file cannot be written.
    """
    try:
        import onnx
        import onnxruntime
        import onnxscript
    except ImportError as error:
        raise MissingExtraError("ONNX cannot be written", got=str(error), fix="pip install 'segue[onnx]'") from error
    del onnx, onnxscript  # torch's exporter imports them, and says less clearly when it cannot
    example, batch = _example(dimension, context), torch.export.Dim("batch")
    with atomic_path(path) as temporary, torch.no_grad():
        try:
            with _quiet():
                program = torch.onnx.export(net, example, dynamo=True, dynamic_shapes=({0: batch}, {0: batch}),
                                            input_names=INPUTS, output_names=[OUTPUT], verbose=False)  # fmt: skip
                assert program is not None, "the exporter of torch.export returns a program"
                program.model.producer_name, program.model.producer_version = "segue", __version__
                program.save(temporary)
        except Exception as error:  # whatever torch's exporter does not know
            root: BaseException = error
            while root.__cause__ is not None:
                root = root.__cause__
            if isinstance(root, InputError):
                raise root from None
            raise InputError(f"model {name!r} cannot be exported to ONNX",
                             got=f"{type(root).__name__}: {(str(root).strip() or 'no message').splitlines()[0]}",
                             fix="keep values of tensors out of Python's `if`, and use operators that ONNX has",
                             ) from error  # fmt: skip
        session = onnxruntime.InferenceSession(temporary, providers=["CPUExecutionProvider"])
        for rows in (1, len(example[0])):
            inputs = [part[:rows] for part in example]
            (found,) = session.run(None, {key: part.numpy() for key, part in zip(INPUTS, inputs, strict=True)})
            apart = float(np.abs(found - net(*inputs).numpy()).max())
            if not apart <= TOLERANCE:
                raise InputError(f"the ONNX file of model {name!r} answers otherwise than the model",
                                 got=f"a difference of {apart:.2g}", expected=f"at most {TOLERANCE:g}")  # fmt: skip


def _example(dimension: int, context: int) -> tuple[Context, Mask]:
    """Return a context of each length, and one more, so that no size of the batch stands for the context's."""
    vectors = torch.randn(context + 1, context, dimension, generator=torch.Generator().manual_seed(1))
    lengths = 1 + torch.arange(context + 1) % context
    return functional.normalize(vectors, dim=-1), torch.arange(context) >= context - lengths[:, None]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Leave out what the exporter says about packages that are not needed, and its own deprecations."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
