"""Bundles on the Hugging Face hub: a repository holds one bundle, and its commits are the bundle's versions.

A local folder, named ``file://FOLDER``, works like a repository, without a network.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from segue.bundles.files import MANIFEST, verify
from segue.errors import InputError, StorageError
from segue.files import copy_folder, write_folder
from segue.storage import pull

FILE = "file://"


def push_to_hub(
    bundle: Path | str, repository: str, *, private: bool = True, message: str = "", api: Any = None
) -> str:
    """Verify a bundle and upload it as the whole content of a model repository, in one commit.

    Args:
        bundle: the bundle's folder.
        repository: ``owner/name`` on the hub, or ``file://`` and a folder.
        private: whether a new repository is private.
        message: commit message.
        api: a ``huggingface_hub.HfApi``; None: the machine's login.

    Returns:
        The bundle's version.

    Raises:
        StorageError: the bundle is damaged, or the upload failed.
    """
    bundle = pull(bundle)
    version = verify(bundle).version
    if repository.startswith(FILE):
        write_folder(Path(repository.removeprefix(FILE)), lambda place: _copy(bundle, place))
        return version
    if api is None:
        from huggingface_hub import HfApi

        api = HfApi()
    try:
        api.create_repo(repository, private=private, exist_ok=True, repo_type="model")
        api.upload_folder(folder_path=str(bundle), repo_id=repository, repo_type="model", delete_patterns="*",
                          commit_message=message or f"Bundle {version}")  # fmt: skip
    except _hub_errors() as error:
        raise StorageError(f"{repository} did not accept the bundle", got=str(error).splitlines()[0][:200],
                           fix="log in with `hf auth login`, and check the name") from error  # fmt: skip
    return version


def from_pretrained(repository: str, out: Path | str, *, revision: str | None = None, download: Any = None) -> Path:
    """Download a bundle, verify it, and return its folder, which is written whole or not at all.

    Args:
        repository: ``owner/name`` on the hub, or ``file://`` and a folder.
        out: target folder; one that holds the same bundle already is left as it is.
        revision: commit, branch or tag; None: the newest.
        download: used instead of ``huggingface_hub.snapshot_download``.

    Raises:
        InputError: there is no bundle.
        StorageError: what was downloaded is damaged, or ``out`` holds something else.
    """
    out = Path(out)
    local = repository.startswith(FILE)
    source = Path(repository.removeprefix(FILE)) if local else _downloaded(repository, revision, download)
    version = verify(source).version
    if (out / MANIFEST).is_file() and verify(out).version == version:
        return out
    if out.exists():
        raise InputError(f"{out} already exists", fix="choose another folder, or delete it")
    write_folder(out, lambda place: _copy(source, place))
    verify(out)
    return out


def _downloaded(repository: str, revision: str | None, download: Any) -> Path:
    if download is None:
        from huggingface_hub import snapshot_download as download
    try:
        return Path(download(repository, revision=revision))
    except _hub_errors() as error:
        raise InputError(f"cannot download {repository}", got=str(error).splitlines()[0][:200],
                         fix="check its name, your login and the network") from error  # fmt: skip


def _hub_errors() -> tuple[type[Exception], ...]:
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    return (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError)


def _copy(source: Path, place: Path) -> None:
    """Copy the files, since a downloaded snapshot holds links into the hub's cache."""
    copy_folder(source, place, without=(".git", ".cache", ".gitattributes"))
