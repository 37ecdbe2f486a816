"""``segue bank``: build a bank of passages and vectors, estimate what that takes, describe one, keep it up to date."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from segue.bank.bank import PassageBank, bank_info
from segue.bank.build import EncoderSource
from segue.bank.changes import KNOWN, BankChange, append_bank, change
from segue.bank.changes import remove as remove_documents
from segue.bank.history import difference_since
from segue.bank.lance import LanceChange, from_lance, is_lance, to_lance
from segue.bank.manifest import MANIFEST, SKIPPED
from segue.corpus import BankCorpus, Corpus, VectorsCorpus
from segue.corpus.custom import as_document
from segue.corpus.intake import read_most
from segue.corpus.passages import cut
from segue.corpus.prose import letters
from segue.encoders import EncoderSettings, require_own_encoder
from segue.encoders.endpoint import estimated_tokens
from segue.errors import InputError
from segue.files import read_jsonl
from segue.hardware import Device, limit_threads
from segue.progress import Stages, quiet
from segue.recipe import AnyRecipe, Recipe
from segue.settings import checked
from segue.storage import local, pull
from segue.types import Document, Skipped
from segue.workflows.prepare import as_recipe, built_bank, fetched, on_device, open_bank, opened_vectors

TABLES = {".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}
"""Kinds of corpus by the ending of a file's name, compression left out; every other file is one document."""
COMPRESSED = (".gz", ".bz2", ".zst", ".xz")
_CORPUS: TypeAdapter[Corpus] = TypeAdapter(Corpus)


def build(
    recipe: AnyRecipe | None = None,
    out: Path | str | None = None,
    *,
    documents: Any = None,
    encoder: Any = None,
    stages: Stages = quiet,
    **tables: Any,
) -> PassageBank:
    """Build the recipe's bank, resume an interrupted build, or open a finished bank.

    Args:
        recipe: a recipe, its tables or its file; None: ``documents`` and ``tables`` are the recipe.
        out: the bank's folder; None: the recipe's.
        documents: instead of a recipe: an iterable of ``Document``, of mappings with ``id`` and ``text`` or
            ``paragraphs``, or of pairs (id, text); or a corpus reader.
        encoder: instead of the recipe's: its table, or an encoder of your own: an object with ``space`` and ``encode``,
            or a function from texts to vectors.
        stages: shows progress.
        tables: other tables of a recipe for ``documents``: ``passages={"maximum_passages": 50}``.

    Raises:
        InputError: a document, the encoder or its vectors cannot be used; or both or none of ``recipe`` and
            ``documents`` are given.
        SettingsError: the recipe has unknown keys or impossible values.
        StorageError: another process builds there, or the folder cannot be read or written.
        SegueError: any other fault of settings, documents or files; the base class of Segue's errors.
    """
    limit_threads()
    if (recipe is None) == (documents is None) or (tables and documents is None):
        raise InputError("a bank is built from a recipe, or from documents and other tables", fix="give one of them")
    if documents is not None:
        recipe = {**tables, "corpus": {**tables.get("corpus", {}), "kind": "custom", "reader": documents}}
    assert recipe is not None, "one of the two was given"
    recipe = as_recipe(recipe)
    if encoder is not None:
        recipe = recipe.model_copy(update={"encoder": checked(EncoderSettings, encoder, "the encoder")})
    return open_bank(recipe, out=out, stages=stages)


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
        for document in read_most(fetched(recipe.corpus)):
            passages = cut(document, recipe.passages) if isinstance(document, Document) else []
            found["documents"] += bool(passages)
            found["passages"] += len(passages)
            found["characters"] += sum(len(passage.text) for passage in passages)
            found["tokens"] += sum(estimated_tokens(prompt + letters(passage.text)) for passage in passages)
            progress(found["documents"], None, f"{found['passages']:,} passages")
    cost = {} if price is None else {"price": price, "cost": recipe.encoder.endpoint.cost(found["tokens"])}
    return {**found, "encoder": recipe.encoder.name, **cost}


def info(bank: Path | str, *, verify: bool = False) -> Mapping[str, object]:
    """Describe a bank; with ``verify`` every file is hashed again.

    Raises:
        InputError: there is no bank, or it is not whole.
    """
    opened = PassageBank.open(bank, verify=verify)
    found = dict(bank_info(opened))
    if steps := opened.manifest.changes:
        words = f"{difference_since(opened, steps[0].hash)}; what was made of it before is out of date"
        found["changed_since_built"] = words
    return found


def read_skipped(bank: Path | str) -> Iterator[Skipped]:
    """Yield every document, file and record that the bank was built without, and the reason.

    Raises:
        InputError: there is no bank.
    """
    opened = PassageBank.open(bank)
    path = opened.path / SKIPPED
    return (Skipped(**item) for item in read_jsonl(path))


def add(
    bank: PassageBank | Path | str,
    documents: Any,
    *,
    encoder: EncoderSource | None = None,
    device: Device | None = None,
    dry_run: bool = False,
    stages: Stages = quiet,
) -> BankChange:
    """Encode documents whose ids the bank does not have and add them, in one step; the others are skipped and counted.

    Args:
        bank: the bank, or its folder.
        documents: a recipe, whose [corpus] is read; paths of files, folders or recipes; or what ``build_bank`` takes as
            ``documents``, or one document. Vectors, or another bank of the same space, are given alone, and nothing is
            encoded.
        encoder: encoder of the bank's space; None: the one that the bank records.
        device: device of the encoder.
        dry_run: only count what would be added.
        stages: shows progress.

    Raises:
        InputError: the documents cannot be read, or the bank's encoder is not known.
        SpaceError: the encoder has another space than the bank.
        StorageError: the disk is full, or another process is writing there.
        SegueError: any other fault of settings, documents or files; the base class of Segue's errors.
    """
    limit_threads()
    opened = bank if isinstance(bank, PassageBank) else PassageBank.open(bank)
    if callable(documents) or (hasattr(documents, "read") and not isinstance(documents, Recipe)):
        documents = read_most(_CORPUS.validate_python({"kind": "custom", "reader": documents}))
    one = isinstance(documents, str | Path | Mapping | Recipe | Document)
    given: Iterable[Any] = [documents] if one else documents
    if isinstance(given, Sequence) and len(given) == 1 and not _is_document(given[0]):
        corpus = corpus_of(opened, given[0])
        if isinstance(corpus, VectorsCorpus | BankCorpus):
            return _add_vectors(opened, corpus, dry_run=dry_run, stages=stages)
    source = encoder or _recorded_encoder(opened, device)
    each = chain.from_iterable(
        [as_document(item, "documents")] if _is_document(item) else read_most(corpus_of(opened, item)) for item in given
    )
    with stages("Reading and encoding new documents") as progress:
        return change(opened, each, source, replace=False, dry_run=dry_run, progress=progress)


def _is_document(item: Any) -> bool:
    """Return whether an item is what ``as_document`` takes, and no recipe and no path."""
    return isinstance(item, Document | Skipped | tuple) or (isinstance(item, Mapping) and "id" in item)


def _add_vectors(bank: PassageBank, corpus: VectorsCorpus | BankCorpus, *, dry_run: bool, stages: Stages) -> BankChange:
    """Add the documents of vectors, or of another bank, that the bank does not have; nothing is encoded."""
    with opened_vectors(corpus) as other, stages("Adding vectors") as progress:
        added = tuple(name for name in other.live_documents if name not in bank.live_documents)
        skipped = {KNOWN: len(other.live_documents) - len(added)}
        done = append_bank(bank, other, progress=progress) if added and not dry_run else bank
    return BankChange(done, added, skipped={name: count for name, count in skipped.items() if count}, dry_run=dry_run)


def remove(bank: PassageBank | Path | str, ids: Iterable[str], *, dry_run: bool = False) -> BankChange:
    """Remove documents by id, in one step; their rows are answered no more.

    Raises:
        InputError: the bank never had an id, or no document would be left.
        MissingExtraError: the bank is in object storage, and its client is not installed.
        StorageError: the disk is full, or another process is writing there.
    """
    opened = bank if isinstance(bank, PassageBank) else PassageBank.open(bank)
    return remove_documents(opened, ids, dry_run=dry_run)


def update(
    recipe: AnyRecipe,
    bank: Path | str | None = None,
    *,
    device: Device | None = None,
    remove_gone: bool = False,
    dry_run: bool = False,
    stages: Stages = quiet,
) -> BankChange:
    """Read the corpus of a bank again and encode what is new or changed, in one step.

    Documents are compared by the hash of their title and passages. Those that the corpus no longer has are named and
    stay, since they may have been added from elsewhere. With ``executor = "ray"`` the cluster encodes.

    Args:
        recipe: the recipe of the bank.
        bank: folder of the bank; None: the recipe's.
        device: device of the encoder.
        remove_gone: remove the documents that the corpus no longer has.
        dry_run: only compare.
        stages: shows progress.

    Raises:
        InputError: there is no bank, it was built with other settings, or the corpus cannot be read.
        StorageError: the disk is full, or another process is writing there.
        SegueError: any other fault of settings, documents or files; the base class of Segue's errors.
    """
    limit_threads()
    recipe = on_device(as_recipe(recipe), device)
    if isinstance(recipe.corpus, VectorsCorpus | BankCorpus):
        raise InputError("a bank of vectors has no texts to compare", got=f'kind = "{recipe.corpus.kind}"',
                         fix="import the vectors into a new bank; nothing is encoded")  # fmt: skip
    if bank is not None:
        recipe = recipe.model_copy(update={"bank": recipe.bank.model_copy(update={"path": str(bank)})})
    opened = built_bank(recipe)
    with stages("Reading the corpus and encoding what changed") as progress:
        return change(opened, read_most(fetched(recipe.corpus)), recipe.encoder, replace=True, remove_gone=remove_gone,
                      dry_run=dry_run, compute=recipe.compute, progress=progress)  # fmt: skip


def convert(
    source: PassageBank | Path | str, out: Path | str, *, at: str | None = None, stages: Stages = quiet
) -> LanceChange | PassageBank:
    """Write a bank into a database of LanceDB, or only what changed since; or write a database back as a bank.

    Args:
        source: a bank or its folder; or a database that this function wrote, as a folder or an address (``s3://…``).
        out: the database; or the folder of the new bank, which has the hash of the one that was converted.
        at: of a database: an earlier state, by its hash or the beginning of it.
        stages: shows progress.

    Raises:
        InputError: there is no bank, or ``out`` holds something else.
        MissingExtraError: lancedb is not installed.
        StorageError: the disk is full, or another process is writing there.
    """
    limit_threads()
    if isinstance(source, PassageBank) or not is_lance(source):
        bank = source if isinstance(source, PassageBank) else PassageBank.open(source)
        if at is not None:
            raise InputError("a bank is converted as it is", got=f"--at {at}", fix="leave it out")
        with stages("Writing to LanceDB") as progress:
            return to_lance(bank, out, progress=progress)
    with stages("Reading from LanceDB") as progress:
        return from_lance(source, out, at=at, progress=progress)


def read_ids(path: Path | str) -> list[str]:
    """Read document ids from a file, one a line; empty lines are left out.

    Raises:
        InputError: it cannot be read as UTF-8.
    """
    try:
        return [line for line in pull(path).read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the ids in {path}", got=error, expected="UTF-8, one id a line") from error


def _recorded_encoder(bank: PassageBank, device: Device | None) -> EncoderSource:
    if bank.manifest.encoder is None:
        raise InputError("the bank does not record its encoder", got=bank.space.encoder,
                         fix="call segue.add_to_bank(..., encoder=...) with it")  # fmt: skip
    recorded = require_own_encoder(bank.manifest.encoder, bank.path)
    return recorded.model_copy(update={"device": device} if device else {})


def corpus_of(bank: PassageBank, given: AnyRecipe) -> Corpus:
    """Return the corpus of a recipe, or of a path: of a recipe, a bank, a table, a folder, or one document.

    A document inside the folder that the bank was made of has the same id as it would have there, so that an update
    finds it. Settings of the bank's own corpus hold where it is of the same kind.

    Raises:
        InputError: there is nothing at the path.
    """
    if isinstance(given, Mapping | Recipe) or Path(given).suffix == ".toml":
        return fetched(as_recipe(given).corpus)
    path = pull(given)
    if (path / MANIFEST).is_file():
        return BankCorpus(path=path)
    if not path.exists():
        raise InputError(f"cannot read {path}", got="nothing there", expected="a recipe, a file or a folder",
                         fix="check the path")  # fmt: skip
    endings = [ending for ending in path.suffixes if ending not in COMPRESSED]
    kind = "folder" if path.is_dir() else TABLES.get(endings[-1].lower() if endings else "", "folder")
    own = dict(bank.manifest.source) if bank.manifest.source.get("kind") == kind else {}
    table = {**own, "kind": kind, "path": str(path), "maximum_documents": None}
    if kind == "folder":
        root, place = local(str(own.get("path", path))).resolve(), path.resolve()
        if not (own and place.is_relative_to(root)):
            root = place if place.is_dir() else place.parent
        below = glob.escape(place.relative_to(root).as_posix())
        pattern = str(own.get("glob", "**/*")) if place == root else f"{below}/**/*" if place.is_dir() else below
        table |= {"path": str(root), "glob": pattern}
    return _CORPUS.validate_python(table)
