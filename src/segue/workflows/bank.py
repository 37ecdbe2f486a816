"""``segue bank``: build a bank of passages and vectors on disk, estimate what that takes, or describe one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from segue.bank.bank import PassageBank, bank_info
from segue.corpus.passages import cut
from segue.encoders.endpoint import estimated_tokens
from segue.hardware import limit_threads
from segue.progress import Stages, quiet
from segue.recipe import AnyRecipe
from segue.types import Document
from segue.workflows.prepare import as_recipe, open_bank


def build(recipe: AnyRecipe, out: Path | str | None = None, *, stages: Stages = quiet) -> PassageBank:
    """Build the recipe's bank, resume an interrupted build, or open a finished bank.

    Raises:
        SegueError: states what is wrong, what was expected and what to do.
    """
    limit_threads()
    return open_bank(as_recipe(recipe), out=out, stages=stages)


def estimate(recipe: AnyRecipe, *, stages: Stages = quiet) -> Mapping[str, object]:
    """Count what a build would encode, and what an endpoint would charge for it; nothing is encoded or written.

    Returns:
        Numbers of documents, passages, characters and (about) tokens, and the cost where the recipe states a price.

    Raises:
        InputError: the corpus cannot be read, or its vectors exist.
    """
    recipe = as_recipe(recipe)
    prompt, price = len(recipe.encoder.prompt), recipe.encoder.endpoint.price
    found = dict.fromkeys(("documents", "passages", "characters", "tokens"), 0)
    with stages("Reading") as progress:
        for document in recipe.corpus.read():
            passages = cut(document, recipe.passages) if isinstance(document, Document) else []
            found["documents"] += bool(passages)
            found["passages"] += len(passages)
            found["characters"] += sum(len(passage.text) for passage in passages)
            found["tokens"] += sum(estimated_tokens(prompt + len(passage.text)) for passage in passages)
            progress(found["documents"], None, f"{found['passages']:,} passages")
    cost = {} if price is None else {"price": price, "cost": recipe.encoder.endpoint.cost(found["tokens"])}
    return {**found, "encoder": recipe.encoder.name, **cost}


def info(bank: Path | str, *, verify: bool = False) -> Mapping[str, object]:
    """Describe a bank; with ``verify`` every file is hashed again.

    Raises:
        InputError: there is no bank, or it is not whole.
    """
    return bank_info(PassageBank.open(Path(bank), verify=verify))
