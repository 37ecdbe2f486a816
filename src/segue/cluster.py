"""A Ray cluster: functions that other processes would run here run there, with the same threads and arithmetic.

Input: the table [compute], and functions that can be pickled. Output: their results. Nothing is copied to the cluster
but the call: its machines see the files of a bank and of a run where they lie. Ray is imported where it is used.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import pickle
import socket
import sys
import traceback
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from typing import Any, Literal, ParamSpec, TypeVar

import cloudpickle
from pydantic import Field, model_validator

from segue.arithmetic import VARIABLE, as_variable
from segue.errors import InputError, MissingExtraError, SegueError, SettingsError, StorageError
from segue.hardware import limit_threads, usable_cores
from segue.settings import Settings

RETRIES = 3
"""Times that a task whose worker was lost is begun again."""
SECONDS_TO_ANSWER = 5.0
"""Time limit of the first answer of a cluster's head, seconds."""
VARIABLES = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # otherwise each start warns of it
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",  # lost workers are reported on stdout, where results go
    "RAY_worker_niceness": "0",  # the priority of local processes
    "RAY_agent_register_timeout_ms": "300000",  # the defaults are too short for a machine that is busy
    "RAY_worker_register_timeout_seconds": "300",
}
"""Environment variables of Ray, where they are not set; some are read when it is imported."""
Given = ParamSpec("Given")
Result = TypeVar("Result")


class ComputeSettings(Settings):
    """The [compute] table: where tasks run (one option on one fold each, or a shard to encode), and what each gets.

    ``executor`` and ``processes`` change no result. ``threads`` may change last bits.
    """

    executor: Literal["processes", "ray"] = Field(
        "processes", description='"processes" of this machine, or "ray": a cluster; `pip install \'segue[ray]\'`'
    )
    address: str | None = Field(
        None,
        min_length=1,
        description='with "ray": "host:port" of the cluster\'s head, or "auto" for the cluster that this machine '
        "belongs to (null: one that is started here, and ends with the command)",
    )
    processes: int | None = Field(
        None,
        ge=1,
        le=1024,
        description='tasks that run side by side (null: with "ray", all that it has room for; otherwise cores / '
        "threads on a CPU, where there is memory for them; 1 on a GPU, and where nothing is trained)",
    )
    threads: int | None = Field(
        None,
        ge=1,
        le=1024,
        description='threads of each task (null: with "ray" 1; otherwise 1 on a CPU where something is trained, else '
        "every core)",
    )
    cpus: float | None = Field(
        None, gt=0, le=1024, description='with "ray": CPUs that a task reserves (null: one for each of its threads)'
    )
    gpus: float = Field(0.0, ge=0, le=64, description='with "ray": GPUs that a task reserves; 0.5: two tasks share one')
    memory_gb: float | None = Field(
        None, gt=0, le=100_000, description='with "ray": memory that a task reserves, GB (null: none)'
    )

    @model_validator(mode="after")
    def _for_ray(self) -> ComputeSettings:
        if self.executor != "ray":
            given = [name for name in ("address", "cpus", "gpus", "memory_gb") if getattr(self, name)]
            if given:
                raise SettingsError(f"{given[0]} is for a Ray cluster", got=f'executor = "{self.executor}"',
                                    fix=f'write executor = "ray", or leave {given[0]} out')  # fmt: skip
        elif self.address not in (None, "auto") and not str(self.address).rpartition(":")[2].isdigit():
            raise SettingsError("address is not that of a Ray cluster", got=repr(self.address),
                                expected='"host:port" of its head, or "auto"')  # fmt: skip
        return self

    @property
    def threads_each(self) -> int:
        """The threads of a task on Ray."""
        return self.threads or 1

    @property
    def resources(self) -> dict[str, float]:
        """What a task reserves, by Ray's names."""
        memory = {} if self.memory_gb is None else {"memory": self.memory_gb * 2**30}
        return {"CPU": self.cpus or self.threads_each, **({"GPU": self.gpus} if self.gpus else {}), **memory}

    @property
    def options(self) -> dict[str, Any]:
        """The same as keyword arguments of a Ray task or actor."""
        names = {"CPU": "num_cpus", "GPU": "num_gpus", "memory": "memory"}
        return {names[name]: amount for name, amount in self.resources.items()}


def thread_limits(count: int) -> dict[str, str]:
    """Return environment variables by which another process computes as this one, with that number of threads."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return {**dict.fromkeys(names, str(count)), VARIABLE: as_variable()}


@contextlib.contextmanager
def connected(settings: ComputeSettings) -> Iterator[Any]:
    """Yield the module ``ray``, connected to the cluster of the settings; a connection of the caller's is used.

    A cluster that is started here ends with the block; from any other one, this process only parts.

    Raises:
        InputError: the cluster does not answer, or has another version of Ray or Python.
        MissingExtraError: Ray is not installed.
    """
    for name, value in VARIABLES.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError("Ray is not installed", fix="pip install 'segue[ray]'") from error
    if ray.is_initialized():
        yield ray
        return
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if settings.address is None:
            cpus = max(usable_cores(), round((settings.processes or 1) * settings.resources["CPU"]))
            ray.init("local", num_cpus=cpus, include_dashboard=False, **quiet)
        else:
            if settings.address != "auto":
                _require_answer(settings.address)
            ray.init(settings.address, **quiet)
    except Exception as error:  # of many kinds
        where = settings.address
        raise InputError(
            f"the Ray cluster at {where} does not answer" if where else "no Ray cluster can be started here",
            got=_reason(error),
            fix="check [compute] address, RAY_AUTH_MODE, and `ray status` on the cluster's head"
            if where
            else 'run again; on a busy machine start one with `ray start --head`, and write address = "auto"',
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _reason(error: BaseException) -> str:
    """Return the last line of the first cause of an error, shortened."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[-1][:300].rstrip(".")


def _require_answer(address: str) -> None:
    """Say hello as HTTP/2 does, which the head's server answers; Ray itself would try for minutes.

    Raises:
        OSError: nothing answers, or something else.
    """
    host, _, port = address.rpartition(":")
    hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])  # and empty settings
    with socket.create_connection((host.strip("[]"), int(port)), timeout=SECONDS_TO_ANSWER) as line:
        line.sendall(hello)
        answer = line.recv(9)
    if len(answer) < 9 or answer[3] != 4:
        raise ConnectionError("what answers there is no Ray cluster")


def places(ray: Any, settings: ComputeSettings) -> int:
    """Return how many tasks the cluster has room for, at most [compute] processes.

    Raises:
        SettingsError: no machine of it has room for one, and the number is not given.
    """
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    room = sum(min(int(machine.get(name, 0) / amount + 1e-9) for name, amount in settings.resources.items())
               for machine in machines)  # fmt: skip
    if room == 0 and settings.processes is None:  # a cluster that grows on demand may have none yet
        wanted = ", ".join(f"{amount:g} {name}" for name, amount in settings.resources.items())
        raise SettingsError("no machine of the Ray cluster has room for a task", got=f"{len(machines)} machines",
                            expected=wanted,
                            fix="lower [compute] cpus, gpus or memory_gb; or give processes, where machines are added "
                            "on demand")  # fmt: skip
    return min(room or 1024, settings.processes or 1024)


def require_seen(folder: str) -> None:
    """Check, on a machine of a cluster, that a folder of the one that sent the work is there.

    Raises:
        StorageError: it is not.
    """
    if not os.path.isdir(folder):
        raise StorageError("a machine of the Ray cluster does not see the folder", got=f"no {folder} there",
                           fix="put runs and banks on a file system that all machines share")  # fmt: skip


class RayExecutor(Executor):
    """Runs functions as Ray tasks, as a process pool does here; a task whose worker is lost is begun again.

    Args:
        ray: the connected module.
        settings: what a task reserves.
        initializer: called once in every process, before its first task.
        initargs: its arguments.
    """

    def __init__(
        self,
        ray: Any,
        settings: ComputeSettings,
        *,
        initializer: Callable[..., None] | None = None,
        initargs: tuple[Any, ...] = (),
    ) -> None:
        self._ray = ray
        self._key = uuid.uuid4().hex
        call = None if initializer is None else functools.partial(initializer, *initargs)
        self._begin = ray.put(process_state(settings, call))
        self._task = ray.remote(max_retries=RETRIES, **settings.options)(_run)
        self._running: set[Any] = set()

    def submit(self, fn: Callable[Given, Result], /, *args: Given.args, **kwargs: Given.kwargs) -> Future[Result]:
        """Send a call to the cluster.

        The future's error is that of the call, or StorageError where workers are lost again and again.
        """
        call = cloudpickle.dumps(functools.partial(fn, *args, **kwargs))
        reference, found = self._task.remote(self._key, [self._begin], call), Future[Result]()
        found.set_running_or_notify_cancel()
        self._running.add(reference)

        def settle(done: Future[tuple[bool, Any]]) -> None:
            self._running.discard(reference)
            try:
                fine, result = done.result()
            except BaseException as error:  # Ray's own
                fine, result = False, lost(error)
            if fine:
                found.set_result(result)
            else:
                found.set_exception(result)

        reference.future().add_done_callback(settle)
        return found

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the tasks that still run: the caller has waited for what it needs."""
        for reference in list(self._running):
            self._ray.cancel(reference, force=True)


def lost(error: BaseException) -> SegueError:
    """Return the error for what Ray could not do again."""
    return StorageError(
        "a worker of the Ray cluster ended before its task did",
        got=f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}".rstrip(".: "),
        expected="workers that live, and memory for their tasks",
        fix="raise [compute] memory_gb, and run the same command again: what is finished is kept",
    )


def process_state(settings: ComputeSettings, call: Callable[[], None] | None) -> bytes:
    """Return, pickled, what a process of a cluster takes over from this one; see ``take_state``."""
    state = os.getcwd(), sys.path, thread_limits(settings.threads_each), settings.threads_each
    return pickle.dumps((*state, cloudpickle.dumps(call)))


def take_state(pickled: bytes) -> None:
    """Compute, find modules and files as the process that sent its state, then call what it sent along."""
    folder, path, limits, count, call = pickle.loads(pickled)
    with contextlib.suppress(OSError):  # relative paths are then not found, which is noticed
        os.chdir(folder)
    sys.path.extend(one for one in path if one not in sys.path)
    os.environ.update(limits)  # for libraries that are loaded later
    limit_threads(count)
    begin: Callable[[], None] | None = pickle.loads(call)
    if begin is not None:
        begin()


_begun = ""
"""The executor whose state this process has."""


def _run(key: str, begin: list[Any], call: bytes) -> tuple[bool, Any]:
    """Do a call in a process of the cluster; return whether it went well, and the result or the error."""
    global _begun
    try:
        if _begun != key:
            import ray

            take_state(ray.get(begin[0]))
            _begun = key
        return True, pickle.loads(call)()
    except Exception as error:
        error.add_note(traceback.format_exc())
        return False, error
