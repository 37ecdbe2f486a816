"""Encoder behind an HTTP endpoint with the interface of OpenAI's ``POST /embeddings``, as most servers offer it.

Input: texts. Output: unit vectors, float32, in the order of the texts, whatever the order of the answer. Batches are
sent side by side, within the limits of requests and tokens a minute. What passes (429, 5xx, no answer in time) is tried
again, after the time that ``Retry-After`` states or else exponentially longer ones with jitter; then all requests wait.
The model is out of reach: its name says nothing about its weights, so the fingerprint alone defines its space. A bank
refuses the vectors of a model that was changed behind its name. The key is read from the environment, and appears in no
file and no message.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import random
import re
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from pydantic import Field

from segue.corpus.prose import letters
from segue.encoders.keep_end import keep_start
from segue.encoders.space import PROBES, Space
from segue.errors import InputError, MissingExtraError
from segue.settings import Settings
from segue.types import Progress, no_progress

if TYPE_CHECKING:
    import httpx

PREFIX = "openai:"
"""Beginning of an encoder's name that is followed by the name of the endpoint's model."""
BATCH_SIZE = 64
"""Texts per request by default."""
CHARACTERS_PER_TOKEN = 4
"""Characters of a token in the estimate of costs; English text has about as many."""
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 1.0, 60.0
"""Bounds of the time before a request is sent again, where the endpoint states none."""
LONGEST_RETRY_AFTER_SECONDS = 600.0
"""Longest time that is waited because the endpoint states it; a longer one is an error."""
LONGEST_ANSWER = 2**28
"""Bytes of an answer that are read, unpacked; 2,048 vectors of 4,096 numbers take 200 million as JSON."""
ENCODINGS = ("", "identity", "gzip", "deflate")
"""Encodings of an answer that are read: they unpack to a thousand times their size at most."""
PASSING = (408, 425, 429, 500, 502, 503, 504)
"""HTTP states of requests that are sent again."""

CONFIRMED = "SEGUE_ENDPOINTS"
"""Environment variable: the addresses that a bundle or a bank may name as its endpoint, separated by spaces."""

_OPENAI = "https://api.openai.com/v1"
_LOOPBACK = re.compile(r"https?://(127\.0\.0\.1|localhost|\[::1\])(:\d+)?(/|$)")


class EndpointSettings(Settings):
    """Where an encoder named "openai:MODEL" is served, and how it may be queried."""

    base_url: str = Field(
        _OPENAI, pattern=r"^https?://[^\s@]+$", description="address of the API; /embeddings is added to it"
    )
    key_variable: str | None = Field(
        None,
        pattern=r"^[A-Za-z_]\w*$",
        description="environment variable of the API key; null: OPENAI_API_KEY at api.openai.com, elsewhere no key",
    )
    dimensions: int | None = Field(None, ge=2, description="components to ask for; null: the model's own number")
    parallel: int = Field(4, ge=1, le=64, description="requests at once")
    requests_per_minute: int | None = Field(None, ge=1, description="limit of requests; null: none")
    tokens_per_minute: int | None = Field(None, ge=1, description="limit of tokens, by estimate; null: none")
    timeout_seconds: float = Field(60.0, gt=0, description="time for one answer")
    retries: int = Field(6, ge=0, le=20, description="times that a request is sent again after 429, 5xx or no answer")
    price: float | None = Field(None, ge=0, description="price of a million tokens, to report costs")

    def cost(self, tokens: int) -> float | None:
        """Return the price of some tokens; None where it is not known."""
        return None if self.price is None else tokens / 1e6 * self.price

    def require_confirmed(self, folder: Path) -> None:
        """Refuse an endpoint that a file names, which may be someone else's, unless the user has confirmed its address.

        It would get the texts of all queries, and the value of the environment variable that the file names. OpenAI's
        own address with its own variable, and this machine without a key, need no confirmation.

        Args:
            folder: the folder of the file.

        Raises:
            InputError: the address is not among those of the environment variable SEGUE_ENDPOINTS.
        """
        at = self.base_url.rstrip("/")
        usual = at == _OPENAI and self.key_variable in (None, "OPENAI_API_KEY")
        here = self.key_variable is None and _LOOPBACK.match(at) is not None
        if usual or here or at in (one.rstrip("/") for one in os.environ.get(CONFIRMED, "").split()):
            return
        sent = "texts" if self.key_variable is None else f"texts and the variable {self.key_variable}"
        raise InputError(f"{folder} names an endpoint that you have not confirmed", got=f"{at}, which would get {sent}",
                         fix=f"if you trust it, export {CONFIRMED}={at}; or give the encoder from Python")  # fmt: skip

    def key(self) -> str | None:
        """Return the API key; None where the endpoint needs none.

        Raises:
            InputError: the environment variable is not set, or holds what no header may; the message does not show it.
        """
        name = self.key_variable or ("OPENAI_API_KEY" if self.base_url.rstrip("/") == _OPENAI else None)
        if name is None:
            return None
        if not (key := os.environ.get(name, "").strip()):
            fix = f"export {name}=…, or name another variable in [encoder.endpoint] key_variable"
            raise InputError(f"the endpoint {self.base_url} needs a key", got=f"no variable {name}", fix=fix)
        if not re.fullmatch("[!-~]+", key):
            raise InputError(f"the key in the environment variable {name} cannot be sent",
                             got="a space, a line break or a character that is not ASCII within it (not shown here)",
                             expected="one word of printable ASCII", fix=f"export {name}=… again, with the key alone",
                             )  # fmt: skip
        return key


def estimated_tokens(characters: int) -> int:
    """Return about how many tokens some characters are, as ``prose.letters`` counts them.

    >>> estimated_tokens(0), estimated_tokens(1), estimated_tokens(400)
    (0, 1, 100)
    """
    return -(-characters // CHARACTERS_PER_TOKEN)


@dataclass
class Usage:
    """What an encoder has used so far: answered requests, and tokens as the endpoint counted them, or as estimated."""

    requests: int = 0
    tokens: int = 0


class EndpointEncoder:
    """The model of an endpoint.

    Args:
        model: its name there.
        settings: where and how it is queried.
        batch_size: texts per request.
        prompt: text put before every text.
        maximum_tokens: longer texts are cut to about that many before they are sent; None sends them whole.

    Attributes:
        usage: what it has used.

    Raises:
        MissingExtraError: httpx is not installed.
        InputError: the key is missing or cannot be sent, or the endpoint does not answer the probe texts with vectors.
    """

    def __init__(
        self,
        model: str,
        settings: EndpointSettings,
        *,
        batch_size: int = BATCH_SIZE,
        prompt: str = "",
        maximum_tokens: int | None = None,
    ) -> None:
        try:
            import httpx
        except ImportError as error:
            raise MissingExtraError("encoders behind an endpoint need the package httpx",
                                    fix="pip install 'segue[endpoint]'") from error  # fmt: skip
        self._key = settings.key()
        self._model, self._settings, self._batch_size = model, settings, batch_size
        self._prompt, self._maximum_tokens = prompt, maximum_tokens
        headers = {"Accept-Encoding": "gzip, deflate"}
        headers |= {"Authorization": f"Bearer {self._key}"} if self._key else {}
        self._client = httpx.Client(headers=headers, timeout=settings.timeout_seconds)
        self._url = f"{settings.base_url.rstrip('/')}/embeddings"
        self._lock, self._stopped = threading.Lock(), threading.Event()
        self._free_at, self._held_until, self._answered, self._reported = 0.0, 0.0, False, ""
        self.usage = Usage()
        self._dimension = settings.dimensions
        fingerprint = np.concatenate([self._embed(batch) for batch in self._batches(PROBES)])
        self._space = Space(
            encoder=f"{PREFIX}{model}",
            revision=self._reported,
            dimension=fingerprint.shape[1],
            pooling="",
            normalised=True,
            prompt=prompt,
            maximum_tokens=maximum_tokens,
            precision="float32",
            fingerprint=fingerprint,
        )

    @property
    def space(self) -> Space:
        """The space of the vectors; its revision is the name of the model as the endpoint reports it."""
        return self._space

    def encode(self, texts: Sequence[str], *, progress: Progress = no_progress) -> Float[np.ndarray, "text dim"]:
        """Return one unit vector per text, in order. An endpoint may answer the same text a little differently.

        Raises:
            InputError: the endpoint refuses, does not answer, or answers with something else than these vectors.
        """
        vectors = np.empty((len(texts), self._space.dimension), dtype=np.float32)
        self._stopped.clear()
        with ThreadPoolExecutor(self._settings.parallel) as pool:
            try:
                done = 0
                for made in pool.map(self._embed, self._batches(texts)):
                    vectors[done : done + len(made)] = made
                    done += len(made)
                    progress(done, len(texts), f"passages encoded, {self._used()}")
            except BaseException:
                self._stopped.set()  # requests that wait end now
                raise
        return vectors

    def _batches(self, texts: Sequence[str]) -> list[Sequence[str]]:
        return [texts[start : start + self._batch_size] for start in range(0, len(texts), self._batch_size)]

    def _used(self) -> str:
        cost = self._settings.cost(self.usage.tokens)
        return f"{self.usage.tokens:,} tokens" + ("" if cost is None else f", cost {cost:.4g}")

    def _embed(self, texts: Sequence[str]) -> Float[np.ndarray, "text dim"]:
        sent = [self._prompt + text for text in texts]
        if self._maximum_tokens is not None:
            sent = [keep_start(text, maximum_tokens=self._maximum_tokens) for text in sent]
        wanted = {} if self._settings.dimensions is None else {"dimensions": self._settings.dimensions}
        body = {"model": self._model, "input": sent, "encoding_format": "float", **wanted}
        tokens = sum(estimated_tokens(letters(text)) for text in sent)
        answer = self._ask(body, tokens)
        vectors = self._vectors(answer, len(texts))
        with self._lock:
            counted = answer.get("usage")
            counted = counted.get("total_tokens") if isinstance(counted, Mapping) else None
            self.usage.requests += 1
            self.usage.tokens += counted if isinstance(counted, int) else tokens
            self._reported = str(answer.get("model") or "")
            self._dimension = vectors.shape[1]
        return vectors

    def _ask(self, body: Mapping[str, object], tokens: int) -> Mapping[str, Any]:
        """Send a request until it is answered, and return the answer, a JSON object."""
        import httpx

        for attempt in itertools.count():
            self._wait_for_turn(tokens)
            after = None
            try:
                response = self._post(body)
                if response.is_success:
                    return self._json(response)
                problem, after = f"{response.status_code}: {self._message(response)}", _retry_after(response)
                if response.status_code not in PASSING or "insufficient_quota" in response.text:
                    raise self._refused(response.status_code, problem)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                problem = f"{type(error).__name__}: {error}"
                if not self._answered and not isinstance(error, httpx.TimeoutException):
                    fix = "check [encoder.endpoint] base_url, and that a server runs there"
                    raise self._unanswered(problem, fix) from None
            again = "run the same command again: what is encoded is kept; or raise [encoder.endpoint] retries"
            if attempt >= self._settings.retries:
                raise self._unanswered(f"{problem}, {attempt + 1} times", again)
            if after is not None and after > LONGEST_RETRY_AFTER_SECONDS:
                raise self._unanswered(f"{problem}, and it asks to wait {after:.0f} seconds", again)
            longest = min(FIRST_WAIT_SECONDS * 2**attempt, LONGEST_WAIT_SECONDS)
            self._hold(longest * random.uniform(0.5, 1.0) if after is None else after + random.uniform(0, 0.1))
        raise AssertionError("count() has no end")

    def _post(self, body: Mapping[str, object]) -> httpx.Response:
        """Send a request and return its answer, unpacked as far as an answer can be."""
        import httpx

        with self._client.stream("POST", self._url, json=body) as response:
            self._answered = True
            if response.headers.get("Content-Encoding", "").lower() not in ENCODINGS:
                raise self._wrong(f"encoding {response.headers['Content-Encoding']!r}"[:100], "gzip, or plain")
            content = bytearray()
            for part in response.iter_bytes():
                content += part
                if len(content) > LONGEST_ANSWER:
                    raise self._wrong(f"more than {LONGEST_ANSWER:,} bytes", "vectors")
        unpacked = ("content-encoding", "content-length")
        headers = {name: value for name, value in response.headers.items() if name not in unpacked}
        return httpx.Response(response.status_code, headers=headers, content=bytes(content))

    def _wait_for_turn(self, tokens: int) -> None:
        """Wait until a request of that many tokens keeps the limits, and no hold is in force."""
        limits = ((self._settings.requests_per_minute, 1), (self._settings.tokens_per_minute, tokens))
        apart = max((60 * used / limit for limit, used in limits if limit), default=0.0)
        start = -1.0
        while start < self._held_until:  # at first, and where a hold began during the sleep
            with self._lock:
                now = monotonic()
                start = max(now, self._free_at, self._held_until)
                self._free_at = start + apart
            if start > now:
                self._sleep(start - now)
            if self._stopped.is_set():
                raise InputError("stopped, since another request failed")

    def _hold(self, seconds: float) -> None:
        """Let all requests wait, also those that sleep until their turn."""
        with self._lock:
            self._held_until = max(self._held_until, monotonic() + seconds)

    def _sleep(self, seconds: float) -> None:
        self._stopped.wait(seconds)

    def _json(self, response: httpx.Response) -> Mapping[str, Any]:
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if not isinstance(answer, dict) or not isinstance(answer.get("data"), list):
            raise self._wrong(self._message(response), 'a JSON object with "data", a list of embeddings')
        return answer

    def _vectors(self, answer: Mapping[str, Any], count: int) -> Float[np.ndarray, "text dim"]:
        """Return the vectors of an answer in the order of the texts, at length 1."""
        items = answer["data"]
        try:
            places = [item.get("index", place) for place, item in enumerate(items)]
            if sorted(places) != list(range(count)):
                raise self._wrong(f"vectors of the texts {places}"[:100], f"one for each of {count} texts")
            vectors = np.array([_numbers(item["embedding"]) for item in items], dtype=np.float64)
        except InputError:
            raise
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise self._wrong(f"{type(error).__name__}: {error}", "index and embedding of each text") from None
        expected = (count, self._dimension or vectors.shape[-1])
        if vectors.shape != expected:
            raise self._wrong(f"vectors of dimension {vectors.shape[-1]}", f"dimension {expected[1]}")
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not (np.isfinite(lengths).all() and lengths.all()):
            raise self._wrong("a vector of length 0, or with NaN or infinity", "finite numbers")
        in_order = np.empty(vectors.shape, dtype=np.float32)
        in_order[places] = vectors / lengths
        return in_order

    def _message(self, response: httpx.Response) -> str:
        """Return the message of an error, on one line, without the key."""
        text = response.text
        with contextlib.suppress(ValueError, AttributeError):
            found = json.loads(text)
            found = found.get("error", found.get("detail", found.get("message")))
            text = str(found.get("message", found) if isinstance(found, dict) else found or text)
        text = " ".join(text.split()) or response.reason_phrase
        return (text.replace(self._key, "[key]") if self._key else text)[:300]  # a key that is cut is not found

    def _refused(self, status: int, got: str) -> InputError:
        what = f"the endpoint {self._settings.base_url} refuses the key" if status in (401, 403) else \
            f"the endpoint {self._settings.base_url} refuses the request"  # fmt: skip
        if status in (401, 403):
            fix = "put a valid key into the environment variable, and name that in [encoder.endpoint] key_variable"
        elif status == 429:
            fix = "raise the quota there, and run the same command again: what is encoded is kept"
        else:
            fix = "check the model's name and base_url; where texts are too long for it, set [encoder] maximum_tokens"
        return InputError(what, got=got, fix=fix)

    def _unanswered(self, got: str, fix: str) -> InputError:
        return InputError(f"the endpoint {self._settings.base_url} does not answer", got=got, fix=fix)

    def _wrong(self, got: str, expected: str) -> InputError:
        return InputError(f"the endpoint {self._settings.base_url} answers wrongly", got=got, expected=expected)


def _numbers(embedding: object) -> Float[np.ndarray, "dim"]:
    """Return a vector that is a list of numbers, or base64 of little-endian float32."""
    if isinstance(embedding, str):
        return np.frombuffer(base64.b64decode(embedding), dtype="<f4").astype(np.float64)
    vector = np.asarray(embedding, dtype=np.float64)
    if vector.ndim != 1:
        raise ValueError(f"an embedding of shape {vector.shape}")
    return vector


def _retry_after(response: httpx.Response) -> float | None:
    """Return the seconds of a header Retry-After, which holds seconds or a date; None without one that can be read."""
    text = response.headers.get("Retry-After", "")
    for read in (float, lambda date: (parsedate_to_datetime(date) - datetime.now(UTC)).total_seconds()):
        with contextlib.suppress(TypeError, ValueError):
            return max(0.0, read(text))
    return None
