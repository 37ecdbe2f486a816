"""Work on a Ray cluster gives the bits of local work, whatever ends on the way; one cluster serves all tests."""

from __future__ import annotations

import dataclasses
import os
import socket
import threading
from types import SimpleNamespace

import mortal
import numpy as np
import pytest
import ray
import worlds
from bank.test_build import DOCUMENTS as DOCUMENTS_OF_BANK
from bank.test_build import PASSAGES, SMALL, ListReader, build, files
from comparison.test_tasks import hashes
from comparison.test_triage import job_on, without_times
from fake_encoder import HashEncoder
from ray.cluster_utils import Cluster

from segue import cluster
from segue.bank.build import build_bank
from segue.bank.changes import change
from segue.cluster import VARIABLES, ComputeSettings, RayExecutor, connected, places
from segue.comparison.entries.baselines import Baselines
from segue.comparison.options import choose_options
from segue.comparison.run import run_triage
from segue.comparison.summary import compare
from segue.comparison.tasks import open_workers
from segue.errors import InputError, SettingsError, SpaceError, StorageError
from segue.ranking.exact import target_ranks
from segue.ranking.pool import Pool
from segue.ranking.shards import over_shards
from segue.types import Document

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.*")  # of its own settings
OPTIONS = choose_options(["infonce", "mlp"])  # the second takes the loss that won
RAY = ComputeSettings(executor="ray", processes=2)


def free_ports(count: int) -> list[int]:
    """Return ports that nothing listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@pytest.fixture(scope="module")
def address():
    """A cluster of this machine with two CPUs; its ports are named, since it waits for those only a few seconds."""
    names = ("metrics_agent_port", "dashboard_agent_listen_port", "runtime_env_agent_port")
    head = {"num_cpus": 2, "object_store_memory": 100 * 2**20, "include_dashboard": False}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**VARIABLES, "RAY_AUTH_MODE": "disabled"}.items():
            patch.setenv(name, value)
        started = Cluster(True, head_node_args={**head, **dict(zip(names, free_ports(3), strict=True))})
        yield started.address
        started.shutdown()


@pytest.fixture(scope="module")
def connection(address):
    """The connection of these tests, whose processes serve all of them."""
    with connected(RAY.model_copy(update={"address": address})) as module:
        yield module


def test_a_cluster_that_was_there_stays(address):
    settings = RAY.model_copy(update={"address": address})
    for _ in range(2):
        with connected(settings) as module:
            assert places(module, settings) == 2
        assert not ray.is_initialized()


def test_a_comparison_gives_the_bits_of_one_process_though_a_worker_is_killed(tmp_path, connection):
    world = {one.name: getattr(worlds.drift_world(2, 14, 10, 16), one.name)
             for one in dataclasses.fields(worlds.MemoryBank)}  # fmt: skip
    bank = mortal.MortalBank(**world, marker=tmp_path / "died", owner=os.getpid(), most=40)
    alone, beside = (job_on(bank, tmp_path / name, OPTIONS, folds=2) for name in ("one", "ray"))
    expected = run_triage(alone.with_tables(compute=ComputeSettings(processes=1)))
    beside = beside.with_tables(compute=RAY)
    found = run_triage(beside)
    assert (tmp_path / "died").exists()
    assert hashes(found) == hashes(expected)
    assert without_times(compare(beside, found).to_json()) == without_times(compare(alone, expected).to_json())
    assert not list(beside.out.rglob("progress.json"))
    assert connection.is_initialized()


def test_a_run_folder_that_a_machine_does_not_see_is_named(tmp_path, connection):
    made = job_on(worlds.drift_world(2, 14, 10, 16), tmp_path / "run", OPTIONS, folds=2).with_tables(compute=RAY)
    made = dataclasses.replace(made, out=tmp_path / "elsewhere")
    with (
        open_workers(made, Baselines(made)) as workers,
        pytest.raises(StorageError, match=r"does not see the folder.*elsewhere"),
    ):
        workers.call(str).result()


def test_a_bank_has_the_bytes_of_a_local_one_though_an_actor_is_killed(tmp_path, connection):
    local = build(tmp_path / "local")
    encoder = mortal.MortalEncoder(tmp_path / "died")
    bank = build(tmp_path / "ray", encoder=encoder, compute=RAY)
    assert (tmp_path / "died").exists()
    assert encoder.encoded == []  # nothing was encoded here
    assert bank.hash == local.hash
    assert files(tmp_path / "ray") == files(tmp_path / "local")


def test_an_update_encodes_new_texts_on_the_cluster_and_has_the_bytes_of_a_local_one(tmp_path, connection):
    """The first new shard repeats what the bank holds, so nothing of it is sent."""
    old, *others = DOCUMENTS_OF_BANK[5], *DOCUMENTS_OF_BANK[:5], *DOCUMENTS_OF_BANK[6:]
    news = ["This sentence follows the others of its document.", "A document that the bank did not have."]
    items = [Document(old.id, old.title, (*old.paragraphs, news[0])), *others, Document("new", "", (news[1],))]
    done, encoded = {}, {}
    for name, compute in (("local", None), ("ray", RAY)):
        bank, encoder = build(tmp_path / name), HashEncoder()
        done[name] = change(bank, items, encoder, replace=True, passages=PASSAGES, compute=compute)
        encoded[name] = encoder.encoded
    assert encoded == {"local": news, "ray": []}
    assert (done["ray"].added, done["ray"].changed) == (("new",), (old.id,))
    assert done["ray"].bank.hash == done["local"].bank.hash
    assert files(tmp_path / "ray") == files(tmp_path / "local")


def test_a_machine_with_another_encoder_is_refused_and_the_build_goes_on_later(tmp_path, connection):
    with pytest.raises(SpaceError, match="the encoder on a machine of the Ray cluster"):
        build_bank(ListReader(DOCUMENTS_OF_BANK), mortal.other_encoder, tmp_path / "bank", passages=PASSAGES,
                   settings=SMALL, compute=RAY)  # fmt: skip
    assert not list((tmp_path / "bank").glob("shard-*.json"))


def test_shards_are_counted_by_the_cluster(connection):
    bank = worlds.noise_world(1, 20, 12, 16)
    pool, rows = Pool(bank), np.arange(40)
    queries, targets, exclude = bank.gather(rows), rows + 100, rows[:, None]
    scores = queries.astype(np.float64) @ bank.gather(np.arange(len(bank))).astype(np.float64).T
    scores[rows, rows] = -np.inf
    expected = 1 + (scores > scores[rows, targets][:, None] - 1e-6).sum(axis=1) - 1  # the target is above its own line
    with RayExecutor(connection, RAY) as executor:
        counted = over_shards(pool, 3, executor)
        ranks = target_ranks(queries, pool, targets, exclude=exclude, count=counted)
        with pytest.raises(ValueError, match="invalid literal"):
            executor.submit(int, "no number").result()
    assert ranks.tolist() == expected.tolist()


def test_workers_that_are_lost_again_and_again_end_in_one_error(connection, monkeypatch):
    monkeypatch.setattr(cluster, "RETRIES", 0)
    with RayExecutor(connection, RAY) as executor, pytest.raises(StorageError, match="ended before its task did"):
        executor.submit(mortal.die).result()


def test_an_address_where_nothing_answers_is_refused_before_anything_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    (port,) = free_ports(1)
    there = ComputeSettings(executor="ray", address=f"127.0.0.1:{port}")
    with pytest.raises(InputError, match=rf"the Ray cluster at 127.0.0.1:{port} does not answer: got .*refused"):
        build(tmp_path / "bank", compute=there)
    assert not (tmp_path / "bank").exists()


def test_an_address_where_something_else_answers_is_refused(monkeypatch):
    monkeypatch.setattr(ray, "is_initialized", lambda: False)

    def answer() -> None:
        line, _ = server.accept()
        with line:
            line.recv(100)
            line.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=answer, daemon=True).start()
        there = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(InputError, match="no Ray cluster"), connected(
            ComputeSettings(executor="ray", address=there)
        ):  # fmt: skip
            pass


def test_tasks_are_as_many_as_machines_have_room_for():
    """Machines of 8 CPUs and 1 GPU, and of 3 CPUs; a third one is gone."""
    machines = [
        {"Alive": True, "Resources": {"CPU": 8.0, "GPU": 1.0, "memory": 16 * 2**30}},
        {"Alive": True, "Resources": {"CPU": 3.0, "memory": 64 * 2**30}},
        {"Alive": False, "Resources": {"CPU": 100.0}},
    ]
    of = SimpleNamespace(nodes=lambda: machines)

    def room(**table: float) -> int:
        return places(of, ComputeSettings(executor="ray", **table))

    assert room() == 11
    assert room(processes=4) == 4
    assert room(threads=2) == 4 + 1
    assert room(cpus=1.5) == 5 + 2
    assert room(gpus=0.5) == 2
    assert room(memory_gb=8) == 2 + 3
    with pytest.raises(SettingsError, match="no machine of the Ray cluster has room"):
        room(gpus=2)
    assert room(gpus=2, processes=3) == 3  # they come when they are wanted


def test_keys_for_a_cluster_are_refused_without_one():
    with pytest.raises(ValueError, match=r"gpus is for a Ray cluster.*write executor = \"ray\""):
        ComputeSettings(gpus=1)
    with pytest.raises(ValueError, match=r"address is not that of a Ray cluster: got 'ray://head'"):
        ComputeSettings(executor="ray", address="ray://head")
