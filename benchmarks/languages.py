"""Do words work in languages other than English? Lessons of one course in several translations.

For each language, twelve documents: a bank of the packaged English encoder, BM25 and a reranker in a comparison
of three folds, and copies in which one word in ten is changed (one character in thirty where words are not separated),
with soft hyphens, in decomposed letters. Everything is measured with the words of ``corpus/words.py`` and, for BM25 and
copies, with the pattern of version 0.1 too. Where the originals are at hand: how many English characters say what one
Han, kana or Hangul character says.

The course is IoT-For-Beginners (Microsoft, MIT licence; translated by machine): ``git clone`` it into ``--source``.

    python -m benchmarks.languages --source runs/IoT-For-Beginners --out runs/languages
        --json benchmarks/results/languages.json
"""

from __future__ import annotations

import argparse
import re
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

import segue
from benchmarks.surroundings import surroundings
from segue.bank.bank import PassageBank, bank_info
from segue.corpus.folder import FolderCorpus
from segue.corpus.prose import letters
from segue.evaluation.metrics import chance
from segue.files import write_json
from segue.hardware import limit_threads
from segue.recipe import parse_recipe
from segue.retrieval.rerank import words as rerank
from segue.types import Document
from segue.windows.near_duplicates import document_groups

LANGUAGES = ("hi", "zh", "th", "ar", "de")
DENSE = ("zh", "ja", "ko")
LESSONS = "*/lessons/*/README.md"
DOCUMENTS, PASSAGES = 12, 20
OPTIONS = ("chance", "copy-last", "bm25", "bm25-context", "copy-last-rerank")
SPACELESS = ("zh", "th")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--source", type=Path, required=True, help="folder of the course")
    parser.add_argument("--out", type=Path, required=True, help="folder of banks and runs; gone on with")
    parser.add_argument("--json", type=Path, required=True, help="where the table goes")
    parser.add_argument("--languages", nargs="*", default=LANGUAGES)
    args = parser.parse_args()
    limit_threads()
    found = {}
    for language in args.languages:
        found[language] = measure(language, args.source / "translations" / language, args.out / language)
        print(language, found[language], flush=True)
        factors = {name: factor(args.source, name) for name in DENSE}
        about = {"environment": surroundings(), "documents": DOCUMENTS, "most_passages": PASSAGES}
        write_json(args.json, {**about, "letters_of_a_character": factors, "languages": found})


def measure(language: str, source: Path, out: Path) -> dict[str, Any]:
    """Return the numbers of one language."""
    tables: dict[str, Any] = {
        "corpus": {"kind": "folder", "path": str(source), "glob": LESSONS, "maximum_documents": DOCUMENTS,
                   "minimum_characters": 4000},
        "passages": {"language": language, "maximum_passages": PASSAGES},
        "bank": {"path": str(out / "bank")},
        "windows": {"context": 3},
        "split": {"folds": 3, "validation": 0.2},
        "triage": {"options": [*OPTIONS], "budget_minutes": 5, "encoder_share": 0.001},
        "evaluation": {"latency_queries": 20},
        "compute": {"processes": 1},
    }  # fmt: skip
    bank = segue.build_bank(parse_recipe(tables))
    info = bank_info(bank)
    about = {"documents": info["documents"], "passages": info["passages"], "mean_characters":
             info["mean_passage_characters"], "fewest_passages": info["passages_per_document"]["min"],
             "text_statistics": info["text_statistics"], "warnings": info["warnings"]}  # fmt: skip
    rows = r5(parse_recipe(tables), out / "run", nullcontext())
    tables["triage"]["options"] = [*OPTIONS[:-1]]  # the rows of words alone
    before = r5(parse_recipe(tables), out / "run-0.1", words_of_version_0_1())
    copies = {name: copies_found(bank, language, changed) for name, changed in
              (("now", nullcontext()), ("version 0.1", words_of_version_0_1()))}  # fmt: skip
    return {**about, "R@5": rows, "R@5 with the words of version 0.1": before, "copies": copies}


def r5(recipe: Any, run: Path, changed: AbstractContextManager[Any]) -> dict[str, Any]:
    """Return R@5 of every row with its interval over documents, and chance."""
    with changed:
        record = segue.triage(recipe, run).record
    rows = {entry.name: [round(getattr(entry.metrics["R@5"], part), 4) for part in ("value", "low", "high")]
            for entry in record.entries if "R@5" in entry.metrics}  # fmt: skip
    return {"windows": record.windows, "chance by definition": round(chance(record.pool)["R@5"], 4), **rows}


@contextmanager
def words_of_version_0_1() -> Iterator[None]:
    """Cut words as version 0.1 did, in this process."""
    rerank._cut.cache_clear()
    with (
        patch("segue.windows.near_duplicates.words", lambda text: re.findall(r"\w+", text.casefold())),
        patch.object(rerank, "long_words", lambda text: re.findall(r"\b\w\w+\b", text.lower())),
    ):
        yield
    rerank._cut.cache_clear()


def copies_found(bank: PassageBank, language: str, changed: AbstractContextManager[Any]) -> dict[str, int]:
    """Return how many spoilt copies are in the group of their original, and how many other documents are in one."""
    texts = [
        bank.texts(np.arange(first, first + count)) for first, count in zip(bank.first_row, bank.num_rows, strict=True)
    ]
    spoilt = [[spoil(text, language, np.random.default_rng((1, number))) for text in own]
              for number, own in enumerate(texts)]  # fmt: skip
    every = [text for own in (*texts, *spoilt) for text in own]
    ids = [f"{number}" for number, own in enumerate((*texts, *spoilt)) for _ in own]
    noise = np.random.default_rng(0).standard_normal((len(every), 16)).astype(np.float32)
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    with changed:
        groups = document_groups(PassageBank.from_arrays(noise, ids, every), 0.5)
    half = len(texts)
    found = sum(groups[number] == groups[number + half] for number in range(half))
    return {"copies": half, "found": int(found), "unrelated grouped": half - len(np.unique(groups[:half]))}


def spoil(text: str, language: str, generator: np.random.Generator) -> str:
    """Change one word in ten or one character in thirty, put soft hyphens in, and decompose letters."""
    if language in SPACELESS:
        letters_of = [one for one in text if one.isalpha()]
        text = "".join(
            str(generator.choice(letters_of)) if one.isalpha() and generator.random() < 1 / 30 else one for one in text
        )
    else:
        text = " ".join("x" + word if generator.random() < 0.1 else word for word in text.split(" "))
    return unicodedata.normalize("NFD", "".join(one + "\u00ad" * (generator.random() < 0.02) for one in text))


def factor(source: Path, language: str) -> float | None:
    """Return English characters that say as much as one Han, kana or Hangul character, over all lessons.

    Characters of other scripts (names, commands) are the same in both, so they are subtracted first.
    """
    english, other = (text_of(path) for path in (source, source / "translations" / language))
    if not english or not other:
        return None
    dense = sum(1 for one in other if letters(one * 2) > 2)
    return round((len(english) - (len(other) - dense)) / dense, 2)


def text_of(folder: Path) -> str:
    """Return the prose of all lessons; the translations end with a disclaimer, which is left out."""
    pages: Sequence[Any] = list(FolderCorpus(path=folder, glob=LESSONS).read()) if folder.is_dir() else []
    kept = [page.paragraphs[:-1] if "translations" in folder.parts else page.paragraphs
            for page in pages if isinstance(page, Document)]  # fmt: skip
    return " ".join(paragraph for page in kept for paragraph in page)


if __name__ == "__main__":
    main()
