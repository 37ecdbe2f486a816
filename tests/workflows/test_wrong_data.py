"""Data that was spoilt before it reached Segue ends a triage before training, with the right cause named first."""

import json
from itertools import pairwise

import numpy as np
import pytest
from worlds import essay_texts_and_vectors

import segue
from recipes import write_import
from segue.errors import BlockedError

TEXTS, VECTORS = essay_texts_and_vectors(documents=60)
DOCUMENTS, LENGTH, DIMENSION = VECTORS.shape


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def ids(length=LENGTH):
    """Return a document id for each passage; one is given every ``length`` passages."""
    return [f"d{row // length:03d}" for row in range(DOCUMENTS * LENGTH)]


def write(folder, vectors=VECTORS, texts=TEXTS, documents=None, positions=None):
    """Write vectors and their table, and return the recipe that imports them; without texts where these are None."""
    documents = documents or ids()
    first = {name: documents.index(name) for name in documents}
    if positions is None:
        positions = [row - first[name] for row, name in enumerate(documents)]
    table = {"document_id": documents, "position": np.asarray(positions).ravel()}
    if texts is not None:
        table["text"] = [text for passages in texts for text in passages]
    flat = vectors.reshape(-1, vectors.shape[-1]).astype(np.float32)
    return write_import(folder, flat, table, split={"validation": 0.15}, model={"name": "gru"},
                        training={"batch_size": 64, "steps": 5, "evaluations": 1})  # fmt: skip


def looking_ahead():
    """Late chunking: a vector holds a part of the passage after it."""
    vectors = VECTORS.copy()
    vectors[:, :-1] = unit(0.65 * VECTORS[:, :-1] + 0.35 * VECTORS[:, 1:])
    return {"vectors": vectors}


def overlapping():
    """Passages begin with the last words of the passage before."""
    texts = [[passages[0], *(f"{' '.join(before.split()[-8:])} {after}" for before, after in pairwise(passages))]
             for passages in TEXTS]  # fmt: skip
    return {"texts": texts}


def centred_by_document():
    return {"vectors": unit(VECTORS - VECTORS.mean(axis=1, keepdims=True))}


def two_encoders():
    """Every other document is from another encoder, under one declared name."""
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((DIMENSION, DIMENSION)))[0]
    vectors = VECTORS.copy()
    vectors[::2] = vectors[::2] @ rotation
    return {"vectors": vectors}


def one_row_off():
    """In a fifth of the documents, each text has the vector of the passage before it."""
    vectors = VECTORS.copy()
    vectors[::5] = np.roll(vectors[::5], 1, axis=1)
    return {"vectors": vectors}


def vectors_of_other_documents():
    """A fifth of the documents have each other's vectors."""
    vectors = VECTORS.copy()
    vectors[::5] = np.roll(vectors[::5], 1, axis=0)
    return {"vectors": vectors}


def shards():
    """The document id is the number of a shard of 37 passages, so that articles are cut."""
    return {"documents": ids(37)}


def positions_sorted_as_text():
    """Passages were sorted by their number as text and then numbered again."""
    order = np.array(sorted(range(LENGTH), key=str))
    return {"vectors": VECTORS[:, order], "texts": [[passages[place] for place in order] for passages in TEXTS]}


WRONG = [
    (looking_ahead, "SG115", "a part of the target is in the context"),
    (overlapping, "SG115", "a part of the target is in the context"),
    (centred_by_document, "SG106", "encoder, bank, checkpoint and index are not in one space"),
    (two_encoders, "SG106", "encoder, bank, checkpoint and index are not in one space"),
    (one_row_off, "SG116", "vectors are not those of their texts"),
    (vectors_of_other_documents, "SG116", "vectors are not those of their texts"),
    (shards, "SG117", "documents or the order of their passages were lost at import"),
    (positions_sorted_as_text, "SG117", "documents or the order of their passages were lost at import"),
]


@pytest.mark.parametrize(("spoil", "code", "cause"), WRONG, ids=[spoil.__name__ for spoil, *_ in WRONG])
def test_spoilt_data_is_refused_with_its_cause_first(spoil, code, cause, tmp_path):
    with pytest.raises(BlockedError) as refused:
        segue.triage(write(tmp_path, **spoil()), tmp_path / "run")
    message = str(refused.value)
    assert message.startswith("nothing was trained")
    assert f"got {code} " in message
    assert f"To fix it: {cause}" in message


def test_the_same_data_as_they_were_are_not_refused(tmp_path):
    comparison = segue.triage(write(tmp_path), tmp_path / "run")
    assert comparison.record.blocked == ()
    outcomes = {finding.code: finding.outcome for finding in comparison.record.audit}
    assert outcomes["SG106"] == "not-applicable"  # the space is declared: nothing was compared
    assert [outcomes[code] for code in ("SG115", "SG116", "SG117")] == ["passed"] * 3


@pytest.mark.parametrize("spoil", [centred_by_document, two_encoders, positions_sorted_as_text, shards])
def test_what_shows_in_vectors_alone_is_found_without_texts(spoil, tmp_path):
    with pytest.raises(BlockedError):
        segue.triage(write(tmp_path, **{**spoil(), "texts": None}), tmp_path / "run")


def changed(text, generator):
    """Return a text with one word in ten replaced."""
    return " ".join(f"x{generator.integers(5000)}" if generator.random() < 0.1 else word for word in text.split())


@pytest.mark.parametrize("with_texts", [True, False], ids=["one word in ten changed", "exact, without texts"])
def test_documents_twice_under_other_ids_stay_in_one_part_and_are_reported(with_texts, tmp_path):
    generator = np.random.default_rng(3)
    texts = [*TEXTS, *([changed(text, generator) for text in passages] for passages in TEXTS[:30])]
    noise = unit(generator.standard_normal(VECTORS[:30].shape))
    copies = unit(VECTORS[:30] + 0.3 * noise) if with_texts else VECTORS[:30]  # a cosine of about 0.96
    documents = [f"d{number:03d}" for number in range(DOCUMENTS + 30) for _ in range(LENGTH)]
    recipe = write(tmp_path, np.concatenate([VECTORS, copies]), texts if with_texts else None, documents)
    comparison = segue.triage(recipe, tmp_path / "run")
    (fold,) = json.loads((tmp_path / "run" / "split.json").read_text(encoding="utf-8"))["folds"]
    part_of = {name: part for part, names in fold.items() for name in names}
    for number in range(30):
        assert part_of[f"d{number:03d}"] == part_of[f"d{DOCUMENTS + number:03d}"]
    assert comparison.record.blocked == ()
    finding = next(finding for finding in comparison.record.audit if finding.code == "SG104")
    assert finding.outcome == "tip"
    assert "30 of 90 documents are near-copies of others" in finding.statement


BOILERPLATE = {
    "legal sentence": lambda document, place, text: "All rights reserved by law." if place == 7 else text,
    "footer": lambda document, place, text: "Contact us at our office." if place == LENGTH - 1 else text,
    "refrain": lambda document, place, text: f"Refrain {document % 3}" if place % 5 == 4 else text,
    "stock phrases": lambda document, place, text: ("Yes.", "I see.", "Thank you.")[place % 3]
    if (document + place) % 8 == 0 else text,
}  # fmt: skip


@pytest.mark.parametrize("kind", BOILERPLATE)
def test_boilerplate_blocks_nothing_and_its_windows_are_counted(kind, tmp_path):
    texts, vectors = [list(passages) for passages in TEXTS], VECTORS.copy()
    known = {}
    for document in range(DOCUMENTS):
        for place in range(LENGTH):
            text = BOILERPLATE[kind](document, place, texts[document][place])
            if text != texts[document][place]:
                texts[document][place] = text
                vectors[document, place] = known.setdefault(text, unit(np.random.default_rng(len(known) + 5)
                                                                       .standard_normal(DIMENSION)))  # fmt: skip
    comparison = segue.triage(write(tmp_path, vectors=vectors, texts=texts), tmp_path / "run")
    assert comparison.record.blocked == ()
    assert comparison.record.dropped_windows["target's text is in other documents too"] > 0
