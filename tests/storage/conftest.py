"""A bucket on an S3-compatible endpoint of this machine, which can be made to misbehave, and a small corpus."""

from __future__ import annotations

import itertools
import json
import logging
import shutil
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
from bundle_world import sentence
from doc_blocks import blocks
from moto.server import ThreadedMotoServer
from s3fs import S3FileSystem

from recipes import SMALL
from segue import storage

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "object-storage.md"
_NUMBERS = itertools.count()


@dataclass
class Endpoint:
    """The endpoint; ``fault`` answers a request as a WSGI application does, or returns None to let it pass."""

    url: str
    requests: list[str] = field(default_factory=list)
    fault: Callable[..., Any] | None = None


@dataclass
class Bucket:
    """A new bucket."""

    name: str
    client: Any
    endpoint: Endpoint

    def contents(self, below: str = "") -> dict[str, bytes]:
        found = self.client.list_objects_v2(Bucket=self.name, Prefix=below).get("Contents", [])
        return {item["Key"]: self.read(item["Key"]) for item in found}

    def read(self, name: str) -> bytes:
        return self.client.get_object(Bucket=self.name, Key=name)["Body"].read()

    def write(self, name: str, content: bytes) -> None:
        self.client.put_object(Bucket=self.name, Key=name, Body=content)

    @property
    def url(self) -> str:
        return f"s3://{self.name}"


@pytest.fixture(scope="session")
def endpoint():
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    found = Endpoint(f"http://{host}:{port}")
    inner = server._server.app

    def answer(environ, start_response):
        found.requests.append(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}")
        answered = found.fault(environ, start_response, inner) if found.fault else None
        return inner(environ, start_response) if answered is None else answered

    server._server.app = answer
    yield found
    server.stop()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The folder of the cache, empty."""
    monkeypatch.setenv("SEGUE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def bucket(endpoint, cache, monkeypatch):
    """A bucket, and the environment of a user who names the endpoint."""
    for name, value in {"ACCESS_KEY_ID": "key", "SECRET_ACCESS_KEY": "secret", "DEFAULT_REGION": "us-east-1",
                        "ENDPOINT_URL_S3": endpoint.url, "MAX_ATTEMPTS": "2"}.items():  # fmt: skip
        monkeypatch.setenv(f"AWS_{name}", value)
    client = boto3.client("s3")
    name = f"bucket-{next(_NUMBERS)}"
    client.create_bucket(Bucket=name)
    endpoint.requests.clear()
    S3FileSystem.clear_instance_cache()
    yield Bucket(name, client, endpoint)
    endpoint.fault = None
    client.close()


@pytest.fixture
def forget(cache):
    """Return a function that makes this another machine: nothing is cached, and nothing is known of the bucket."""

    def forget() -> None:
        shutil.rmtree(cache, ignore_errors=True)
        storage._published.clear()
        S3FileSystem.clear_instance_cache()

    return forget


def corpus(documents: int = 20, length: int = 9) -> bytes:
    """Return documents as JSON Lines."""
    texts = ["\n\n".join(sentence(number, place) for place in range(length)) for number in range(documents)]
    return "\n".join(json.dumps({"id": f"d{number}", "text": text}) for number, text in enumerate(texts)).encode()


def tables(place: str, **more: Any) -> dict[str, Any]:
    """Return the tables of a recipe whose corpus and bank are below a URL or a folder, as docs/ shows it."""
    (shown,) = blocks(PAGE, "toml")
    page = tomllib.loads(shown.replace("s3://my-bucket", place))
    return {
        **SMALL,
        **page,
        "passages": {"target_characters": 70, "minimum_characters": 20},
        "encoder": {"name": "fake_encoder:HashEncoder", "options": {"dimension": 12}},
        "bank": {**page["bank"], "shard_passages": 50},
        **more,
    }


@pytest.fixture
def world():
    """The functions above, for tests."""
    return corpus, tables
