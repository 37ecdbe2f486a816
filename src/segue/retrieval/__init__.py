"""Retrieval: from contexts to rankings, by indexes, retrievers and rerankers that save and load themselves."""
