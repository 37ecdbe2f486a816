"""Checkpoints: a folder with a predictor, checked on loading to compute what it computed when it was saved.

========================== =================================================================================
``model.safetensors``      the weights, float32
``config.json``            settings, shape, space, loss, metrics: all that is needed to build the net again
``training_documents.txt`` sha256 of each training document's id, one a line
``golden.safetensors``     an input and the output that the trained nets gave to it, document tower included
``README.md``              the model card
``reader/``                a model that reads text: its transformer, whole, as sentence-transformers saves it
========================== =================================================================================

Two nets may share every parameter's name and shape and still compute different things; the golden pair distinguishes
them. It is computed in float64 on the CPU both times, where different machines agree to about 1e-12. No file is a
pickle.
"""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from pydantic import Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file

from segue.errors import InputError
from segue.files import hashes_of, read_json, require_hashes, write_folder, write_json, write_text
from segue.models.architecture import Context, Mask
from segue.models.build import build_model
from segue.models.model_card import ModelCard, render_card
from segue.models.predictor import Predictor, num_parameters
from segue.models.rules import example_texts
from segue.models.settings import ModelSettings
from segue.models.tensors import Tensors, save_tensors
from segue.models.tokens import Tokens, load_reader, save_reader
from segue.parts import require_own_part
from segue.version import __version__

FORMAT_VERSION = 1
"""Version of the folder's layout; raised when an older reader would misread it."""

GOLDEN_TOLERANCE = 1e-5
"""Maximum Euclidean distance between a golden output (a unit vector) and the loaded net's output."""

WEIGHTS, CONFIG, DOCUMENTS, GOLDEN, CARD = (
    "model.safetensors",
    "config.json",
    "training_documents.txt",
    "golden.safetensors",
    "README.md",
)
READER, READER_WEIGHTS = "reader", "correction.reader."
"""Folder of the transformer of a model that reads text, and the prefix of its weights, which are not in ``WEIGHTS``."""


class CheckpointConfig(ModelCard):
    """``config.json``, with the hashes of ``training_documents.txt``: the model card and the net's shape.

    Attributes:
        model: settings of the architecture.
        dimension: components of an embedding.
        context: places of the window.
    """

    model: ModelSettings
    dimension: int = Field(strict=True, gt=0, le=100_000)
    context: int = Field(strict=True, gt=0, le=512)  # as WindowSettings


def save_predictor(predictor: Predictor, folder: Path, *, card: ModelCard) -> None:
    """Write a checkpoint; the folder appears whole or not at all, and replaces an existing one.

    Raises:
        InputError: a weight is NaN or infinite.
        StorageError: the disk is full or the folder cannot be written.
    """
    weights = {name: value.detach().cpu().contiguous() for name, value in predictor.state_dict().items()}
    broken = [name for name, value in weights.items() if not bool(torch.isfinite(value).all())]
    if broken:
        raise InputError(
            f"the predictor is not written to {folder}",
            got=f"NaN or infinite numbers in {', '.join(broken)}",
            fix="train again with a lower learning rate",
        )
    reader = predictor.correction.reader if isinstance(predictor.correction, Tokens) else None
    if reader is not None:
        weights = {name: value for name, value in weights.items() if not name.startswith(READER_WEIGHTS)}
    context, mask = golden_input(predictor.context, predictor.dimension)
    golden = {"context": context, "mask": mask, **_golden_answers(predictor, context, mask)}
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
        if reader is not None:
            save_reader(reader, place / READER)
        names = [path.relative_to(place).as_posix() for path in sorted(place.rglob("*")) if path.is_file()]
        files = hashes_of(place, (name for name in names if name != CARD))
        write_json(place / CONFIG, {**_config(predictor, card), "files": files})

    write_folder(Path(folder), fill)


def load_predictor(folder: Path) -> tuple[Predictor, CheckpointConfig]:
    """Read a checkpoint, on the CPU and in evaluation mode, and check that it computes what it computed when saved.

    Returns:
        The predictor and its configuration.

    Raises:
        InputError: a file is missing or damaged, the format is another one, the weights do not fit the net, or the
            net's answer to the golden input differs (SG112).
        StorageError: a file is not the one that was written with the others.
        SettingsError: the architecture cannot be imported or built, or its code is not the user's own.
    """
    folder = Path(folder)
    config = read_config(folder)
    require_own_part("model", config.model.name, folder)
    if config.model.name == "tokens":
        _require_files(folder, f"{READER}/")
    reader = load_reader(folder / READER) if config.model.name == "tokens" else None
    predictor = build_model(config.model, dimension=config.dimension, context=config.context, reader=reader)
    _fill_weights(predictor, _read_tensors(folder / WEIGHTS), folder / WEIGHTS)
    predictor.eval()
    _check_golden(predictor, _read_tensors(folder / GOLDEN), folder)
    _require_files(folder)  # last: the errors above say more
    return predictor, config


def golden_input(context: int, dimension: int) -> tuple[Context, Mask]:
    """Draw the golden input: random unit vectors in contexts of every length from 1 to ``context``."""
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(context, context, dimension, generator=generator)
    lengths = torch.arange(1, context + 1)
    mask = torch.arange(context) >= context - lengths[:, None]
    return torch.nn.functional.normalize(vectors, dim=-1) * mask[..., None], mask


@torch.no_grad()
def _golden_answers(predictor: Predictor, context: Context, mask: Mask) -> Tensors:
    """Return the output and, with a document tower, the newest passages as it encodes them; in float64, on a copy."""
    exact = copy.deepcopy(predictor).cpu().double().eval()
    answers = {"output": exact(context.double(), mask, example_texts(mask))}
    if predictor.documents is not None:
        answers["documents"] = exact.encode_documents(context[:, -1].double())
    return answers


def _config(predictor: Predictor, card: ModelCard) -> dict[str, object]:
    """Return the contents of ``config.json``."""
    return {
        "library_name": "segue",
        "library_version": __version__,
        "format_version": FORMAT_VERSION,
        "name": card.name,
        "model": predictor.settings.model_dump(mode="json"),
        "dimension": predictor.dimension,
        "context": predictor.context,
        "num_parameters": num_parameters(predictor),
        "space": card.space,
        "loss": card.loss,
        "loss_space": card.loss_space,
        "metrics": card.metrics,
        "training": card.training,
        "seed": card.seed,
        "license": card.license,
        "golden_tolerance": GOLDEN_TOLERANCE,
    }


def read_config(folder: Path) -> CheckpointConfig:
    """Read ``config.json`` and the list of training documents, without the weights.

    Raises:
        InputError: a file of the checkpoint is missing, the format is another one, or no model is described.
    """
    for name in (CONFIG, WEIGHTS, GOLDEN, DOCUMENTS):
        if not (folder / name).is_file():
            raise InputError(f"{folder} is not a complete checkpoint", got=f"no {name}", fix="copy or train it again")
    path = folder / CONFIG
    config = read_json(path)
    version = config.get("format_version") if isinstance(config, dict) else None
    if version != FORMAT_VERSION:
        raise InputError(
            f"{path} has another format",
            got=f"format_version {version}",
            expected=FORMAT_VERSION,
            fix="load it with the version of Segue that wrote it, or train it again",
        )
    _require_files(folder, DOCUMENTS)
    documents = (folder / DOCUMENTS).read_bytes().decode(errors="replace").split()
    try:
        return CheckpointConfig.model_validate({**config, "training_documents": documents})
    except ValidationError as error:
        raise InputError(
            f"{path} does not describe a model", got=str(error), fix="copy or train the checkpoint again"
        ) from error


def _require_files(folder: Path, prefix: str = "") -> None:
    """Compare the files whose names begin so with the hashes in ``config.json``; version 0.1 wrote none.

    Raises:
        StorageError: a file is not the one that was written with the others.
    """
    known = read_json(folder / CONFIG).get("files")
    named = (
        {name: sha256 for name, sha256 in known.items() if name.startswith(prefix)} if isinstance(known, dict) else {}
    )
    require_hashes(folder, named, fix="copy or train the checkpoint again")


def _read_tensors(path: Path) -> Tensors:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} cannot be read", got=str(error), fix="copy or train the checkpoint again") from error


def _fill_weights(predictor: Predictor, weights: Tensors, path: Path) -> None:
    """Load the weights into the net; every name and shape must match."""
    others = READER_WEIGHTS if isinstance(predictor.correction, Tokens) else ()
    wanted = {name: value for name, value in predictor.state_dict().items() if not name.startswith(others)}
    problems = [f"{name} is missing" for name in wanted.keys() - weights.keys()]
    problems += [f"{name} is not part of the net" for name in weights.keys() - wanted.keys()]
    problems += [
        f"{name} has shape {list(weights[name].shape)} instead of {list(wanted[name].shape)}"
        for name in wanted.keys() & weights.keys()
        if weights[name].shape != wanted[name].shape
    ]
    if problems:
        raise InputError(
            f"{path} does not fit the net that {CONFIG} describes",
            got="; ".join(sorted(problems)[:5]),
            fix="keep the two files of one checkpoint together; copy or train it again",
        )
    predictor.load_state_dict(weights, strict=False)  # the reader has its own already


def _check_golden(predictor: Predictor, golden: Tensors, folder: Path) -> None:
    """Refuse a net whose answer to the golden input differs from that of the net that was saved."""
    places, dimension = predictor.context, predictor.dimension
    shapes = {"context": (places, places, dimension), "mask": (places, places), "output": (places, dimension)}
    if predictor.documents is not None:
        shapes["documents"] = (places, dimension)
    distance = float("inf")
    if {name: tuple(value.shape) for name, value in golden.items()} == shapes and bool(golden["mask"].any(-1).all()):
        answers = _golden_answers(predictor, golden["context"], golden["mask"])
        distance = float(torch.cat([(answers[name] - golden[name]).norm(dim=-1) for name in answers]).max())
    if not distance <= GOLDEN_TOLERANCE:
        raise InputError(
            f"SG112: {folder} does not compute what it computed when it was saved ({GOLDEN})",
            got=f"a distance of {distance:.2g}",
            expected=f"at most {GOLDEN_TOLERANCE:g}",
            fix="load it with the architecture's code that trained it, or train it again",
        )
