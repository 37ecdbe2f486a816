"""Arrays in, table out: banks of arrays, and comparisons without a recipe."""

import numpy as np
import pytest
import worlds

import segue
from segue.errors import BlockedError, InputError, SettingsError

TEXTS, VECTORS = worlds.essay_texts_and_vectors(documents=60)
DOCUMENTS, LENGTH, DIMENSION = VECTORS.shape
IDS = [f"essay {number}" for number in range(DOCUMENTS) for _ in range(LENGTH)]
FLAT = [text for passages in TEXTS for text in passages]
QUICK = {"evaluation": {"resamples": 100, "latency_queries": 5, "run_depth": 10}}


@pytest.fixture(scope="module")
def comparison():
    bank = segue.PassageBank.from_arrays(VECTORS.reshape(-1, DIMENSION).astype(np.float64), IDS, FLAT)
    return segue.compare(bank, windows={"context": 3}, split={"test": 0.3}, **QUICK)


def test_a_bank_of_arrays_holds_them_in_the_order_of_first_appearance():
    vectors = np.eye(5)
    bank = segue.PassageBank.from_arrays(vectors, ["b", "a", "b", 7, "a"], ["1", "2", "3", "4", "5"])
    assert bank.document_ids == ["b", "a", "7"]
    assert bank.texts(np.arange(5)) == ["1", "3", "2", "5", "4"]
    assert bank.gather(np.arange(5)).tolist() == vectors[[0, 2, 1, 4, 3]].tolist()


def test_a_bank_without_a_folder_goes_when_it_is_no_longer_used():
    bank = segue.PassageBank.from_arrays(np.eye(3), ["a", "a", "b"])
    folder = bank.path
    assert folder.is_dir()
    del bank
    assert not folder.exists()


def test_a_bank_in_a_folder_stays_and_other_arrays_are_refused_there(tmp_path):
    first = segue.PassageBank.from_arrays(np.eye(3), ["a", "a", "b"], path=tmp_path / "bank")
    again = segue.PassageBank.from_arrays(np.eye(3), ["a", "a", "b"], path=tmp_path / "bank")
    assert first.hash == again.hash == segue.PassageBank.open(tmp_path / "bank").hash
    with pytest.raises(InputError):
        segue.PassageBank.from_arrays(np.eye(3), ["a", "b", "b"], path=tmp_path / "bank")


@pytest.mark.parametrize(
    ("vectors", "ids", "texts", "said"),
    [
        (np.eye(3), ["a", "b"], None, "2 document_ids for 3 vectors"),
        (np.eye(3), ["a", "a", "a"], ["one"], "1 texts for 3 vectors"),
        (2 * np.eye(3), ["a", "a", "a"], None, "divide every vector by its length"),
        (np.eye(3, dtype=int), ["a", "a", "a"], None, "float16, float32 or float64"),
        (np.full((2, 2), np.nan), ["a", "a"], None, "NaN"),
        (np.empty((0, 4)), [], None, "not a matrix of numbers"),
    ],
)
def test_arrays_that_cannot_be_a_bank_are_refused_with_what_to_do(vectors, ids, texts, said):
    with pytest.raises(InputError, match=said):
        segue.PassageBank.from_arrays(vectors, ids, texts)


def test_baselines_are_compared_without_a_recipe_and_nothing_is_trained(comparison):
    assert comparison.record.blocked == ()
    assert comparison.winner in {"copy-last", "mean", "exp-mean", "ridge", "bm25", "bm25-context"}
    assert all(entry.training is None for entry in comparison.record.entries)


def test_entries_as_pandas_have_the_winner_first_and_then_the_best(comparison):
    frame = comparison.to_pandas()
    assert frame["name"][0] == comparison.winner
    others = frame[(frame["intent"] == "candidate") & (frame["status"] == "done")]["R@5"].tolist()[1:]
    assert others == sorted(others, reverse=True)
    copied = frame.set_index("name").loc["copy-last"]
    assert copied["R@5"] == comparison.metric("copy-last", "R@5")
    assert copied["R@5 low"] <= copied["R@5"] <= copied["R@5 high"]


def test_windows_as_pandas_give_the_metrics_of_the_entries(comparison):
    frame = comparison.to_pandas(per="window")
    copied = frame[frame["entry"] == "copy-last"]
    assert len(copied) == comparison.record.windows
    assert (copied["rank"] <= 5).mean() == pytest.approx(comparison.metric("copy-last", "R@5"))
    assert (1 / copied["rank"]).mean() == pytest.approx(comparison.metric("copy-last", "MRR"))
    assert set(copied["document"]) <= set(IDS)


def test_a_comparison_prints_as_the_table_and_as_html(comparison):
    assert "copy-last" in str(comparison)
    assert "<pre>" in comparison._repr_html_()
    assert "Models are of size" not in str(comparison)  # nothing was trained


def test_plots_of_a_comparison_are_figures(comparison, tmp_path):
    figure = comparison.plot()
    assert "copy-last" in [label.get_text().strip("★ ") for label in figure.axes[0].get_yticklabels()]
    figure.savefig(tmp_path / "intervals.png")
    assert (tmp_path / "intervals.png").read_bytes() == figure._repr_png_()
    with pytest.raises(InputError, match="needs an option that was trained"):
        comparison.plot("curves")


def test_blocked_numbers_are_neither_frame_nor_plot(comparison):
    record = comparison.record.model_copy(update={"blocked": ("SG101",)})
    blocked = type(comparison)(comparison.path, record)
    with pytest.raises(BlockedError, match="SG101"):
        blocked.to_pandas()
    with pytest.raises(BlockedError, match="SG101"):
        blocked.plot()


def test_a_run_in_a_folder_of_its_own_stays(tmp_path):
    bank = segue.PassageBank.from_arrays(VECTORS.reshape(-1, DIMENSION), IDS, path=tmp_path / "bank")
    found = segue.compare(tmp_path / "bank", ["copy-last"], out=tmp_path / "run", windows={"context": 3}, **QUICK)
    assert (tmp_path / "run" / "report.html").is_file()
    assert not segue.audit(tmp_path / "run").blocked
    assert found.record.pool == len(bank)


def test_a_comparison_is_opened_from_its_folder_and_named_on_one_line(comparison, tmp_path):
    again = segue.Comparison.open(comparison.path)
    assert str(again) == str(comparison)
    assert str(comparison.path) in repr(again)
    assert again.winner in repr(again)
    assert "\n" not in repr(again)
    with pytest.raises(InputError, match=r"holds no comparison.*segue triage"):
        segue.Comparison.open(tmp_path)


def test_a_recipe_may_be_its_tables(tmp_path):
    bank = segue.PassageBank.from_arrays(VECTORS.reshape(-1, DIMENSION), IDS, FLAT, path=tmp_path / "bank")
    place = str(bank.path)
    tables = {"corpus": {"kind": "bank", "path": place}, "bank": {"path": place}, "windows": {"context": 3},
              "triage": {"options": ["copy-last", "chance"]}, **QUICK}  # fmt: skip
    assert segue.audit(tables).blocked == []
    assert segue.triage(tables, tmp_path / "run").metric("copy-last", "R@5") > 0
    with pytest.raises(SettingsError, match="contxt"):
        segue.triage({**tables, "windows": {"contxt": 3}}, tmp_path / "other")
