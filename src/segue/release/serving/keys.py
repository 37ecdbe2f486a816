"""API keys: long random strings, of which the file holds only the sha256.

A key has 256 random bits, so its hash cannot be turned back, and no slow hash is needed. Comparing takes the same time
whichever key is right, and whether one is.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from datetime import UTC, datetime
from pathlib import Path

from segue.errors import InputError, explain
from segue.run_folder import write_text

PREFIX = "segue_"


def new_key(path: Path, *, label: str = "") -> str:
    """Make a key, add its hash to a file, and return it: it is shown this once."""
    key = PREFIX + secrets.token_urlsafe(32)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    line = f"{_hash(key)}  {now} {' '.join(label.split())}".rstrip()
    write_text(path, before + ("\n" if before and not before.endswith("\n") else "") + line + "\n")
    path.chmod(0o600)
    return key


def read_keys(path: Path) -> tuple[str, ...]:
    """Return the hashes of a file of keys: one a line, and behind it whatever helps to know whose it is.

    Raises:
        InputError: there is no such file, no key in it, or something else.
    """
    try:
        lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            explain(f"cannot read the keys in {path}", got=str(error), mend="name a file of keys")
        ) from error
    hashes = tuple(words[0] for words in lines if words and not words[0].startswith("#"))
    if not hashes or not all(re.fullmatch(r"[0-9a-f]{64}", one) for one in hashes):
        raise InputError(explain(f"{path} is no file of keys", expected="a sha256 at the beginning of each line",
                                 mend="make one with `segue serve --new-key FILE`"))  # fmt: skip
    return hashes


def is_known(key: str, hashes: tuple[str, ...]) -> bool:
    """Tell whether a key's hash is among ``hashes``; all of them are compared."""
    asked = _hash(key)
    return sum(hmac.compare_digest(asked, known) for known in hashes) > 0


def given_key(headers: dict[bytes, bytes]) -> str:
    """Return the key of a request: ``Authorization: Bearer KEY`` or ``X-API-Key: KEY``; empty where there is none."""
    authorization = headers.get(b"authorization", b"").decode("latin-1")
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else headers.get(b"x-api-key", b"").decode("latin-1").strip()


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", errors="surrogatepass")).hexdigest()
