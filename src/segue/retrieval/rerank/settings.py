"""Settings of the [rerank] table: sources of candidates, and the reranker."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from segue.retrieval.rerank.features import GROUPS, QUICK, Group
from segue.retrieval.rerank.lambdamart import LambdaMartSettings
from segue.retrieval.rerank.listwise import ListwiseSettings
from segue.settings import Settings


class RerankSettings(Settings):
    """The [rerank] table."""

    kind: Literal["lambdamart", "listwise", "both"] = Field(
        "lambdamart",
        description='what is fitted: "lambdamart" (trees over features), "listwise" (attention over the list), "both"',
    )
    first: int = Field(80, ge=1, le=10_000, description="candidates that the first stage draws")
    bm25: int = Field(40, ge=0, le=10_000, description="candidates by the words of the last passage")
    bm25_context: int = Field(40, ge=0, le=10_000, description="candidates by the words of the whole context")
    alone: int = Field(100, ge=1, le=10_000, description="candidates of each source where nothing is fitted")
    features: tuple[Group, ...] = Field(GROUPS, min_length=1, description="groups of features that trees read")
    kept: int | None = Field(
        None, ge=1, le=10_000, description="candidates that quick trees keep for all features; null: no such step"
    )
    quick: tuple[Group, ...] = Field(QUICK, min_length=1, description="groups of features that the quick trees read")
    mmr: float | None = Field(
        None, ge=0, le=1, description="λ of maximal marginal relevance: 1 keeps the order, less gives more variety"
    )
    lists: int = Field(15_000, ge=10, le=10_000_000, description="training lists at most, evenly spread")
    lambdamart: LambdaMartSettings = LambdaMartSettings()
    listwise: ListwiseSettings = ListwiseSettings()

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds that are fitted."""
        return ("lambdamart", "listwise") if self.kind == "both" else (self.kind,)

    @property
    def words(self) -> dict[str, int]:
        """Sources that read words, and the number of candidates that each draws."""
        return {"bm25": self.bm25, "bm25-context": self.bm25_context}
