"""The HTTP API through a real server process: what it answers, keys, hot swap and a graceful end under load."""

import json
import re
import shlex
import signal
import threading
import time
from functools import partial
from pathlib import Path

import command_line
import httpx
import pytest
from bundle_world import CONTEXT, PATIENCE, sentence, serving, some_vectors

import segue
from segue.bundles.store import promote
from segue.serving.limits import new_key

get = partial(httpx.get, timeout=PATIENCE)

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def released(bundle):
    return segue.load(bundle)


@pytest.fixture(scope="module")
def client(bundle):
    with serving(bundle) as (address, _), httpx.Client(base_url=address, timeout=PATIENCE) as one:
        yield one


def readme_request() -> tuple[str, dict]:
    """Return the path and the body of the README's curl."""
    line = re.search(r"^curl .*$", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.MULTILINE).group()
    words = shlex.split(line)
    assert words[0] == "curl"
    assert words[2] == "--json"
    return "/" + words[1].partition("/")[2], json.loads(words[3])


def test_the_curl_of_the_readme_is_answered(client):
    path, body = readme_request()
    answer = client.post(path, json=body)
    assert answer.status_code == 200
    assert len(answer.json()["passages"]) == body["k"]


def test_next_is_what_python_answers(client, released):
    texts = [sentence(2, place) for place in range(4, 4 + CONTEXT)]
    for asked in ({"passages": texts}, {"text": "\n\n".join(texts)}, {"vectors": some_vectors(3)}):
        expected = released.next(**asked, k=6)
        body = client.post("/v1/next", json={**asked, "k": 6}).json()
        assert [passage["id"] for passage in body["passages"]] == [passage.id for passage in expected]
        assert [one["score"] for one in body["passages"]] == pytest.approx([one.score for one in expected], abs=1e-6)
        assert [one["id"] for one in body["read"]] == list(expected.read)
    for passage, own in zip(body["passages"], expected, strict=True):
        assert passage["why"]["context"] == pytest.approx(own.why.context, abs=1e-6)


def test_it_marks_the_true_next_passage_and_draws_a_map(client):
    body = client.post("/v1/next", json={"ids": ["volume/2 №2#0", "volume/2 №2#1"], "k": 3, "map": True}).json()
    assert body["true_next"] == "volume/2 №2#2"
    assert len(body["map"]["read"]) == 2
    assert len(body["map"]["passages"]) == 3
    assert client.post("/v1/next", json={"ids": ["volume/2 №2#11"]}).json()["true_next"] is None


def test_predict_and_search(client, released):
    vectors = some_vectors(5)
    predicted = client.post("/v1/predict", json={"vectors": vectors}).json()["vector"]
    assert predicted == pytest.approx(released.predict(vectors=vectors).tolist(), abs=1e-6)
    found = client.post("/v1/search", json={"text": sentence(7, 3), "k": 1}).json()["passages"]
    assert found[0]["text"] == sentence(7, 3)
    assert found[0]["score"] == pytest.approx(1.0, abs=1e-5)


def test_passages_and_documents(client):
    name = "volume/3 №3"
    page = client.get("/v1/documents", params={"contains": "VOL\u00adUME/3"}).json()
    assert [one["id"] for one in page["documents"]] == [name]
    passages = client.get("/v1/passages", params={"document": name, "offset": 10, "limit": 5}).json()
    assert passages["total"] == 12
    assert [one["text"] for one in passages["passages"]] == [sentence(3, 10), sentence(3, 11)]
    one = client.get("/v1/passages/volume%2F3%20%E2%84%963%2310")
    assert one.json()["text"] == sentence(3, 10)
    assert client.get("/v1/passages/nothing%231").status_code == 404
    assert client.get("/v1/passages", params={"document": "nothing"}).status_code == 404


def test_info_tells_the_contract_the_gates_and_the_card(client, released):
    info = client.get("/v1/info").json()
    assert info["bundle"] == released.bundle.version
    assert info["contract"]["context"] == CONTEXT
    assert info["card"].startswith("---\nlibrary_name: segue")
    assert info["limits"]["k"] == 100


def test_info_gives_beginnings_to_try(client, released):
    examples = client.get("/v1/info").json()["examples"]
    assert len({one["document"] for one in examples}) == len(examples) == 3
    for one in examples:
        ids = [f"{one['document']}#{place}" for place in range(one["read"])]
        assert released.next(ids=ids).texts[-1] == one["text"]
        assert client.post("/v1/next", json={"ids": ids}).json()["read"][-1] == {"id": ids[-1], "text": one["text"]}


def test_a_port_in_use_is_named_with_what_to_do(client, bundle, capsys):
    port = str(client.base_url.port)
    assert command_line.run("serve", str(bundle), "--port", port) == 2
    error = capsys.readouterr().err
    assert f"port {port} of 127.0.0.1 is in use" in error
    assert "--port 0" in error
    assert "Traceback" not in error


def test_an_address_of_another_machine_is_refused(bundle, capsys):
    assert command_line.run("serve", str(bundle), "--host", "192.0.2.1", "--port", "0") == 2
    assert "cannot listen on 192.0.2.1, port 0: got Cannot assign requested address" in capsys.readouterr().err


def test_health_and_metrics(client):
    assert client.get("/healthz").json() == {"status": "alive"}
    assert client.get("/readyz").json() == {"status": "ready"}
    before = counted(client, 'segue_requests_total{route="/v1/next",status="200"}')
    for seed in range(3):
        client.post("/v1/next", json={"vectors": some_vectors(seed)})
    assert counted(client, 'segue_requests_total{route="/v1/next",status="200"}') == before + 3
    text = client.get("/metrics").text
    assert 'segue_stage_seconds_count{stage="rerank"}' in text
    assert 'segue_batch_size_count{kind="answers"}' in text


def counted(client: httpx.Client, name: str) -> float:
    lines = client.get("/metrics").text.splitlines()
    return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(name)), 0.0)


def test_the_page_asks_nobody_else(client):
    page = client.get("/")
    assert page.status_code == 200
    policy = dict(part.split(" ", 1) for part in page.headers["content-security-policy"].split("; "))
    assert (policy["default-src"], policy["script-src"], policy["connect-src"]) == ("'none'", "'self'", "'self'")
    assert not re.search(r"(src|href)=\"https?://", page.text)


def test_the_openapi_document_has_examples_that_are_answered(client):
    document = client.get("/openapi.json").json()
    tried = 0
    for path, methods in document["paths"].items():
        if "post" in methods:
            content = methods["post"]["requestBody"]["content"]["application/json"]
            for example in content["examples"].values():
                assert client.post(path, json=example["value"]).status_code == 200, (path, example)
                tried += 1
    assert tried >= 4


def test_no_other_site_may_ask(client):
    answer = client.post("/v1/next", json={"ids": ["volume/2 №2#0"]}, headers={"origin": "https://elsewhere.example"})
    assert "access-control-allow-origin" not in answer.headers
    assert client.get("/v1/info", headers={"host": "elsewhere.example"}).status_code == 400


class Load(threading.Thread):
    """Asks one question after the other, on one connection as long as the server keeps it, until told to stop."""

    def __init__(self, address: str, key: str, seed: int) -> None:
        super().__init__()
        self.address, self.key, self.seed = address, key, seed
        self.answers: list[tuple[int, str]] = []
        self.failures: list[str] = []
        self.stopping = threading.Event()

    def run(self) -> None:
        headers = {"authorization": f"Bearer {self.key}"}
        with httpx.Client(base_url=self.address, headers=headers, timeout=PATIENCE) as client:
            while not self.stopping.is_set():
                try:
                    answer = client.post("/v1/next", json={"vectors": some_vectors(self.seed), "k": 3})
                    self.answers.append((answer.status_code, answer.json().get("bundle", "")))
                except httpx.HTTPError as error:
                    self.failures.append(repr(error))


def test_keys_hot_swap_and_sigterm_under_load_lose_no_request(run, bundle, tmp_path):
    folder, keys = tmp_path / "bundles", tmp_path / "keys"
    key = new_key(keys, label="a test")
    assert key not in keys.read_text()
    first = promote(bundle, folder)
    other = run.bundle("mlp", tmp_path / "other")
    with serving(folder, "--keys", str(keys)) as (address, process):
        _check_keys(address, key)
        load = [Load(address, key, seed) for seed in range(4)]
        for one in load:
            one.start()
        try:
            _until(lambda: all(len(one.answers) > 5 for one in load))
            second = promote(other, folder)
            _until(lambda: all(one.answers[-1][1] == second for one in load))
            process.send_signal(signal.SIGTERM)
            _until(lambda: get(f"{address}/readyz").status_code == 503)
        finally:
            for one in load:
                one.stopping.set()
            for one in load:
                one.join()
        assert process.wait(60) == 0
    answers = [answer for one in load for answer in one.answers]
    assert [failure for one in load for failure in one.failures] == []
    assert {status for status, _ in answers} == {200}
    assert {version for _, version in answers} == {first, second}


def _check_keys(address: str, key: str) -> None:
    good = {"authorization": f"Bearer {key}"}
    for headers in (
        {},
        {"authorization": "Bearer nothing"},
        {"authorization": f"Basic {key}"},
        {"x-api-key": key[:-1]},
    ):
        answer = get(f"{address}/v1/info", headers=headers)
        assert answer.status_code == 401
        assert answer.json()["error"]["code"] == "unauthorized"
    assert get(f"{address}/v1/info", headers=good).status_code == 200
    assert get(f"{address}/v1/info", headers={"x-api-key": key}).status_code == 200
    assert get(f"{address}/metrics").status_code == 401
    assert get(f"{address}/healthz").status_code == 200


def _until(true) -> None:
    """Wait, however slow the machine is; the time limit of every test ends what does not come to pass."""
    while not true():
        time.sleep(0.02)
