"""Several workers answer on one port, and one that dies is replaced."""

import os
import signal
import time

import httpx
import psutil
import pytest
from bundle_world import PATIENCE, serving, some_vectors
from processes import die, refuse

from segue.bundles.store import promote
from segue.errors import SegueError
from segue.serving.settings import MULTIPROCESS
from segue.serving.workers import Supervisor

REQUESTS = 'segue_requests_total{route="/v1/next",status="200"}'


def workers_of(server):
    """Return the ids of the processes that the server's process began, without multiprocessing's own tracker."""
    children = psutil.Process(server.pid).children()
    return {child.pid for child in children if "spawn_main" in " ".join(child.cmdline())}


def ask(address):
    """Send a query on a connection of its own and return the version that answered."""
    answer = httpx.post(f"{address}/v1/next", json={"vectors": some_vectors(1), "k": 2}, timeout=PATIENCE)
    assert answer.status_code == 200
    return answer.json()["bundle"]


def counted(address, name):
    lines = httpx.get(f"{address}/metrics", timeout=PATIENCE).text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def until(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.3)


def test_workers_answer_alone_are_replaced_change_the_bundle_and_stop_together(run, bundle, tmp_path):
    folder = tmp_path / "bundles"
    first, other = promote(bundle, folder), run.bundle("mlp", tmp_path / "other")
    with serving(folder, "--workers", "2") as (address, server):

        def serve(version):
            return counted(address, f'segue_bundle{{name="a test bundle",version="{version}"}}')

        until(lambda: serve(first) == 2)
        workers = workers_of(server)
        assert len(workers) == 2
        for stopped in workers:  # so the other one answers
            os.kill(stopped, signal.SIGSTOP)
            assert ask(address) == first
            os.kill(stopped, signal.SIGCONT)
        assert counted(address, REQUESTS) == 2, "the counts of both"
        dead, kept = workers
        os.kill(dead, signal.SIGKILL)
        assert [ask(address) for _ in range(3)] == [first] * 3
        until(lambda: len(workers_of(server) - {dead}) == 2 and serve(first) == 2)
        assert kept in workers_of(server)
        assert counted(address, REQUESTS) == 5, "a dead worker's requests are still counted"
        second = promote(other, folder)
        until(lambda: serve(second) == 2)
        assert serve(first) == 0
        assert ask(address) == second
        ended = workers_of(server)
        server.terminate()
        assert server.wait(PATIENCE) == 0
        assert not any(psutil.pid_exists(worker) for worker in ended)
        assert f"worker {dead} ended (exit code -9); another one begins" in server.stderr.read()


@pytest.mark.parametrize(("work", "message"), [(refuse, "no such bundle"), (die, "ended before it answered")])
def test_a_first_worker_that_cannot_begin_is_the_only_one_and_its_error_is_raised(work, message):
    lines = []
    with pytest.raises(SegueError, match=message):
        Supervisor(work, 3).run(lines.append)
    assert lines == []
    assert MULTIPROCESS not in os.environ
