"""Folder of bundles, one of which is current.

``bundles/<version>/`` are bundles; ``bundles/current.json`` names the one that is served and those before it. That file
is replaced in one rename, after the bundle that it names was copied and verified. So a process killed at any moment
leaves the old current bundle or the new one.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from segue.bundles.files import CONTRACT, MANIFEST, SEAL, verify
from segue.errors import InputError, StorageError
from segue.files import copy_folder, exclusive, read_json, write_folder, write_json
from segue.storage import local, on_storage, place_of, pull, url_of

CURRENT = "current.json"


@dataclass(frozen=True)
class Listed:
    """Bundle of a folder."""

    version: str
    name: str
    created: str
    current: bool

    def to_json(self) -> dict[str, str | bool]:
        """Return what ``--json`` prints."""
        return asdict(self)


@on_storage("folder")
def promote(bundle: Path | str, folder: Path | str) -> str:
    """Verify a bundle, copy it into ``folder`` unless it is there, and make it current.

    Returns:
        Its version.

    Raises:
        InputError: there is no bundle.
        StorageError: the bundle or its copy is damaged, or the folder cannot be written.
    """
    bundle, folder = pull(bundle), Path(folder)
    version = verify(bundle).version
    with exclusive(folder):
        place = folder / version
        if not place.exists() or (url_of(place) and not (place / SEAL).exists()):  # an interrupted upload has no seal
            write_folder(place, lambda target: _copy(bundle, target))
        if verify(place).version != version:
            raise InputError(f"{place} holds another bundle", fix="delete that folder and promote again")
        _make_current(folder, version)
    return version


@on_storage("folder")
def rollback(folder: Path | str, version: str | None = None) -> str:
    """Make the previous current bundle current again, or the one named.

    Returns:
        Its version.

    Raises:
        InputError: there is no earlier bundle, or none of that version.
        StorageError: it is damaged.
    """
    folder = Path(folder)
    state = _state(folder)
    if version is None:
        earlier = [past["version"] for past in state["history"] if (folder / past["version"]).is_dir()]
        version = next((past for past in reversed(earlier) if past != state["version"]), None)
        if version is None:
            raise InputError(f"{folder} has no earlier bundle", got=f"only {state['version']}",
                             fix="promote another bundle")  # fmt: skip
    if not (folder / version / MANIFEST).is_file() or Path(version).name != version:
        raise InputError(f"{folder} does not have this bundle", got=version,
                         expected=", ".join(one.version for one in list_bundles(folder)))  # fmt: skip
    verify(folder / version)
    with exclusive(folder):
        _make_current(folder, version)
    return version


def list_bundles(folder: Path | str) -> list[Listed]:
    """Return the bundles of a folder, the oldest first.

    Raises:
        InputError: nothing was promoted there.
    """
    folder = pull(folder)
    current = _state(folder)["version"]
    found = []
    for path in folder.iterdir():
        if (path / MANIFEST).is_file() and not path.name.startswith("."):
            contract = read_json(path / CONTRACT)
            found.append(Listed(path.name, contract["name"], contract["created"], path.name == current))
    return sorted(found, key=lambda one: (one.created, one.version))


def current_bundle(path: Path) -> Path:
    """Return the bundle itself, or the current one where ``path`` is a folder of bundles."""
    pull(f"{place_of(path)}/{CURRENT}")
    folder = local(path)
    return folder / _state(folder)["version"] if (folder / CURRENT).is_file() else folder


def _state(folder: Path) -> Any:
    if not (folder / CURRENT).is_file():
        raise InputError(f"{folder} is not a folder of bundles", got=f"no {CURRENT} in it",
                         fix="run `segue bundle promote BUNDLE FOLDER` first")  # fmt: skip
    state = read_json(folder / CURRENT)
    try:
        versions = [state["version"], *(past["version"] for past in state["history"])]
    except (KeyError, TypeError) as error:
        raise _damaged(folder, f"no {error}" if isinstance(error, KeyError) else str(error)) from error
    for version in versions:
        if not isinstance(version, str) or Path(version).name != version:  # a folder beside it, never elsewhere
            raise _damaged(folder, repr(version)[:80])
    return state


def _damaged(folder: Path, got: str) -> StorageError:
    return StorageError(f"{folder / CURRENT} is damaged", got=got, expected="names of folders beside it",
                        fix="delete that file and promote a bundle again")  # fmt: skip


def _make_current(folder: Path, version: str) -> None:
    state = _state(folder) if (folder / CURRENT).is_file() else {"version": None, "history": []}
    if state["version"] == version:
        return
    now = datetime.now(UTC).isoformat(timespec="seconds")
    history = [*state["history"], {"version": version, "time": now}]
    write_json(folder / CURRENT, {"format": 1, "version": version, "history": history})


def _copy(source: Path, target: Path) -> None:
    copy_folder(source, target, without=(".git", ".cache"))
