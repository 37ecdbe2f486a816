"""``segue triage``: compare options on a corpus, and recommend one, with reasons."""

from __future__ import annotations

import io
import shutil
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any, Literal

import numpy as np
from rich.console import Console

from segue.arithmetic import as_variable
from segue.bank.bank import PassageBank
from segue.checks.build_case import case_of_job
from segue.checks.own import load_checks
from segue.comparison.choice import choose
from segue.comparison.entries.baselines import Baselines
from segue.comparison.job import Job, Results
from segue.comparison.options import OPTIONS, RECIPE_OPTION, Option
from segue.comparison.record import (
    CorpusRecord,
    EncoderRecord,
    FreshRecord,
    MachineRecord,
    Record,
    RunFile,
    Setup,
    read_record,
    write_record,
)
from segue.comparison.run import run_triage
from segue.comparison.summary import compare, merged
from segue.comparison.tasks import open_workers
from segue.comparison.tuning import tuning_record
from segue.corpus import Corpus
from segue.errors import BlockedError, InputError, MissingExtraError
from segue.evaluation.experiment import Experiment
from segue.evaluation.trec import write_qrels, write_run
from segue.files import exclusive
from segue.hardware import describe_machine, limit_threads, threads
from segue.old_names import option_folder
from segue.progress import Stages, quiet
from segue.recipe import AnyRecipe, Recipe
from segue.reports import draw_plot, public_json, summary_lines, terminal_table, write_report
from segue.reports.contrasts import choice_in_words
from segue.reports.svg import Plot
from segue.reports.text import to_text
from segue.runs.runs import EntryAnswers, Run
from segue.storage import on_storage, pull
from segue.training.watch import begin_watching, require_tools, watch_table
from segue.types import Bank
from segue.version import __version__
from segue.workflows.check_record import CheckPolicy, check_data, check_record
from segue.workflows.confidence import winner_confidence
from segue.workflows.prepare import (
    as_recipe,
    bind_job,
    case_of_recipe,
    experiment_of,
    open_bank,
    record_job,
    require_own_parts,
)

DEFAULT_POLICY = CheckPolicy()
"""All checks run, and an issue of an integrity check blocks the headline."""


@dataclass(frozen=True, repr=False)
class Comparison:
    """A finished comparison: ``print(comparison)`` shows its table.

    Attributes:
        path: the run folder.
        record: everything that was measured, as in ``triage.json``.
        bank: the bank, where it is still open.
    """

    path: Path
    record: Record
    bank: PassageBank | None = field(default=None, repr=False, compare=False)

    @classmethod
    def open(cls, run: Path | str) -> Comparison:
        """Open the comparison that a run folder holds.

        Raises:
            InputError: the folder holds no comparison.
            MissingExtraError: it is in object storage, and its client is not installed.
            StorageError: it cannot be fetched.
        """
        run = pull(run)
        path = run / "triage.json"
        if not path.exists():
            raise InputError(f"{run} holds no comparison", got="no triage.json in it",
                             fix="run `segue triage` or `segue evaluate` first")  # fmt: skip
        return cls(run, read_record(path))

    @property
    def winner(self) -> str | None:
        """The cheapest candidate that is not clearly worse than the best on validation documents."""
        return self.record.winner

    @property
    def why(self) -> str:
        """Why it was chosen, in words; "" where there is no winner, or numbers are refused."""
        return to_text(choice_in_words(self.record))

    @property
    def report(self) -> Path:
        """The report as one HTML file; ``segue.compare`` without ``out`` leaves it to be written here.

        Raises:
            InputError: ``triage.json`` cannot be read.
            StorageError: the report cannot be written.
        """
        path = self.path / "report.html"
        if not path.exists():
            write_report(self.path)
        return path

    @property
    def nothing_trained(self) -> str | None:
        """Why no trained option was measured on every fold, where some should have been; None where one was."""
        trains = {option.name for option in (*OPTIONS, RECIPE_OPTION) if option.planned}
        own = ("loss", "architecture")
        entries = [entry for entry in self.record.entries if entry.name in trains or entry.family in own]
        if not entries or any(entry.measured for entry in entries):
            return None
        return f"{entries[0].name}: {entries[0].status}: {entries[0].reason}"

    def metric(self, option: str, name: str) -> float | None:
        """Return one option's value of a metric; None where it was not computed.

        Raises:
            InputError: the option did not take part.
        """
        entry = self.record.entry(option)
        if entry is None:
            names = ", ".join(entry.name for entry in self.record.entries)
            raise InputError("the comparison does not have this option", got=option, expected=names)
        return entry.value(name)

    def to_json(self) -> dict[str, Any]:
        """Return the public form: what ``segue triage --json`` prints."""
        return public_json(self.record, run=self.path)

    def to_pandas(self, per: Literal["entry", "window"] = "entry") -> Any:
        """Return a table of the entries, or of every test window of every measured entry, as a ``pandas.DataFrame``.

        Args:
            per: ``entry``: name, status, intent and each metric with the ends of its 95 % interval; the winner first,
                then by R@5. ``window``: entry, document, passage (the target), rank (from 1) and cosine; reading them
                is logged like a test evaluation.

        Raises:
            BlockedError: an integrity check failed, so there is no number to show.
            InputError: there are no such rows, or the bank of the run is not there.
            MissingExtraError: pandas is not installed.
            StorageError: a file of the run or of its bank is damaged.
        """
        if per not in ("entry", "window"):
            raise InputError("there are no such rows", got=repr(per), expected='"entry" or "window"')
        self._refuse_blocked()
        pandas = _pandas()
        if per == "entry":
            return pandas.DataFrame(self._rows())
        run = Run(self.path.name, self.path, self.bank)
        found = [run.answers(entry.name) for entry in self.record.entries if entry.measured]
        return pandas.concat([pandas.DataFrame(_columns(answers, run.bank)) for answers in found], ignore_index=True)

    def plot(self, name: str = "intervals") -> Plot:
        """Return a plot of the report as a ``matplotlib.figure.Figure``, to show, change and save.

        Its attribute ``caption`` is how to read it.

        Args:
            name: ``intervals``, ``recall``, ``scatter`` (cosine against R@5), ``ranks``, ``curves`` (validation during
                training), ``confidence-curve``, ``confidence-reliability``, and of the diagnosis ``gradients``,
                ``weights``, ``spectrum``, ``hubs``, ``offsets``, ``truth``, ``order``, ``data``, ``ceiling``.

        Raises:
            BlockedError: an integrity check failed, so there is no number to show.
            InputError: there is no plot of this name, or what it shows was not measured.
        """
        self._refuse_blocked()
        return draw_plot(self.record, name)

    def _refuse_blocked(self) -> None:
        if self.record.refused:
            raise BlockedError(
                f"no number is shown: blocked by {', '.join(self.record.blocked)}",
                fix="see comparison.record.causes, or compare with policy=CheckPolicy(unsafe=True)",
            )

    def _rows(self) -> list[dict[str, Any]]:
        """Return a flat row for each entry: the winner, other candidates by R@5, then the rest by R@5."""
        public = self.to_json()

        def place(option: dict[str, Any]) -> tuple[bool, bool, float]:
            value = option["metrics"]["R@5"]["value"]
            return option["name"] != public["winner"], option["intent"] != "candidate", 1.0 if value is None else -value

        return [_flat(option) for option in sorted(public["options"], key=place)]

    def __repr__(self) -> str:
        """Return where it is and what it found, on one line."""
        return f"Comparison({str(self.path)!r}: {len(self.record.entries)} options, winner {self.winner})"

    def __str__(self) -> str:
        """Return the table that ``segue triage`` prints."""
        return _printed(self.record).export_text()

    def _repr_html_(self) -> str:
        """Return the same table for notebooks."""
        return _printed(self.record).export_html(inline_styles=True, code_format="<pre>{code}</pre>")


def _pandas() -> Any:
    try:
        import pandas
    except ImportError as error:
        raise MissingExtraError("pandas is not installed", fix="pip install 'segue[notebook]'") from error
    return pandas


def _columns(answers: EntryAnswers, bank: PassageBank) -> dict[str, Any]:
    """Return the columns of the windows of an entry."""
    documents = [bank.document_ids[number] for number in bank.document_of[answers.targets]]
    return {"entry": answers.option, "document": documents, "passage": bank.passage_ids(answers.targets),
            "rank": answers.ranks, "cosine": answers.cosine}  # fmt: skip


def _flat(option: dict[str, Any]) -> dict[str, Any]:
    """Return a row: each metric, and the ends of its interval."""
    ends = {"value": "", "low": " low", "high": " high"}
    metrics = {f"{name}{ends[end]}": value for name, found in option["metrics"].items() for end, value in found.items()}
    return {"name": option["name"], "status": option["status"], "intent": option["intent"], **metrics}


def _printed(record: Record) -> Console:
    """Return a console that has printed the table and the lines below it."""
    width = shutil.get_terminal_size((120, 24)).columns
    console = Console(file=io.StringIO(), record=True, width=width, force_jupyter=False)  # else it shows itself there
    console.print(terminal_table(record, width=console.width))
    for line in summary_lines(record):
        console.print(line, highlight=False, markup=False)
    return console


@on_storage("out")
def triage(
    recipe: AnyRecipe,
    out: Path | str,
    *,
    policy: CheckPolicy = DEFAULT_POLICY,
    stages: Stages = quiet,
) -> Comparison:
    """Run the recipe's options on its corpus, check them, write the report, and return the comparison.

    A killed triage continues where it stopped when it is called again with the same ``out``. While an integrity check
    fails, the report holds no headline number (``comparison.record.blocked`` names the checks).

    Raises:
        BlockedError: a check of the data failed, so nothing was trained.
        SegueError: any other fault of settings, documents or files; the base class of Segue's errors.
    """
    recipe = as_recipe(recipe)
    return run_comparison(recipe, recipe.chosen_options(), Path(out), policy=policy, stages=stages)


def run_comparison(
    recipe: Recipe,
    options: tuple[Option, ...],
    out: Path,
    *,
    bank: PassageBank | None = None,
    experiment: Experiment | None = None,
    fresh: FreshRecord | None = None,
    policy: CheckPolicy = DEFAULT_POLICY,
    with_report: bool = True,
    stages: Stages = quiet,
) -> Comparison:
    """Compare options and write everything the run folder holds.

    Args:
        recipe: all settings.
        options: what is compared.
        out: the run folder.
        bank: the recipe's bank; None: it is opened, or built.
        experiment: bank and folds, where they are not the recipe's own.
        fresh: the corpus of the test windows, where it is not the recipe's.
        policy: policy of headline numbers.
        with_report: write the report; without it, ``Comparison.report`` does.
        stages: shows progress.
    """
    limit_threads()
    require_tools(recipe.training.report_to)
    began = monotonic()
    if experiment is None:
        experiment = experiment_of(recipe, bank or open_bank(recipe, stages=stages))
    used = experiment.bank
    own = load_checks(recipe.checks.own)
    require_own_parts(recipe)
    job = bind_job(recipe, experiment, options, out)
    baselines = Baselines(job)
    with ExitStack() as held:
        with open_workers(job, baselines) as workers:
            of_data = check_data(case_of_recipe(recipe, experiment), policy, own=own, stages=stages)
            held.enter_context(exclusive(out))
            record_job(job)
            begin_watching(recipe.training.report_to, out)
            for name in job.pieces:
                with stages(f"Encoding {name}") as progress:
                    baselines.pieces(name, progress)
            encoded = monotonic()
            with threads(workers.threads_each):
                with stages("Comparing options") as progress:
                    results = run_triage(job, baselines=baselines, workers=workers, progress=progress, say=stages.say)
                compared = monotonic()
                chosen = choose(job, results)
                confidence = winner_confidence(chosen.winner if chosen else None, workers=workers, stages=stages)
                judged = monotonic()
                subject = case_of_job(job, results, baselines=baselines).subject
                checked = check_record(subject, policy, data=of_data, own=own, workers=workers, stages=stages)
        with stages("Writing the report"):
            seconds = {"reading and encoding": encoded - began, "comparing": compared - encoded,
                       "measuring confidence": judged - compared, "checking": monotonic() - judged}  # fmt: skip
            write_runs(job, results)
            setup = measured_setup(recipe, job, results, seconds=seconds, fresh=fresh)
            record = Record(**dict(setup), **dict(compare(job, results)), **dict(checked), confidence=confidence,
                            files=_files(job))  # fmt: skip
            write_record(out / "triage.json", record)
            if with_report:
                write_report(out)
    found = Comparison(out, record, used if isinstance(used, PassageBank) else None)
    watch_table(recipe.training.report_to, out, found._rows(),
                {"winner": record.winner, "blocked": ", ".join(record.blocked)})  # fmt: skip
    return found


def measured_setup(
    recipe: Recipe, job: Job, results: Results, *, seconds: dict[str, float], fresh: FreshRecord | None = None
) -> Setup:
    """Return what was measured, on what, and where."""
    experiment = job.experiment
    space = {name: value for name, value in experiment.bank.space.to_json().items() if name != "fingerprint"}
    title = recipe.title or "Which passage comes next?"
    return Setup(
        segue=__version__,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        title=f"{title} (fresh documents: {fresh.name})" if fresh else title,
        corpus=CorpusRecord(kind=recipe.corpus.kind, name=corpus_name(recipe.corpus), **_live_counts(experiment.bank)),
        encoder=EncoderRecord.model_validate(space),
        pool=experiment.pool.size,
        windows=sum(len(fold.test) for fold in experiment.folds),
        documents=len(experiment.test_documents),
        folds=len(experiment.folds),
        context=experiment.context,
        exclude=job.recipe.evaluation.exclude,
        seeds=tuple(job.seed(fold) for fold in experiment.folds),
        size=job.recipe.model.size,
        machine=MachineRecord.model_validate({**describe_machine(), "arithmetic": as_variable()}),
        seconds=seconds | _training_seconds(results) | _tuning_seconds(job),
        dropped_windows=_dropped(experiment),
        fresh=fresh,
    )


def _live_counts(bank: Bank) -> dict[str, Any]:
    """Return the size of a bank without removed documents."""
    live = {"documents": len(np.unique(bank.document_of[bank.alive])), "passages": int(bank.alive.sum())}
    return asdict(bank.counts) | live


def corpus_name(corpus: Corpus) -> str:
    """Name the corpus by its last folder or file; the rest of the path is private."""
    named = [getattr(corpus, key, None) for key in ("name", "path", "reader")]
    first = next((name[0] if isinstance(name, tuple) else name for name in named if name), corpus.kind)
    return Path(str(first)).name


def _training_seconds(results: Results) -> dict[str, float]:
    records = [fold.training for folds in results.values() for fold in folds if fold.training]
    return {"of which training": sum((record["seconds"] for record in records), 0.0)}


def _tuning_seconds(job: Job) -> dict[str, float]:
    found = tuning_record(job)
    return {"of which tuning": sum(entry["seconds"] for entry in found)} if found else {}


def _dropped(experiment: Experiment) -> dict[str, int]:
    """Add up, over all parts of all folds' test windows, what was left out and why."""
    total: dict[str, int] = {}
    for fold in experiment.folds:
        for reason, count in fold.test.dropped.items():
            total[reason] = total.get(reason, 0) + count
    return total


def write_runs(job: Job, results: Results) -> None:
    """Write a TREC run of every option and the qrels they are judged by; duplicates go by their first passage.

    A query is named after the last passage read. The target is at its rank, which counts ties against the retriever,
    so other tools compute the numbers of the report from the run.
    """
    bank = job.experiment.bank
    names = bank.passage_ids(bank.duplicate_group)
    for name, evaluation in merged(results).items():
        queries = [f"after:{passage}" for passage in bank.passage_ids(evaluation.targets - 1)]
        targets = [names[row] for row in evaluation.targets]
        depth = evaluation.rankings.shape[1]
        answers = [
            place_target([names[row] for row in rows if row >= 0], target, rank=rank)[:depth]
            for rows, target, rank in zip(evaluation.rankings.tolist(), targets, evaluation.ranks.tolist(), strict=True)
        ]
        note = f"pool of {evaluation.pool_size} candidates, excluded: {evaluation.exclude}"
        write_run(
            option_folder(job.out / "options", name) / "run.trec.gz", queries, answers, tag=name, depth=depth, note=note
        )
        if not (job.out / "qrels.trec").exists():
            write_qrels(job.out / "qrels.trec", queries, targets)


def place_target(answers: list[str], target: str, *, rank: int) -> list[str]:
    """Move the target to its rank, and leave the others in their order.

    >>> place_target(["a", "t", "b"], "t", rank=3)  # t ties with b
    ['a', 'b', 't']
    >>> place_target(["a", "t"], "t", rank=9)
    ['a']
    """
    others = [answer for answer in answers if answer != target]
    return [*others[: rank - 1], target, *others[rank - 1 :]] if rank <= len(answers) else others


def _files(job: Job) -> tuple[RunFile, ...]:
    """List what the run folder holds."""
    files = [
        ("recipe.json", "every setting, defaults included"),
        ("split.json", "the documents of each part, locked"),
        ("plan.json", "steps per option and the measurements they follow from"),
        ("looks.jsonl", "every evaluation on test documents"),
        ("confidence.json", "confidence of the winner: fitted models, and how they were judged"),
        ("qrels.trec", "the passage that followed each window"),
    ]
    for option in job.options:
        files.append((f"tuning/{option.name}/fold-0", f"trials of {option.name} and the best settings, first fold"))
        files.append((f"options/{option.name}/run.trec.gz", f"rankings of {option.name}"))
        files.append((f"options/{option.name}/fold-0/checkpoint", f"weights of {option.name}, first fold"))
    there = [(path, what) for path, what in files if (job.out / path).exists()]
    there += [("triage.json", "all numbers of this report"), ("report.json", "the numbers in their public form")]
    return tuple(RunFile(path=path, what=what) for path, what in there)
