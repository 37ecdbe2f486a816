"""Commands of what is released: indexes, bundles, predictions and the server."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from segue.cli.output import (
    AsJson,
    BankFolder,
    Device,
    OwnBank,
    Quiet,
    Run,
    Unsafe,
    print_info,
    print_json,
    print_rows,
    show,
    stages,
)
from segue.errors import SettingsError

index_app = typer.Typer(help="Build an approximate index over a bank, tune one or update one.", no_args_is_help=True)
bundle_app = typer.Typer(
    help="Build a bundle of a run's winner; promote, roll back or list bundles.", no_args_is_help=True
)

SourceBank = Annotated[Path | None, typer.Option("--bank", help="Its bank, if that was moved: states what changed.")]


@index_app.command("build")
def index_build(bank: BankFolder, out: Annotated[Path, typer.Option("--out", help="Index folder.")],
                kind: Annotated[str, typer.Option(help="graph, inverted-lists, lance, or module:Class.")] = "graph",
                quiet: Quiet = False, as_json: AsJson = False) -> None:  # fmt: skip
    """Build an approximate index over all live passages of a bank.

    Example: `segue index build bank/ --out runs/index`
    """
    from segue.workflows.index import build

    index = build(bank, out, kind=kind, stages=stages(quiet))
    print_info({**index.facts(), "path": str(out)}, as_json=as_json)


@index_app.command("update")
def index_update(index: Annotated[Path, typer.Argument(metavar="INDEX", help="An index folder of the kind lance.")],
                 bank: BankFolder, quiet: Quiet = False, as_json: AsJson = False) -> None:  # fmt: skip
    """Delete the passages that left the bank from an index, and append the new ones; nothing is trained again.

    Example: `segue index update runs/index bank/`
    """
    from segue.workflows.index import update

    print_info({**update(index, bank, stages=stages(quiet)).facts(), "path": str(index)}, as_json=as_json)


@index_app.command("tune")
def index_tune(index: Annotated[Path, typer.Argument(metavar="INDEX", help="An index folder.")], bank: BankFolder, *,
               run: Annotated[Path | None, typer.Option(help="Run folder whose model's queries are used.")] = None,
               option: Annotated[str | None, typer.Option(help="Option of the run.")] = None,
               queries: Annotated[Path | None, typer.Option(help="Instead of a run: a .npy of query vectors.")] = None,
               recall: Annotated[float, typer.Option(help="Target recall of exact results, 0 to 1.")] = 0.99,
               k: Annotated[int, typer.Option("-k", help="Number of results compared.")] = 50,
               quiet: Quiet = False, as_json: AsJson = False) -> None:  # fmt: skip
    """Choose the least effort that reaches a recall of the exact search, on the model's own queries.

    Example: `segue index tune runs/index bank/ --run runs/first`
    """
    from segue.workflows.index import tune

    found = tune(
        index, bank, run=run, option=option, queries=queries, target=recall, k=k, stages=stages(quiet)
    ).to_json()
    if as_json:
        print_json(found)
    else:
        print_rows([point | point.pop("effort") for point in found["curve"]])
        show(f"chosen: {found['chosen']['effort']}, recall on other queries {found['confirmed_recall']:.4f}")


@bundle_app.command("build")
def bundle_build(run: Run, out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder of the bundle.")], *,
                 option: Annotated[str | None, typer.Option(help="Option to release; default: the winner.")] = None,
                 fold: Annotated[int, typer.Option(help="Fold whose training is released, counted from 0.")] = 0,
                 name: Annotated[str | None, typer.Option(help="Name of the bundle.")] = None,
                 index: Annotated[Path | None, typer.Option(help="Index folder; default: exact search.")] = None,
                 refit: Annotated[bool, typer.Option("--refit", help="Train it again, on all documents.")] = False,
                 bank: OwnBank = None, unsafe: Unsafe = False, quiet: Quiet = False,
                 as_json: AsJson = False) -> None:  # fmt: skip
    """Put a run's winner and all it needs into one folder, every file hashed.

    Example: `segue bundle build runs/mine bundle/`
    """
    from segue.workflows.bundle import bundle

    built = bundle(run, out, option=option, fold=fold, name=name, index=index, bank=bank, refit=refit, unsafe=unsafe,
                   stages=stages(quiet)).to_json()  # fmt: skip
    if as_json:
        print_json(built)
    else:
        show(f"{built['path']}: {built['option']}, version {built['version']}, {built['bytes'] / 2**20:.1f} MB")
        show(f"next: segue serve {built['path']}")


Bundles = Annotated[Path, typer.Argument(metavar="FOLDER", help="A folder of bundles.")]


@bundle_app.command("promote")
def bundle_promote(bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle.")], folder: Bundles,
                   as_json: AsJson = False) -> None:  # fmt: skip
    """Copy a bundle into a folder of bundles and make it the current one; a server of that folder switches to it.

    Example: `segue bundle promote bundle/ bundles/`
    """
    from segue.bundles.store import promote

    _print_current(promote(bundle, folder), as_json=as_json)


@bundle_app.command("rollback")
def bundle_rollback(folder: Bundles,
                    version: Annotated[str | None, typer.Option(help="Version; default: the one before.")] = None,
                    as_json: AsJson = False) -> None:  # fmt: skip
    """Make the previous bundle the current one.

    Example: `segue bundle rollback bundles/`
    """
    from segue.bundles.store import rollback

    _print_current(rollback(folder, version), as_json=as_json)


@bundle_app.command("list")
def bundle_list(folder: Bundles, as_json: AsJson = False) -> None:
    """List the bundles of a folder.

    Example: `segue bundle list bundles/`
    """
    from segue.bundles.store import list_bundles

    found = [one.to_json() for one in list_bundles(folder)]
    if as_json:
        print_json({"bundles": found})
    else:
        for one in found:
            show(f"{'*' if one['current'] else ' '} {one['version']}  {one['created']}  {one['name']}")


def _print_current(version: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"version": version})
    else:
        show(f"current: {version}")


def predict(bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle, or a folder of bundles.")], *,
            text: Annotated[str | None,
                            typer.Option("--text", help="A file of UTF-8 text; - reads standard input.")] = None,
            vectors: Annotated[Path | None, typer.Option(help="Instead: a .npy of the vectors read, by row.")] = None,
            ids: Annotated[list[str] | None, typer.Option(
                "--id", metavar="ID", help="Instead: a passage of the bundle; repeatable, oldest first.")] = None,
            k: Annotated[int, typer.Option("-k", min=1, max=1000, help="Number of passages.")] = 5,
            bank: SourceBank = None, device: Device = None, as_json: AsJson = False) -> None:  # fmt: skip
    """Answer which passages may follow what was read: a text, vectors, or passages of the bundle.

    Example: `segue predict bundle/ --text beginning.txt -k 5`
    """
    from segue.workflows.predict import predict as verb

    found = verb(bundle, text, vectors=vectors, ids=ids, k=k, bank=bank, device=device).to_json()
    if "outdated" in found:
        show(f"segue: {found['outdated']}", file=sys.stderr)
    if as_json:
        print_json(found)
        return
    if found["confidence"]:
        shares = ", ".join(f"{name} {value:.0%}" for name, value in found["confidence"].items())
        show(f"probability that the next passage is among the first: {shares}")
    for place, passage in enumerate(found["passages"], start=1):
        show(f"{place:3d}  {passage['score']:.3f}  {passage['id']}  {passage['title']}")
        if passage["text"]:
            show(f"     {passage['text']}")


def serve(bundle: Annotated[Path | None, typer.Argument(metavar="BUNDLE", help="A bundle, or a folder of bundles.")]
          = None, *, host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
          port: Annotated[int, typer.Option(help="Port; 0: any free one.")] = 8080,
          keys: Annotated[Path | None, typer.Option(help="File of hashed API keys; default: no keys.")] = None,
          new_key: Annotated[Path | None, typer.Option(help="Print a new key and add its hash to this file.")] = None,
          cors: Annotated[list[str] | None, typer.Option(help="Web origin that may use the API; repeatable.")] = None,
          allow_host: Annotated[list[str] | None, typer.Option(help="Host name to answer for; repeatable.")] = None,
          runs: Annotated[Path | None, typer.Option(help="Folder of runs for the page to show.")] = None,
          workers: Annotated[int, typer.Option(help="Processes that answer.")] = 1,
          limit: Annotated[list[str] | None, typer.Option(help="NAME=VALUE of docs/serving.md; repeatable.")] = None,
          bank: SourceBank = None, device: Device = None, quiet: Quiet = False) -> None:  # fmt: skip
    """Answer over HTTP from a bundle; SIGTERM stops it gracefully, SIGHUP reloads the bundle.

    Example: `segue serve bundle/ --port 8080`
    """
    if new_key is not None:
        from segue.serving.limits import new_key as make

        print(make(new_key))
        return
    from segue.workflows.serve import serve as verb

    if bundle is None:
        raise SettingsError("there is no bundle to serve", fix="segue serve BUNDLE")
    limits = dict(one.partition("=")[::2] for one in limit or ())
    verb(bundle, bank=bank, device=device, stages=stages(quiet), host=host, port=port,
         keys=None if keys is None else str(keys), runs=None if runs is None else str(runs),
         cors_origins=tuple(cors or ()), hosts=tuple(allow_host or ()), limits=limits, workers=workers)  # fmt: skip
