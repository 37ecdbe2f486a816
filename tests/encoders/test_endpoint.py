"""Encoders at an endpoint: what fails for a while is tried again, what is wrong is refused, no shard is paid twice."""

import gzip
import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import numpy as np
import pytest
from command_line import run
from encoders.endpoint_server import EndpointServer, serving
from fake_encoder import HashEncoder

from segue.bank.bank import BankSettings, PassageBank
from segue.bank.build import build_bank
from segue.corpus import JsonlCorpus
from segue.corpus.passages import PassageSettings
from segue.encoders import EncoderSettings, endpoint, load_encoder
from segue.encoders.space import PROBES
from segue.errors import InputError, SettingsError
from segue.recipe import parse_recipe

TEXTS = [f"Sentence {number} says something new." for number in range(20)]
SECRET = "sk-not-a-real-key"


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(endpoint, "FIRST_WAIT_SECONDS", 0.001)
    with serving(EndpointServer()) as server:
        yield server


def settings(server, *, batch_size=4, prompt="", maximum_tokens=None, **options) -> EncoderSettings:
    at = {"base_url": server.base_url, "timeout_seconds": 20.0, **options}
    return EncoderSettings(name="openai:small", batch_size=batch_size, prompt=prompt, maximum_tokens=maximum_tokens,
                           endpoint=endpoint.EndpointSettings(**at))  # fmt: skip


def load(server, **options):
    return load_encoder(settings(server, **options))


def test_vectors_are_in_the_order_of_the_texts_and_of_length_1(server):
    notes = []
    encoder = load(server, price=2.0)
    vectors = encoder.encode(TEXTS, progress=lambda *said: notes.append(said))
    np.testing.assert_allclose(vectors, HashEncoder().vectors(TEXTS), atol=1e-6)
    assert vectors.dtype == np.float32
    assert sorted(server.texts[8:]) == sorted(TEXTS)
    assert {body["model"] for body in server.bodies} == {"small"}
    assert encoder.encode([]).shape == (0, 8)
    tokens = 5 * (len(PROBES) + len(TEXTS))
    assert (encoder.usage.requests, encoder.usage.tokens) == (2 + 5, tokens)
    assert notes[-1] == (20, 20, f"passages encoded, {tokens} tokens, cost {tokens * 2e-6:.4g}")
    assert not any("Authorization" in headers for headers in server.headers)


def test_the_space_has_the_fingerprint_and_the_name_that_the_endpoint_reports(server):
    space = load(server, prompt="p: ", maximum_tokens=100).space
    assert (space.encoder, space.revision, space.dimension, space.declared) == ("openai:small", "small-1", 8, False)
    assert (space.prompt, space.maximum_tokens) == ("p: ", 100)
    np.testing.assert_allclose(space.fingerprint, HashEncoder().vectors(server.texts), atol=1e-6)


def test_prompts_are_sent_and_long_texts_are_cut_before_they_are(server):
    load(server, prompt="p: ", maximum_tokens=12).encode(["Snow reflects light.", "Ice melts, " * 100])
    assert server.texts[0] == "p: Snow"
    assert server.texts[-2:] == [
        "p: Snow reflects light.",
        "p: Ice melts, Ice melts, Ice",
    ]  # 10 of 12 tokens by estimate


def test_dimensions_are_asked_for_and_required(server):
    assert load(server, dimensions=8).space.dimension == 8
    assert {body["dimensions"] for body in server.bodies} == {8}
    with pytest.raises(InputError, match="answers wrongly: got vectors of dimension 8, expected dimension 4"):
        load(server, dimensions=4)


def test_a_packed_answer_is_read_and_one_that_unpacks_to_too_much_is_refused(server, monkeypatch):
    packed = gzip.compress(json.dumps(server.right(PROBES)).encode())
    server.replies = [(200, {"Content-Encoding": "gzip"}, gzip.compress(json.dumps(server.right(batch)).encode()))
                      for batch in (PROBES[:4], PROBES[4:])]  # fmt: skip
    assert load(server).space.dimension == 8
    monkeypatch.setattr(endpoint, "LONGEST_ANSWER", len(packed))
    server.replies = [(200, {"Content-Encoding": "gzip"}, gzip.compress(b" " * 2**24))]
    with pytest.raises(InputError, match=f"answers wrongly: got more than {len(packed):,} bytes"):
        load(server)
    server.replies = [(200, {"Content-Encoding": "br"}, packed)]
    with pytest.raises(InputError, match="answers wrongly: got encoding 'br', expected gzip, or plain"):
        load(server)


def test_what_fails_for_a_while_is_tried_again(server):
    encoder = load(server, timeout_seconds=0.5)
    server.replies = [(429, {"Retry-After": "0"}, ""), (500, {}, "oops"), (502, {}, ""), (503, {}, ""), "silence"]
    np.testing.assert_allclose(encoder.encode(TEXTS), HashEncoder().vectors(TEXTS), atol=1e-6)
    assert len(server.bodies) == 2 + 5 + 5
    assert encoder.usage.requests == 2 + 5


class Clock:
    """Time that passes only while the encoder sleeps."""

    def __init__(self, monkeypatch) -> None:
        self.now = 0.0
        self.slept: list[float] = []
        monkeypatch.setattr(endpoint, "monotonic", lambda: self.now)
        monkeypatch.setattr(endpoint.EndpointEncoder, "_sleep", lambda _, seconds: self.sleep(seconds))

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def test_waits_double_with_jitter_unless_the_endpoint_states_one(server, monkeypatch):
    clock = Clock(monkeypatch)
    encoder = load(server, parallel=1, batch_size=20)
    monkeypatch.setattr(endpoint, "FIRST_WAIT_SECONDS", 1.0)
    server.replies = [(503, {}, "")] * 4
    encoder.encode(TEXTS)
    assert all(0.5 * 2**n <= seconds <= 2**n for n, seconds in enumerate(clock.slept))
    assert len(clock.slept) == 4
    clock.slept.clear()
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    server.replies = [
        (429, {"Retry-After": "7"}, ""),
        (503, {"Retry-After": later}, ""),
        (503, {"Retry-After": "?"}, ""),
    ]
    encoder.encode(TEXTS)
    assert 7 <= clock.slept[0] < 7.2
    assert 60 < clock.slept[1] <= 100.2
    assert 2 <= clock.slept[2] <= 4  # the third attempt


@pytest.mark.parametrize("limit", [{"requests_per_minute": 60}, {"tokens_per_minute": 60 * 4 * 9}])
def test_limits_space_the_requests_out(server, monkeypatch, limit):
    """Four texts of 36 characters or fewer are 4 × 9 tokens by estimate, so both limits allow a request a second."""
    clock = Clock(monkeypatch)
    encoder = load(server, parallel=1, batch_size=4, **limit)
    encoder.encode(["Nine tokens, of four letters a token"] * 4)
    began = clock.now
    encoder.encode(["Nine tokens, of four letters a token"] * 20)
    assert clock.now - began == pytest.approx(5)


def test_a_request_that_sleeps_until_its_turn_is_held_too(server, monkeypatch):
    """The second request's turn is at second 1; while it sleeps, another is told to wait 10 seconds."""
    clock, sent = Clock(monkeypatch), []
    encoder = load(server, parallel=1, batch_size=4, requests_per_minute=60)
    clock.now = encoder._free_at = 0.0
    sleep, holds = clock.sleep, iter([10.0])
    monkeypatch.setattr(clock, "sleep", lambda seconds: (encoder._hold(next(holds, 0.0)), sleep(seconds)))
    server.replies = [lambda answer: (sent.append(clock.now), answer)[1]] * 3
    encoder.encode(TEXTS[:12])
    assert sent == [0.0, 10.0, 11.0]


def test_the_key_is_sent_and_appears_nowhere_else(server, monkeypatch):
    monkeypatch.setenv("MY_KEY", SECRET)
    encoder = load(server, key_variable="MY_KEY")
    assert {headers["Authorization"] for headers in server.headers} == {f"Bearer {SECRET}"}
    server.replies = [(401, {}, json.dumps({"error": {"message": f"Incorrect API key: {SECRET}."}}))]
    with pytest.raises(InputError, match=r"refuses the key: got 401: Incorrect API key: \[key\]") as caught:
        encoder.encode(TEXTS[:1])
    assert SECRET not in str(caught.value) + repr(encoder) + repr(settings(server, key_variable="MY_KEY"))
    monkeypatch.delenv("MY_KEY")
    with pytest.raises(InputError, match=r"needs a key: got no variable MY_KEY.*export MY_KEY="):
        load(server, key_variable="MY_KEY")


@pytest.mark.parametrize("key", [f"{SECRET}\nline2", f"{SECRET} two", "sk-schlüssel"])
def test_a_key_that_no_header_may_hold_is_refused_and_not_shown(server, monkeypatch, key):
    monkeypatch.setenv("MY_KEY", key)
    with pytest.raises(InputError, match="the key in the environment variable MY_KEY cannot be sent") as caught:
        load(server, key_variable="MY_KEY")
    assert not any(word in str(caught.value) for word in key.split())
    assert not server.bodies


def test_no_part_of_a_key_is_left_where_a_long_message_is_cut(server, monkeypatch):
    monkeypatch.setenv("MY_KEY", SECRET)
    encoder = load(server, key_variable="MY_KEY")
    server.replies = [(400, {}, "x" * 290 + SECRET)]
    with pytest.raises(InputError, match=r"x\[key\]") as caught:
        encoder.encode(TEXTS[:1])
    assert SECRET[:4] not in str(caught.value)


def test_a_redirect_is_not_followed(server, monkeypatch):
    monkeypatch.setenv("MY_KEY", SECRET)
    server.replies = [(302, {"Location": f"{server.base_url}/elsewhere"}, "")]
    with pytest.raises(InputError, match="refuses the request: got 302"):
        load(server, key_variable="MY_KEY")
    assert len(server.headers) == 1


def test_openais_key_goes_to_openai_alone(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    assert endpoint.EndpointSettings().key() == SECRET
    assert endpoint.EndpointSettings(base_url="https://elsewhere.example/v1").key() is None


def without(answer, key):
    return {**answer, "data": [{name: value for name, value in one.items() if name != key} for one in answer["data"]]}


def with_first(answer, **values):
    return {**answer, "data": [{**answer["data"][0], **values}, *answer["data"][1:]]}


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        ((404, {}, '{"detail": "no such model"}'), "got 404: no such model.*check the model's name"),
        ((400, {}, '{"error": "too long"}'), "got 400: too long.*set \\[encoder\\] maximum_tokens"),
        ((301, {"Location": "http://other/"}, ""), "got 301: Moved Permanently"),
        ((429, {}, '{"error": {"code": "insufficient_quota", "message": "x"}}'), "429: x.*raise the quota"),
        ((429, {"Retry-After": "7200"}, "busy"), "does not answer: got 429: busy, and it asks to wait 7200 seconds"),
        (lambda answer: {"data": answer["data"][1:]}, r"got vectors of the texts \[1, 0\], expected one for each"),
        (lambda answer: with_first(answer, index=0), r"got vectors of the texts \[0, 1, 0\]"),
        (lambda answer: with_first(answer, embedding=[1.0]), "answers wrongly"),
        (lambda answer: without(answer, "embedding"), "KeyError: 'embedding', expected index and embedding"),
        (lambda answer: with_first(answer, embedding=[0.0] * 8), "a vector of length 0, or with NaN"),
        (lambda answer: with_first(answer, embedding=[None] * 8), "a vector of length 0, or with NaN"),
        (lambda _: "<html>Welcome</html>", "got <html>Welcome</html>, expected a JSON object"),
        (lambda _: [1], 'expected a JSON object with "data"'),
    ],
)  # fmt: skip
def test_refusals_and_wrong_answers_are_named_at_once(server, reply, message):
    encoder = load(server)
    server.replies = [reply]
    with pytest.raises(InputError, match=message):
        encoder.encode(TEXTS[:3])
    assert len(server.bodies) == 2 + 1


def test_another_dimension_than_the_fingerprints_is_refused(server):
    encoder = load(server)
    server.encoder = HashEncoder(6)
    with pytest.raises(InputError, match="got vectors of dimension 6, expected dimension 8"):
        encoder.encode(TEXTS[:3])


def test_answers_without_places_and_in_base64_are_read(server):
    encoder = load(server)

    def packed(answer):
        import base64

        ordered = sorted(without(answer, "nothing")["data"], key=lambda one: one["index"])
        return {"data": [{"embedding": base64.b64encode(np.float32(one["embedding"]).tobytes()).decode()}
                         for one in ordered]}  # fmt: skip

    server.replies = [packed]
    np.testing.assert_allclose(encoder.encode(TEXTS[:3]), HashEncoder().vectors(TEXTS[:3]), atol=1e-6)


def test_a_server_that_is_not_there_is_named_without_retries(server, monkeypatch):
    clock = Clock(monkeypatch)
    with pytest.raises(InputError, match=r"does not answer: got ConnectError.*check \[encoder.endpoint\] base_url"):
        load(server, base_url="http://127.0.0.1:1/v1")
    assert not clock.slept
    with pytest.raises(InputError, match="refuses the request: got 404: no /v2/embeddings"):
        load(server, base_url=server.base_url.replace("v1", "v2"))


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"name": "minilm", "endpoint": {"price": 1}}, 'is set, but name is "minilm": write name = "openai:MODEL"'),
        ({"name": "openai:m", "endpoint": {"base_url": "https://me:secret@host/v1"}}, r"\[encoder\] endpoint.base_url"),
        ({"name": "openai:m", "endpoint": {"api_key": "x"}}, "unknown key; did you mean 'key_variable'|unknown key"),
    ],
)  # fmt: skip
def test_wrong_settings_are_refused(tables, message):
    with pytest.raises(SettingsError, match=message):
        parse_recipe({"corpus": {"kind": "wikipedia-dump"}, "encoder": tables})


def write_documents(path) -> JsonlCorpus:
    records = [{"id": f"d{n}", "text": " ".join(f"Sentence {m} of document {n} is new here." for m in range(6))}
               for n in range(6)]  # fmt: skip
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return JsonlCorpus(path=path)


def build(corpus, server, out, **options) -> PassageBank:
    return build_bank(corpus, settings(server, **options), out, settings=BankSettings(shard_passages=5),
                      passages=PassageSettings(target_characters=60))  # fmt: skip


def test_a_build_that_the_endpoint_ends_is_resumed_and_pays_for_no_shard_twice(server, tmp_path):
    corpus = write_documents(tmp_path / "c.jsonl")
    whole = build(corpus, server, tmp_path / "whole")
    server.bodies.clear()
    server.replies = [lambda answer: answer] * 7 + [(503, {}, "down")] * 9
    with pytest.raises(InputError, match=r"does not answer: got 503: down, 3 times.*what is encoded is kept"):
        build(corpus, server, tmp_path / "bank", parallel=1, retries=2)
    assert len(list((tmp_path / "bank").glob("shard-*.json"))) == 2  # 2 requests of probes, 2 of each shard
    server.bodies.clear()
    server.replies = []
    bank = build(corpus, server, tmp_path / "bank", requests_per_minute=10**6)
    assert sorted(server.texts[8:]) == sorted(bank.texts(np.arange(10, len(bank))))
    assert bank.hash == whole.hash
    server.bodies.clear()
    assert build(corpus, server, tmp_path / "bank", price=1.0, parallel=2).hash == whole.hash
    assert not server.bodies  # a finished bank asks nothing


def test_a_model_that_was_changed_behind_its_name_is_refused(server, tmp_path):
    corpus = write_documents(tmp_path / "c.jsonl")
    server.replies = [lambda answer: answer] * 5 + [(400, {}, "no")]
    with pytest.raises(InputError, match="400: no"):
        build(corpus, server, tmp_path / "bank", parallel=1)
    server.encoder = HashEncoder(salt="new weights")
    with pytest.raises(InputError, match="an unfinished build with other settings: got encoder: the vectors of probe"):
        build(corpus, server, tmp_path / "bank")


def test_a_user_estimates_the_cost_builds_and_finds_no_key_in_the_bank(server, tmp_path, monkeypatch, capsys):
    write_documents(tmp_path / "c.jsonl")
    monkeypatch.setenv("MY_KEY", SECRET)
    (tmp_path / "recipe.toml").write_text(
        '[corpus]\nkind = "jsonl"\npath = "c.jsonl"\n[passages]\ntarget_characters = 60\n'
        '[encoder]\nname = "openai:small"\n'
        f'[encoder.endpoint]\nbase_url = "{server.base_url}"\nkey_variable = "MY_KEY"\nprice = 0.5\n'
    )
    assert run("bank", "build", str(tmp_path / "recipe.toml"), "--estimate", "--json", "--quiet") == 0
    found = json.loads(capsys.readouterr().out)
    assert not server.bodies
    assert not (tmp_path / "bank").exists()
    assert run("bank", "build", str(tmp_path / "recipe.toml"), "--json", "--quiet") == 0
    info = json.loads(capsys.readouterr().out)
    assert {name: info[name] for name in ("documents", "passages", "characters")} == {
        name: found[name] for name in ("documents", "passages", "characters")
    }
    bank = PassageBank.open(tmp_path / "bank")
    tokens = sum(-(-len(text) // 4) for text in bank.texts(np.arange(len(bank))))
    assert (found["tokens"], found["price"]) == (tokens, 0.5)
    assert found["cost"] == pytest.approx(tokens / 2e6)
    assert bank.space.encoder == "openai:small"
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]
