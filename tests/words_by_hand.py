"""Five small texts, and BM25 as in its definition."""

import math
import re
from collections import Counter

FIVE = (
    "the cat sat on the mat",
    "a dog chased the cat and the dog barked",
    "ice melts when the sun shines on ice",
    "snow and ice reflect light",
    "a cat watches snow and ice",
)


def bm25_by_hand(query: str, texts: tuple[str, ...]) -> list[float]:
    """Lucene's BM25 as in its definition, k1 1.5, b 0.75, over words of two letters and more without stop words."""
    stop = {"the", "on", "and"}  # those of bm25s that occur here

    def words(text):
        return [word for word in re.findall(r"\w\w+", text.lower()) if word not in stop]

    documents = [Counter(words(text)) for text in texts]
    average = sum(sum(document.values()) for document in documents) / len(documents)
    scores = [0.0] * len(texts)
    for word in words(query):
        holders = sum(word in document for document in documents)
        idf = math.log(1 + (len(texts) - holders + 0.5) / (holders + 0.5))
        for number, document in enumerate(documents):
            length = sum(document.values())
            scores[number] += idf * document[word] / (document[word] + 1.5 * (0.25 + 0.75 * length / average))
    return scores
