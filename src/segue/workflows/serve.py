"""``segue serve``: answer over HTTP from a bundle, until a signal stops it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import closing
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from socket import socket
from typing import TYPE_CHECKING, Any

from segue.errors import MissingExtraError, SegueError
from segue.hardware import Device, limit_threads, usable_cores
from segue.printable import printable, printable_line
from segue.progress import Stages, quiet
from segue.settings import checked

if TYPE_CHECKING:
    from segue.bundles.released_retriever import ReleasedRetriever
    from segue.serving.settings import ServeSettings


def serve(
    bundle: Path | str,
    *,
    bank: Path | str | None = None,
    device: Device | None = None,
    stages: Stages = quiet,
    **settings: Any,
) -> None:
    """Serve a bundle, or the current one of a folder of bundles, and switch when another is promoted there.

    Args:
        bundle: a bundle, or a folder of bundles.
        bank: folder of the bank that the bundle was built from; a line states whether it has changed since. None: where
            the bundle recorded it, if it is still there.
        device: device of the models.
        stages: shows progress of loading.
        settings: fields of ``segue.serving.settings.ServeSettings``.

    Raises:
        MissingExtraError: the extra ``serve`` is not installed.
        SettingsError: a setting is out of range.
        SegueError: the bundle cannot be loaded, there is no such folder of runs, or the port is in use.
    """
    require_extra()
    from segue.serving.listening import address_of, listen
    from segue.serving.settings import ServeSettings

    made = checked(ServeSettings, settings, "the server")
    if made.runs is not None:
        from segue.runs.runs import RunsFolder

        RunsFolder(Path(made.runs))  # refuses a wrong folder before the bundle is read
    with closing(listen(made.host, made.port)) as listening:

        def announce(line: str) -> None:
            print(f"{printable_line(line)}\nlistening on {address_of(listening)}", flush=True)

        if made.workers == 1:
            limit_threads()
            _answer(bundle, made, listening, announce, bank=bank, device=device, stages=stages)
        else:
            from segue.serving.workers import Supervisor

            work = partial(_work, bundle, made, listening, bank=bank, device=device)
            Supervisor(work, made.workers).run(announce)


def _answer(
    bundle: Path | str, made: ServeSettings, listening: socket, started: Callable[[str], None], *,
    bank: Path | str | None, device: Device | None, stages: Stages = quiet,
) -> None:  # fmt: skip
    """Load a bundle and serve it in this process; ``started`` gets a line about the bundle.

    What is heavy is imported here and below: the supervisor of several workers needs none of it.
    """
    from segue.serving.server import make_server, run
    from segue.workflows.predict import bundle_changes

    with stages("Verifying and loading the bundle"):
        server = make_server(Path(bundle), made, partial(_load, device=device or "auto"))
    found = server.current.released.bundle
    outdated = bundle_changes(found, bank)
    if outdated is not None:
        print(printable(outdated), file=sys.stderr, flush=True)
    run(server, listening, lambda: started(f"serving {found.contract['name']}, version {found.version}"))


def _work(
    bundle: Path | str, made: ServeSettings, listening: socket, answering: Connection, *, bank: Path | str | None,
    device: Device | None,
) -> None:  # fmt: skip
    """Serve a bundle in one of several workers, which share the machine's cores."""
    limit_threads(int(os.environ.get("OMP_NUM_THREADS", max(1, usable_cores() // made.workers))))
    try:
        _answer(bundle, made, listening, answering.send, bank=bank, device=device)
    except SegueError as error:
        answering.send(error)
        sys.exit(error.exit_code)


def require_extra() -> None:
    """Check that the extra ``serve`` is installed.

    Raises:
        MissingExtraError: it is not.
    """
    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            "serving is not installed", got=f"no package {error.name}", fix="pip install 'segue[serve]'"
        ) from error


def _load(path: Path, *, device: Device) -> ReleasedRetriever:
    from segue.bundles.open import open_bundle
    from segue.bundles.released_retriever import ReleasedRetriever

    return ReleasedRetriever(open_bundle(path, device=device))
