"""Mutation testing: put one small fault at a time into Segue's functions, and see whether a test fails.

    python -m benchmarks.mutants --out runs/mutants.jsonl [--files 'ranking/*'] [--json benchmarks/results/mutants.json]

``mutants.toml`` names the files, the tests of each, and the reason for every survivor that is allowed. No file is
changed: everything is imported once; each mutant is a fork in which the code of one function, or one constant of a
module, is replaced before its tests run. Which mutants are drawn follows from a hash of their text alone, so a change
elsewhere leaves them as they are. A mutant in ``--out`` that was killed, or that may
survive, is not run again.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import functools
import gc
import hashlib
import importlib
import json
import os
import resource
import signal
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import pytest
from hypothesis import Phase, settings

SOURCE = Path("src/segue")
OPTIONS = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--hypothesis-profile=mutants",
           "-W", "ignore::pytest.PytestAssertRewriteWarning"]  # fmt: skip
PHASES = (Phase.explicit, Phase.generate)  # a fault need not be shown at its smallest
MAXIMUM_SHARE = 0.02
"""Share of mutants that may survive without a reason."""
CPU_SECONDS, MEMORY = 20, 8 * 2**30
"""Processor time a mutant may use beside three times that of its tests without a fault; its memory in bytes."""

COMPARISONS = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
               ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In}  # fmt: skip
OPERATORS = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
             ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd}  # fmt: skip
SYMMETRIC = {"max": "min", "maximum": "minimum"}
PAIRS = {"argmax": "argmin", "any": "all", "sum": "mean", "zeros": "ones", "floor": "ceil", "argsort": "sort",
         "log": "exp", "mean": "median", "train": "validation", "context": "target", "low": "high",
         **SYMMETRIC}  # fmt: skip
NAMES = {two: one for one, two in PAIRS.items()} | PAIRS
WORDS = {"InputError", "SettingsError", "StorageError", "BlockedError", "Field", "field", "round", "cast", "print"}
"""Calls whose arguments are words, the limits of a setting, or digits that are shown."""
GUARDS = {"strict", "encoding", "check", "text"}
"""Keyword arguments that only guard against a caller's fault, or name an encoding."""


@dataclass(frozen=True)
class Mutant:
    """One fault. ``place`` is the function it is in, "" for a constant of the module; ``source`` the faulty file."""

    file: str
    place: str
    line: int
    was: str
    now: str
    source: str

    @property
    def key(self) -> dict[str, str]:
        """What it is known by, whatever else the file holds."""
        return {"file": self.file, "place": self.place, "was": self.was, "now": self.now}

    @property
    def name(self) -> tuple[str, str, str]:
        return self.file, self.was, self.now

    @property
    def draw(self) -> str:
        return hashlib.sha256(json.dumps(self.key).encode()).hexdigest()


def faults(node: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
    """Yield what is replaced and by what, for each fault a node can have."""

    def changed(**fields: Any) -> tuple[ast.AST, ast.AST]:
        new = copy.copy(node)
        vars(new).update(fields)
        return node, new

    match node:
        case ast.Compare(ops=[op]) if type(op) in COMPARISONS:
            yield changed(ops=[COMPARISONS[type(op)]()])
        case ast.BinOp(op=op) | ast.AugAssign(op=op) if type(op) in OPERATORS:
            yield changed(op=OPERATORS[type(op)]())
        case ast.BoolOp(op=op):
            yield changed(op=ast.Or() if isinstance(op, ast.And) else ast.And())
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.Invert(), operand=operand):
            yield node, operand
        case ast.Constant(value=bool(value)):
            yield changed(value=not value)
        case ast.Constant(value=int(value)):
            yield changed(value=value + 1)
        case ast.Constant(value=float(value)):
            yield changed(value=value * 2 or 1.0)
        case ast.If(test=test) | ast.IfExp(test=test) if isinstance(test, ast.Name | ast.Call | ast.Attribute):
            yield test, ast.UnaryOp(ast.Not(), test)
        case ast.Slice():
            yield from (changed(**{end: None}) for end in ("lower", "upper") if getattr(node, end))
        case ast.Attribute(attr=name) if name in NAMES:
            yield changed(attr=NAMES[name])
        case ast.Expr(value=ast.Call()):
            yield node, ast.Pass()
        case ast.Call(func=func, args=args, keywords=keywords):
            if isinstance(func, ast.Name) and func.id in NAMES:
                yield changed(func=ast.Name(NAMES[func.id]))
            for dropped in (one for one in keywords if one.arg not in GUARDS):
                yield changed(keywords=[one for one in keywords if one is not dropped])
            symmetric = getattr(func, "attr", getattr(func, "id", "")) in {*SYMMETRIC, *SYMMETRIC.values()}
            if len(args) > 1 and not symmetric and not any(isinstance(one, ast.Starred) for one in args[:2]):
                yield changed(args=[args[1], args[0], *args[2:]])


def places(node: ast.AST, place: str = "", within: str = "") -> Iterator[tuple[str, ast.AST]]:
    """Yield the nodes whose fault a test could see, each with the function it is in."""
    children = list(ast.iter_child_nodes(node))
    match node:
        case ast.FunctionDef(name=name, body=body) | ast.ClassDef(name=name, body=body):
            if within != "function":
                place = f"{place}.{name}".lstrip(".")
                within = "function" if isinstance(node, ast.FunctionDef) else "class"
            children = list(body)
        case ast.Raise() | ast.Assert() | ast.JoinedStr() | ast.Import() | ast.ImportFrom():
            return
        case ast.Call(func=ast.Name(id=name)) | ast.Expr(value=ast.Call(func=ast.Name(id=name))) if name in WORDS:
            return
        case ast.keyword(arg=name) if name in GUARDS:
            return
        case ast.AnnAssign(value=value):
            children = [value] if value and within else []
        case ast.If() | ast.Expr() | ast.Try() | ast.Call() if not within:
            return
    if within == "function" or (not within and isinstance(node, ast.Constant)):
        yield place, node
    for child in children:
        yield from places(child, place, within)


def mutants_of(file: str) -> list[Mutant]:
    """Return every mutant of a file, in the order in which they are drawn."""
    text = (SOURCE / file).read_text(encoding="utf-8")
    all_of_them = (
        _mutant(file, place, text, node, ast.unparse(ast.fix_missing_locations(new)))
        for place, inner in places(ast.parse(text))
        for node, new in faults(inner)
    )
    found = {mutant.draw: mutant for mutant in all_of_them if mutant}
    return [found[draw] for draw in sorted(found)]


def _mutant(file: str, place: str, text: str, node: Any, new: str) -> Mutant | None:
    lines = text.encode().splitlines(keepends=True)
    at, line = node.lineno - 1, lines[node.lineno - 1]
    if node.end_lineno != node.lineno:
        return None  # its parts are mutated line by line
    for fault in (f"({new})", new):  # a slice and a statement take no brackets
        changed = line[: node.col_offset] + fault.encode() + line[node.end_col_offset :]
        source = b"".join([*lines[:at], changed, *lines[at + 1 :]]).decode()
        with contextlib.suppress(SyntaxError):
            ast.parse(source)
            was, now = (" ".join(one.decode().split()) for one in (line, changed))
            return Mutant(file, place, node.lineno, was, now, source)
    return None


def put_in(mutant: Mutant) -> None:
    """Replace the code of the mutant's function wherever it is held, or the constant in every module that has it."""
    path = str(SOURCE.absolute() / mutant.file)
    module = vars(importlib.import_module("segue." + mutant.file.removesuffix(".py").replace("/", ".")))
    tree = ast.parse(mutant.source)
    if mutant.place:
        code = next(one for one in _codes(compile(tree, path, "exec")) if one.co_qualname == mutant.place)
        held = [one for one in gc.get_objects() if isinstance(one, FunctionType) and one.__code__.co_filename == path]
        held = [one for one in held if one.__code__.co_qualname == mutant.place]
        assert held, f"no function {mutant.place} in {path}"
        for function in held:
            function.__code__ = code
        return
    statement = next(one for one in tree.body if one.lineno <= mutant.line <= (one.end_lineno or 0))
    constants: dict[str, Any] = {}
    exec(compile(ast.Module([statement], []), path, "exec"), module, constants)
    for name, value in constants.items():
        old = module[name]
        for one in list(sys.modules.values()):
            if getattr(one, "__dict__", {}).get(name) is old:
                setattr(one, name, value)


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for one in code.co_consts:
        if isinstance(one, CodeType):
            yield from _codes(one)


class FirstFailure:
    """Plug-in of pytest that keeps the name of the first test that failed."""

    name: str | None = None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.name = self.name or report.nodeid

    pytest_collectreport = pytest_runtest_logreport


def run_tests(tests: tuple[str, ...], cpu_seconds: int, mutant: Mutant | None = None) -> dict[str, Any]:
    """Run tests in a fork, with a mutant put in; return the outcome, the test that killed it and the seconds."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))
            resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
            quiet = os.open(os.devnull, os.O_WRONLY)
            os.dup2(quiet, 1)
            os.dup2(quiet, 2)
            if mutant:
                put_in(mutant)
            gc.freeze()  # what is shared with the parent stays shared
            first = FirstFailure()
            code = pytest.main([*OPTIONS, *tests], plugins=[first])
            with os.fdopen(writing, "w") as pipe:
                json.dump([int(code), first.name, [] if mutant else sorted(sys.modules)], pipe)
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    _, status, used = os.wait4(child, 0)
    spent = round(used.ru_utime + used.ru_stime, 2)
    if not said:
        assert os.WIFSIGNALED(status), f"{mutant and mutant.key} could not be put in"
        ended = signal.Signals(os.WTERMSIG(status))
        outcome = "timeout" if ended in (signal.SIGXCPU, signal.SIGKILL) else "killed"
        return {"outcome": outcome, "by": ended.name, "cpu_seconds": spent}
    code, by, modules = json.loads(said)
    for name in modules:  # those that the tests import late; every later fork finds them
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    return {"outcome": "killed" if code else "survived", "by": by or f"exit code {code}", "cpu_seconds": spent}


@functools.cache
def seconds_without_fault(test: str) -> float:
    """Return the processor time of a file of tests that pass as Segue is."""
    found = run_tests((test,), 3600)
    if found["outcome"] != "survived" and found["by"] != "exit code 5":  # 5: a module without an example
        sys.exit(f"{test} fails without any fault: {found['by']}")
    return float(found["cpu_seconds"])


def run_mutant(mutant: Mutant, tests: tuple[str, ...]) -> dict[str, Any]:
    """Return what became of a mutant, and where it is."""
    limit = CPU_SECONDS + round(3 * sum(seconds_without_fault(test) for test in tests))
    return {"line": mutant.line, **run_tests(tests, limit, mutant)}


def import_everything(tests: Iterable[str]) -> None:
    """Collect the tests once, so that every fork finds them and Segue imported, with its type checks."""
    settings.register_profile("mutants", database=None, derandomize=True, deadline=None, phases=PHASES)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if pytest.main([*OPTIONS, "--collect-only", "-q", *dict.fromkeys(tests)]):
        sys.exit("the tests cannot be collected")


def summarise(
    drawn: list[Mutant], records: list[dict[str, Any]], why: dict[tuple[str, str, str], str]
) -> dict[str, Any]:
    """Count the outcomes, and list the survivors with their reasons."""
    both = list(zip(drawn, records, strict=True))
    alive = [mutant for mutant, record in both if record["outcome"] == "survived"]
    survivors = [{**one.key, "line": one.line, "reason": why.get(one.name)} for one in alive]
    unexplained = sum(one["reason"] is None for one in survivors)
    rooms: dict[str, Counter[str]] = {}
    for mutant, record in both:
        rooms.setdefault(str(Path(mutant.file).parent), Counter())[record["outcome"]] += 1
    return {
        "mutants": len(drawn),
        **Counter(record["outcome"] for record in records),
        "cpu_minutes": round(sum(record["cpu_seconds"] for record in records) / 60, 1),
        "without_reason": unexplained,
        "share_without_reason": round(unexplained / max(1, len(drawn)), 4),
        "rooms": {room: dict(counts) for room, counts in sorted(rooms.items())},
        "survivors": survivors,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="file of lines, one for each mutant; gone on with")
    parser.add_argument("--json", type=Path, help="where the summary goes")
    parser.add_argument("--files", default="*", help="which files of the list, as a pattern")
    parser.add_argument("--each", type=int, default=5, help="most mutants drawn from a file")
    args = parser.parse_args()
    began = time.perf_counter()
    listed = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    tests = {
        file: (str(SOURCE / file), *of) for file, of in listed["tests"].items() if Path(file).match(args.files)
    }  # the examples of its docstrings are the first tests
    drawn = [mutant for file in tests for mutant in mutants_of(file)[: args.each]]
    OPTIONS.extend(f"--deselect={test}" for test in listed["without"])
    import_everything(test for of in tests.values() for test in of)

    from benchmarks.resumable import Units  # imports Segue, which is done with the tests' type checks
    from benchmarks.surroundings import surroundings
    from segue.files import write_json

    units = Units(args.out, total=len(drawn))
    why = {(one["file"], one["was"], one["now"]): one["reason"] for one in listed["reasons"]}
    for mutant in drawn:
        record = units.known.get(json.dumps(mutant.key, sort_keys=True))
        if record and record["outcome"] == "survived" and mutant.name not in why:
            del units.known[json.dumps(mutant.key, sort_keys=True)]
    for mutant in drawn:
        units.one(mutant.key, functools.partial(run_mutant, mutant, tests[mutant.file]))
    found = summarise(drawn, units.done, why)
    found = {
        "environment": surroundings(),
        "minutes": round((time.perf_counter() - began) / 60, 1),
        **found,
    }
    print(json.dumps(found, indent=1))
    if args.json:
        write_json(args.json, found)
    sys.exit(1 if found["share_without_reason"] > MAXIMUM_SHARE else 0)


if __name__ == "__main__":
    main()
