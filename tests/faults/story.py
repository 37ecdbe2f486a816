"""A small world of texts in which there is something to learn, so that a healthy experiment is healthy everywhere.

A document has a subject (words of its own) and walks through topics: the next topic follows from the present one by a
fixed rule, most of the time. A passage mixes words of both. Vectors are sums of word vectors, so an encoder exists that
agrees with the bank. Copying the last passage finds the document, but not its next passage; that takes the rule.
"""

from __future__ import annotations

import hashlib

import numpy as np
import worlds

from segue.encoders.space import PROBES, Space

TOPICS = 24
WORDS_OF_TOPIC, WORDS_OF_SUBJECT = 10, 6
FOLLOWS_RULE = 0.95


class StoryEncoder:
    """The sum of a text's word vectors, at length 1; ``salt`` makes it another encoder, ``weigh`` another pooling."""

    def __init__(self, dimension: int = 32, *, salt: str = "", by_length: bool = False) -> None:
        self.dimension, self.salt, self.by_length = dimension, salt, by_length
        self._known: dict[str, np.ndarray] = {}
        self.space = Space("story", salt, dimension, "sum", True, "", None, "float32", self.encode(PROBES))

    def encode(self, texts, *, progress=lambda *_: None) -> np.ndarray:
        vectors = np.stack([self._sum(text.casefold().split()) for text in texts])
        progress(len(texts), len(texts), "passages encoded")
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)

    def _sum(self, words) -> np.ndarray:
        weights = [len(word) if self.by_length else 1.0 for word in words]
        return sum(weight * self._word(word) for weight, word in zip(weights, words, strict=True))

    def _word(self, word: str) -> np.ndarray:
        if word not in self._known:
            seed = int.from_bytes(hashlib.sha256((self.salt + word).encode()).digest()[:8], "big")
            self._known[word] = np.random.default_rng(seed).standard_normal(self.dimension)
        return self._known[word]


def story_texts(seed: int = 0, documents: int = 60, length: int = 16) -> list[list[str]]:
    """Return the passages of each document."""
    generator = np.random.default_rng((seed, 11))
    rule = _one_cycle(generator)
    return [_document(generator, rule, number, length) for number in range(documents)]


def _one_cycle(generator) -> np.ndarray:
    """Return a permutation of the topics that is a single cycle."""
    order = generator.permutation(TOPICS)
    rule = np.empty(TOPICS, dtype=np.int64)
    rule[order] = np.roll(order, -1)
    return rule


def _document(generator, rule, number: int, length: int) -> list[str]:
    topic = int(generator.integers(TOPICS))
    passages = []
    for _ in range(length):
        words = [f"topic{topic:02d}word{n}" for n in generator.choice(WORDS_OF_TOPIC, 6, replace=False)]
        words += [f"subject{number}word{n}" for n in generator.choice(WORDS_OF_SUBJECT, 4, replace=False)]
        words.append(f"extra{generator.integers(10_000)}")
        passages.append(" ".join(words))
        topic = int(rule[topic]) if generator.random() < FOLLOWS_RULE else int(generator.integers(TOPICS))
    return passages


def story_world(seed: int = 0, documents: int = 60, length: int = 16, dimension: int = 32) -> worlds.MemoryBank:
    """Return the world as a bank in the space of ``StoryEncoder(dimension)``."""
    texts = story_texts(seed, documents, length)
    encoder = StoryEncoder(dimension)
    flat = [text for passages in texts for text in passages]
    bank = worlds.make_bank(encoder.encode(flat), [len(passages) for passages in texts], flat)
    return worlds.MemoryBank(**{**bank.__dict__, "space": encoder.space})
