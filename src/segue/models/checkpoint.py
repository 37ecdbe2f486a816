"""Checkpoints: a folder that says what it is, and proves on loading that it still is.

========================== =================================================================================
``model.safetensors``      the weights, float32
``config.json``            settings, shape, space, loss, metrics: all that is needed to build the net again
``training_documents.txt`` sha256 of each training document's id, one a line
``golden.safetensors``     an input and the output that the trained nets gave to it, document tower included
``README.md``              the model card
========================== =================================================================================

Two nets may share every parameter's name and shape and still compute different things, so matching names prove
nothing: the golden pair does. It is computed in float64 on the CPU both times. There different machines agree to about
1e-12, and the tolerance can be tight. There is no pickle in any of it.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from segue.errors import InputError, explain
from segue.files import read_json, write_folder, write_json, write_text
from segue.models.build import build_model
from segue.models.model_card import ModelCard, render_card
from segue.models.predictor import Predictor, num_parameters
from segue.models.settings import ModelSettings
from segue.models.tensors import save_tensors
from segue.version import __version__

FORMAT_VERSION = 1
"""Of the folder's layout; counted up when an older reader would misread it."""

GOLDEN_TOLERANCE = 1e-5
"""Greatest Euclidean distance between a golden output (a unit vector) and what the loaded net answers."""

WEIGHTS, CONFIG, DOCUMENTS, GOLDEN, CARD = (
    "model.safetensors",
    "config.json",
    "training_documents.txt",
    "golden.safetensors",
    "README.md",
)


def save_predictor(predictor: Predictor, folder: Path, *, card: ModelCard) -> None:
    """Write a checkpoint; the folder appears whole or not at all, in place of what stood there.

    Raises:
        InputError: a weight is NaN or infinite.
        StorageError: the disk is full or the folder cannot be written.
    """
    weights = {name: value.detach().cpu().contiguous() for name, value in predictor.state_dict().items()}
    _require_finite(weights, folder)
    golden = _golden(predictor)
    text = render_card(
        card,
        predictor.settings,
        dimension=predictor.dimension,
        context=predictor.context,
        parameters=num_parameters(predictor),
    )

    def fill(place: Path) -> None:
        save_tensors(place / WEIGHTS, weights, header={"format": "pt"})
        save_tensors(place / GOLDEN, golden)
        write_text(place / DOCUMENTS, "".join(f"{digest}\n" for digest in card.training_documents))
        write_text(place / CARD, text)
        write_json(place / CONFIG, _config(predictor, card))

    write_folder(Path(folder), fill)


def load_predictor(folder: Path) -> tuple[Predictor, dict[str, Any]]:
    """Read a checkpoint, on the CPU and in evaluation mode, and check that it computes what it computed when saved.

    Returns:
        The predictor and the configuration, in which ``training_documents`` lists the documents' hashes.

    Raises:
        InputError: a file is missing or damaged, the format is another one, the weights do not fit the net, or the
            net's answer to the golden input differs (SG112).
        SettingsError: the architecture cannot be imported or built.
    """
    folder = Path(folder)
    config = read_config(folder)
    predictor = build_model(
        _read_settings(folder / CONFIG, config), dimension=config["dimension"], context=config["context"]
    )
    _fill_weights(predictor, _read_tensors(folder / WEIGHTS), folder / WEIGHTS)
    predictor.eval()
    _check_golden(predictor, _read_tensors(folder / GOLDEN), folder)
    return predictor, config


def golden_input(
    context: int, dimension: int
) -> tuple[Float[Tensor, "batch context dim"], Bool[Tensor, "batch context"]]:
    """Draw the golden input: random unit vectors in contexts of every length from 1 to ``context``."""
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(context, context, dimension, generator=generator)
    lengths = torch.arange(1, context + 1)
    mask = torch.arange(context) >= context - lengths[:, None]
    return torch.nn.functional.normalize(vectors, dim=-1) * mask[..., None], mask


@torch.no_grad()
def golden_output(
    predictor: Predictor, context: Float[Tensor, "batch context dim"], mask: Bool[Tensor, "batch context"]
) -> Float[Tensor, "batch dim"]:
    """Return the predictor's answer, computed in float64 on a copy; the predictor itself stays as it is."""
    exact = copy.deepcopy(predictor).cpu().double().eval()
    return exact(context.double(), mask)


@torch.no_grad()
def golden_documents(predictor: Predictor, passages: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch dim"]:
    """Return passages as the predictor's document tower encodes them, computed like ``golden_output``."""
    exact = copy.deepcopy(predictor).cpu().double().eval()
    return exact.encode_documents(passages.double())


def _golden(predictor: Predictor) -> dict[str, Tensor]:
    """Gather an input, the answer to it, and where there is a document tower the newest passages as it encodes them."""
    context, mask = golden_input(predictor.context, predictor.dimension)
    golden = {"context": context, "mask": mask, "output": golden_output(predictor, context, mask)}
    if predictor.documents is not None:
        golden["documents"] = golden_documents(predictor, context[:, -1])
    return golden


def _config(predictor: Predictor, card: ModelCard) -> dict[str, Any]:
    """Gather what ``config.json`` holds."""
    return {
        "library_name": "segue",
        "library_version": __version__,
        "format_version": FORMAT_VERSION,
        "name": card.name,
        "model": predictor.settings.model_dump(mode="json"),
        "dimension": predictor.dimension,
        "context": predictor.context,
        "num_parameters": num_parameters(predictor),
        "space": None if card.space is None else dict(card.space),
        "loss": card.loss,
        "loss_space": card.loss_space,
        "metrics": dict(card.metrics),
        "training": dict(card.training),
        "seed": card.seed,
        "license": card.license,
        "golden_tolerance": GOLDEN_TOLERANCE,
    }


def read_config(folder: Path) -> dict[str, Any]:
    """Read ``config.json`` and, as ``training_documents``, the list of training documents; weights are not read.

    Raises:
        InputError: a file of the checkpoint is missing, or the format is another one.
    """
    for name in (CONFIG, WEIGHTS, GOLDEN, DOCUMENTS):
        if not (folder / name).is_file():
            raise InputError(
                explain(f"{folder} is not a whole checkpoint", got=f"no {name}", fix="copy or train it again")
            )
    config = read_json(folder / CONFIG)
    version = config.get("format_version") if isinstance(config, dict) else None
    if version != FORMAT_VERSION:
        raise InputError(
            explain(
                f"{folder / CONFIG} has another format",
                got=f"format_version {version}",
                expected=FORMAT_VERSION,
                fix="load it with the version of Segue that wrote it, or train it again",
            )
        )
    config["training_documents"] = (folder / DOCUMENTS).read_text(encoding="utf-8").split()
    return config


def _read_settings(path: Path, config: dict[str, Any]) -> ModelSettings:
    """Read the model's settings and check the two numbers that give its shape."""
    try:
        for name in ("dimension", "context"):
            if not (isinstance(config.get(name), int) and config[name] > 0):
                raise ValueError(f"{name} is {config.get(name)!r}, not a positive whole number")
        return ModelSettings.model_validate(config.get("model"))
    except (ValueError, ValidationError) as error:
        raise InputError(
            explain(f"{path} does not describe a model", got=str(error), fix="copy or train the checkpoint again")
        ) from error


def _read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file."""
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise InputError(
            explain(f"{path} cannot be read", got=str(error), fix="copy or train the checkpoint again")
        ) from error


def _require_finite(weights: dict[str, Tensor], folder: Path) -> None:
    """Refuse to keep weights that a diverged training left behind."""
    broken = [name for name, value in weights.items() if not bool(torch.isfinite(value).all())]
    if broken:
        raise InputError(
            explain(
                f"the predictor is not written to {folder}",
                got=f"NaN or infinite numbers in {', '.join(broken)}",
                fix="train again with a lower learning rate",
            )
        )


def _fill_weights(predictor: Predictor, weights: dict[str, Tensor], path: Path) -> None:
    """Put the weights into the net; every name and shape must fit."""
    wanted = predictor.state_dict()
    problems = [f"{name} is missing" for name in wanted.keys() - weights.keys()]
    problems += [f"{name} is not part of the net" for name in weights.keys() - wanted.keys()]
    problems += [
        f"{name} has shape {list(weights[name].shape)} instead of {list(wanted[name].shape)}"
        for name in wanted.keys() & weights.keys()
        if weights[name].shape != wanted[name].shape
    ]
    if problems:
        raise InputError(
            explain(
                f"{path} does not fit the net that {CONFIG} describes",
                got="; ".join(sorted(problems)[:5]),
                fix="keep the two files of one checkpoint together; copy or train it again",
            )
        )
    predictor.load_state_dict(weights)


def _check_golden(predictor: Predictor, golden: dict[str, Tensor], folder: Path) -> None:
    """Refuse a net that answers the golden input otherwise than the net that was saved."""
    distance = float("inf")
    shapes = {name: tuple(value.shape) for name, value in golden.items()}
    if shapes == _golden_shapes(predictor):
        answer = golden_output(predictor, golden["context"], golden["mask"])
        distance = float((answer - golden["output"]).norm(dim=-1).max())
        if "documents" in golden:
            passages = golden_documents(predictor, golden["context"][:, -1])
            distance = max(distance, float((passages - golden["documents"]).norm(dim=-1).max()))
    if not distance <= GOLDEN_TOLERANCE:
        raise InputError(
            explain(
                f"SG112: {folder} does not compute what it computed when it was saved ({GOLDEN})",
                got=f"a distance of {distance:.2g}",
                expected=f"at most {GOLDEN_TOLERANCE:g}",
                fix="load it with the architecture's code that trained it, or train it again",
            )
        )


def _golden_shapes(predictor: Predictor) -> dict[str, tuple[int, ...]]:
    """Return the shapes a golden pair of this predictor has."""
    places, dimension = predictor.context, predictor.dimension
    shapes = {"context": (places, places, dimension), "mask": (places, places), "output": (places, dimension)}
    return shapes if predictor.documents is None else {**shapes, "documents": (places, dimension)}
