"""Exported predictors answer as the predictors: ONNX Runtime, torch.export, torch.jit.trace, torch.compile."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch
from model_rules import OF_VECTORS
from torch import nn
from type_checks import shapes_checked

from segue.errors import InputError
from segue.models.build import build_model
from segue.models.predictor import Predictor
from segue.models.rules import CONTEXT, DIMENSION, as_if_trained, example_batch
from segue.models.settings import ModelSettings

NAMES = sorted(OF_VECTORS)
BATCH, MASK = example_batch(seed=3)


@pytest.fixture(autouse=True)
def _without_shape_checks():
    """Shapes are symbols while a net is exported; the checks of the tests would make them numbers."""
    with shapes_checked(on=False):
        yield


def predictor_of(name: str, *, anchor: bool = True) -> Predictor:
    torch.manual_seed(5)
    settings = ModelSettings(name=name, size="toy", anchor=anchor)
    return as_if_trained(build_model(settings, dimension=DIMENSION, context=CONTEXT))


@pytest.mark.parametrize("name", NAMES)
def test_onnx_runtime_answers_as_the_predictor(name, tmp_path):
    predictor = predictor_of(name, anchor=name != "mlp").train()
    path = predictor.to_onnx(tmp_path / "predictor.onnx")
    assert predictor.training, "it stays as it was"
    assert [file.name for file in tmp_path.iterdir()] == ["predictor.onnx"]
    session = onnxruntime.InferenceSession(path)
    expected = predictor.eval()(BATCH, MASK).detach().numpy()
    for rows in (slice(0, 1), slice(2, 9)):
        (found,) = session.run(["prediction"], {"context": BATCH[rows].numpy(), "mask": MASK[rows].numpy()})
        np.testing.assert_allclose(found, expected[rows], atol=1e-5)


@pytest.mark.filterwarnings(
    "ignore:The tensor attributes .* were assigned during export"
)  # of torch's own recurrent nets
@pytest.mark.parametrize("name", NAMES)
def test_torch_export_answers_as_the_predictor_at_any_batch_size(name):
    predictor, batch = predictor_of(name), torch.export.Dim("batch")
    program = torch.export.export(predictor, (BATCH, MASK), dynamic_shapes=({0: batch}, {0: batch}))
    for rows in (slice(0, 2), slice(2, 9)):
        torch.testing.assert_close(program.module()(BATCH[rows], MASK[rows]), predictor(BATCH[rows], MASK[rows]),
                                   atol=1e-5, rtol=0)  # fmt: skip


def test_a_predictor_is_compiled_as_one_graph():
    predictor = predictor_of("transformer")
    compiled = torch.compile(predictor, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(BATCH, MASK), predictor(BATCH, MASK), atol=1e-6, rtol=0)


@pytest.mark.filterwarnings("ignore:.*torch.jit.*deprecated:DeprecationWarning")  # still in use
@pytest.mark.parametrize("name", ["amn", "mamba", "mlp", "transformer"])  # PyTorch's recurrent nets warn themselves
def test_a_trace_answers_as_the_predictor_without_a_warning(name):
    predictor = predictor_of(name).eval()
    traced = torch.jit.trace(predictor, (BATCH, MASK))
    torch.testing.assert_close(traced(BATCH[:2], MASK[:2]), predictor(BATCH[:2], MASK[:2]), atol=1e-6, rtol=0)


class Branching(nn.Module):
    """Reads a value in Python's ``if``, which no export can."""

    def __init__(self, dimension: int, context: int) -> None:
        super().__init__()
        self.head = nn.Linear(dimension, dimension)

    def forward(self, context, mask):
        return self.head(context[:, -1]) if float(context.sum()) > -1e9 else context[:, -1]


def test_what_cannot_be_exported_says_why_and_leaves_the_old_file(tmp_path):
    path = tmp_path / "predictor.onnx"
    path.write_bytes(b"the old one")
    settings = ModelSettings(name="own:Branching", size="toy", anchor=False)
    predictor = Predictor(Branching(DIMENSION, CONTEXT), settings, dimension=DIMENSION, context=CONTEXT)
    with pytest.raises(InputError, match=r"cannot be exported to ONNX.*data-dependent"):
        predictor.to_onnx(path)
    assert path.read_bytes() == b"the old one"
    assert list(tmp_path.iterdir()) == [path]


def test_an_exporter_that_fails_without_a_message_is_reported(tmp_path, monkeypatch):
    def fails(*given, **named):
        try:
            raise KeyError
        except KeyError as error:
            raise RuntimeError("a long story") from error

    monkeypatch.setattr(torch.onnx, "export", fails)
    with pytest.raises(InputError, match="'mlp' cannot be exported to ONNX: got KeyError: no message"):
        predictor_of("mlp").to_onnx(tmp_path / "predictor.onnx")
    assert not list(tmp_path.iterdir())


def test_a_bidirectional_gru_of_several_layers_is_refused(tmp_path):
    settings = ModelSettings(name="bidirectional-gru", size="toy", options={"layers": 2})
    predictor = build_model(settings, dimension=DIMENSION, context=CONTEXT)
    with pytest.raises(InputError, match="several layers"):
        predictor.to_onnx(tmp_path / "predictor.onnx")
