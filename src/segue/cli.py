"""The command line: parse, call one verb, print. Nothing is decided here.

Exit codes: 0 done; 1 with ``--gate``, when a gate fails or lacks evidence; 2 bad input or configuration; 3 blocked by
an integrity check; 130 or 143 interrupted, with what was done kept.
"""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer
import typer.core

from segue import __version__
from segue.errors import BlockedError, SegueError, SettingsError, explain

if TYPE_CHECKING:
    from segue.verbs.triage import Comparison

VERBS = ("demo", "bank", "audit", "train", "evaluate", "diagnose", "triage", "replay", "report", "index", "bundle",
         "predict", "serve", "bench")  # fmt: skip
"""In the order of the flow, as everywhere."""


class FlowOrder(typer.core.TyperGroup):
    """Lists the verbs in the order of the flow."""

    def list_commands(self, ctx: object) -> list[str]:
        """Return the names of the verbs."""
        return list(VERBS)

    def invoke(self, ctx: Any) -> Any:
        """Run a verb; an interruption says what is kept, and has its exit code."""
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
bank_app = typer.Typer(help="Build a bank of passages and vectors, or describe one.", no_args_is_help=True)
app.add_typer(bank_app, name="bank")
index_app = typer.Typer(help="Build an approximate index over a bank, or tune one.", no_args_is_help=True)
app.add_typer(index_app, name="index")
bundle_app = typer.Typer(help="Build a bundle of a run's winner, promote it, go back, list.", no_args_is_help=True)
app.add_typer(bundle_app, name="bundle")

INTERRUPTED, TERMINATED, GATE_MISSED = 130, 143, 1
KEPT = "what was done is kept, run the same command to go on"

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
Device = Annotated[Literal["auto", "cpu", "cuda", "mps"] | None, typer.Option(help="Where models run.")]
Gate = Annotated[bool, typer.Option("--gate", help="Exit with 1 unless every gate of the recipe passes.")]
Out = Annotated[Path | None, typer.Option("--out", help="Run folder; default: runs/ and the recipe's name.")]
RecipeFile = Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe, a TOML file.")]
Mute = Annotated[list[str] | None, typer.Option("--mute", metavar="CODE", help="Leave a check out; may be repeated.")]
Fast = Annotated[bool, typer.Option("--fast", help="Leave out the checks that train.")]
Unsafe = Annotated[bool, typer.Option("--unsafe", help="Print numbers that a check blocks, labelled.")]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")]
BankFolder = Annotated[Path, typer.Argument(metavar="BANK", help="A bank folder.")]


def main() -> None:
    """Run the command line; every error raised on purpose becomes one message and its exit code."""
    signal.signal(signal.SIGTERM, _terminated)
    try:
        app(standalone_mode=True)
    except SegueError as error:
        _fail(error)


def _terminated(number: int, frame: object) -> NoReturn:
    _say(f"terminated; {KEPT}")
    sys.exit(TERMINATED)


def _fail(error: SegueError) -> NoReturn:
    _say(str(error))
    sys.exit(error.exit_code)


def _say(text: str) -> None:
    print(f"segue: {text}", file=sys.stderr)


def _version(asked: bool | None) -> None:
    if asked:
        print(f"segue {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool | None, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = None,
) -> None: ...


@app.command()
def demo(*, out: Annotated[Path, typer.Option("--out", help="Run folder.")] = Path("runs/demo"),
         device: Device = None, mute: Mute = None, unsafe: Unsafe = False, as_json: AsJson = False,
         gate: Gate = False) -> None:  # fmt: skip
    """Run the main job on real Wikipedia text that needs no download.

    Example: `segue demo`
    """
    from segue.verbs.demo import demo as verb

    _show(verb(out, device=device, refusal=_refusal(mute, unsafe), stages=_stages()), as_json=as_json, gate=gate)


@bank_app.command("build")
def bank_build(recipe: RecipeFile, out: Annotated[Path | None, typer.Option("--out", help="Bank folder.")] = None,
               device: Device = None, as_json: AsJson = False) -> None:  # fmt: skip
    """Read, cut and encode a corpus; an interrupted build goes on where it was.

    Example: `segue bank build recipe.toml --out bank/`
    """
    from segue.verbs.bank import build, info

    bank = build(_load(recipe, device), out, stages=_stages())
    _print_info(info(bank.path), as_json=as_json)


@bank_app.command("info")
def bank_info(bank: Annotated[Path, typer.Argument(metavar="BANK", help="A bank folder.")],
              verify: Annotated[bool, typer.Option("--verify", help="Hash every file again.")] = False,
              as_json: AsJson = False) -> None:  # fmt: skip
    """Describe a bank.

    Example: `segue bank info bank/ --verify`
    """
    from segue.verbs.bank import info

    _print_info(info(bank, verify=verify), as_json=as_json)


@app.command()
def audit(target: Annotated[Path, typer.Argument(metavar="TARGET", help="A recipe, a bank folder or a run folder.")],
          fast: Fast = False, mute: Mute = None, as_json: AsJson = False) -> None:  # fmt: skip
    """Check whether numbers can be trusted; exit code 3 where an integrity check blocks them.

    Example: `segue audit runs/mine`
    """
    from segue.verbs.audit import audit as verb

    found = verb(target, fast=fast, mute=mute or (), stages=_stages())
    if as_json:
        _print_json(found.to_json())
    else:
        _print_findings(found.to_json()["findings"])
        print(f"blocked by {', '.join(found.blocked)}" if found.blocked else "nothing blocks the headline number")
        if found.unproven:
            print(f"muted or not carried out, so that nothing vouches for it: {', '.join(found.unproven)}")
    if found.blocked:
        sys.exit(BlockedError.exit_code)


@app.command()
def train(recipe: RecipeFile, out: Out = None, device: Device = None, as_json: AsJson = False) -> None:
    """Train the recipe's model with the recipe's loss; no test document is looked at.

    Example: `segue train recipe.toml --out runs/first`
    """
    from segue.verbs.train import train as verb

    record = verb(_load(recipe, device), _out(out, recipe), stages=_stages())
    if as_json:
        _print_json({name: value for name, value in record.items() if name != "curve"})
    else:
        print(
            f"best step {record['best_step']} of {record['steps']}, {record['seconds']:.0f} s: {record['checkpoint']}"
        )
        print(f"next: segue evaluate {_out(out, recipe)}")


@app.command()
def evaluate(run: Run, *, corpus: Annotated[Path | None, typer.Option(help="Recipe of fresh documents.")] = None,
             device: Device = None, mute: Mute = None, unsafe: Unsafe = False, as_json: AsJson = False,
             gate: Gate = False) -> None:  # fmt: skip
    """Score a trained run on its locked test documents, or on documents it has never met.

    Example: `segue evaluate runs/first --corpus fresh.toml`
    """
    from segue.verbs.evaluate import evaluate as verb

    comparison = verb(run, corpus=corpus, device=device, refusal=_refusal(mute, unsafe), stages=_stages())
    _show(comparison, as_json=as_json, gate=gate)


@app.command()
def diagnose(run: Run, option: Annotated[str | None, typer.Option(help="Which row to explain.")] = None,
             fast: Fast = False, mute: Mute = None, as_json: AsJson = False) -> None:  # fmt: skip
    """Explain why a run is not better; default: its best trained row. Exit code 3 where a check blocks its numbers.

    Example: `segue diagnose runs/mine --option ar-only`
    """
    from segue.verbs.diagnose import diagnose as verb

    found = verb(run, option=option, fast=fast, mute=mute or (), stages=_stages())
    if as_json:
        _print_json(found.to_json())
    else:
        _print_findings(found.to_json()["findings"], found.to_json()["causes"])
        if found.blocked:
            print(f"{'UNSAFE: ' if found.unsafe else ''}blocked by {', '.join(found.blocked)}")
    if found.refused:
        sys.exit(BlockedError.exit_code)


@app.command()
def triage(recipe: RecipeFile, *, out: Out = None, device: Device = None, mute: Mute = None, unsafe: Unsafe = False,
           as_json: AsJson = False, gate: Gate = False) -> None:  # fmt: skip
    """Compare options under one plan, and write a report with a recommendation.

    Example: `segue triage recipe.toml --out runs/mine`
    """
    from segue.verbs.triage import triage as verb

    comparison = verb(_load(recipe, device), _out(out, recipe), refusal=_refusal(mute, unsafe), stages=_stages())
    _show(comparison, as_json=as_json, gate=gate)


@app.command()
def replay(what: Annotated[Literal["phase1"], typer.Argument(metavar="WHAT", help="phase1: the original report.")],
           out: Annotated[Path, typer.Option("--out", help="Folder of the three reports.")] = Path("runs/phase1"),
           bank: Annotated[Path | None, typer.Option(help="The demo's bank; default: built in OUT.")] = None,
           device: Device = None, as_json: AsJson = False) -> None:  # fmt: skip
    """Repeat the original experiment as it was done, with a leaked split, and clean; see docs/phase1.md.

    Example: `segue replay phase1 --out runs/phase1`
    """
    from segue.verbs.replay import replay_phase1

    found = replay_phase1(out, bank=bank, device=device, stages=_stages())
    if as_json:
        _print_json(found.to_json())
    else:
        print("\n".join(found.lines))
    if not found.as_expected:
        sys.exit(BlockedError.exit_code)


@app.command()
def report(run: Run, unsafe: Unsafe = False, as_json: AsJson = False) -> None:
    """Write a run's report again from what was measured.

    Example: `segue report runs/mine`
    """
    from segue.verbs.report import report as verb

    _show(verb(run, unsafe=unsafe), as_json=as_json, gate=False)


@index_app.command("build")
def index_build(bank: BankFolder, out: Annotated[Path, typer.Option("--out", help="Index folder.")],
                kind: Annotated[Literal["graph", "inverted-lists"], typer.Option(help="Engine.")] = "graph",
                as_json: AsJson = False) -> None:  # fmt: skip
    """Build an approximate index over all live passages of a bank.

    Example: `segue index build bank/ --out runs/index`
    """
    from segue.verbs.index import build

    _print_info(build(bank, out, kind=kind, stages=_stages()).facts() | {"path": str(out)}, as_json=as_json)


@index_app.command("tune")
def index_tune(index: Annotated[Path, typer.Argument(metavar="INDEX", help="An index folder.")], bank: BankFolder, *,
               run: Annotated[Path | None, typer.Option(help="Run folder whose model asks.")] = None,
               option: Annotated[str | None, typer.Option(help="Which row of the run.")] = None,
               queries: Annotated[Path | None, typer.Option(help="Instead of a run: a .npy of query vectors.")] = None,
               recall: Annotated[float, typer.Option(help="Share of the exact best to find, 0 to 1.")] = 0.99,
               k: Annotated[int, typer.Option("-k", help="Places compared.")] = 50,
               as_json: AsJson = False) -> None:  # fmt: skip
    """Choose the least effort that finds what an exact search finds, on the model's own queries.

    Example: `segue index tune runs/index bank/ --run runs/first`
    """
    from segue.verbs.index import tune

    found = tune(index, bank, run=run, option=option, queries=queries, target=recall, k=k, stages=_stages()).to_json()
    if as_json:
        _print_json(found)
    else:
        _print_rows([point | point.pop("effort") for point in found["curve"]])
        print(f"chosen: {found['chosen']['effort']}, recall on other queries {found['confirmed_recall']:.4f}")


@bundle_app.command("build")
def bundle_build(run: Run, out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder of the bundle.")], *,
                 option: Annotated[str | None, typer.Option(help="Which row; default: the winner.")] = None,
                 fold: Annotated[int, typer.Option(help="Whose training, counted from 0.")] = 0,
                 name: Annotated[str | None, typer.Option(help="Name of the bundle.")] = None,
                 unsafe: Unsafe = False, as_json: AsJson = False) -> None:  # fmt: skip
    """Put a run's winner and all it needs into one folder, every file hashed.

    Example: `segue bundle build runs/mine bundle/`
    """
    from segue.verbs.bundle import bundle

    built = bundle(run, out, option=option, fold=fold, name=name, unsafe=unsafe, stages=_stages()).to_json()
    if as_json:
        _print_json(built)
    else:
        print(f"{built['path']}: {built['option']}, version {built['version']}, {built['bytes'] / 2**20:.1f} MB")
        print(f"next: segue serve {built['path']}")


Bundles = Annotated[Path, typer.Argument(metavar="FOLDER", help="A folder of bundles.")]


@bundle_app.command("promote")
def bundle_promote(bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle.")], folder: Bundles,
                   as_json: AsJson = False) -> None:  # fmt: skip
    """Copy a bundle into a folder of bundles and make it the current one; a server of that folder changes over.

    Example: `segue bundle promote bundle/ bundles/`
    """
    from segue.release.bundles import promote

    _print_current(promote(bundle, folder), as_json=as_json)


@bundle_app.command("rollback")
def bundle_rollback(folder: Bundles,
                    version: Annotated[str | None, typer.Option(help="Which; default: the one before.")] = None,
                    as_json: AsJson = False) -> None:  # fmt: skip
    """Make the bundle current that was current before.

    Example: `segue bundle rollback bundles/`
    """
    from segue.release.bundles import rollback

    _print_current(rollback(folder, version), as_json=as_json)


@bundle_app.command("list")
def bundle_list(folder: Bundles, as_json: AsJson = False) -> None:
    """List the bundles of a folder.

    Example: `segue bundle list bundles/`
    """
    from segue.release.bundles import list_bundles

    found = [one.to_json() for one in list_bundles(folder)]
    if as_json:
        _print_json({"bundles": found})
    else:
        for one in found:
            print(f"{'*' if one['current'] else ' '} {one['version']}  {one['created']}  {one['name']}")


def _print_current(version: str, *, as_json: bool) -> None:
    if as_json:
        _print_json({"version": version})
    else:
        print(f"current: {version}")


@app.command()
def predict(bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle, or a folder of bundles.")], *,
            text: Annotated[Path, typer.Option("--text", help="A file of UTF-8 text; - reads standard input.")],
            k: Annotated[int, typer.Option("-k", min=1, max=1000, help="Passages to answer.")] = 5,
            device: Device = None, as_json: AsJson = False) -> None:  # fmt: skip
    """Answer which passages may follow a text.

    Example: `segue predict bundle/ --text beginning.txt -k 5`
    """
    from segue.verbs.predict import predict as verb

    found = verb(bundle, text, k=k, device=device).to_json()
    if as_json:
        _print_json(found)
        return
    if found["confidence"]:
        said = ", ".join(f"{name} {value:.0%}" for name, value in found["confidence"].items())
        print(f"how likely the next passage is among the first: {said}")
    for place, passage in enumerate(found["passages"], start=1):
        print(f"{place:3d}  {passage['score']:.3f}  {passage['id']}  {passage['title']}")
        if passage["text"]:
            print(f"     {passage['text']}")


@app.command()
def serve(bundle: Annotated[Path | None, typer.Argument(metavar="BUNDLE", help="A bundle, or a folder of bundles.")]
          = None, *, host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
          port: Annotated[int, typer.Option(help="Port; 0: any free one.")] = 8080,
          keys: Annotated[Path | None, typer.Option(help="File of hashed API keys; without: everyone may ask.")] = None,
          new_key: Annotated[Path | None, typer.Option(help="Make a key, add its hash to this file, leave.")] = None,
          cors: Annotated[list[str] | None, typer.Option(help="Web origin whose pages may ask; repeatable.")] = None,
          allow_host: Annotated[list[str] | None, typer.Option(help="Host name to answer for; repeatable.")] = None,
          runs: Annotated[Path | None, typer.Option(help="Folder of runs for the page to show.")] = None,
          limit: Annotated[list[str] | None, typer.Option(help="NAME=VALUE of docs/serving.md; repeatable.")] = None,
          device: Device = None) -> None:  # fmt: skip
    """Answer over HTTP from a bundle; SIGTERM ends it gracefully, SIGHUP reads the bundle again.

    Example: `segue serve bundle/ --port 8080`
    """
    if new_key is not None:
        from segue.release.serving.keys import new_key as make

        print(make(new_key))
        return
    from segue.verbs.serve import serve as verb

    if bundle is None:
        raise SettingsError(explain("there is no bundle to serve", mend="segue serve BUNDLE"))
    limits = dict(one.partition("=")[::2] for one in limit or ())
    verb(bundle, device=device, stages=_stages(), host=host, port=port, keys=None if keys is None else str(keys),
         runs=None if runs is None else str(runs), cors_origins=tuple(cors or ()),
         hosts=tuple(allow_host or ()), limits=limits)  # fmt: skip


@app.command()
def bench(name: Annotated[str, typer.Argument(metavar="[NAME|all]", help="Which measurement.")] = "all", *,
          documents: Annotated[Path | None, typer.Option(help="Bank of real passages; default: the demo's.")] = None,
          cache: Annotated[Path, typer.Option(help="Folder of what is measured.")] = Path("runs/bench"),
          repeats: Annotated[int, typer.Option(help="Turns of each side.")] = 5,
          scale: Annotated[float, typer.Option(help="Share of the named problem; below 1 meets no target.")] = 1.0,
          out: Annotated[Path | None, typer.Option("--out", help="Write the JSON here too.")] = None,
          as_json: AsJson = False) -> None:  # fmt: skip
    """Measure speed and memory beside what a user would pick instead, both sides in turns.

    Example: `segue bench search --documents bank/ --json`
    """
    from segue.verbs.bench import bench as verb

    asked = {"documents": documents, "cache": cache, "repeats": repeats, "scale": scale}
    found = verb(name, asked, out=out, stages=_stages())
    if as_json:
        _print_json(found)
    else:
        _print_rows([{key: row[key] for key in ("name", "ratio", "target", "met")} for row in found["rows"]])


def _load(recipe: Path, device: Any) -> Any:
    from segue.recipe import load_recipe
    from segue.verbs.preparation import on_device

    return on_device(load_recipe(recipe), device)


def _refusal(mute: list[str] | None, unsafe: bool) -> Any:
    from segue.verbs.checking import Refusal

    return Refusal(tuple(mute or ()), unsafe)


def _out(out: Path | None, recipe: Path) -> Path:
    return out if out is not None else Path("runs") / recipe.stem


def _stages() -> Any:
    from segue.console import stages

    return stages


def _show(comparison: Comparison, *, as_json: bool, gate: bool) -> None:
    """Print a comparison as a table or as JSON, and leave with the exit code it deserves."""
    if as_json:
        _print_json(comparison.to_json())
    else:
        _print_table(comparison)
    if comparison.record["blocked"] and not comparison.record["unsafe"]:
        sys.exit(BlockedError.exit_code)
    gates = comparison.record["gates"]
    if gate and (not gates or any(outcome["outcome"] != "pass" for outcome in gates)):
        sys.exit(GATE_MISSED)


def _print_table(comparison: Comparison) -> None:
    from rich.console import Console

    from segue.release.report import summary_lines, terminal_table

    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(terminal_table(comparison.record))
    for line in summary_lines(comparison.record):
        console.print(line, highlight=False, markup=False)
    console.print(f"Report: {comparison.report}", highlight=False, soft_wrap=True)


def _print_findings(findings: list[dict[str, Any]], causes: list[dict[str, Any]] | None = None) -> None:
    from rich.console import Console

    from segue.release.report import causes_lines, findings_table

    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(findings_table(findings))
    for line in causes_lines(causes) if causes is not None else ():
        console.print(line, highlight=False, markup=False)


def _print_json(value: object) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def _print_rows(rows: list[dict[str, Any]]) -> None:
    """Print objects of the same keys as a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(*(rows[0] if rows else ()), box=None, padding=(0, 2, 0, 0))
    for row in rows:
        table.add_row(*(f"{value:.4g}" if isinstance(value, float) else str(value) for value in row.values()))
    Console(width=None if sys.stdout.isatty() else 120).print(table)


def _print_info(info: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        _print_json(info)
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, value in info.items():
        many = isinstance(value, dict)
        table.add_row(name, ", ".join(f"{key} {count}" for key, count in value.items()) if many else str(value))
    Console().print(table)


if __name__ == "__main__":
    main()
