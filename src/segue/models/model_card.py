"""Model card: the origin of a checkpoint, for the checks (``ModelCard``) and for readers (``README.md``)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from segue.models.settings import ModelSettings
from segue.printable import markdown_text


class ModelCard(BaseModel):
    """Origin of a predictor.

    Attributes:
        name: the model's name, as shown to readers.
        space: the embedding space of its contexts and predictions (``Space.to_json()``); None where it is unknown.
        training_documents: sha256 of the id of each document it was trained on (``hash_documents``).
        loss: the loss in words, such as ``0.85 InfoNCE (τ 0.07) + 0.15 AR cosine``.
        loss_space: whether the loss was computed on the vectors themselves or behind a projection head.
        metrics: validation scores by name; None means not computed.
        training: facts of the training run, by name (steps, batch size, seconds).
        seed: seed of the training run.
        license: SPDX name of the weights' license, where one was chosen.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    space: dict[str, object] | None = None
    training_documents: Sequence[str] = ()
    loss: str = ""
    loss_space: Literal["raw", "projected"] = "raw"
    metrics: dict[str, float | None] = Field(default_factory=dict)
    training: Mapping[str, object] = Field(default_factory=dict)
    seed: int | None = None
    license: str | None = None


def hash_documents(document_ids: Iterable[str]) -> list[str]:
    """Return the sha256 of each id, comparable between corpora without revealing the ids.

    >>> hash_documents(["Albedo"])[0][:12]
    '74ba87de67ad'
    """
    return [hashlib.sha256(id.encode()).hexdigest() for id in document_ids]


def render_card(card: ModelCard, settings: ModelSettings, *, dimension: int, context: int, parameters: int) -> str:
    """Return the Hugging Face model card: a YAML header, then Markdown."""
    facts = {
        "architecture": f"{markdown_text(settings.name)}, size {settings.size}, "
        f"{'with' if settings.anchor else 'without'} anchor",
        "parameters": f"{parameters:,}",
        "document tower": _DOCUMENTS[settings.documents],
        "input": f"{context} passages × {dimension} components, unit vectors",
        "output": f"one unit vector of {dimension} components",
        "loss": markdown_text(card.loss or "not stated"),
        "loss computed on": "the vectors themselves" if card.loss_space == "raw" else "a projection of the vectors",
        "training documents": f"{len(card.training_documents):,}",
        "seed": "not stated" if card.seed is None else card.seed,
        **_cells(card.training),
    }
    # The YAML that model hubs read; every JSON value is a YAML value too.
    header: dict[str, object] = {"license": card.license} if card.license else {}
    header |= {"library_name": "segue", "tags": ["segue", "latent-vector-model", "next-passage-prediction"]}
    space = "Not stated. Vectors of another encoder, pooling or normalisation give meaningless answers."
    if card.space is not None:  # the fingerprint is in config.json
        known = {name: value for name, value in card.space.items() if name != "fingerprint"}
        space = _table(("property", "value"), _cells(known))
    metrics = {name: "not computed" if value is None else f"{value:.4f}" for name, value in card.metrics.items()}
    metrics = {markdown_text(name): value for name, value in metrics.items()}
    sections = [
        "\n".join(
            ["---", *(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in header.items()), "---"]
        ),
        f"# {markdown_text(card.name)}\n\nReads the embeddings of up to {context} consecutive passages and predicts "
        "the embedding of the passage that comes next.",
        "## Training\n\n" + _table(("fact", "value"), facts),
        "## Embedding space\n\n" + space,
        "## Results\n\n" + (_table(("metric", "value"), metrics) if metrics else _NO_METRICS),
        _HOW_TO_LOAD,
        _LIMITS,
    ]
    return "\n\n".join(sections) + "\n"


_DOCUMENTS = {
    "identity": "none: the bank is searched as it is",
    "linear": "a matrix and a bias; the bank has to be encoded again with `encode_documents`",
    "mlp": "one hidden layer; the bank has to be encoded again with `encode_documents`",
    "shared": "the query's own net with a second head (siamese); the bank has to be encoded again with "
    "`encode_documents`",
}


def _cells(facts: Mapping[str, object]) -> dict[str, object]:
    """Return facts from outside without markup."""
    return {markdown_text(name): markdown_text(value) for name, value in facts.items()}


def _table(head: tuple[str, str], rows: Mapping[str, object]) -> str:
    """Return a Markdown table of two columns."""
    lines = [f"| {head[0]} | {head[1]} |", "|---|---|"]
    cells = ((str(name), str(value).replace("\n", " ")) for name, value in rows.items())
    return "\n".join(lines + [f"| {name} | {value} |" for name, value in cells])


_NO_METRICS = "None recorded with this checkpoint."

_HOW_TO_LOAD = """## How to load it

```python
from pathlib import Path

from segue.models import load_predictor

predictor, config = load_predictor(Path("path/to/this/folder"))
```

Loading recomputes a stored example and fails if the answer differs, so the weights only run in the net that was
trained."""

_LIMITS = """## Limits

- It predicts in the space above only. Compare the fingerprint in `config.json`, not the encoder's name.
- It ranks passages by meaning; it does not know whether they are true, recent or allowed.
- Numbers above hold for the corpus and pool they were measured on. Measure again on your own documents, and keep
  the documents listed in `training_documents.txt` (by hash) out of any evaluation."""
