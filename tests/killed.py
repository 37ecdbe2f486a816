"""Commands of the command line in processes that are killed, or that meet bad weather; afterwards they are run again.

``python -m benchmarks.kills`` does hundreds of cells; ``tests/test_killed.py`` a few. Each command runs in a fork of
this process, which imports what the first run of a command imported, so a cell costs what the command computes.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import importlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import worlds
from faulty_disk import FaultyDisk
from write_faults import _timeless, contents, recipe_of

import segue.__main__
import segue.cli.main
from segue import files
from segue.bundles.store import list_bundles
from segue.cli.signals import INTERRUPTED, TERMINATED, listen

EXIT = {signal.SIGINT: (INTERRUPTED, "segue: interrupted"), signal.SIGTERM: (TERMINATED, "segue: terminated")}
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
MOMENTS = ("first 50 ms", "any moment", "at a write")
WEATHER = ("memory", "clock", "two", "no locks")
DISKS = ("full", "read-only")
"""Weather for which a file system is mounted, where that is allowed."""
FINE = ("finished", "refused", "ended", "aborted")
"""Outcomes of a first run; ``aborted``: a C library lacked memory, and ended the process or tried again without end.

OpenBLAS does the latter; such a process is ended when it has used its time many times over.
"""
BUILT = ("bank build",)
COMPARED = (*BUILT, "triage")
RELEASED = (*COMPARED, "bundle build")


@dataclass(frozen=True)
class Verb:
    """A command line, and those that were run before it.

    Attributes:
        words: as typed, in the folder of the recipe.
        needs: names of verbs.
        output: whether the output is compared too; the command writes no file.
    """

    words: tuple[str, ...]
    needs: tuple[str, ...] = ()
    output: bool = False


VERBS = {
    "bank build": Verb(("bank", "build", "recipe.toml", "--quiet")),
    "bank add": Verb(("bank", "add", "bank", "more.jsonl", "--quiet"), BUILT),
    "bank remove": Verb(("bank", "remove", "bank", "essay-1", "essay-2"), BUILT),
    "index build": Verb(("index", "build", "bank", "--out", "index", "--quiet"), BUILT),
    "index tune": Verb(("index", "tune", "index", "bank", "--queries", "queries.npy", "--recall", "0.5", "-k", "5",
                        "--quiet"), (*BUILT, "index build")),
    "train": Verb(("train", "recipe.toml", "--out", "trained", "--quiet"), BUILT),
    "evaluate": Verb(("evaluate", "trained", "--quiet", "--unsafe"), (*BUILT, "train")),
    "triage": Verb(("triage", "recipe.toml", "--out", "run", "--quiet", "--unsafe"), BUILT),
    "report": Verb(("report", "run", "--unsafe"), COMPARED),
    "audit": Verb(("audit", "run", "--quiet"), COMPARED),
    "bundle build": Verb(("bundle", "build", "run", "bundle", "--option", "rerank", "--unsafe", "--quiet"), COMPARED),
    "bundle promote": Verb(("bundle", "promote", "bundle", "bundles"), RELEASED),
    "bundle rollback": Verb(("bundle", "rollback", "bundles"),
                            (*RELEASED, "bundle promote", "second build", "second promote")),
    "predict": Verb(("predict", "bundle", "--vectors", "read.npy", "--json"), RELEASED, output=True),
    "second build": Verb(("bundle", "build", "run", "second", "--option", "copy-last", "--unsafe", "--quiet"),
                         (*RELEASED, "bundle promote")),
    "second promote": Verb(("bundle", "promote", "second", "bundles"), (*RELEASED, "bundle promote", "second build")),
}  # fmt: skip
NAMES = tuple(name for name in VERBS if not name.startswith("second"))


@dataclass(frozen=True)
class Ended:
    """How a process ended.

    Attributes:
        code: exit code, or minus the number of the signal that ended it.
        out, err: what it printed.
        seconds: processor time.
    """

    code: int
    out: str
    err: str
    seconds: float


class Process:
    """A forked process that runs a command in a folder.

    Args:
        words: the command.
        place: its working folder.
        logs: folder of its output.
        before: called in the process before the command.
    """

    def __init__(self, words: tuple[str, ...], place: Path, logs: Path, before: Callable[[], object] = int) -> None:
        self.name = logs / f"{time.monotonic_ns()}"
        listened = set(SIGNALS[1:])
        signal.pthread_sigmask(signal.SIG_BLOCK, listened)
        self.pid = os.fork()
        if self.pid == 0:
            _run(words, place, self.name, before)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, listened)

    def send(self, number: int, *, after: float, wall: bool = False) -> None:
        """Send a signal after seconds of the process's own time, or of the wall's."""
        clock, began = (~self.pid << 3) | 2, time.monotonic()  # CLOCK_PROCESS_CPUTIME of another process
        with contextlib.suppress(OSError):
            while os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                if (time.monotonic() - began if wall else time.clock_gettime(clock)) >= after:
                    os.kill(self.pid, number)
                    return
                time.sleep(0.001)

    def wait(self) -> Ended:
        _, status, used = os.wait4(self.pid, 0)
        texts = []
        for stream in ("out", "err"):
            path = self.name.with_suffix(f".{stream}")
            texts.append(path.read_text() if path.exists() else "")
            path.unlink(missing_ok=True)
        return Ended(os.waitstatus_to_exitcode(status), *texts, used.ru_utime + used.ru_stime)


def _run(words: tuple[str, ...], place: Path, name: Path, before: Callable[[], object]) -> NoReturn:
    """Be the command's process, from the start of the entry point to its end."""
    code = 1
    try:
        for number, stream in ((1, "out"), (2, "err")):
            os.dup2(os.open(name.with_suffix(f".{stream}"), os.O_WRONLY | os.O_CREAT), number)
        sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
        os.chdir(place)
        sys.argv = ["segue", *words]
        before()
        listen()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, set(SIGNALS[1:]))
        segue.__main__.main()
        code = 0
    except SystemExit as stop:
        code = int(stop.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        signal.pthread_sigmask(signal.SIG_BLOCK, set(SIGNALS[1:]))
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


class SignallingDisk(FaultyDisk):
    """A disk that sends this process a signal at an operation; a write is half done then."""

    number = signal.SIGKILL

    def end(self) -> None:
        os.kill(os.getpid(), self.number)


def signal_at(operation: int, number: int) -> None:
    """Let the disk of this process send it a signal at an operation, counted from 1."""
    files.disk.__class__ = SignallingDisk
    SignallingDisk.__init__(files.disk, "signalled", operation)  # type: ignore[arg-type]
    files.disk.number = number  # type: ignore[attr-defined]


class Cells:
    """Cells of one verb. All use the same path, so that recorded paths do not differ.

    Args:
        name: the verb.
        folder: has room for copies of its files, which other verbs in it share.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.verb, self.place, self.logs = VERBS[name], folder / "at", folder
        self.before = self._prepared(self.verb.needs, folder / "kept")
        if name == "bundle rollback":  # names its version: run again without one, it would go back to the other
            earlier = list_bundles(self.before / "bundles")[0].version
            self.verb = replace(self.verb, words=(*self.verb.words, "--version", earlier))
        self._restore()
        noted = self.logs / "noted.json"
        ended = Process(self.verb.words, self.place, self.logs, lambda: _note_into(noted)).wait()
        assert ended.code in (0, 3), f"{name} does not run: {ended.code}, {ended.err}"
        self.code, self.seconds, self.expected = ended.code, ended.seconds, self._found(ended)
        self.operations = _noted(noted)

    def _prepared(self, needs: tuple[str, ...], kept: Path) -> Path:
        copy = kept / "-".join(["corpus", *needs]).replace(" ", "-")
        if copy.exists():
            return copy
        earlier = self._prepared(needs[:-1], kept) if needs else None
        shutil.rmtree(self.place, ignore_errors=True)
        if earlier is not None:
            shutil.copytree(earlier, self.place)
            noted = self.logs / "noted.json"
            ended = Process(VERBS[needs[-1]].words, self.place, self.logs, lambda: _note_into(noted)).wait()
            _noted(noted)
            assert ended.code in (0, 3), f"{needs[-1]} does not run: {ended.code}, {ended.err}"
        else:
            self.place.mkdir(parents=True)
            recipe_of(self.place)
            vectors = worlds.unit(np.random.default_rng(1).normal(size=(60, 16)).astype(np.float32))
            np.save(self.place / "queries.npy", vectors)
            np.save(self.place / "read.npy", vectors[:3])
        shutil.copytree(self.place, copy)
        return copy

    def _restore(self) -> None:
        shutil.rmtree(self.place, ignore_errors=True)
        shutil.copytree(self.before, self.place, dirs_exist_ok=True)

    def _found(self, ended: Ended) -> dict[str, str]:
        """Return a digest of every file, and of the output where that is the result."""
        found = contents(self.place)
        if self.verb.output and ended.out:
            found["output"] = hashlib.sha256(json.dumps(_timeless(json.loads(ended.out))).encode()).hexdigest()
        return found

    def kill(self, number: int, *, moment: str, draw: random.Random) -> str:
        """Send a signal at a moment, run the command again, and return what came of it."""
        self._restore()
        if moment == "at a write":
            operation = draw.randint(1, max(1, self.operations))
            process = Process(self.verb.words, self.place, self.logs, lambda: signal_at(operation, number))
        else:
            process = Process(self.verb.words, self.place, self.logs)
            wall = moment == "first 50 ms"
            process.send(number, after=draw.random() * (0.05 if wall else self.seconds), wall=wall)
        return self._again(self._judged(process.wait(), number))

    def kill_fresh(self, number: int, *, draw: random.Random) -> str:
        """Do the same with a new interpreter, which is still importing in half of the cases."""
        self._restore()
        command = [sys.executable, "-m", "segue", *self.verb.words]
        began = time.monotonic()
        process = subprocess.Popen(command, cwd=self.place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        clock, share = (~process.pid << 3) | 2, draw.random()
        after = FRESH_SECONDS + share * (2.0 + self.seconds)
        while process.poll() is None and time.clock_gettime(clock) < after and time.monotonic() - began < 300:
            time.sleep(0.002)
        process.send_signal(number)
        out, err = process.communicate()
        return self._again(self._judged(Ended(process.returncode, out, err, 0.0), number))

    def weather(self, kind: str, draw: random.Random) -> str:
        """Run the command in bad weather, run it again in good weather, and return what came of it."""
        self._restore()
        if kind in DISKS:
            return self._on_small_disk(kind, draw)
        if kind == "two":
            both = [Process(self.verb.words, self.place, self.logs) for _ in range(2)]
            outcomes = [self._judged(one.wait()) for one in both]
            return self._again(next((one for one in outcomes if one not in FINE), outcomes[0]))
        megabytes = draw.choice((4, 16, 48, 96))
        before: dict[str, Callable[[], object]] = {
            "memory": lambda: limit_memory(megabytes, round(5 + 10 * self.seconds)),
            "clock": lambda: shake_clock(draw),
            "no locks": no_locks,
        }
        return self._again(self._judged(Process(self.verb.words, self.place, self.logs, before[kind]).wait()))

    def _on_small_disk(self, kind: str, draw: random.Random) -> str:
        """Mount a small file system over the folder, which a command fills, or which is read-only."""
        held = sum(_pages(path) for path in self.place.rglob("*"))
        more = max(64, sum(_pages(self.before / name) for name in self.expected) // 2)
        shutil.rmtree(self.place)
        self.place.mkdir()
        size = (held + (1 if kind == "full" else 2) + int(more * draw.random())) * 4096
        _mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(self.place))
        try:
            shutil.copytree(self.before, self.place, dirs_exist_ok=True)
            if kind == "read-only":
                _mount("-o", "remount,ro", str(self.place))
            outcome = self._judged(Process(self.verb.words, self.place, self.logs).wait())
            _mount("-o", "remount,rw,size=1g", str(self.place))
            return self._again(outcome)
        finally:
            subprocess.run(["umount", str(self.place)], check=True)

    def _judged(self, ended: Ended, number: int = 0) -> str:
        """Return how a disturbed command ended, in a word of ``FINE`` or in what is wrong with it."""
        lines = [line for line in ended.err.splitlines() if line.startswith("segue: ")]
        if "Traceback" in ended.err or "Exception ignored" in ended.err:
            return f"traceback: {' | '.join(ended.err.strip().splitlines()[-2:])[:300]}"
        if ended.code == self.code:
            return "finished"
        if number in EXIT and ended.code == EXIT[number][0]:  # type: ignore[index]
            said = [line for line in lines if line.startswith(EXIT[number][1])]  # type: ignore[index]
            return "ended" if len(said) == 1 == len(lines) else f"says {ended.err!r}"
        if number and ended.code == -number:  # SIGKILL; or work was done, or had not begun
            return "ended" if not ended.err.strip() else f"says {ended.err!r}"
        if ended.code == 2 and len(lines) == 1:
            return "refused"
        if ended.code in (-signal.SIGABRT, -signal.SIGSEGV, -signal.SIGXCPU) and not number:
            return "aborted"
        return f"exit code {ended.code}: {ended.err.strip()[-300:]}"

    def _again(self, outcome: str) -> str:
        if outcome not in FINE:
            return outcome
        ended = Process(self.verb.words, self.place, self.logs).wait()
        done = ended.code == 2 and "already" in ended.err and "Traceback" not in ended.err
        if ended.code != self.code and not done:
            return f"{outcome}, then exit code {ended.code}: {ended.err.strip()[-300:]}"
        found = self._found(ended)
        differs = sorted(name for name in self.expected.keys() | found.keys()
                         if self.expected.get(name) != found.get(name))  # fmt: skip
        return f"{outcome}, then differs: {', '.join(differs[:4])}" if differs else outcome


FRESH_SECONDS = 0.05
"""Processor time in which an interpreter starts, before any line of Segue runs."""


def _pages(path: Path) -> int:
    return 1 + (path.stat().st_size + 4095) // 4096 if path.exists() else 0


def can_mount(folder: Path) -> bool:
    """Return whether this process may mount file systems."""
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(folder)], check=False).returncode:
        return False
    return subprocess.run(["umount", str(folder)], check=True).returncode == 0


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True, capture_output=True)


def _note_into(path: Path) -> None:
    """Write, when this process ends, how many operations its disk did and which modules it imported."""
    signal_at(0, signal.SIGKILL)
    ending = os._exit

    def end(code: int) -> NoReturn:
        count = files.disk.count  # type: ignore[attr-defined]
        path.write_text(json.dumps({"operations": count, "modules": [*sys.modules]}))
        ending(code)

    os._exit = end  # type: ignore[assignment]


def _noted(path: Path) -> int:
    """Import what a command imported late, so that later processes have it; return its operations."""
    noted = json.loads(path.read_text())
    for name in noted["modules"]:
        if name not in sys.modules:
            with contextlib.suppress(Exception):
                importlib.import_module(name)
    return int(noted["operations"])


def limit_memory(megabytes: int, seconds: int) -> None:
    """Let this process take only so much more memory than it has, and so much processor time."""
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + megabytes * 2**20,) * 2)


def shake_clock(draw: random.Random) -> None:
    """Let the time of day jump by up to a day, back and forth, at each reading."""
    told = time.time

    class Shaken(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) + timedelta(seconds=draw.uniform(-86400, 86400))

    time.time = lambda: told() + draw.uniform(-86400, 86400)
    for name, module in list(sys.modules.items()):
        if name.startswith("segue") and getattr(module, "datetime", None) is datetime:
            module.datetime = Shaken  # type: ignore[attr-defined]


def no_locks() -> None:
    """Be on a file system that has no locks."""

    def refuse(handle: object, operation: int) -> NoReturn:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    fcntl.flock = refuse  # type: ignore[assignment]
