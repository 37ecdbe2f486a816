"""Bad requests: each is refused with a clear body, the server lives on, and others are served meanwhile."""

import json
import os
import signal
import socket
import threading
import time
import warnings
from functools import partial
from http.client import HTTPConnection
from urllib.parse import urlsplit

import httpx
import psutil
import pytest
from bad_requests import bad_requests
from bundle_world import DIMENSION, PATIENCE, serving, some_vectors

get = partial(httpx.get, timeout=PATIENCE)
post = partial(httpx.post, timeout=PATIENCE)

BODY_BYTES = 300_000
LIMITS = {"body_bytes": BODY_BYTES, "concurrency": 8, "connections": 120}


@pytest.fixture(scope="module")
def server(run, tmp_path_factory):
    """A server of a predictor, with limits that can be reached."""
    bundle = run.bundle("mlp", tmp_path_factory.mktemp("served") / "bundle")
    words = [word for name, value in LIMITS.items() for word in ("--limit", f"{name}={value}")]
    with serving(bundle, *words) as (address, process):
        yield address, process


class Others(threading.Thread):
    """A client that goes on asking what it may ask."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self.address, self.statuses = address, []
        self.done = threading.Event()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.join()

    def run(self) -> None:
        with httpx.Client(base_url=self.address, timeout=PATIENCE) as client:
            while not self.done.is_set():
                self.statuses.append(client.post("/v1/next", json={"vectors": some_vectors(1)}).status_code)
                time.sleep(0.01)


def ask(client: httpx.Client, bad) -> httpx.Response:
    request = client.build_request(bad.method, client.base_url, content=bad.content or None, headers=bad.headers)
    request.url = request.url.copy_with(raw_path=bad.path.encode())  # as it is, dots and all
    return client.send(request)


def test_over_200_bad_requests_are_refused_while_others_are_served_and_memory_stays(server):
    address, process = server
    corpus = bad_requests(DIMENSION, BODY_BYTES)
    assert len(corpus) >= 200
    assert len({bad.name for bad in corpus}) == len(corpus)
    with httpx.Client(base_url=address, timeout=PATIENCE) as client, Others(address) as others:
        wrong = [f"{bad.name}: {found}" for bad in corpus if (found := refused(client, bad))]
        memory = psutil.Process(process.pid).memory_info().rss
        for bad in corpus:
            ask(client, bad)
        until(lambda: len(others.statuses) > 10)
        grown = psutil.Process(process.pid).memory_info().rss - memory
    assert wrong == []
    assert process.poll() is None
    assert grown < 24 * 2**20, f"{grown / 2**20:.1f} MB more after the second round"
    assert set(others.statuses) == {200}


def refused(client: httpx.Client, bad) -> str:
    """Return what is wrong with the answer to a bad request; nothing where it is as it should be."""
    answer = ask(client, bad)
    if answer.status_code not in bad.deserves:
        return f"status {answer.status_code} instead of {bad.deserves}, {answer.text[:200]}"
    if bad.method == "HEAD":
        return ""
    error = answer.json().get("error", {})
    if not (error.get("code") and error.get("message")):
        return f"no error in {answer.text[:200]}"
    return "a traceback" if "Traceback" in answer.text or 'File "' in answer.text else ""


HEAD = b"POST /v1/next HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
RAW = {
    "nonsense": b"hello\r\n\r\n",
    "zeros": b"\x00" * 200,
    "no path": b"GET\r\n\r\n",
    "a TLS greeting": bytes.fromhex("16030100f2010000ee0303") + b"\x00" * 100,
    "a huge head": b"GET / HTTP/1.1\r\nhost: localhost\r\nx: " + b"a" * 200_000 + b"\r\n\r\n",
    "a negative length": b"POST /v1/next HTTP/1.1\r\nhost: localhost\r\ncontent-length: -5\r\n\r\n{}",
    "two lengths": b"POST /v1/next HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
    "a length in words": b"POST /v1/next HTTP/1.1\r\nhost: localhost\r\ncontent-length: two\r\n\r\n{}",
    "bad chunks": HEAD + b"transfer-encoding: chunked\r\n\r\nxyz\r\n{}\r\n0\r\n\r\n",
    "a folded header": b"GET / HTTP/1.1\r\nhost: localhost\r\na: b\r\n c\rd\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "a promise of more": HEAD + b"content-length: 99999999999999999999\r\n\r\n{}",
}


@pytest.mark.parametrize("name", RAW)
def test_what_is_no_http_is_refused(server, name):
    address, _ = server
    with connection(address) as one:
        one.sendall(RAW[name])
        try:
            answer = one.recv(4096)
        except ConnectionResetError:
            answer = b""
    assert answer == b"" or answer.split(b" ")[1].startswith(b"4"), answer[:200]
    assert get(f"{address}/healthz").status_code == 200


def connection(address: str) -> socket.socket:
    place = urlsplit(address)
    return socket.create_connection((place.hostname, place.port))


def test_clients_that_send_slowly_keep_no_other_waiting(server):
    """How long they may take is a proxy's business; here they must not count as requests being worked on."""
    address, _ = server
    slow = [connection(address) for _ in range(30)]
    for number, one in enumerate(slow):
        one.sendall(HEAD + (b"content-length: 500\r\n\r\n{" if number % 2 else b""))
    with Others(address) as others:
        until(lambda: len(others.statuses) > 20)
    for one in slow:
        one.close()
    assert set(others.statuses) == {200}


def test_connections_are_bounded(server):
    address, process = server
    many = [connection(address) for _ in range(LIMITS["connections"])]
    refused = get(f"{address}/healthz")
    for one in many:
        one.close()
    assert refused.status_code == 503
    until(lambda: get(f"{address}/healthz").status_code == 200)
    assert process.poll() is None


def test_clients_that_go_away_leave_nothing_behind(server):
    address, _ = server
    for number in range(40):
        with connection(address) as one:
            body = json.dumps({"vectors": some_vectors(number)}).encode()
            one.sendall((HEAD + b"content-length: %d\r\n\r\n" % len(body) + body)[: 60 + 9 * number])
    until(lambda: "segue_requests_in_progress 1.0" in get(f"{address}/metrics").text)  # the one that asks
    assert post(f"{address}/v1/next", json={"vectors": some_vectors(1)}).status_code == 200


def until(true) -> None:
    """Wait, however slow the machine is; the time limit of every test ends what does not come to pass."""
    while not true():
        time.sleep(0.05)


def test_more_than_it_can_do_at_once_is_told_to_come_again(server):
    """While the process is stopped more requests arrive than may be worked on; then it answers or refuses each."""
    address, process = server
    place, body = urlsplit(address), json.dumps({"text": "Something new. " * 400})
    clients = [HTTPConnection(place.hostname, place.port) for _ in range(40)]
    os.kill(process.pid, signal.SIGSTOP)
    try:
        for client in clients:  # the kernel takes a whole request while the process is stopped
            client.request("POST", "/v1/next", body, {"content-type": "application/json"})
    finally:
        os.kill(process.pid, signal.SIGCONT)
    found = []
    for client in clients:
        answer = client.getresponse()
        found.append((answer.status, answer.headers["retry-after"], json.load(answer).get("error", {}).get("code")))
        client.close()
    assert set(found) == {(200, None, None), (429, "1", "too_many_requests")}


def test_schemathesis_finds_no_server_error(server):
    """Requests drawn from the OpenAPI document, right and wrong ones, on every path."""
    address, _ = server
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tool's own
        import schemathesis
        from hypothesis import HealthCheck, Phase, given, settings
        from schemathesis import GenerationMode
        from schemathesis.checks import not_a_server_error
        from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

        schema = schemathesis.openapi.from_url(f"{address}/openapi.json")
        tried = 0
        for found in schema.get_all_operations():
            operation = found.ok()
            can_be_wrong = len(operation.body) + len(operation.query) > 0  # any string is an id, and may be unknown
            for mode in [GenerationMode.POSITIVE, *([GenerationMode.NEGATIVE] if can_be_wrong else [])]:

                @given(case=operation.as_strategy(generation_mode=mode))
                @settings(max_examples=8, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
                          suppress_health_check=list(HealthCheck))  # fmt: skip
                def check(case) -> None:
                    case.call_and_validate(
                        checks=[not_a_server_error, content_type_conformance, response_schema_conformance]
                    )

                check()
                tried += 1
    assert tried >= 10
