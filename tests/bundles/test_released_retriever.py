"""Answers from a bundle: the four ways of saying what was read, what is left out, reasons, batches, threads."""

import importlib.util
import json
import re
import threading
from pathlib import Path

import numpy as np
import pytest
from bundle_world import CONTEXT, DIMENSION, sentence, some_vectors

import segue
from segue.bundles.queries import Query
from segue.errors import InputError

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def released(bundle):
    return segue.load(bundle)


@pytest.fixture(scope="module")
def predicting(run, tmp_path_factory):
    return segue.load(run.bundle("mlp", tmp_path_factory.mktemp("predicting") / "bundle"))


def ids_of(released, document: int, places: range) -> list[str]:
    return [f"{released.bundle.bank.document_ids[document]}#{place}" for place in places]


def texts_of(released, document: int, places: range) -> list[str]:
    rows = int(released.bundle.bank.first_row[document]) + np.array(places)
    return released.bundle.bank.texts(rows)


def test_all_ways_of_saying_what_was_read_get_one_answer(released):
    ids = ids_of(released, 2, range(3, 3 + CONTEXT))
    texts = texts_of(released, 2, range(3, 3 + CONTEXT))
    rows = [released.lookup.row(name) for name in ids]
    vectors = released.bundle.bank.gather(np.array(rows))
    by_id = released.next(ids=ids, k=4)
    assert len(by_id) == 4
    for other in (
        released.next(texts, k=4),
        released.next(passages=[f"  {text.upper()}\n" for text in texts], k=4),
        released.next([text.replace("on", "o\u00adn") for text in texts], k=4),
        released.next(ids=[name.replace("volume", "vol\u200bume") for name in ids], k=4),
        released.next(vectors=vectors, k=4),
        released.next(text="\n\n".join(texts), k=4),
    ):
        assert [passage.id for passage in other] == [passage.id for passage in by_id]
        assert list(other.read) == ids


def test_what_was_read_is_never_answered_however_much_it_is(released):
    ids = ids_of(released, 1, range(10))  # more than the bundle's context
    answer = released.next(ids=ids, k=500)
    assert set(ids).isdisjoint(passage.id for passage in answer)
    assert list(answer.read) == ids[-CONTEXT:]
    assert len(answer) == len(released.bundle.bank) - len(ids)


def test_excluded_passages_and_other_documents_stay_out(released):
    ids = ids_of(released, 1, range(2))
    best = [passage.id for passage in released.next(ids=ids, k=3)]
    without = [passage.id for passage in released.next(ids=ids, k=3, exclude=best[:1])]
    assert best[0] not in without
    names = released.bundle.bank.document_ids[4:6]
    only = released.next(ids=ids, k=100, documents=[name + "\u200b" for name in names])
    assert {passage.document for passage in only} == set(names)
    assert len(only) == int(released.bundle.bank.num_rows[4:6].sum())


def test_the_reasons_are_cosines_computed_again(released):
    ids = ids_of(released, 3, range(CONTEXT))
    answer = released.next(ids=ids, k=5)
    bank = released.bundle.bank
    read = np.stack([bank.gather(np.array([released.lookup.row(name)]))[0] for name in ids]).astype(np.float64)
    for passage in answer:
        own = bank.gather(np.array([released.lookup.row(passage.id)]))[0].astype(np.float64)
        assert passage.why.context == pytest.approx([float(own @ one) for one in read], abs=1e-6)
        assert passage.why.prediction == pytest.approx(float(own @ read[-1]), abs=1e-6)  # copy-last predicts it
        assert passage.why.rerank == passage.score
        assert passage.text == bank.texts(np.array([released.lookup.row(passage.id)]))[0]


def test_a_batch_answers_as_one_by_one(released):
    questions = [
        Query(ids=ids_of(released, 2, range(3))),
        Query(vectors=some_vectors(1), k=7),
        Query(passages=["A sentence that the bank does not hold."], k=2),
        Query(ids=ids_of(released, 5, range(1)), documents=released.bundle.bank.document_ids[:2]),
        Query(text=sentence(3, 4) + " And then something else that nobody wrote down before.", k=3),
    ]
    together = released.next_batch(questions)
    for question, answer in zip(questions, together, strict=True):
        (alone,) = released.next_batch([question])
        assert [passage.id for passage in alone] == [passage.id for passage in answer]
        assert [passage.score for passage in alone] == pytest.approx([passage.score for passage in answer], abs=1e-6)
        assert len(answer) == question.k


def test_threads_get_the_answers_that_one_gets(released):
    questions = [Query(ids=ids_of(released, n, range(n % 4 + 1)), k=3) for n in range(8)]
    expected = [[passage.id for passage in released.next_batch([question])[0]] for question in questions]
    found: dict[tuple[int, int], list[str]] = {}

    def ask(worker: int) -> None:
        for number in np.random.default_rng(worker).permutation(len(questions)).tolist():
            (answer,) = released.next_batch([questions[number]])
            found[worker, number] = [passage.id for passage in answer]

    threads = [threading.Thread(target=ask, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 * len(questions)
    assert all(answer == expected[number] for (_, number), answer in found.items())


def test_the_prediction_is_what_the_predictor_says(predicting):
    vectors = some_vectors(2, CONTEXT)
    predicted = predicting.predict(vectors=vectors)
    assert predicted.shape == (DIMENSION,)
    assert float(np.linalg.norm(predicted)) == pytest.approx(1.0, abs=1e-5)
    best = predicting.next(vectors=vectors, k=1)[0]
    cosines = predicting.bundle.bank.gather(np.arange(len(predicting.bundle.bank))) @ predicted
    assert best.id == predicting.bundle.bank.passage_ids(np.array([int(np.argmax(cosines))]))[0]
    assert best.score == pytest.approx(float(cosines.max()), abs=1e-6)


def test_words_predict_no_vector(run, tmp_path):
    words = segue.load(run.bundle("bm25", tmp_path / "words"))
    assert not words.predicts
    with pytest.raises(InputError, match="predicts no vector"):
        words.predict(passages=[sentence(1, 1)])
    with pytest.raises(InputError, match="reads texts"):
        words.next(vectors=some_vectors(1))


def test_a_search_predicts_nothing(released):
    vector = np.array(some_vectors(4, 1)[0], dtype=np.float32)
    every = released.bundle.bank.gather(np.arange(len(released.bundle.bank))) @ vector
    found = released.search(vector, 3)
    expected = released.bundle.bank.passage_ids(np.argsort(-every)[:3])
    assert [passage.id for passage in found] == expected
    assert [passage.score for passage in found] == pytest.approx(np.sort(every)[::-1][:3].tolist(), abs=1e-6)


def test_without_its_encoder_a_bundle_knows_the_texts_of_its_bank(bundle):
    bare = segue.load(bundle, texts=False)
    assert len(bare.next(passages=[sentence(2, 2)])) == 5
    with pytest.raises(InputError, match="cannot encode texts"):
        bare.next(passages=["something else"])


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ({}, "one of passages, text, vectors, ids"),
        ({"passages": ["a"], "ids": ["b"]}, "passages and ids"),
        ({"passages": []}, "the query has no passages"),
        ({"passages": "The beginning of a document."}, "passages is one text.*text="),
        ({"text": " \n "}, "the query has no passages"),
        ({"passages": ["a", "  "]}, "passage 1 is empty"),
        ({"passages": ["half a pair: \ud83d"]}, "not valid Unicode"),
        ({"ids": ["nowhere#1"]}, "does not have this passage"),
        ({"ids": ["volume/1 №1#99"]}, "does not have this passage"),
        ({"ids": ["volume/1 №1#-1"]}, "does not have this passage"),
        ({"ids": ["volume/1 №1#1"], "exclude": ["x"]}, "does not have this passage"),
        ({"ids": ["volume/1 №1#1"], "documents": ["x"]}, "does not have this document"),
        ({"ids": ["volume/1 №1#1"], "k": 0}, "k is out of range"),
        ({"vectors": [[1.0] * 5]}, "another dimension"),
        ({"vectors": [1.0] * DIMENSION}, "another dimension"),
        ({"vectors": [[float("nan")] * DIMENSION]}, "NaN"),
        ({"vectors": [[2.0] + [0.0] * (DIMENSION - 1)]}, "length 1"),
        ({"vectors": [[0.0] * DIMENSION]}, "length 1"),
        ({"vectors": [["x"] * DIMENSION]}, "rows of numbers"),
    ],
)
def test_a_question_that_cannot_be_read_says_why(released, question, said):
    with pytest.raises(InputError, match=said):
        released.next(**question)


def test_vectors_that_nearly_are_a_passages_are_that_passage(released):
    bank = released.bundle.bank
    vectors = bank.gather(np.arange(len(bank))).astype(np.float16).astype(np.float32)
    assert released.lookup.rows_of_vectors(vectors) == list(range(len(bank)))
    assert released.lookup.rows_of_vectors(np.array(some_vectors(5, 3), dtype=np.float32)) == [-1, -1, -1]


def at_work(bundle, folder, monkeypatch) -> None:
    """Go to a folder in which the bundle lies as ``bundle``."""
    (folder / "bundle").symlink_to(bundle)
    monkeypatch.chdir(folder)


def test_the_python_of_the_page_runs(bundle, tmp_path, monkeypatch, capsys):
    at_work(bundle, tmp_path, monkeypatch)
    page = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```python\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)
    exec(compile(block, "serving.md", "exec"), {})
    assert len(capsys.readouterr().out.splitlines()) == 5 + 1


def test_the_notebook_runs(bundle, tmp_path, monkeypatch, capsys):
    at_work(bundle, tmp_path, monkeypatch)
    cells = json.loads((ROOT / "examples" / "next_passages.ipynb").read_text(encoding="utf-8"))["cells"]
    names: dict = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), "next_passages.ipynb", "exec"), names)
    assert "192 passages of 16 documents" in capsys.readouterr().out


def test_the_langchain_retriever_answers(bundle, released):
    pytest.importorskip("langchain_core", reason="LangChain is not installed")
    spec = importlib.util.spec_from_file_location("langchain_example", ROOT / "examples" / "langchain_retriever.py")
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    found = example.NextPassages(retriever=released, k=3).invoke(sentence(2, 2))
    assert [one.id for one in found] == [passage.id for passage in released.next(text=sentence(2, 2), k=3)]
