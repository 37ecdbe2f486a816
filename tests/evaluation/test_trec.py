"""Run files and qrels are read back as they were written, by us and by ir_measures."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from urllib.parse import unquote

import ir_measures
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_measures import RR, Success, nDCG

from segue.errors import InputError
from segue.evaluation.metrics import summarise
from segue.evaluation.trec import (
    encode_id,
    write_qrels,
    write_run,
)

QUERIES = ["Abraham Lincoln#5", "Zürich#9", "100%#0"]
ANSWERS = [["Abraham Lincoln#6", "Tab\there#1"], ["Zürich#10", "Abraham Lincoln#6"], ["new\nline#2"]]


def read_run(path: Path) -> dict[str, list[str]]:
    """Return the answers of each query by falling score, as ir_measures reads them, names decoded."""
    scored: dict[str, list[tuple[float, str]]] = {}
    for line in ir_measures.read_trec_run(str(path)):
        scored.setdefault(unquote(line.query_id), []).append((-line.score, unquote(line.doc_id)))
    return {query: [name for _, name in sorted(answers)] for query, answers in scored.items()}


@pytest.mark.parametrize("name", ["run.trec", "run.trec.gz"])
def test_ir_measures_reads_a_run_as_it_was_written(tmp_path: Path, name: str) -> None:
    write_run(tmp_path / name, QUERIES, ANSWERS, tag="copy last", depth=2, note="pool of 4")
    assert read_run(tmp_path / name) == dict(zip(QUERIES, ANSWERS, strict=True))
    beside = json.loads((tmp_path / f"{name}.json").read_text())
    assert (beside["tag"], beside["depth"]) == ("copy last", 2)


def test_lines_are_those_of_the_format(tmp_path: Path) -> None:
    write_run(tmp_path / "run.trec", QUERIES[:1], ANSWERS[:1], tag="ridge", depth=100)
    write_qrels(tmp_path / "qrels.trec", QUERIES[:1], ["Abraham Lincoln#6"])
    assert (tmp_path / "run.trec").read_text().splitlines() == [
        "Abraham%20Lincoln#5 Q0 Abraham%20Lincoln#6 1 -1 ridge",
        "Abraham%20Lincoln#5 Q0 Tab%09here#1 2 -2 ridge",
    ]
    assert (tmp_path / "qrels.trec").read_text() == "Abraham%20Lincoln#5 0 Abraham%20Lincoln#6 1\n"


def test_compressed_files_have_the_same_bytes_each_time(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_qrels(tmp_path / name / "qrels.gz", QUERIES, ["x", "y", "z"])
    assert (tmp_path / "a/qrels.gz").read_bytes() == (tmp_path / "b/qrels.gz").read_bytes()
    assert gzip.decompress((tmp_path / "a/qrels.gz").read_bytes()).startswith(b"Abraham%20")


def test_ir_measures_reads_qrels_as_they_were_written(tmp_path: Path) -> None:
    write_qrels(tmp_path / "qrels", QUERIES, ["a b", "c", "d%"])
    found = [
        (unquote(line.query_id), unquote(line.doc_id), line.relevance)
        for line in ir_measures.read_trec_qrels(str(tmp_path / "qrels"))
    ]
    assert found == [(QUERIES[0], "a b", 1), (QUERIES[1], "c", 1), (QUERIES[2], "d%", 1)]


@settings(deadline=None, max_examples=100)
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_any_id_becomes_one_word_and_back(name: str) -> None:
    word = encode_id(name)
    assert word.split() == [word]
    assert "\0" not in word
    assert unquote(word) == name


def test_an_empty_id_is_refused() -> None:
    with pytest.raises(InputError, match="empty id"):
        encode_id("")


@pytest.mark.parametrize("name", ["run.trec", "run.trec.gz"])
def test_ir_measures_scores_the_files_as_we_do(tmp_path: Path, name: str) -> None:
    generator, pool, depth = np.random.default_rng(1), 40, 20
    ranks = generator.integers(1, pool + 1, 30)
    queries = [f"Some title#{n}" for n in range(30)]
    orders = [[f"Some title#{n}" for n in generator.permutation(pool)] for _ in queries]
    targets = [order[rank - 1] for order, rank in zip(orders, ranks, strict=True)]
    write_run(tmp_path / name, queries, [order[:depth] for order in orders], tag="noise", depth=depth)
    write_qrels(tmp_path / "qrels", queries, targets)
    run = list(ir_measures.read_trec_run(str(tmp_path / name)))
    qrels = list(ir_measures.read_trec_qrels(str(tmp_path / "qrels")))
    theirs = ir_measures.pytrec_eval.calc_aggregate([Success @ 5, RR, nDCG @ 10], qrels, run)
    ours = summarise(ranks, depth=depth)
    assert ours["R@5"] == pytest.approx(theirs[Success @ 5], abs=1e-9)
    assert ours["MRR"] == pytest.approx(theirs[RR], abs=1e-9)
    assert ours["nDCG@10"] == pytest.approx(theirs[nDCG @ 10], abs=1e-9)


def test_what_no_run_may_hold_is_refused_and_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="twice"):
        write_run(tmp_path / "run", ["q"], [["a", "a"]], tag="t", depth=5)
    with pytest.raises(InputError, match="got 3, expected at most 2"):
        write_run(tmp_path / "run", ["q"], [["a", "b", "c"]], tag="t", depth=2)
    assert list(tmp_path.iterdir()) == []
