"""The commands of LanceDB, and a hundred appends while another thread searches."""

import json
import threading

import numpy as np
from command_line import run
from worlds import drift_world

import segue
from segue.bank.changes import append_bank
from segue.bank.lance import connect

VECTORS = drift_world(3, 30, 20, 16).vectors  # 600 passages


def bank_of(folder, start, stop):
    """Return a bank of some of the vectors, in documents of five passages."""
    return segue.PassageBank.from_arrays(
        VECTORS[start:stop], [f"d{row // 5}" for row in range(start, stop)], path=folder
    )


def test_the_commands_convert_both_ways_and_keep_an_index_up_to_date(tmp_path, capsys):
    bank, lance, index = (str(tmp_path / name) for name in ("bank", "lance", "index"))
    bank_of(bank, 0, 300)
    assert run("bank", "convert", bank, lance, "--json", "-q") == 0
    first = json.loads(capsys.readouterr().out)
    assert (first["passages"], first["added"]) == (300, 300)
    assert run("index", "build", bank, "--out", index, "--kind", "lance", "--json", "-q") == 0
    segue.add_to_bank(bank, bank_of(tmp_path / "new", 300, 320).path)
    segue.remove_from_bank(bank, ["d0"])
    capsys.readouterr()
    assert run("bank", "convert", bank, lance, "--json", "-q") == 0
    now = json.loads(capsys.readouterr().out)
    assert (now["passages"], now["added"], now["removed"]) == (315, 20, 5)
    assert run("index", "update", index, bank, "--json", "-q") == 0
    assert json.loads(capsys.readouterr().out)["members"] == 315
    assert run("bank", "convert", lance, str(tmp_path / "back"), "--json", "-q") == 0
    assert (
        segue.PassageBank.open(tmp_path / "back", verify=True).hash == segue.PassageBank.open(bank).hash == now["hash"]
    )
    assert run("bank", "convert", lance, str(tmp_path / "before"), "--at", first["hash"][:8], "-q") == 0
    assert len(segue.PassageBank.open(tmp_path / "before")) == 300
    assert run("bank", "convert", bank, lance, "--at", "abc", "-q") == 2


def test_a_hundred_appends_while_searching_lose_nothing(tmp_path):
    """Each answer is the exact one over the rows that its version holds, and at the end all rows are there.

    A search begins with every third append and runs beside the next ones.
    """
    bank = bank_of(tmp_path / "bank", 0, 100)
    segue.convert_bank(bank, tmp_path / "lance")
    seen, wrong, stop, begin = set(), [], threading.Event(), threading.Semaphore(0)

    def search():
        table = connect(tmp_path / "lance").open_table("passages")
        while begin.acquire() and not stop.is_set():
            table.checkout_latest()
            table.checkout(table.version)
            count = table.count_rows()
            query = VECTORS[count - 1]
            found = table.search(query).distance_type("dot").limit(5).select(["row", "_distance"]).to_arrow()
            wanted = np.argsort(-(VECTORS[:count] @ query), kind="stable")[:5]
            if set(found["row"].to_pylist()) != set(wanted.tolist()):
                wrong.append((count, found["row"].to_pylist(), wanted.tolist()))
            seen.add(count)

    searcher = threading.Thread(target=search)
    searcher.start()
    try:
        for start in range(100, 600, 5):
            if start % 15 == 0:
                begin.release()
            bank = append_bank(bank, bank_of(tmp_path / f"new{start}", start, start + 5))
            assert segue.convert_bank(bank, tmp_path / "lance").added == 5
    finally:
        stop.set()
        begin.release()
        searcher.join()
    assert wrong == []
    assert len(seen) > 10
    assert seen <= set(range(100, 601, 5))
    table = connect(tmp_path / "lance").open_table("passages").to_arrow().sort_by("row")
    assert table["row"].to_pylist() == list(range(600))
    assert np.array_equal(np.array(table["vector"].to_pylist(), dtype="float32"), VECTORS)
