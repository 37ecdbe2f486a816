"""Segue as a LangChain retriever: the query is the text read so far, the documents are the passages that may follow.

Run ``pip install langchain-core``, then ``python examples/langchain_retriever.py bundle/``.
"""

import sys
from typing import Any

from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever

import segue


class NextPassages(BaseRetriever):
    """Retriever of the passages that may follow a text."""

    retriever: Any
    k: int = 5

    def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
        found = self.retriever.next(text=query, k=self.k)
        return [Document(one.text, id=one.id, metadata={"score": one.score, "document": one.document}) for one in found]


if __name__ == "__main__":
    retriever = NextPassages(retriever=segue.load(sys.argv[1]), k=3)
    for document in retriever.invoke("Snow reflects most of the light that falls on it."):
        print(document.id, document.page_content)
