"""The transformer of an encoder run by OpenVINO instead of PyTorch (``[encoder] runtime``, ``segue[fast]``).

Input: a sentence-transformers model in float32. Output: a function in place of its first module, from the features of a
batch to the vectors of its tokens. Pooling, dense layers and normalisation stay in PyTorch.

The graph is converted from the weights in memory whenever an encoder is loaded, and its vectors are compared with
PyTorch's (``sentence_transformer.require_near``). It is never written, so no file can be broken or of other weights.

In int8, weights are rounded to 8 bits with one scale per output, and what they are multiplied with is rounded when it
comes, ``GROUP`` components of one token at a time. Nothing is calibrated, and no token's scale depends on another.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from segue.encoders.space import Precision
from segue.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

Features = Mapping[str, Any]
"""Output of a tokeniser for some texts: tensors by name, and other values."""

GROUP = 64
"""Components that share a scale in int8; fewer are more exact and slower."""
HINTS: dict[Precision, str] = {"float32": "f32", "bfloat16": "bf16", "int8": "f32"}
"""Names of OpenVINO for the arithmetic of all but int8 products."""
EXAMPLE = ("Snow reflects light.", "The cat sat on the mat.", "Ice")
"""Texts that the model is traced with; the probes, which it is compared on, have other shapes."""


def run_by_openvino(
    model: SentenceTransformer, precision: Precision, *, streams: int, name: str
) -> Callable[[Features], dict[str, Any]]:
    """Return a function that does what the first module of a model does.

    Args:
        model: on the CPU, in float32, not training; it is not changed.
        precision: arithmetic of the transformer.
        streams: calls that run side by side, each on one thread.
        name: of the encoder, for errors.

    Returns:
        A function from features to features with ``token_embeddings``, float32; several threads may call it.

    Raises:
        MissingExtraError: OpenVINO is not installed.
        InputError: the model is no transformer with a tokeniser, or OpenVINO cannot convert it.
    """
    with _no_telemetry():
        try:
            import openvino
        except ImportError as error:
            fix = "pip install 'segue[fast]', or set [encoder] runtime = \"torch\""
            raise MissingExtraError(f"encoder {name!r} cannot be run by OpenVINO", got=str(error), fix=fix) from error
    features = dict(model.preprocess(list(EXAMPLE)))
    mask = features.get("attention_mask")
    if not (hasattr(model[0], "auto_model") and torch.is_tensor(mask) and mask.ndim == 2):
        raise _not_converted(name, type(model[0]).__name__)
    inputs = {key: value for key, value in features.items() if torch.is_tensor(value) and value.shape == mask.shape}
    net = _FirstModule(model[0], list(inputs), {key: value for key, value in features.items() if key not in inputs})
    try:
        with _no_telemetry(), _quiet():
            graph = openvino.convert_model(net.eval(), example_input=tuple(inputs.values()),
                                           input=[openvino.PartialShape([-1, -1])] * len(inputs))  # fmt: skip
        if precision == "int8":
            _round_weights(graph)
        compiled = openvino.Core().compile_model(graph, "CPU", {
            "INFERENCE_PRECISION_HINT": HINTS[precision], "DYNAMIC_QUANTIZATION_GROUP_SIZE": GROUP,
            "NUM_STREAMS": streams, "INFERENCE_NUM_THREADS": streams})  # fmt: skip
    except Exception as error:  # whatever OpenVINO does not know
        raise _not_converted(name, f"{type(error).__name__}: {(str(error).strip() or 'no message').splitlines()[0]}"
                             ) from error  # fmt: skip

    def forward(features: Features) -> dict[str, Any]:
        values = [np.ascontiguousarray(features[key].numpy()) for key in inputs]
        found = compiled.create_infer_request().infer(values)[0]
        return {**features, "token_embeddings": torch.from_numpy(found)}

    return forward


class _FirstModule(nn.Module):
    """The first module of a model as a function of tensors."""

    def __init__(self, first: nn.Module, names: list[str], others: dict[str, Any]) -> None:
        super().__init__()
        self.first, self.names, self.others = first, names, others

    def forward(self, *tensors: Tensor) -> Tensor:
        found = self.first({**self.others, **dict(zip(self.names, tensors, strict=True))})
        vectors: Tensor = found["token_embeddings"]
        return vectors


def _round_weights(graph: Any) -> None:
    """Replace the weights of every product by int8 values and a scale per output, as OpenVINO knows them."""
    import openvino.opset13 as ops

    for node in graph.get_ordered_ops():
        if node.get_type_name() != "MatMul" or node.input_value(1).get_node().get_type_name() != "Constant":
            continue
        weights = node.input_value(1).get_node().get_data().astype(np.float32)
        inner = 1 if node.get_attributes()["transpose_b"] else 0
        scale = np.maximum(np.abs(weights).max(axis=inner, keepdims=True), 1e-12) / 127
        rounded = ops.convert(ops.constant(np.rint(weights / scale).astype(np.int8)), "f32")
        node.input(1).replace_source_output(ops.multiply(rounded, ops.constant(scale)).output(0))
    graph.validate_nodes_and_infer_types()


def _not_converted(name: str, got: str) -> InputError:
    return InputError(f"encoder {name!r} cannot be run by OpenVINO", got=got,
                      expected="a transformer of sentence-transformers with a tokeniser",
                      fix='set [encoder] runtime = "torch"')  # fmt: skip


@contextlib.contextmanager
def _no_telemetry() -> Iterator[None]:
    """Keep OpenVINO from importing the package that reports every import and conversion to its makers."""
    before = sys.modules.get("openvino_telemetry")
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # so OpenVINO imports its own stub
    try:
        yield
    finally:
        del sys.modules["openvino_telemetry"]
        if before is not None:
            sys.modules["openvino_telemetry"] = before


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Leave out warnings of tracing, and what transformers logs when every attribute of a model is read."""
    logger = logging.getLogger("transformers")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
