"""Corpora as users have them, from the files to a bank or a comparison."""

import json
import lzma
import shutil
from pathlib import Path

import numpy as np
import pyarrow
from command_line import run as command
from worlds import essay_texts_and_vectors

import segue
from recipes import write_recipe

FAKE = {"name": "fake_encoder:HashEncoder"}
PACKED = {".jsonl.xz": lzma.compress, ".jsonl.zst": lambda data: pyarrow.compress(data, "zstd", asbytes=True),
          ".jsonl": bytes}  # fmt: skip


def test_packed_shards_with_names_of_ones_own_become_the_bank_of_one_plain_file(tmp_path, capsys):
    texts, _ = essay_texts_and_vectors(documents=12, length=10)
    lines = [{"key": number, "headline": f"Essay {number}", "body": [f"W {text}." for text in some]}
             for number, some in enumerate(texts)]  # fmt: skip
    (tmp_path / "shards").mkdir()
    for shard, (end, pack) in zip((1, 2, 10), PACKED.items(), strict=True):
        some = lines[4 * min(shard - 1, 2) :][:4]
        data = "".join(f"{json.dumps(line)}\n" for line in some).encode()
        (tmp_path / "shards" / f"part-{shard}{end}").write_bytes(pack(data))
    names = {"id_column": "key", "title_column": "headline", "text_column": "body"}
    recipe = write_recipe(tmp_path, corpus={"kind": "jsonl", "path": "shards/part-*", **names}, encoder=FAKE)
    assert command("bank", "build", str(recipe), "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    plain = [{"id": str(line["key"]), "title": line["headline"], "paragraphs": line["body"]} for line in lines]
    expected = segue.build_bank(documents=plain, out=tmp_path / "plain", encoder=FAKE)
    bank = segue.PassageBank.open(tmp_path / "bank")
    assert facts["documents"] == 12
    assert bank.document_ids == expected.document_ids == [str(number) for number in range(12)]
    everything = np.arange(len(expected))
    assert bank.texts(everything) == expected.texts(everything)
    np.testing.assert_array_equal(bank.gather(everything), expected.gather(everything))


def test_the_recipe_for_dialogues_compares_on_dialogues(tmp_path):
    """With a quick encoder, the baselines alone, and few resamples."""
    texts, _ = essay_texts_and_vectors(documents=40, length=8)
    (tmp_path / "dialogues").mkdir()
    for number, some in enumerate(texts):
        turns = [{"role": ("user", "assistant")[place % 2], "content": f"W {text}."} for place, text in enumerate(some)]
        messages = [{"role": "system", "content": "Be brief."}, *turns]
        line = json.dumps({"id": f"talk-{number}", "messages": messages})
        (tmp_path / "dialogues" / f"{number}.jsonl").write_text(line)
    shutil.copy(Path(__file__).parents[2] / "recipes" / "dialogues.toml", tmp_path)
    quick = {"encoder": {"name": "encoder:HashedWords"}, "triage": {"options": ["copy-last", "mean", "chance"]},
             "split": {"test": 0.3, "validation": 0.2},
             "evaluation": {"resamples": 100, "latency_queries": 2, "run_depth": 10}}  # fmt: skip
    recipe = segue.load_recipe(tmp_path / "dialogues.toml", overrides=quick)
    comparison = segue.triage(recipe, tmp_path / "run")
    bank = comparison.bank or segue.PassageBank.open(tmp_path / "bank")
    assert bank.num_rows.tolist() == [8] * 40
    assert "Be brief." not in " ".join(bank.texts(np.arange(len(bank))))
    assert comparison.record.corpus.documents == 40
    assert comparison.metric("chance", "R@5") < comparison.metric("copy-last", "R@5") <= 1
