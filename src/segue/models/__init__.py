"""Models: context vectors → one predicted unit vector. One file per architecture, wrapped by ``predictor.py``."""

from segue.models.anchor import anchor_weights
from segue.models.build import build_model
from segue.models.checkpoint import CheckpointConfig, load_predictor, read_config, save_predictor
from segue.models.model_card import ModelCard, hash_documents
from segue.models.predictor import Predictor, num_parameters
from segue.models.settings import ModelSettings
from segue.models.tokens import reader_of

__all__ = [
    "CheckpointConfig",
    "ModelCard",
    "ModelSettings",
    "Predictor",
    "anchor_weights",
    "build_model",
    "hash_documents",
    "load_predictor",
    "num_parameters",
    "read_config",
    "reader_of",
    "save_predictor",
]
