"""Trainings watched in other tools: TensorBoard, Weights & Biases, MLflow (``[training] report_to``).

Input: the points of a training's curve, as ``metrics.jsonl`` has them, and the table of a comparison. Output: a run in
each tool for every training, and one for the table, in the run folder or on the server that the environment names.

A training hands over its whole curve whenever it goes on. What a tool holds from before a kill is replaced or
skipped, so no point is there twice. A tool that fails is reported once and left out; it ends no training.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import logging
import os
import re
import shutil
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from segue.errors import MissingExtraError
from segue.files import read_json, write_json
from segue.training.settings import Tool
from segue.training.state import Record

Facts = Mapping[str, object]
Follow = Callable[[Sequence[Record]], None]
"""Called with the whole curve whenever it may have grown."""
Row = Mapping[str, Any]

IDENTITY = "report_to.json"
"""File with the id of a run folder, from which those of its runs in other tools follow."""
TABLE = "comparison"
"""Name of the run that holds the table."""
OF_TRAINING = ("loss", "learning_rate", "grad_norm", "temperature", "seconds")
"""Values of a curve that are not validation scores."""
PACKAGES = {"tensorboard": ("tensorboard",), "wandb": ("wandb",), "mlflow": ("mlflow", "sqlalchemy", "alembic")}

log = logging.getLogger("segue.training")
_left_out: set[tuple[str, Path]] = set()
"""Tools that failed in this process, each with the run folder."""


def follow_nothing(curve: Sequence[Record]) -> None:
    """Ignore the curve."""


def require_tools(tools: Sequence[Tool]) -> None:
    """Check that the tools can be imported.

    Raises:
        MissingExtraError: names the extra of the first that cannot.
    """
    for tool in tools:
        for package in PACKAGES[tool]:
            if importlib.util.find_spec(package) is None:
                raise MissingExtraError(f'[training] report_to = ["{tool}"] needs {package}, which is not installed',
                                        fix=f"pip install 'segue[{tool}]'")  # fmt: skip


def begin_watching(tools: Sequence[Tool], folder: Path) -> None:
    """Give a run folder its id, and make the stores that its trainings, perhaps side by side, write to.

    Raises:
        StorageError: the folder cannot be written.
    """
    if not tools:
        return
    _left_out.difference_update([(tool, folder) for tool in tools])
    if not (folder / IDENTITY).exists():
        write_json(folder / IDENTITY, {"format": 1, "id": uuid.uuid4().hex})
    if "mlflow" in tools:
        _guarded("mlflow", folder, partial(_MlflowStore, folder))


@contextlib.contextmanager
def watching(tools: Sequence[Tool], folder: Path, name: str, facts: Facts) -> Iterator[Follow]:
    """Yield what follows a training's curve.

    Args:
        tools: those to report to.
        folder: the run folder, after ``begin_watching``.
        name: name of the training in it, such as ``infonce/fold-0``.
        facts: its settings.
    """
    opened: dict[Tool, _Logger] = {}
    for tool in tools:
        found = _guarded(tool, folder, partial(_LOGGERS[tool], folder, name, facts))
        opened |= {} if found is None else {tool: found}
    seen = 0

    def follow(curve: Sequence[Record]) -> None:
        nonlocal seen
        for record in curve[seen:]:
            for tool, logger in opened.items():
                _guarded(tool, folder, partial(logger.point, int(record["step"] or 0), _values(record)), logger)
        seen = len(curve)

    finished = False
    try:
        yield follow
        finished = True
    finally:
        for tool, logger in opened.items():
            _guarded(tool, folder, partial(logger.close, finished))


def watch_table(tools: Sequence[Tool], folder: Path, rows: Sequence[Row], facts: Facts) -> None:
    """Report a table: as it is, and each number as ``column/name of the row``.

    Args:
        tools: those to report to.
        folder: the run folder, after ``begin_watching``.
        rows: all with the same keys, ``name`` among them.
        facts: what else is known of it.
    """
    numbers = {f"{column}/{row['name']}": float(value) for row in rows for column, value in row.items()
               if isinstance(value, int | float)}  # fmt: skip
    for tool in tools:
        logger = _guarded(tool, folder, partial(_LOGGERS[tool], folder, TABLE, facts))
        if logger is not None:
            _guarded(tool, folder, partial(_write_table, logger, numbers, rows), logger)


def _write_table(logger: _Logger, numbers: Mapping[str, float], rows: Sequence[Row]) -> None:
    logger.point(0, numbers)
    logger.table(list(rows[0]), [list(row.values()) for row in rows])
    logger.close(True)


def _guarded(tool: str, folder: Path, act: Callable[[], Any], logger: _Logger | None = None) -> Any:
    """Return what ``act`` returns; where it fails, report that, close the logger, and leave the tool out of the run."""
    if (tool, folder) in _left_out:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the tools' own dependencies
        try:
            return act()
        except Exception as error:  # whatever a tool, its store or its server does
            _left_out.add((tool, folder))
            words = str(error).strip().splitlines()
            log.warning(
                "%s is left out of this run: %s: %s", tool, type(error).__name__, words[0] if words else "no reason"
            )
            if logger is not None:
                with contextlib.suppress(Exception):  # it may be what failed
                    logger.close(False)
            return None


def _values(record: Record) -> dict[str, float]:
    """Name the numbers of a point by what they were measured on.

    >>> _values({"step": 8, "loss": 0.5, "loss/infonce": 0.5, "temperature": None, "MRR": 0.25})
    {'train/loss': 0.5, 'train/loss/infonce': 0.5, 'validation/MRR': 0.25}
    """
    part = {name: "train" if name.split("/")[0] in OF_TRAINING else "validation" for name in record}
    return {f"{part[name]}/{name}": float(value) for name, value in record.items()
            if value is not None and name != "step"}  # fmt: skip


def _key(folder: Path, name: str) -> str:
    """Return the id of a training in the tools: the same before and after a kill."""
    return hashlib.sha256(f"{read_json(folder / IDENTITY)['id']}/{name}".encode()).hexdigest()[:16]


@runtime_checkable
class _Logger(Protocol):
    """A run of one tool."""

    def point(self, step: int, values: Mapping[str, float]) -> None:
        """Write numbers by name."""

    def table(self, columns: list[str], rows: list[list[Any]]) -> None:
        """Write a table."""

    def close(self, finished: bool) -> None:
        """End the run; one that is not finished may be continued."""


class _TensorBoard:
    """Event files in ``tensorboard/``; those from before a kill are replaced."""

    def __init__(self, folder: Path, name: str, facts: Facts) -> None:
        from torch.utils.tensorboard import SummaryWriter

        place = folder / "tensorboard" / name
        for old in place.glob("events.*"):
            old.unlink()
        self.writer = SummaryWriter(str(place))
        self.table(["setting", "value"], [[key, value] for key, value in facts.items()], name="settings")

    def point(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)
        self.writer.flush()

    def table(self, columns: list[str], rows: list[list[Any]], *, name: str = TABLE) -> None:
        cells = [columns, ["---"] * len(columns), *rows]
        lines = [" | ".join("" if cell is None else str(cell) for cell in line) for line in cells]
        self.writer.add_text(name, "\n".join(f"| {line} |" for line in lines))

    def close(self, finished: bool) -> None:
        self.writer.close()


class _Wandb:
    """A run in ``wandb/``, offline unless ``WANDB_MODE`` states otherwise.

    Offline, the files from before a kill are replaced; a server drops steps that it has.
    """

    def __init__(self, folder: Path, name: str, facts: Facts) -> None:
        offline = os.environ.get("WANDB_MODE", "offline") == "offline"
        if offline:
            os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        self.key, project = _key(folder, name), os.environ.get("WANDB_PROJECT", "segue")
        if offline:
            for old in (folder / "wandb").glob(f"offline-run-*-{self.key}"):
                shutil.rmtree(old)
        quiet = wandb.Settings(silent=True, console="off", x_disable_stats=True, disable_git=True, save_code=False)
        self.run = wandb.init(project=project, dir=str(folder), id=self.key, name=name, group=folder.name,
                              config=dict(facts), mode="offline" if offline else None,
                              resume=None if offline else "allow", reinit="create_new",
                              settings=quiet)  # fmt: skip

    def point(self, step: int, values: Mapping[str, float]) -> None:
        self.run.log(dict(values), step=step)

    def table(self, columns: list[str], rows: list[list[Any]]) -> None:
        import wandb

        self.run.log({TABLE: wandb.Table(columns=[*columns], data=rows, allow_mixed_types=True)})

    def close(self, finished: bool) -> None:
        self.run.finish(exit_code=0 if finished else 1)


class _MlflowStore:
    """The store that ``MLFLOW_TRACKING_URI`` names, or ``mlflow.db`` in the run folder; its experiment is made."""

    def __init__(self, folder: Path) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
        from mlflow import MlflowClient

        own = f"sqlite:///{(folder / 'mlflow.db').absolute()}"
        uri = os.environ.get("MLFLOW_TRACKING_URI", own)
        self.client = MlflowClient(uri)
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "segue")
        known = self.client.get_experiment_by_name(name)
        artifacts = (folder / "mlflow").absolute().as_uri() if uri == own else None
        self.experiment = known.experiment_id if known else self.client.create_experiment(name, artifacts)


class _Mlflow:
    """A run in the MLflow store; steps that it has are skipped, and a table replaces the one before."""

    def __init__(self, folder: Path, name: str, facts: Facts) -> None:
        store, key = _MlflowStore(folder), _key(folder, name)
        self.client, tags = store.client, {"segue.key": key, "segue.run": folder.name}
        found = [*self.client.search_runs([store.experiment], f"tags.`segue.key` = '{key}'")]
        if name == TABLE:
            for old in found:
                self.client.delete_run(old.info.run_id)
            found = []
        run = found[0] if found else self.client.create_run(store.experiment, run_name=name, tags=tags)
        self.run = run.info.run_id
        self.known = {metric: {point.step for point in self.client.get_metric_history(self.run, metric)}
                      for metric in run.data.metrics}  # fmt: skip
        if found:
            self.client.update_run(self.run, status="RUNNING")
        else:
            try:
                for fact, value in facts.items():
                    self.client.log_param(self.run, fact, value)
            except Exception:
                self.client.set_terminated(self.run, "FAILED")
                raise

    def point(self, step: int, values: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        named = {re.sub(r"[^\w/.\- :]", "_", name.replace("@", "_at_")): value for name, value in values.items()}
        now = int(1000 * time.time())
        new = [Metric(name, value, now, step) for name, value in named.items() if step not in self.known.get(name, ())]
        self.client.log_batch(self.run, metrics=new)

    def table(self, columns: list[str], rows: list[list[Any]]) -> None:
        self.client.log_dict(self.run, {"columns": columns, "data": rows}, f"{TABLE}.json")

    def close(self, finished: bool) -> None:
        self.client.set_terminated(self.run, "FINISHED" if finished else "KILLED")


_LOGGERS: Mapping[Tool, Callable[[Path, str, Facts], _Logger]] = {
    "tensorboard": _TensorBoard,
    "wandb": _Wandb,
    "mlflow": _Mlflow,
}
