"""What a checkpoint says about itself: to the checks (``ModelCard``) and to people (the ``README.md`` beside it)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from segue.models.settings import ModelSettings


@dataclass(frozen=True)
class ModelCard:
    """Where a predictor comes from.

    Attributes:
        name: the model's name, for people.
        space: the embedding space it reads and answers in (``Space.to_json()``); None where it is not known.
        training_documents: sha256 of the id of each document it was trained on (``hash_documents``).
        loss: the loss in words, such as ``0.85 InfoNCE (τ 0.07) + 0.15 AR cosine``.
        loss_space: whether the loss was computed on the vectors themselves or behind a projection head.
        metrics: what was measured, by name; None means not computed.
        training: facts of the training run, by name (steps, batch size, seconds).
        seed: of the training run.
        license: an SPDX name for the weights, where their maker chose one.
    """

    name: str
    space: Mapping[str, Any] | None = None
    training_documents: Sequence[str] = ()
    loss: str = ""
    loss_space: Literal["raw", "projected"] = "raw"
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    license: str | None = None


def hash_documents(document_ids: Iterable[str]) -> list[str]:
    """Return the sha256 of each id: comparable between corpora, and telling nothing else about them.

    >>> hash_documents(["Albedo"])[0][:12]
    '74ba87de67ad'
    """
    return [hashlib.sha256(id.encode()).hexdigest() for id in document_ids]


def render_card(card: ModelCard, settings: ModelSettings, *, dimension: int, context: int, parameters: int) -> str:
    """Write the Hugging Face model card: a YAML header, then Markdown."""
    facts = {
        "architecture": f"{settings.name}, size {settings.size}, {'with' if settings.anchor else 'without'} anchor",
        "parameters": f"{parameters:,}",
        "document tower": _DOCUMENTS[settings.documents],
        "input": f"{context} passages × {dimension} components, unit vectors",
        "output": f"one unit vector of {dimension} components",
        "loss": card.loss or "not stated",
        "loss computed on": "the vectors themselves" if card.loss_space == "raw" else "a projection of the vectors",
        "training documents": f"{len(card.training_documents):,}",
        "seed": "not stated" if card.seed is None else card.seed,
        **card.training,
    }
    sections = [
        _header(card),
        f"# {card.name}\n\nReads the embeddings of up to {context} consecutive passages and predicts the embedding of "
        "the passage that comes next.",
        "## Training\n\n" + _table(("fact", "value"), facts),
        "## Embedding space\n\n" + _describe_space(card.space),
        "## Results\n\n" + _describe_metrics(card.metrics),
        _HOW_TO_LOAD,
        _LIMITS,
    ]
    return "\n\n".join(sections) + "\n"


_DOCUMENTS = {
    "identity": "none: the bank is searched as it is",
    "linear": "a matrix and a bias; the bank has to be encoded anew with `encode_documents`",
    "mlp": "one hidden layer; the bank has to be encoded anew with `encode_documents`",
    "shared": "the query's own net with a second head (siamese); the bank has to be encoded anew with "
    "`encode_documents`",
}


def _header(card: ModelCard) -> str:
    """Return the YAML that model hubs read."""
    fields: dict[str, Any] = {"license": card.license} if card.license else {}
    fields |= {"library_name": "segue", "tags": ["segue", "latent-vector-model", "next-passage-prediction"]}
    # Every JSON value is a YAML value too.
    lines = [f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in fields.items()]
    return "\n".join(["---", *lines, "---"])


def _table(head: tuple[str, str], rows: Mapping[str, Any]) -> str:
    """Return a Markdown table of two columns."""
    lines = [f"| {head[0]} | {head[1]} |", "|---|---|"]
    cells = ((str(name), str(value).replace("|", "\\|").replace("\n", " ")) for name, value in rows.items())
    return "\n".join(lines + [f"| {name} | {value} |" for name, value in cells])


def _describe_space(space: Mapping[str, Any] | None) -> str:
    """Return the space as a table, without its fingerprint (which stands in ``config.json``)."""
    if space is None:
        return "Not stated. Vectors of another encoder, pooling or normalisation give answers without meaning."
    return _table(("property", "value"), {name: value for name, value in space.items() if name != "fingerprint"})


def _describe_metrics(metrics: Mapping[str, float | None]) -> str:
    """Return the metrics as a table; what was not computed says so."""
    if not metrics:
        return "None recorded with this checkpoint."
    shown = {name: "not computed" if value is None else f"{value:.4f}" for name, value in metrics.items()}
    return _table(("metric", "value"), shown)


_HOW_TO_LOAD = """## How to load it

```python
from segue.models import Predictor

predictor = Predictor.from_pretrained("path/to/this/folder")
```

Loading computes a stored example again and refuses when the answer differs, so that weights never run in another net
than the one that was trained."""

_LIMITS = """## Limits

- It answers in the space above only. A name of an encoder proves nothing: compare the fingerprint in `config.json`.
- It ranks passages by meaning; it does not know whether they are true, recent or allowed.
- Numbers above hold for the corpus and pool that they were measured on. Measure again on your own documents, and keep
  the documents listed in `training_documents.txt` (by hash) out of any evaluation."""
