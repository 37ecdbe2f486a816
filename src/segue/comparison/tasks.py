"""Tasks of a comparison: one option on one fold each, done here, by local processes or on Ray, with the same results.

Input: a ``Job`` and tasks whose inputs are named in full. Output: their results, each also kept in its folder. A
process builds what tasks share (index, words, features) once. Every task runs with the same number of threads, so the
number of processes changes no bit.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, runtime_checkable

import cloudpickle
import loky
import psutil

from segue.cluster import RayExecutor, connected, places, require_seen, thread_limits
from segue.comparison.entries.baselines import Baselines
from segue.comparison.entries.option_on_fold import OptionOnFold
from segue.comparison.entries.reranked import CascadeBuilder, record_model_used
from segue.comparison.entries.text import train_text_option, with_own_steps
from segue.comparison.entries.trained import train_option
from segue.comparison.job import FoldResult, FoldTraining, Job
from segue.comparison.options import Option
from segue.comparison.scoring import evaluate_on_test, rank_on_validation
from segue.comparison.tuning import tune
from segue.errors import SegueError, StorageError
from segue.evaluation.experiment import Fold
from segue.hardware import choose_device, limit_threads, usable_cores
from segue.parts import choose_parts, pickled_parts, take_pickled
from segue.retrieval.retrievers import Retriever
from segue.types import Progress

GB_PER_PROCESS = 1.5
"""Memory that a process gets at least, GB, where their number is not given."""
PROGRESS_FILE = "progress.json"
"""File in which a process notes the progress of its task, for the process that waits."""
SECONDS_BETWEEN_NOTES = 0.5
Result = TypeVar("Result")
Given = ParamSpec("Given")


@dataclass(frozen=True)
class Task:
    """One option on one fold, and what its training depends on.

    Attributes:
        option: what is trained, fitted or read back.
        fold: on which fold.
        loss: preset that a model is trained under; None for an option without training.
        model: the option whose trained model is used, where the option uses another's.
        steps: optimiser steps.
        trial_steps: optimiser steps of each trial, where the option's settings are tuned.
    """

    option: Option
    fold: Fold
    loss: str | None
    model: str | None
    steps: int
    trial_steps: int

    def name(self, folds: int) -> str:
        """Return option and fold in words."""
        return self.option.name if folds == 1 else f"{self.option.name}, fold {self.fold.number + 1} of {folds}"


class Worker:
    """Does tasks of a job one after the other.

    Attributes:
        job: the comparison.
        baselines: what its tasks share.
    """

    def __init__(self, job: Job, baselines: Baselines) -> None:
        self.job, self.baselines = job, baselines
        self._kept: dict[str, Any] = {}

    def keep(self, name: str, make: Callable[[], Result]) -> Result:
        """Return what ``make`` returned in the first call under this name, for work that shares it."""
        if name not in self._kept:
            self._kept[name] = make()
        result: Result = self._kept[name]
        return result

    def do(self, task: Task, progress: Progress) -> FoldResult:
        """Train or fit an option, score it on validation, evaluate it on test, and keep the result in its folder.

        Raises:
            StorageError: the folder cannot be written. Any other SegueError becomes the reason of the result.
        """
        try:
            retriever, training = self._retriever(task, progress)
            validation, ranks = rank_on_validation(retriever, self.job, task.fold)
            evaluation = evaluate_on_test(self.job, task.option, task.fold, retriever)
        except StorageError:
            raise  # a full disk is no fault of the option
        except SegueError as error:  # not kept: the next run tries again
            return FoldResult("failed" if task.option.planned else "skipped", str(error))
        status = "under-trained" if training and training["under_trained"] else "done"
        result = FoldResult(status, None, validation, training, evaluation, ranks)
        result.save(self.job.folder(task.option, task.fold))
        return result

    def _retriever(self, task: Task, progress: Progress) -> tuple[Retriever, FoldTraining | None]:
        """Train, fit or read back an option; return it with the record of its training."""
        option, fold = task.option, task.fold
        if option.reuses_model:
            record_model_used(self.job, option, fold, best=task.model)
        unit = OptionOnFold(self.job, option, fold, self.baselines, task.loss, task.steps, progress)
        if option in self.job.searched:
            unit = replace(unit, job=tune(replace(unit, steps=task.trial_steps)))
        if option.text is not None:
            return train_text_option(unit)
        if option.reranking is not None:
            return CascadeBuilder(unit).build()
        if option.trained:
            return train_option(unit if option.planned else with_own_steps(unit))
        return self.baselines.retriever(option.name, fold), None


@runtime_checkable
class Workers(Protocol):
    """Does tasks and other work on a job, ``at_once`` side by side, each with ``threads_each`` threads."""

    at_once: int
    threads_each: int

    def submit(self, task: Task, progress: Progress) -> Future[FoldResult]:
        """Begin a task."""

    def call(
        self, work: Callable[Concatenate[Worker, Given], Result], *given: Given.args, **named: Given.kwargs
    ) -> Future[Result]:
        """Begin ``work(worker, ...)``, a function of a module; in another process if there are several."""

    def note(self, task: Task) -> str:
        """Return how far a running task is, in words; "" where that is not known."""


class InThisProcess:
    """Does everything in this process, before the call returns."""

    at_once = 1

    def __init__(self, worker: Worker, threads_each: int) -> None:
        self.worker, self.threads_each = worker, threads_each

    def submit(self, task: Task, progress: Progress) -> Future[FoldResult]:
        """Do the task; it reports its own progress."""
        return self.call(Worker.do, task, progress)

    def call(
        self, work: Callable[Concatenate[Worker, Given], Result], *given: Given.args, **named: Given.kwargs
    ) -> Future[Result]:
        """Do the work; an error is raised at once."""
        done: Future[Result] = Future()
        done.set_result(work(self.worker, *given, **named))
        return done

    def note(self, task: Task) -> str:
        """Return nothing: no task runs while another is waited for."""
        return ""


class Processes:
    """Does the work in other processes, here or on Ray; each task notes its progress in the option's folder."""

    def __init__(self, pool: Executor, job: Job, at_once: int, threads_each: int) -> None:
        self.pool, self.job, self.at_once, self.threads_each = pool, job, at_once, threads_each

    def submit(self, task: Task, progress: Progress) -> Future[FoldResult]:
        """Send the task to the next free process."""
        return self.call(_do_and_note_progress, task)

    def call(
        self, work: Callable[Concatenate[Worker, Given], Result], *given: Given.args, **named: Given.kwargs
    ) -> Future[Result]:
        """Send the work to the next free process."""
        return self.pool.submit(functools.partial(_with_worker, work, *given, **named))

    def note(self, task: Task) -> str:
        """Return what the task's process noted last."""
        try:
            return str(json.loads(_progress_file(self.job, task).read_text(encoding="utf-8"))["note"])
        except (OSError, ValueError, KeyError, TypeError):  # not there yet, or half written
            return ""


def share_machine(job: Job) -> tuple[int, int]:
    """Return the number of processes and the threads of each, from [compute] or from what the machine has."""
    settings, cores = job.recipe.compute, usable_cores()
    trains = any(option.trained or option.text or option.reranking for option in job.options)
    side_by_side = trains and choose_device(job.recipe.training.device) == "cpu"
    threads_each = settings.threads or (1 if side_by_side else max(1, cores // (settings.processes or 1)))
    tasks = len(job.options) * len(job.experiment.folds)
    if settings.processes is not None:
        return min(settings.processes, tasks), threads_each
    bank = job.experiment.bank
    bytes_each = GB_PER_PROCESS * 2**30 + 4 * len(bank) * bank.dimension  # the index holds every vector
    room = int(psutil.virtual_memory().available / bytes_each)
    return (max(1, min(cores // threads_each, room, tasks)) if side_by_side else 1), threads_each


@contextlib.contextmanager
def open_workers(job: Job, baselines: Baselines) -> Iterator[Workers]:
    """Yield what does the job's tasks; its processes end with the block, and unfinished tasks with them.

    Processes import what they need at once, beside what the caller does first. The caller limits its own threads to
    ``threads_each`` before it begins a task.

    Raises:
        SettingsError: a class of ``__main__`` that the recipe names cannot be sent to processes.
        StorageError: a process ended before its task did.
    """
    if job.recipe.compute.executor == "ray":
        with _on_ray(job) as workers:
            yield workers
        return
    processes, threads_each = share_machine(job)
    if processes == 1:
        yield InThisProcess(Worker(job, baselines), threads_each)
        return
    limits = {**thread_limits(threads_each), "LOKY_MAX_MEMORY_LEAK_SIZE": "1e15"}  # what tasks share is no leak
    given = (_sent(job), threads_each, os.getpid())
    pool = loky.ProcessPoolExecutor(processes, initializer=_begin, initargs=given, env=limits)
    finished = False
    try:
        pool.submit(os.getpid)  # the first call starts all processes
        yield Processes(pool, job, processes, threads_each)
        finished = True
    except BrokenProcessPool as error:
        raise StorageError(
            "a process ended before its task did",
            got=str(error).splitlines()[0],
            expected=f"memory for {processes} processes",
            fix="lower [compute] processes and run the same command again: finished tasks are kept",
        ) from error
    finally:
        pool.shutdown(wait=True, kill_workers=not finished)


@contextlib.contextmanager
def _on_ray(job: Job) -> Iterator[Workers]:
    """Yield what does the job's tasks on a Ray cluster, as ``Processes``; a lost task is begun again."""
    settings = job.recipe.compute
    with connected(settings) as cluster:
        tasks = len(job.options) * len(job.experiment.folds)
        pool = RayExecutor(cluster, settings, initializer=_take, initargs=(_sent(job), str(job.out.absolute())))
        with pool:
            yield Processes(pool, job, min(places(cluster, settings), tasks), settings.threads_each)


def _sent(job: Job) -> bytes:
    """Return a job for another process, with what only this one has.

    Raises:
        SettingsError: a class or a part that the recipe names cannot be pickled.
    """
    return cloudpickle.dumps((job, pickled_parts(job.recipe.model_dump_json())))


_job = b""
"""The pickled job of this process, its classes of ``__main__``, where it was started for a pool."""


def _begin(job: bytes, threads_each: int, parent: int) -> None:
    """Prepare a process of the pool; it ends when the process that started it does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that waits ends the pool
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    limit_threads(threads_each)
    _take(job, None)


def _take(job: bytes, folder: str | None) -> None:
    """Make a job that of this process; its run folder, where it is given, has to be there.

    Raises:
        StorageError: this machine does not see the folder.
    """
    global _job
    if folder is not None:
        require_seen(folder)
    _job = job
    _this_worker.cache_clear()


def _end_with(parent: int) -> None:
    """End this process when it has another parent: that of one that was killed."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


@functools.cache
def _this_worker() -> Worker:
    """Return the worker of this process, made at its first task, so that an error reaches the one who waits."""
    job: Job
    job, parts = pickle.loads(_job)
    take_pickled(parts)
    choose_parts(job.recipe.part_names())
    return Worker(job, Baselines(job))


def _with_worker(
    work: Callable[Concatenate[Worker, Given], Result], *given: Given.args, **named: Given.kwargs
) -> Result:
    """Do the work in a process of the pool."""
    return work(_this_worker(), *given, **named)


def _do_and_note_progress(worker: Worker, task: Task) -> FoldResult:
    """Do a task in a process of the pool."""
    path = _progress_file(worker.job, task)
    path.unlink(missing_ok=True)  # of a killed run
    written = [0.0]

    def progress(step: int, total: int | None, text: str) -> None:
        if time.monotonic() - written[0] > SECONDS_BETWEEN_NOTES:
            written[0] = time.monotonic()
            with contextlib.suppress(OSError):  # a full disk is noticed where it matters
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps({"note": progress_in_words(step, total, text)}), encoding="utf-8")

    try:
        return worker.do(task, progress)
    finally:
        path.unlink(missing_ok=True)


def _progress_file(job: Job, task: Task) -> Path:
    return job.folder(task.option, task.fold) / PROGRESS_FILE


def progress_in_words(step: int, total: int | None, text: str) -> str:
    """Return the progress of a task in words.

    >>> progress_in_words(3, 25, "loss 2.5")
    'step 3/25 loss 2.5'
    """
    return f"{f'step {step}/{total} ' if total else ''}{text}".strip()
