"""Banks in memory with known answers, shared by all tests: ``from worlds import make_bank, noise_world``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from segue.encoders.space import declared_space
from segue.types import BankCounts, Windows
from segue.windows.windows import WindowSettings, make_windows


@dataclass(frozen=True)
class MemoryBank:
    """A bank held in memory, with the attributes and methods of ``segue.bank.bank.PassageBank``."""

    vectors: np.ndarray
    document_ids: list[str]
    document_titles: list[str]
    document_of: np.ndarray
    position: np.ndarray
    duplicate_group: np.ndarray
    alive: np.ndarray
    first_row: np.ndarray
    num_rows: np.ndarray
    passage_texts: list[str] | None = None
    space: Any = None
    hash: str | None = "in memory"
    language: str = "en"
    path: Any = None

    def __post_init__(self) -> None:
        if self.space is None:
            object.__setattr__(self, "space", declared_space("a synthetic world", self.dimension))

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def counts(self) -> BankCounts:
        return BankCounts(len(self.document_ids), len(self), sum(map(len, self.passage_texts or [])), {})

    @property
    def dimension(self) -> int:
        return int(self.vectors.shape[1])

    @property
    def has_texts(self) -> bool:
        return self.passage_texts is not None

    def gather(self, rows: np.ndarray) -> np.ndarray:
        rows = np.asarray(rows)
        assert rows.size == 0 or rows.min() >= 0, "gather takes rows of the bank, not padding"
        return self.vectors[rows]

    def blocks(self, rows_per_block: int = 7) -> Iterator[tuple[int, np.ndarray]]:
        for start in range(0, len(self), rows_per_block):
            yield start, self.vectors[start : start + rows_per_block]

    def texts(self, rows: np.ndarray) -> list[str]:
        assert self.passage_texts is not None, "this bank has vectors only"
        return [self.passage_texts[row] for row in rows]

    def passage_ids(self, rows: np.ndarray) -> list[str]:
        return [f"{self.document_ids[self.document_of[row]]}#{self.position[row]}" for row in rows]


def unit(vectors: np.ndarray) -> np.ndarray:
    """Return the vectors at length 1, float32."""
    vectors = np.asarray(vectors, dtype=np.float64)
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def make_bank(
    vectors: np.ndarray,
    documents_lengths: Sequence[int],
    texts: Sequence[str] | None = None,
    *,
    dead: Sequence[int] = (),
    document_ids: Sequence[str] | None = None,
) -> MemoryBank:
    """Build a bank from vectors (made unit), passages per document, texts (equal ones are duplicates), deleted rows."""
    lengths = np.asarray(documents_lengths, dtype=np.int64)
    assert lengths.sum() == len(vectors), "the documents' lengths must add up to the number of vectors"
    first_row = np.cumsum(lengths) - lengths
    document_of = np.repeat(np.arange(len(lengths)), lengths).astype(np.int32)
    alive = np.ones(len(vectors), dtype=bool)
    alive[list(dead)] = False
    ids = list(document_ids) if document_ids is not None else [f"document-{n}" for n in range(len(lengths))]
    return MemoryBank(
        vectors=unit(vectors),
        document_ids=ids,
        document_titles=[name.replace("-", " ").title() for name in ids],
        document_of=document_of,
        position=(np.arange(len(vectors)) - first_row[document_of]).astype(np.int32),
        duplicate_group=_duplicate_groups(texts, len(vectors)),
        alive=alive,
        first_row=first_row,
        num_rows=lengths,
        passage_texts=None if texts is None else list(texts),
    )


def _duplicate_groups(texts: Sequence[str] | None, count: int) -> np.ndarray:
    """Name each row after the smallest row with the same text."""
    if texts is None:
        return np.arange(count, dtype=np.int64)
    first: dict[str, int] = {}
    return np.array([first.setdefault(text, row) for row, text in enumerate(texts)], dtype=np.int64).reshape(count)


def noise_world(seed: int = 0, documents: int = 20, length: int = 12, dimension: int = 16) -> MemoryBank:
    """Independent random directions: nothing to learn, so every honest retriever scores chance."""
    generator = np.random.default_rng(seed)
    vectors = generator.standard_normal((documents * length, dimension))
    return make_bank(vectors, [length] * documents, _texts("noise", len(vectors)))


def transition_matrix(seed: int, dimension: int) -> np.ndarray:
    """Return the orthogonal matrix of ``transition_world`` (float64): next = matrix @ current."""
    gaussian = np.random.default_rng((seed, 1)).standard_normal((dimension, dimension))
    basis, triangle = np.linalg.qr(gaussian)
    return basis * np.sign(np.diag(triangle))


def transition_world(seed: int = 0, documents: int = 40, length: int = 12, dimension: int = 16) -> MemoryBank:
    """Each vector is one fixed orthogonal matrix times the one before: solvable from the last passage, R@1 = 1."""
    matrix = transition_matrix(seed, dimension)
    steps = [unit(np.random.default_rng((seed, 2)).standard_normal((documents, dimension))).astype(np.float64)]
    for _ in range(length - 1):
        steps.append(steps[-1] @ matrix.T)
    vectors = np.stack(steps, axis=1).reshape(-1, dimension)  # document-major: [document * step, dim]
    return make_bank(vectors, [length] * documents, _texts("transition", len(vectors)))


def drift_world(
    seed: int = 0, documents: int = 30, length: int = 15, dimension: int = 16, *, drift: float = 0.5
) -> MemoryBank:
    """Each document walks at random from a topic of its own: the last passage is a good guess, never a certain one."""
    generator = np.random.default_rng((seed, 3))
    current = generator.standard_normal((documents, dimension))
    steps = []
    for _ in range(length):
        current = unit(current + drift * generator.standard_normal(current.shape)).astype(np.float64) * dimension**0.5
        steps.append(current)
    vectors = np.stack(steps, axis=1).reshape(-1, dimension)  # document-major: [document * step, dim]
    return make_bank(vectors, [length] * documents, _texts("drift", len(vectors)))


def cycle_world(
    seed: int = 0, documents: int = 30, length: int = 15, dimension: int = 16, *, topics: int = 5, noise: float = 0.05
) -> MemoryBank:
    """All documents walk one circle of ``topics`` from a random start: the next topic is known, which document is not.

    With ``noise = 0`` all passages of one topic have the same vector.
    """
    generator = np.random.default_rng((seed, 4))
    centres = unit(generator.standard_normal((topics, dimension))).astype(np.float64)
    starts = generator.integers(topics, size=documents)
    walk = (starts[:, None] + np.arange(length)) % topics
    spread = noise * generator.standard_normal((documents, length, dimension))
    vectors = (centres[walk] + spread).reshape(-1, dimension)  # document-major: [document * step, dim]
    return make_bank(vectors, [length] * documents, _texts("cycle", len(vectors)))


def all_windows(bank: MemoryBank, context: int = 3, minimum: int | None = None) -> Windows:
    """Return every window of every document."""
    documents = np.arange(len(bank.first_row))
    return make_windows(bank, documents, WindowSettings(context=context, minimum_context=minimum))


def messy_world() -> MemoryBank:
    """Documents of several lengths, duplicate texts within and across documents, deleted rows, a vector for each."""
    base = drift_world(seed=3, documents=10, length=9)
    texts = list(base.passage_texts)
    texts[30] = texts[4]
    texts[52] = texts[4]
    texts[61] = texts[60]
    return make_bank(base.vectors, [9, 18, 9, 9, 27, 9, 9], texts, dead=[17, 40])


def reverse_documents(bank: MemoryBank, windows: Windows) -> tuple[MemoryBank, Windows]:
    """The same bank with its documents in reverse order, and the windows in its row numbers."""
    ranges = zip(bank.first_row, bank.num_rows, strict=True)
    order = np.concatenate([np.arange(first, first + count) for first, count in reversed(list(ranges))])
    moved = np.argsort(order)  # old row → new row
    texts = None if bank.passage_texts is None else bank.texts(order)
    dead = np.flatnonzero(~bank.alive[order])
    other = make_bank(bank.vectors[order], bank.num_rows[::-1], texts, dead=dead, document_ids=bank.document_ids[::-1])
    context = np.where(windows.context >= 0, moved[windows.context], -1)
    return other, Windows(context, moved[windows.target])


def _texts(world: str, count: int) -> list[str]:
    """Texts that all differ, of the length of a short sentence."""
    return [f"Passage {number} of the {world} world says something about subject {number}." for number in range(count)]


def essay_texts_and_vectors(
    seed: int = 0, documents: int = 40, length: int = 16, dimension: int = 48, words: int = 40
) -> tuple[list[list[str]], np.ndarray]:
    """Return documents that keep to a subject and drift, as an encoder of words sees them.

    A word has a vector; the words of a passage are drawn near its document's subject and the present topic, which walks
    from passage to passage. A passage's vector is the mean of its words', at length 1: [document, passage, dimension].
    As with real encoders, a few directions hold most of the variance.
    """
    generator = np.random.default_rng((seed, 23))
    spectrum = 1 / np.sqrt(1 + np.arange(dimension) / 6)
    vocabulary = generator.standard_normal((1500, dimension)) * spectrum
    vocabulary /= np.linalg.norm(vocabulary, axis=1, keepdims=True)
    texts, vectors = [], np.empty((documents, length, dimension), dtype=np.float32)
    for document in range(documents):
        subject, topic = generator.standard_normal((2, dimension)) * spectrum
        passages = []
        for place in range(length):
            topic = 0.8 * topic + 0.6 * generator.standard_normal(dimension) * spectrum
            odds = np.exp(4.0 * vocabulary @ (subject + topic))
            drawn = generator.choice(len(vocabulary), size=words, p=odds / odds.sum())
            mean = vocabulary[drawn].mean(axis=0)
            vectors[document, place] = mean / np.linalg.norm(mean)
            passages.append(" ".join(f"w{word}" for word in drawn))
        texts.append(passages)
    return texts, vectors
