"""An index in LanceDB follows its bank without being built again, while others search it."""

import subprocess
import sys

import numpy as np
import pytest
from worlds import drift_world, unit

from segue.bank.bank import PassageBank
from segue.bank.changes import append_bank, remove
from segue.bank.lance import connect
from segue.errors import InputError
from segue.ranking.exact import top_k
from segue.ranking.pool import Pool
from segue.retrieval.index.store import build_index, index_settings, load_index, save_index, update_index
from segue.retrieval.index.tuning import recall_of, tune

VECTORS = drift_world(3, 30, 20, 16).vectors  # 600 passages


def bank_of(folder, start, stop, *, length=20) -> PassageBank:
    """Return a bank of some of the vectors, in documents of so many passages."""
    names = [f"d{row // length}" for row in range(start, stop)]
    return PassageBank.from_arrays(VECTORS[start:stop], names, path=folder)


def queries_between(count=60):
    rows = np.linspace(1, len(VECTORS) - 2, count).astype(int)
    return unit(sum(VECTORS[rows + step] for step in (-1, 0, 1)))


def nothing(count):
    return np.empty((count, 0), dtype=np.int64)


@pytest.mark.parametrize("codes", ["scalar", "product"])
def test_codes_reach_the_recall_by_scoring_more_members(tmp_path, codes):
    pool = Pool(bank_of(tmp_path / "bank", 0, 600))
    built = build_index(pool, index_settings("lance", codes=codes, components_per_code=2, lists=2))
    built.engine.efforts = lambda: [{"lists": 1, "refined": 1}, {"lists": 2, "refined": 16}]
    tuned = tune(built, queries_between(), exclude=np.full((60, 1), 7), target=0.99, k=20)
    assert tuned.chosen.effort == {"lists": 2, "refined": 16}
    assert tuned.confirmed > 0.98


def test_tuning_counts_the_processor_time_of_the_threads_that_search(tmp_path, monkeypatch):
    built = build_index(Pool(bank_of(tmp_path / "bank", 0, 600)), index_settings("lance", codes="none", lists=1))
    ticks = iter(range(10_000))
    monkeypatch.setattr(type(built.engine), "clock", staticmethod(lambda: next(ticks)))
    tuned = tune(built, queries_between(), exclude=nothing(60), target=0.99, k=20)
    assert tuned.chosen.processor_ms == 1000


def test_an_update_deletes_and_appends_and_a_searcher_keeps_its_version(tmp_path):
    bank = bank_of(tmp_path / "bank", 0, 400)
    save_index(build_index(Pool(bank), index_settings("lance", lists=1)), tmp_path / "index")
    before = load_index(tmp_path / "index", Pool(bank))
    grown = append_bank(bank, bank_of(tmp_path / "new", 400, 600))
    now = Pool(remove(grown, ["d0", "d25"]).bank)
    with pytest.raises(InputError, match=r"9 documents added, 0 changed, 1 removed.* run .segue index update"):
        load_index(tmp_path / "index", now)
    queries, exclude = queries_between(), np.full((60, 2), [410, -1])
    updated = update_index(tmp_path / "index", now)
    for one in (updated, load_index(tmp_path / "index", now)):
        found = one.search(queries, 20, exclude=exclude)
        wanted = top_k(queries, now, 20, exclude=exclude)
        assert recall_of(queries, now, wanted, found).mean() == 1
        assert not np.isin(found.rows, [*range(20), *range(500, 520), 410]).any()
        assert np.isin(found.rows, range(520, 600)).any()
    found = before.search(queries, 20, exclude=nothing(60))
    assert recall_of(queries, before.pool, top_k(queries, before.pool, 20, exclude=nothing(60)), found).mean() == 1


def test_other_kinds_and_other_banks_are_not_updated(tmp_path):
    bank = bank_of(tmp_path / "bank", 0, 400)
    save_index(build_index(Pool(bank), index_settings("inverted-lists", lists=1)), tmp_path / "lists")
    with pytest.raises(InputError, match="got kind inverted-lists, expected kind lance"):
        update_index(tmp_path / "lists", Pool(bank))
    save_index(build_index(Pool(bank), index_settings("lance", lists=1)), tmp_path / "index")
    with pytest.raises(InputError, match="was built over another bank"):
        update_index(tmp_path / "index", Pool(bank_of(tmp_path / "other", 0, 420)))


KILLED = """
import os, signal, sys
from pathlib import Path
from segue.bank.bank import PassageBank
from segue.ranking.pool import Pool
from segue.retrieval.index import store

store.write_json = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
store.update_index(Path(sys.argv[1]), Pool(PassageBank.open(sys.argv[2])))
"""


def test_a_kill_in_an_update_leaves_the_last_version(tmp_path):
    bank = bank_of(tmp_path / "bank", 0, 400)
    pool = Pool(bank)
    save_index(build_index(pool, index_settings("lance", lists=1)), tmp_path / "index")
    before = PassageBank.open(bank.path)
    grown = append_bank(bank, bank_of(tmp_path / "new", 400, 600))
    command = [sys.executable, "-c", KILLED, str(tmp_path / "index"), str(bank.path)]
    assert subprocess.run(command, check=False).returncode == -9
    assert connect(tmp_path / "index" / "lance").open_table("members").count_rows() == 600
    queries = queries_between(20)
    found = load_index(tmp_path / "index", Pool(before)).search(queries, 10, exclude=nothing(20))
    assert np.array_equal(found.rows, top_k(queries, Pool(before), 10, exclude=nothing(20)).rows)
    found = update_index(tmp_path / "index", Pool(grown)).search(queries, 10, exclude=nothing(20))
    assert np.array_equal(found.rows, top_k(queries, Pool(grown), 10, exclude=nothing(20)).rows)
