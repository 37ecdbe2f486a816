"""A sentence-transformers model to fine-tune: its last layers, its vectors with a gradient, its folder.

Dropout stays off: short fine-tuning sees a text once or twice, and ``cached_gradients`` needs the same vectors twice.
Weights are float32 at any precision of the transformer.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from segue.encoders import EncoderSettings, load_encoder
from segue.encoders.sentence_transformer import SentenceTransformerEncoder, progress_bars
from segue.files import write_folder
from segue.models.tokens import free_last_layers, not_trainable
from segue.text_models.settings import FineTuningSettings
from segue.training.optimiser import Precision, resolve_precision

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

Features = dict[str, object]
"""Tokenised texts, as sentence-transformers' modules pass them on: tensors and what else a module needs, by name."""


class TextTransformer(nn.Module):
    """A transformer with pooling whose last layers are trained.

    Args:
        model: a sentence-transformers model, float32; changed in place.
        settings: how many layers learn, and how much of a text is read.
        origin: name of the weights it starts from.
        prompt: put before every single text, not before pairs.

    Raises:
        InputError: the model is not a transformer, has fewer layers, or reads fewer tokens.
    """

    def __init__(
        self, model: SentenceTransformer, settings: FineTuningSettings, *, origin: str, prompt: str = ""
    ) -> None:
        super().__init__()
        self.model = model.eval()
        self.origin, self.prompt = origin, prompt
        self.precision: Precision = resolve_precision(settings.precision, model.device.type, work="encoder")
        free_last_layers(model, settings.layers, fix="lower `layers`")

    @property
    def dimension(self) -> int:
        """Components of a text's vector."""
        return int(self.model.get_embedding_dimension() or 0)

    def tokens(self, texts: list[str] | list[tuple[str, str]]) -> Features:
        """Tokenise texts, or pairs of texts that are read together, for ``forward``, on the model's device."""
        prompt = self.prompt if texts and isinstance(texts[0], str) else ""
        features = self.model.preprocess(texts, prompt=prompt or None)
        device = self.model.device
        return {key: value.to(device) if isinstance(value, Tensor) else value for key, value in features.items()}

    def forward(self, features: Mapping[str, object]) -> Float[Tensor, "batch dim"]:
        """Return one unit vector per text, float32, with the gradient of the layers that learn."""
        first, *others = self.model
        with torch.autocast(self.model.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            hidden = first(dict(features))
        for key, value in hidden.items():
            if isinstance(value, Tensor) and value.is_floating_point():
                hidden[key] = value.float()
        for module in others:
            hidden = module(hidden)
        return functional.normalize(hidden["sentence_embedding"], dim=1)

    def save(self, folder: Path) -> None:
        """Write a folder that ``SentenceTransformer(folder)`` reads, whole or not at all."""
        with progress_bars(False):
            write_folder(folder, lambda place: self.model.save(str(place), create_model_card=False))


def open_transformer(encoder: EncoderSettings, settings: FineTuningSettings) -> TextTransformer:
    """Load the encoder to train, in float32, cut to the settings' tokens.

    Raises:
        InputError: the encoder cannot be loaded or is not a transformer of sentence-transformers.
    """
    changes = {"runtime": "torch", "precision": "float32", "device": settings.device,
               "maximum_tokens": settings.maximum_tokens}  # fmt: skip
    loaded = load_encoder(encoder.model_copy(update=changes))
    if not isinstance(loaded, SentenceTransformerEncoder):
        raise not_trainable(encoder.name)
    model = loaded.model
    if encoder.prompt:  # the bank's passages were encoded with it
        model.prompts = {**model.prompts, "segue": encoder.prompt}
        model.default_prompt_name = "segue"
    return TextTransformer(model, settings, origin=loaded.space.revision, prompt=loaded.space.prompt)
