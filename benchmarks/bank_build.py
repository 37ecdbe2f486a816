"""How long does a bank take from documents to vectors: read, cut, encode, duplicates, and its sentences?

    python -m benchmarks.bank_build manuals.jsonl.gz --json benchmarks/results/bank_build.json

Each way of encoding builds the bank in a folder of its own, in turns, and then encodes the sentences of its passages.
The arithmetic that a processor's flags suggest (bfloat16) is one way, the one that was measured to be the quickest is
another.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import tempfile
import time
from pathlib import Path

from benchmarks.speed.turns import Prepared, Side, take_turns
from benchmarks.surroundings import surroundings
from segue.files import write_json

WAYS = {
    "by the flags: PyTorch, bfloat16": {"precision": "bfloat16"},
    "measured: PyTorch": {"precision": "auto"},
    "OpenVINO, float32": {"runtime": "openvino", "precision": "float32"},
    "OpenVINO, int8": {"runtime": "openvino", "precision": "int8"},
}
"""How the passages are encoded: settings of the encoder."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("documents", type=Path, help="JSON lines, packed with gzip")
    parser.add_argument("--first", type=int, help="documents that are read; default: all")
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        documents = Path(folder) / "documents.jsonl"
        with gzip.open(args.documents, "rb") as packed, documents.open("wb") as plain:
            plain.writelines(itertools.islice(packed, args.first))
        sides = [Side(prepare, {"documents": documents, "way": way}) for way in args.ways]
        taken = take_turns(sides, repeats=args.repeats, warm_up=False)
    found = {way: one.to_json() for way, one in zip(args.ways, taken, strict=True)}
    for way, one in found.items():
        shown = ", ".join(f"{name} {one[f'{name}_seconds']['median']:.0f} s" for name in ("bank", "sentences"))
        spent = f"{one['processor_seconds']['median']:.0f} s of processors"
        print(f"{way}: {one['passages']['median']:,.0f} passages, {shown}, {spent}")
    if args.json:
        write_json(args.json, {"environment": surroundings(), "repeats": args.repeats, "ways": found})


def prepare(documents: Path, way: str) -> Prepared:
    """Load the encoder, and build a small bank, so that imports are not measured."""
    from segue.bank.build import build_bank
    from segue.bank.sentences import build_sentences
    from segue.corpus.jsonl import JsonlCorpus
    from segue.corpus.passages import PassageSettings
    from segue.encoders import EncoderSettings, load_encoder

    cut = PassageSettings(target_characters=420, maximum_passages=80)
    settings = EncoderSettings.model_validate({"name": "minilm", **WAYS[way]})
    encoder = load_encoder(settings)

    def turn() -> dict[str, float]:
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            bank = build_bank(JsonlCorpus(path=documents), settings, Path(folder) / "bank", passages=cut)
            built = time.perf_counter()
            build_sentences(bank, lambda: encoder, Path(folder) / "sentences")
            return {"bank_seconds": built - began, "sentences_seconds": time.perf_counter() - built,
                    "passages": len(bank)}  # fmt: skip

    with documents.open("rb") as lines, tempfile.TemporaryDirectory() as folder:
        few = Path(folder) / "few.jsonl"
        few.write_bytes(b"".join(itertools.islice(lines, 2)))
        build_bank(JsonlCorpus(path=few), settings, Path(folder) / "bank", passages=cut)
    return Prepared(turn, {"precision": encoder.space.precision, "settings": WAYS[way]})


if __name__ == "__main__":
    main()
