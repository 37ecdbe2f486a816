"""A sentence-transformers model as something to train: its last layers, its vectors with a gradient, its folder.

Dropout stays off: minutes of fine-tuning see a text once or twice, and what is computed twice (``cached_gradients``)
has to come out equal. Weights are float32, whatever the transformer computes in.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from sentence_transformers import SentenceTransformer
from torch import Tensor, nn
from torch.nn import functional

from segue.encoders import EncoderSettings, load_encoder
from segue.encoders.sentence_transformer import SentenceTransformerEncoder, progress_bars
from segue.errors import InputError, explain
from segue.files import write_folder
from segue.text_models.settings import FineTuningSettings
from segue.training.optimiser import Precision, resolve_precision


class TextTransformer(nn.Module):
    """A transformer with pooling, of which the last layers learn.

    Args:
        model: a sentence-transformers model, float32; changed in place.
        settings: how many layers learn, and how much of a text is read.
        origin: names the weights it starts from.
        prompt: put before every text, not before pairs.

    Raises:
        InputError: the model is no transformer, has fewer layers, or reads fewer tokens.
    """

    def __init__(
        self, model: SentenceTransformer, settings: FineTuningSettings, *, origin: str, prompt: str = ""
    ) -> None:
        super().__init__()
        self.model = model.eval()
        self.origin, self.prompt = origin, prompt
        self.precision: Precision = resolve_precision(settings.precision, model.device.type)
        _free_last_layers(model, settings.layers)

    @property
    def dimension(self) -> int:
        """Components of a text's vector."""
        return int(self.model.get_embedding_dimension() or 0)

    def tokens(self, texts: list[str] | list[tuple[str, str]]) -> dict[str, Any]:
        """Turn texts, or pairs of texts that are read together, into what ``forward`` takes, on the model's device."""
        prompt = self.prompt if texts and isinstance(texts[0], str) else ""
        features = self.model.preprocess(texts, prompt=prompt or None)
        return {key: _to(value, self.model.device) for key, value in features.items()}

    def forward(self, features: Mapping[str, Any]) -> Float[Tensor, "batch dim"]:
        """Return one unit vector per text, float32, with the gradient of the layers that learn."""
        first, *others = self.model
        with torch.autocast(self.model.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            hidden = first(dict(features))
        hidden = {key: _as_float32(value) for key, value in hidden.items()}
        for module in others:
            hidden = module(hidden)
        return functional.normalize(hidden["sentence_embedding"], dim=1)

    def learnt(self) -> dict[str, nn.Parameter]:
        """Return the weights that learn, by name."""
        return {name: weight for name, weight in self.named_parameters() if weight.requires_grad}

    def save(self, folder: Path) -> None:
        """Write the folder that ``SentenceTransformer(folder)`` reads, whole or not at all."""
        with progress_bars(False):
            write_folder(folder, lambda place: self.model.save(str(place), create_model_card=False))


def open_transformer(encoder: EncoderSettings, settings: FineTuningSettings) -> TextTransformer:
    """Load the encoder to train, in float32, reading at most the settings' tokens.

    Raises:
        InputError: it cannot be loaded or is no transformer of sentence-transformers.
    """
    changes = {"precision": "float32", "device": settings.device, "maximum_tokens": settings.maximum_tokens}
    loaded = load_encoder(encoder.model_copy(update=changes))
    if not isinstance(loaded, SentenceTransformerEncoder):
        raise _not_trainable(encoder.name)
    model = loaded.model
    if encoder.prompt:  # the bank's passages were encoded behind it
        model.prompts = {**model.prompts, "segue": encoder.prompt}
        model.default_prompt_name = "segue"
    return TextTransformer(model, settings, origin=loaded.space.revision, prompt=loaded.space.prompt)


def _free_last_layers(model: SentenceTransformer, count: int) -> None:
    """Let the last layers learn, and what follows the transformer (a dense layer, say); nothing else."""
    model.requires_grad_(False)
    layers = _layers(model)
    if count > len(layers):
        raise InputError(
            explain("the encoder has fewer layers", got=count, expected=f"1 to {len(layers)}", fix="lower `layers`")
        )
    for module in [*layers[len(layers) - count :], *list(model)[1:]]:
        module.requires_grad_(True)


def _layers(model: SentenceTransformer) -> list[nn.Module]:
    """Return the transformer's layers in order: its longest list of modules.

    Raises:
        InputError: there is none.
    """
    lists = [list(module) for module in model[0].modules() if isinstance(module, nn.ModuleList)]
    if not lists:
        raise _not_trainable(type(model[0]).__name__)
    return max(lists, key=len)


def _not_trainable(name: str) -> InputError:
    return InputError(
        explain(
            f"the encoder {name!r} cannot be fine-tuned",
            expected="a transformer of sentence-transformers",
            fix="name another one in [encoder], or leave the text options out",
        )
    )


def _to(value: Any, device: torch.device) -> Any:
    return value.to(device) if torch.is_tensor(value) else value


def _as_float32(value: Any) -> Any:
    return value.float() if torch.is_tensor(value) and value.is_floating_point() else value
