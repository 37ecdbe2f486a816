"""Dialogues: one record = one document, one turn = one passage."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fake_encoder import HashEncoder

from segue.bank.build import build_bank
from segue.corpus import DialogueCorpus
from segue.corpus.passages import PassageSettings
from segue.errors import InputError

SAID = ["Hello, is the ferry late?", "By ten minutes.\nIt is foggy.", "Thank you."]
ASKED = [{"role": who, "content": text} for who, text in zip(("user", "assistant", "user"), SAID, strict=True)]
MESSAGES = {"id": "m", "messages": [{"role": "system", "content": "You sell tickets."}, *ASKED]}
CHAT = [{"from": who, "value": text} for who, text in zip(("human", "gpt", "human"), SAID, strict=True)]
CONVERSATIONS = {"id": "c", "conversations": CHAT}
TURNS = {"id": "t", "turns": SAID}
TIDY = ["Hello, is the ferry late?", "By ten minutes. It is foggy.", "Thank you."]


def read(path, *records, **settings):
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return list(DialogueCorpus(path=path, **settings).read())


@pytest.mark.parametrize(
    ("record", "speakers"),
    [
        (MESSAGES, ("user: ", "assistant: ", "user: ")),
        (CONVERSATIONS, ("human: ", "gpt: ", "human: ")),
        (TURNS, ("", "", "")),
    ],
    ids=["messages", "conversations", "turns"],
)
def test_every_habitual_form_gives_the_same_turns(tmp_path, record, speakers):
    (document,) = read(tmp_path / "d.jsonl", record)
    assert document.paragraphs == tuple(map("".join, zip(speakers, TIDY, strict=True)))
    (without,) = read(tmp_path / "d.jsonl", record, speakers=False)
    assert without.paragraphs == tuple(TIDY)
    assert document.is_cut


def test_a_bank_has_one_passage_for_each_turn_however_short_or_long(tmp_path):
    turns = ["Yes.", "It snows in the winter, they say. " * 100, "No."]
    read(tmp_path / "d.jsonl", {"id": "a", "turns": turns}, {"id": "b", "turns": ["Why?", "Because it is cold here."]})
    corpus = DialogueCorpus(path=tmp_path / "d.jsonl")
    bank = build_bank(corpus, HashEncoder(), tmp_path / "bank", passages=PassageSettings(target_characters=40))
    assert bank.texts(np.arange(5)) == [*(" ".join(turn.split()) for turn in turns), "Why?", "Because it is cold here."]
    assert bank.num_rows.tolist() == [3, 2]


def test_without_an_id_it_is_named_after_file_and_line(tmp_path):
    documents = read(tmp_path / "d.jsonl", TURNS, {"turns": SAID}, {"id": 7, "turns": SAID})
    assert [document.id for document in documents] == ["t", "d.jsonl:2", "7"]


def test_without_ids_shards_of_one_name_are_told_apart_and_blank_lines_are_counted(tmp_path):
    for folder in ("2023", "2024"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "d.jsonl").write_text("\n" + json.dumps({"turns": SAID}))
    pq.write_table(pa.table({"turns": [SAID]}), tmp_path / "2024" / "p.parquet")
    expected = ["2023/d.jsonl:2", "2024/d.jsonl:2", "2024/p.parquet, row 0"]
    each = (tmp_path / "2023" / "d.jsonl", tmp_path / "2024")
    for path in (tmp_path, tmp_path / "20*" / "*", each):
        assert [document.id for document in DialogueCorpus(path=path).read()] == expected


def test_parts_without_text_and_speakers_that_are_left_out_are_no_passages(tmp_path):
    image = {"role": "user", "content": [{"type": "image_url"}, {"type": "text", "text": "What is it?"}]}
    call = {"role": "assistant", "content": None, "tool_calls": []}
    answer = {"role": "tool", "content": "cat: 0.98"}
    record = {"id": "x", "messages": [image, call, answer, {"role": "assistant", "content": "A cat."}]}
    (document,) = read(tmp_path / "d.jsonl", record, leave_out=("tool",))
    assert document.paragraphs == ("user: What is it?", "assistant: A cat.")


def test_parquet_and_a_column_of_ones_own_are_read_alike(tmp_path):
    pq.write_table(pa.table({"dialog": [SAID], "key": ["p"]}), tmp_path / "a.parquet")
    (tmp_path / "b.jsonl").write_text(json.dumps({"key": "j", "dialog": MESSAGES["messages"]}))
    documents = list(DialogueCorpus(path=tmp_path, id_column="key", turns_column="dialog").read())
    assert [(one.id, len(one.paragraphs)) for one in documents] == [("p", 3), ("j", 3)]


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"id": "x", "text": "T."}, r"d\.jsonl:1: got keys id, text, expected a list of turns in messages, conv"),
        ({"id": "x", "turns": "T."}, r"d\.jsonl:1: got str in 'turns'"),
        ({"id": "x", "turns": [["a"]]}, r"d\.jsonl:1, turn 0: got list"),
        ({"id": "x", "messages": [{"role": "user", "body": "a"}]}, r"turn 0: got keys role, body, expected.*content"),
        ({"id": "x", "messages": [{"role": "user", "content": 1}]}, r"turn 0: got int as its text"),
        ([], r"d\.jsonl is a JSON array"),
    ],
)
def test_what_is_no_dialogue_is_named(tmp_path, record, message):
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path / "d.jsonl", record, strict=True)
    assert "To fix it" in str(caught.value)
