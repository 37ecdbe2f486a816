"""The command line: parse, call one verb, print. Commands of what is released are in ``cli/release.py``.

Exit codes: 0 done; 1 with ``--gate``, when a gate fails or lacks evidence; 2 bad input or configuration; 3 blocked by
an integrity check; 130 or 143 interrupted, finished work is kept.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
import typer.core

from segue.cli.output import (
    AsJson,
    BankFolder,
    Device,
    OwnBank,
    Quiet,
    Run,
    Unsafe,
    Wide,
    columns,
    print_change,
    print_info,
    print_json,
    show,
    stages,
)
from segue.cli.release import bundle_app, index_app, predict, serve
from segue.cli.signals import INTERRUPTED, KEPT, rank, terminated
from segue.errors import BlockedError, OtherRankError, SegueError, SettingsError
from segue.printable import printable, printable_line
from segue.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from segue.comparison.record import Cause, Finding
    from segue.workflows.triage import Comparison

VERBS = ("demo", "bank", "audit", "train", "evaluate", "diagnose", "triage", "report", "index", "bundle",
         "predict", "serve")  # fmt: skip
"""Verbs in the order of the flow."""


class FlowOrder(typer.core.TyperGroup):
    """Lists the verbs in the order of the flow."""

    def list_commands(self, ctx: object) -> list[str]:
        """Return the names of the verbs."""
        return list(VERBS)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the verb of the words; several ranks only train.

        Raises:
            SettingsError: ``torchrun`` started several processes of another verb.
        """
        found = super().resolve_command(ctx, args)
        if found[0] != "train" and "TORCHELASTIC_RUN_ID" in os.environ and os.environ["WORLD_SIZE"] != "1":
            error = SettingsError(f"`segue {found[0]}` is no work for several ranks",
                                  fix="start it without torchrun; only `segue train` is for it")  # fmt: skip
            raise OtherRankError if rank() else error
        return found

    def invoke(self, ctx: Any) -> Any:
        """Run a verb; an interruption prints a message and has its own exit code."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            _say(f"interrupted; {KEPT}")
            sys.exit(INTERRUPTED)


app = typer.Typer(
    name="segue",
    cls=FlowOrder,
    help="Predict which passage comes next, and know whether the prediction can be trusted.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
bank_app = typer.Typer(
    help="Build a bank of passages and vectors, describe one, or keep it up to date.", no_args_is_help=True
)
app.add_typer(bank_app, name="bank")
app.add_typer(index_app, name="index")
app.add_typer(bundle_app, name="bundle")
for command in (predict, serve):
    app.command()(command)

WIDEST = 400
"""Columns for a table that may take any width."""
GATE_MISSED = 1

Gate = Annotated[bool, typer.Option("--gate", help="Exit with 1 unless every gate of the recipe passes.")]
Out = Annotated[Path | None, typer.Option("--out", help="Run folder; default: runs/ and the recipe's name.")]
RecipeFile = Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe, a TOML file.")]
Mute = Annotated[list[str] | None, typer.Option("--mute", metavar="CODE", help="Leave a check out; may be repeated.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only count; change nothing.")]
Fast = Annotated[bool, typer.Option("--fast", help="Leave out the checks that train.")]


def main() -> None:
    """Run the command line; every SegueError, and a lack of memory, becomes one message and an exit code."""
    signal.signal(signal.SIGTERM, terminated)
    try:
        app(standalone_mode=True)
    except SegueError as error:
        _fail(error)
    except (MemoryError, RuntimeError) as error:
        if not _is_lack_of_memory(error):
            raise
        _fail(SegueError("there is not enough memory", got=" ".join(str(error).split())[:200] or None,
                         fix="free memory and run the same command again; finished work is kept"))  # fmt: skip


def _is_lack_of_memory(error: Exception) -> bool:
    """Return whether memory was lacking; PyTorch and threads report it as a RuntimeError."""
    told = ("DefaultCPUAllocator", "CUDA out of memory", "can't start new thread")
    return isinstance(error, MemoryError) or any(words in str(error) for words in told)


def _fail(error: SegueError) -> NoReturn:
    if not isinstance(error, OtherRankError):
        _say(f"rank {rank()}: {error}" if rank() else str(error))
    sys.exit(error.exit_code)


def _say(text: str) -> None:
    show(f"segue: {text}", file=sys.stderr)


def _version(wanted: bool | None) -> None:
    if wanted:
        print(f"segue {__version__}")
        raise typer.Exit


def _machine(wanted: bool | None) -> None:
    if wanted:
        from segue.arithmetic import choices, measured
        from segue.hardware import describe_machine

        for name, value in {"segue": __version__, **describe_machine()}.items():
            show(f"{name}: {value}")
        for work, speeds in measured().items():
            found = ", ".join(f"{kind} {speed:g}" for kind, speed in speeds.items())
            print(f"arithmetic of {work}: {choices()[work]} (10^9 operations a second of one thread: {found})")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool | None, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = None,
    machine: Annotated[
        bool | None,
        typer.Option("--machine", callback=_machine, is_eager=True, help="Print versions, machine and its arithmetic."),
    ] = None,
) -> None: ...


@app.command()
def demo(*, out: Annotated[Path, typer.Option("--out", help="Run folder.")] = Path("runs/demo"),
         every: Annotated[bool, typer.Option("--all", help="Compare every option; takes longer.")] = False,
         device: Device = None, mute: Mute = None, unsafe: Unsafe = False, quiet: Quiet = False,
         wide: Wide = False, as_json: AsJson = False, gate: Gate = False) -> None:  # fmt: skip
    """Compare options on real Wikipedia text that needs no download.

    Example: `segue demo`
    """
    shown = stages(quiet, f"segue {__version__}: comparing options on a sample of Wikipedia, results in {out}")
    from segue.workflows.demo import demo as verb

    _show(
        verb(out, options="all" if every else "core", device=device, policy=_policy(mute, unsafe), stages=shown),
        as_json=as_json,
        gate=gate,
        wide=wide,
    )


@bank_app.command("build")
def bank_build(recipe: RecipeFile, *, out: Annotated[Path | None, typer.Option("--out", help="Bank folder.")] = None,
               only_estimate: Annotated[bool, typer.Option(
                   "--estimate", help="Count passages, tokens and the cost of an endpoint; encode nothing.")] = False,
               device: Device = None, quiet: Quiet = False, as_json: AsJson = False) -> None:  # fmt: skip
    """Read, cut and encode a corpus; an interrupted build is resumed.

    Example: `segue bank build recipe.toml --out bank/`
    """
    from segue.workflows.bank import build, estimate, info

    if only_estimate:
        print_info(estimate(_load(recipe, device), stages=stages(quiet)), as_json=as_json)
        return
    bank = build(_load(recipe, device), out, stages=stages(quiet))
    print_info(info(bank.path), as_json=as_json)


@bank_app.command("info")
def bank_info(bank: Annotated[Path, typer.Argument(metavar="BANK", help="A bank folder.")],
              verify: Annotated[bool, typer.Option("--verify", help="Hash every file again.")] = False,
              skipped: Annotated[bool, typer.Option("--skipped", help="List what was not read, and why.")] = False,
              as_json: AsJson = False) -> None:  # fmt: skip
    """Describe a bank.

    Example: `segue bank info bank/ --verify`
    """
    from segue.workflows.bank import info, read_skipped

    if skipped:
        for item in read_skipped(bank):
            line = "\t".join(map(printable_line, (item.id, item.reason)))
            line = json.dumps(asdict(item)) if as_json else line
            print(line)
        return
    print_info(info(bank, verify=verify), as_json=as_json)


@bank_app.command("add")
def bank_add(bank: BankFolder,
             sources: Annotated[list[Path], typer.Argument(metavar="SOURCE...", help="Recipes, files or folders.")], *,
             dry_run: DryRun = False, device: Device = None, quiet: Quiet = False,
             as_json: AsJson = False) -> None:  # fmt: skip
    """Encode documents whose ids the bank does not have, and add them in one step.

    Example: `segue bank add bank/ my-docs/new.md fresh.toml`
    """
    from segue.workflows.bank import add

    print_change(add(bank, sources, device=device, dry_run=dry_run, stages=stages(quiet)), as_json=as_json)


@bank_app.command("remove")
def bank_remove(bank: BankFolder,
                ids: Annotated[list[str] | None, typer.Argument(metavar="ID...", help="Ids of documents.")] = None, *,
                ids_file: Annotated[Path | None, typer.Option("--ids", help="A file of ids, one a line.")] = None,
                dry_run: DryRun = False, as_json: AsJson = False) -> None:  # fmt: skip
    """Remove documents in one step.

    Example: `segue bank remove bank/ old.md --ids gone.txt`
    """
    from segue.workflows.bank import read_ids, remove

    wanted = [*(ids or ()), *(read_ids(ids_file) if ids_file is not None else ())]
    print_change(remove(bank, wanted, dry_run=dry_run), as_json=as_json)


@bank_app.command("update")
def bank_update(recipe: RecipeFile, *, bank: OwnBank = None,
                gone: Annotated[bool, typer.Option("--remove-gone", help="Remove what the corpus lost.")] = False,
                dry_run: DryRun = False, device: Device = None, quiet: Quiet = False,
                as_json: AsJson = False) -> None:  # fmt: skip
    """Read a recipe's corpus again and encode what is new or changed, in one step.

    Example: `segue bank update recipe.toml --dry-run`
    """
    from segue.workflows.bank import update

    found = update(_load(recipe, device), bank, remove_gone=gone, dry_run=dry_run, stages=stages(quiet))
    print_change(found, as_json=as_json)


@bank_app.command("convert")
def bank_convert(source: Annotated[str, typer.Argument(metavar="SOURCE", help="A bank, or a database of LanceDB.")],
                 out: Annotated[str, typer.Argument(metavar="OUT", help="The database, or the new bank's folder.")], *,
                 at: Annotated[str | None, typer.Option(help="Of a database: hash of an earlier state.")] = None,
                 quiet: Quiet = False, as_json: AsJson = False) -> None:  # fmt: skip
    """Write a bank into LanceDB, or what changed since; or write a database back as a bank.

    Example: `segue bank convert bank/ lance/`
    """
    from segue.bank.bank import PassageBank
    from segue.workflows.bank import convert, info

    done = convert(source, out, at=at, stages=stages(quiet))
    print_info(info(done.path) if isinstance(done, PassageBank) else done.to_json(), as_json=as_json)


@app.command()
def audit(target: Annotated[Path, typer.Argument(metavar="TARGET", help="A recipe, a bank folder or a run folder.")], *,
          bank: OwnBank = None, mute: Mute = None, quiet: Quiet = False,
          as_json: AsJson = False) -> None:  # fmt: skip
    """Check whether numbers can be trusted; exit code 3 if an integrity check blocks them.

    Example: `segue audit runs/mine`
    """
    from segue.workflows.audit import audit as verb

    found = verb(target, bank=bank, mute=mute or (), stages=stages(quiet))
    if as_json:
        print_json(found.to_json())
    else:
        _print_findings(found.findings)
        show(f"blocked by {', '.join(found.blocked)}" if found.blocked else "no check blocks the headline number")
        if found.unproven:
            show(f"muted or not carried out, so not verified: {', '.join(found.unproven)}")
    if found.blocked:
        sys.exit(BlockedError.exit_code)


@app.command()
def train(
    recipe: RecipeFile, out: Out = None, device: Device = None, quiet: Quiet = False, as_json: AsJson = False
) -> None:
    """Train the recipe's model with the recipe's loss; test documents are not read.

    Example: `segue train recipe.toml --out runs/first`
    """
    from segue.workflows.train import train as verb

    record = verb(_load(recipe, device), _out(out, recipe), stages=stages(quiet))
    if rank():
        return
    if as_json:
        print_json({name: value for name, value in record.items() if name != "curve"})
    else:
        _print_training(record)
        show(f"next: segue evaluate {_shown(_out(out, recipe))}")


@app.command()
def evaluate(run: Run, *, corpus: Annotated[Path | None, typer.Option(help="Recipe of fresh documents.")] = None,
             bank: OwnBank = None, device: Device = None, mute: Mute = None, unsafe: Unsafe = False,
             quiet: Quiet = False, wide: Wide = False, as_json: AsJson = False,
             gate: Gate = False) -> None:  # fmt: skip
    """Score a trained run on its locked test documents, or on fresh documents.

    Example: `segue evaluate runs/first --corpus fresh.toml`
    """
    from segue.workflows.evaluate import evaluate as verb

    comparison = verb(run, corpus=corpus, bank=bank, device=device, policy=_policy(mute, unsafe), stages=stages(quiet))
    _show(comparison, as_json=as_json, gate=gate, wide=wide)


@app.command()
def diagnose(run: Run, *, option: Annotated[str | None, typer.Option(help="Option to explain.")] = None,
             bank: OwnBank = None, fast: Fast = False, mute: Mute = None, quiet: Quiet = False,
             as_json: AsJson = False) -> None:  # fmt: skip
    """Explain why a run is not better; default: its best trained option. Exit code 3 if a check blocks its numbers.

    Example: `segue diagnose runs/mine --option ar-cosine`
    """
    from segue.workflows.diagnose import diagnose as verb

    found = verb(run, option=option, bank=bank, fast=fast, mute=mute or (), stages=stages(quiet))
    if as_json:
        print_json(found.to_json())
    else:
        _print_findings(found.shown, found.causes)
        if found.blocked:
            show(f"{'UNSAFE: ' if found.unsafe else ''}blocked by {', '.join(found.blocked)}")
    if found.refused:
        sys.exit(BlockedError.exit_code)


@app.command()
def triage(recipe: RecipeFile, *, out: Out = None, device: Device = None, mute: Mute = None, unsafe: Unsafe = False,
           quiet: Quiet = False, wide: Wide = False, as_json: AsJson = False, gate: Gate = False) -> None:  # fmt: skip
    """Compare options under one plan, and write a report with a recommendation.

    Example: `segue triage recipe.toml --out runs/mine`
    """
    shown = stages(quiet, f"segue {__version__}: comparing options of {recipe}, results in {_shown(_out(out, recipe))}")
    from segue.workflows.triage import triage as verb

    comparison = verb(_load(recipe, device), _out(out, recipe), policy=_policy(mute, unsafe), stages=shown)
    _show(comparison, as_json=as_json, gate=gate, wide=wide)


@app.command()
def report(run: Run, unsafe: Unsafe = False, wide: Wide = False, as_json: AsJson = False) -> None:
    """Write a run's report again from what was measured.

    Example: `segue report runs/mine`
    """
    from segue.workflows.report import report as verb

    _show(verb(run, unsafe=unsafe), as_json=as_json, gate=False, wide=wide)


def _print_training(record: Mapping[str, Any]) -> None:
    """Print the scores of a trained model beside those of copying, what its best step means, and where it is."""
    print(f"on {record['validation_windows']:,} validation windows:")
    for name, found in record["validation"].items():
        show(f"  {name:10s}  R@5 {100 * found['R@5']:5.1f} %   MRR {found['MRR']:.3f}")
    step, steps = record["best_step"], record["steps"]
    print(f"best step: {step} of {steps}, {record['seconds']:.0f} s")
    if step == 0 and record["anchor"] is not None:
        show(f"Step 0 is before training: the model is its anchor, so it answers as {record['anchor']} does.")
    elif step == 0:
        print("Step 0 is before training: no training step improved the random weights.")
    if step == 0:
        print("Train for longer ([training] steps), or try another [loss] or [training] learning_rate.")
    show(f"model: {record['checkpoint']}")
    show(f"card:  {record['card']}")


def _load(recipe: Path, device: Any) -> Any:
    from segue.recipe import load_recipe
    from segue.workflows.prepare import on_device

    return on_device(load_recipe(recipe), device)


def _policy(mute: list[str] | None, unsafe: bool) -> Any:
    from segue.workflows.check_record import CheckPolicy

    return CheckPolicy(tuple(mute or ()), unsafe)


def _out(out: Path | None, recipe: Path) -> Path:
    return out if out is not None else Path("runs") / recipe.stem


def _shown(path: Path) -> str:
    """Return a path as it was written; a URL that became a path lost a slash."""
    from segue.storage import place_of

    return place_of(path)


def _show(comparison: Comparison, *, as_json: bool, gate: bool, wide: bool) -> None:
    """Print a comparison as a table or as JSON, and exit with its code."""
    if as_json:
        print_json(comparison.to_json())
    else:
        _print_table(comparison, wide=wide)
    if comparison.record.refused:
        sys.exit(BlockedError.exit_code)
    if comparison.nothing_trained:
        _say(f"no trained option was measured on every fold: {comparison.nothing_trained}")
        sys.exit(SegueError.exit_code)
    gates = comparison.record.gates
    if gate and (not gates or any(found.outcome != "pass" for found in gates)):
        sys.exit(GATE_MISSED)


def _print_table(comparison: Comparison, *, wide: bool) -> None:
    from rich.console import Console

    from segue.reports import summary_lines, terminal_table

    console = Console(width=columns())
    table = terminal_table(comparison.record, width=None if wide else console.width)
    Console(width=WIDEST if wide else console.width).print(table)
    for line in summary_lines(comparison.record):
        console.print(printable(line), highlight=False, markup=False)
    console.print(f"Report: {printable(comparison.report)}", highlight=False, markup=False, soft_wrap=True)


def _print_findings(findings: Sequence[Finding], causes: Sequence[Cause] | None = None) -> None:
    from rich.console import Console

    from segue.reports import causes_lines, findings_table

    console = Console(width=columns())
    console.print(findings_table(findings))
    for line in causes_lines(causes) if causes is not None else ():
        console.print(printable(line), highlight=False, markup=False)


if __name__ == "__main__":
    main()
