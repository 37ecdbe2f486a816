"""Which exceptions functions may raise, read from the source of a package.

A function raises what its ``raise`` statements name and what everything raises that it refers to: functions, methods of
objects whose class an annotation or a constructor tells, properties, decorators, tables of functions. What a handler
around the place catches is taken off. An abstract method raises what it documents. Containers are looked through: an
item of ``list[Shard]`` is a ``Shard``. Objects of unknown class are not followed.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

Exceptions = dict[str, type[BaseException]]
"""Exception classes by name: the standard ones, and those of the package."""
STANDARD: Exceptions = {
    name: value
    for name, value in vars(builtins).items()
    if isinstance(value, type) and issubclass(value, BaseException)
}
SECTION = re.compile(r"^Raises:\n((?:[ \t]+.*\n?|\n)+)", re.MULTILINE)


def documented(docstring: str | None) -> set[str]:
    """Return the names in the section ``Raises`` of a docstring as ``ast.get_docstring`` gives it."""
    section = SECTION.search(docstring or "")
    return set(re.findall(r"^    (\w+)(?=:)", section[1], re.MULTILINE)) if section else set()


@dataclass
class Definition:
    """A function, a class or a variable of a module, where it stands, and the class around it."""

    module: str
    node: ast.AST
    owner: Definition | None = None
    members: dict[str, Definition] = field(default_factory=dict)

    __hash__ = object.__hash__

    @property
    def is_class(self) -> bool:
        return isinstance(self.node, ast.ClassDef)

    @property
    def is_function(self) -> bool:
        return isinstance(self.node, ast.FunctionDef)

    @property
    def docstring(self) -> str | None:
        return ast.get_docstring(self.node) if self.is_class or self.is_function else None


class Package:
    """The definitions of a package, and what its functions may raise."""

    def __init__(self, sources: dict[str, str], exceptions: Exceptions) -> None:
        self.exceptions = STANDARD | exceptions
        self.spaces: dict[str, dict[str, Definition | tuple[str, str]]] = {}
        for module, text in sources.items():
            self._read(module, ast.parse(text))
        self.below: dict[Definition, list[Definition]] = defaultdict(list)
        for space in self.spaces.values():
            for found in space.values():
                for base in self.bases(found) if isinstance(found, Definition) and found.is_class else ():
                    self.below[base].append(found)
        self._readers: dict[Definition, Reader] = {}
        self._raised: dict[Definition, set[type[BaseException]]] = {}
        self._parts: dict[Definition, list[tuple[tuple, type[BaseException] | Definition]]] = {}

    @classmethod
    def of_folder(cls, folder: Path, exceptions: Exceptions) -> Package:
        """Read all modules of a package's folder."""
        sources = {}
        for path in folder.rglob("*.py"):
            parts = [folder.name, *path.relative_to(folder).with_suffix("").parts]
            sources[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text(encoding="utf-8")
        return cls(sources, exceptions)

    def _read(self, module: str, tree: ast.Module) -> None:
        space = self.spaces[module] = {}
        for node in ast.walk(tree):  # imports inside functions too
            if isinstance(node, ast.ImportFrom) and node.module:
                space |= {name.asname or name.name: (node.module, name.name) for name in node.names}
            elif isinstance(node, ast.Import):
                space |= {name.asname: (name.name, "") for name in node.names if name.asname}
        for node in tree.body:
            if isinstance(node, ast.FunctionDef):
                space[node.name] = Definition(module, node)
            elif isinstance(node, ast.ClassDef):
                space[node.name] = known = Definition(module, node)
                for inner in node.body:
                    name = inner.target if isinstance(inner, ast.AnnAssign) else None
                    if isinstance(inner, ast.FunctionDef):
                        known.members[inner.name] = Definition(module, inner, known)
                    elif isinstance(name, ast.Name):
                        known.members[name.id] = Definition(module, inner, known)
                self._read_attributes(known)
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                    if isinstance(target, ast.Name) and node.value is not None:
                        space[target.id] = Definition(module, node)

    def _read_attributes(self, known: Definition) -> None:
        """Add ``self.name = …`` of the constructor to the members of a class."""
        maker = known.members.get("__init__")
        for node in ast.walk(maker.node) if maker else ():
            annotated = [node.target] if isinstance(node, ast.AnnAssign) else []
            for target in node.targets if isinstance(node, ast.Assign) else annotated:
                if isinstance(target, ast.Attribute) and getattr(target.value, "id", "") == "self":
                    known.members.setdefault(target.attr, Definition(known.module, node, known))

    def find(self, module: str, name: str) -> Definition | None:
        """Return what a name of a module stands for, through any number of imports."""
        found = self.spaces.get(module, {}).get(name)
        if isinstance(found, tuple):
            return self.find(*found)
        return found

    def bases(self, known: Definition) -> list[Definition]:
        """Return the classes of the package that a class is made of."""
        nodes = [base.value if isinstance(base, ast.Subscript) else base for base in known.node.bases]
        found = [self.find(known.module, base.id) for base in nodes if isinstance(base, ast.Name)]
        return [base for base in found if base is not None and base.is_class]

    def member(self, known: Definition, name: str) -> Definition | None:
        """Return a member of a class or of its bases."""
        if name in known.members:
            return known.members[name]
        return next((found for base in self.bases(known) if (found := self.member(base, name))), None)

    def members(self, known: Definition) -> dict[str, Definition]:
        """Return the members of a class and of its bases."""
        found: dict[str, Definition] = {}
        for base in reversed(self.bases(known)):
            found |= self.members(base)
        return found | known.members

    def returned(self, known: Definition) -> list[Definition]:
        """Return the classes that a function returns, by its annotation."""
        return sorted(self.reader(known).annotated(known.node.returns), key=lambda one: one.node.name)

    def reader(self, known: Definition) -> Reader:
        """Return the reader of a function; there is one, so that those that refer to each other end."""
        if known not in self._readers:
            reader = self._readers[known] = Reader(self, known)
            reader.learn()
        return self._readers[known]

    def methods(self, known: Definition, name: str) -> list[Definition]:
        """Return a member of a class, and what classes below it have in its place."""
        below = [known, *self.below[known]]
        for one in below:
            below += [lower for lower in self.below[one] if lower not in below]
        return [found for found in {id(one): self.member(one, name) for one in below}.values() if found is not None]

    def raised(self, start: Definition) -> set[type[BaseException]]:
        """Return the exceptions that a function, or the constructor of a class, may raise."""
        pending, reached = [start], {start}
        for one in pending:
            for _, part in self._parts_of(one):
                if isinstance(part, Definition) and part not in reached:
                    reached.add(part)
                    pending.append(part)
        raised = {one: self._raised.get(one, set()) for one in pending}
        changed = True
        while changed:
            changed = False
            for one in reversed(pending):
                for caught, part in self._parts_of(one):
                    new = raised[part] if isinstance(part, Definition) else {part}
                    new = {error for error in new if not issubclass(error, caught)} - raised[one]
                    raised[one] |= new
                    changed |= bool(new)
        self._raised |= raised
        return raised[start]

    def _parts_of(self, known: Definition) -> list[tuple[tuple, type[BaseException] | Definition]]:
        if known not in self._parts:
            self._parts[known] = list(dict.fromkeys(self.reader(known).parts()))
        return self._parts[known]


class Reader:
    """What one function raises and refers to."""

    def __init__(self, package: Package, known: Definition) -> None:
        self.package, self.known = package, known
        self.types: dict[str, set[Definition]] = defaultdict(set)

    def parts(self) -> Iterator[tuple[tuple, type[BaseException] | Definition]]:
        """Yield exceptions and definitions, each with the classes that are caught where it stands."""
        node = self.known.node
        if self.known.is_class:
            makers = (self.package.member(self.known, name) for name in ("__init__", "__post_init__", "__new__"))
            yield from (((), maker) for maker in makers if maker is not None and maker.is_function)
        elif self.known.is_function:
            body = node.body[1:] if self.known.docstring else node.body
            if all(isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant) for line in body):
                exceptions = self.package.exceptions
                yield from (((), exceptions[name]) for name in documented(self.known.docstring) if name in exceptions)
            yield from self._walk([*node.decorator_list, *node.body], ())
        elif self.known.owner is None and node.value is not None:
            yield from self._walk([node.value], ())

    def _walk(self, nodes: list[ast.AST], caught: tuple) -> Iterator[tuple[tuple, type[BaseException] | Definition]]:
        for node in nodes:
            if isinstance(node, ast.Try):
                own = tuple(error for handler in node.handlers if not _passes_on(handler)
                            for error in self._exceptions(handler.type))  # fmt: skip
                yield from self._walk(node.body, caught + own)
                yield from self._walk([*node.handlers, *node.orelse, *node.finalbody], caught)
            elif isinstance(node, ast.With):
                yield from self._walk([item.context_expr for item in node.items], caught)
                calls = [item.context_expr for item in node.items if isinstance(item.context_expr, ast.Call)]
                own = tuple(error for call in calls if ast.unparse(call.func).endswith("suppress")
                            for argument in call.args for error in self._exceptions(argument))  # fmt: skip
                yield from self._walk(node.body, caught + own)
            elif isinstance(node, ast.Raise) and node.exc is not None:
                yield from ((caught, error) for error in self._exceptions(node.exc))
                yield from self._walk(list(ast.iter_child_nodes(node)), caught)
            elif isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("isinstance", "issubclass"):
                yield from self._walk(node.args[:1], caught)  # the classes are not made
            elif isinstance(node, ast.AnnAssign):
                yield from self._walk([node.value] if node.value else [], caught)
            elif isinstance(node, ast.arguments):
                yield from self._walk([*node.defaults, *(one for one in node.kw_defaults if one)], caught)
            elif isinstance(node, ast.FunctionDef):
                yield from self._walk([*node.decorator_list, node.args, *node.body], caught)
            else:
                if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load):
                    yield from ((caught, found) for found in self._referred(node))
                yield from self._walk(list(ast.iter_child_nodes(node)), caught)

    def _exceptions(self, node: ast.AST | None) -> Iterator[type[BaseException]]:
        """Yield the exception classes that an expression names; all of them for a handler without one."""
        if node is None:
            yield BaseException
        elif isinstance(node, ast.Tuple | ast.BinOp):
            for part in node.elts if isinstance(node, ast.Tuple) else (node.left, node.right):
                yield from self._exceptions(part)
        elif isinstance(node, ast.Name) and node.id in self.package.exceptions:
            yield self.package.exceptions[node.id]
        elif isinstance(node, ast.Name) and (found := self._global(node.id)) and isinstance(found.node, ast.Assign):
            yield from self.package.reader(found)._exceptions(found.node.value)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in self.package.exceptions:
            yield self.package.exceptions[node.func.id]
        else:
            names = {found.node.name for found in self._classes(node) if found.is_class}
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
                makers = [one.node.returns for one in self._referred(node.func) if one.is_function]
                names |= {one.id for maker in makers if maker for one in ast.walk(maker) if isinstance(one, ast.Name)}
            yield from (self.package.exceptions[name] for name in sorted(names & self.package.exceptions.keys()))

    def _global(self, name: str) -> Definition | None:
        return self.package.find(self.known.module, name)

    def _referred(self, node: ast.Name | ast.Attribute) -> list[Definition]:
        """Return the functions, classes and variables that an expression may be."""
        if isinstance(node, ast.Name):
            found = None if node.id in self.types else self._global(node.id)
            return [found] if found is not None else []
        space = self.package.spaces.get(self.known.module, {}).get(getattr(node.value, "id", ""))
        if isinstance(space, tuple):
            module = ".".join(part for part in space if part)
            if (found := self.package.find(module, node.attr)) is not None:
                return [found]
        if isinstance(node.value, ast.Call) and getattr(node.value.func, "id", "") == "super" and self.known.owner:
            bases = self.package.bases(self.known.owner)
            return [found for base in bases if (found := self.package.member(base, node.attr))]
        owners = self._classes(node.value)
        found = [one for owner in owners if owner.is_class for one in self.package.methods(owner, node.attr)]
        return [one for one in found if one.is_function]

    def _classes(self, node: ast.AST | None) -> set[Definition]:
        """Return the classes that the value of an expression, or an item of it, may have."""
        match node:
            case ast.Name(id="self" | "cls") if self.known.owner is not None:
                return {self.known.owner}
            case ast.Name():
                found = self._global(node.id)
                return self.types.get(node.id) or ({found} if found is not None and found.is_class else set())
            case ast.Attribute():
                owners = [one for one in self._classes(node.value) if one.is_class]
                members = [one for owner in owners for one in self.package.methods(owner, node.attr)]
                return {found for member in members for found in self._of_member(member)}
            case ast.Call():
                functions = self._referred(node.func) if isinstance(node.func, ast.Name | ast.Attribute) else []
                return {found for one in functions for found in self._of_member(one)}
            case ast.Subscript() | ast.Starred() | ast.Await():
                return self._classes(node.value)
            case ast.BoolOp():
                return {found for value in node.values for found in self._classes(value)}
            case ast.IfExp():
                return self._classes(node.body) | self._classes(node.orelse)
            case ast.NamedExpr():
                return self._classes(node.value)
        return set()

    def _of_member(self, member: Definition) -> set[Definition]:
        """Return the classes of what a function returns, or of a field's value."""
        if member.is_class:
            return {member}
        if member.is_function:
            return self.package.reader(member).annotated(member.node.returns)
        if isinstance(member.node, ast.AnnAssign):
            return self.package.reader(member).annotated(member.node.annotation)
        maker = member.owner and member.owner.members.get("__init__")
        return self.package.reader(maker)._classes(member.node.value) if maker else set()

    def annotated(self, node: ast.AST | None) -> set[Definition]:
        """Return the classes that an annotation names."""
        names = [one.id for one in ast.walk(node) if isinstance(one, ast.Name)] if node is not None else []
        found = set()
        for name in names:
            one = self._global(name)
            if name == "Self" and self.known.owner:
                found.add(self.known.owner)
            elif one is not None and one.is_class:
                found.add(one)
            elif one is not None and isinstance(one.node, ast.Assign | ast.AnnAssign) and one.node is not node:
                found |= self.package.reader(one).annotated(one.node.value)  # an alias
        return found

    def learn(self) -> None:
        """Note the classes of a function's parameters and variables, those of functions inside too."""
        function = self.known.node
        if not isinstance(function, ast.FunctionDef):
            return
        for node in ast.walk(function):
            if isinstance(node, ast.arg):
                self.types[node.arg] |= self.annotated(node.annotation)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                self.types[node.target.id] |= self.annotated(node.annotation)
        for _ in range(2):  # a variable may be made of one that comes later in the walk
            for node in ast.walk(function):
                pairs: list[tuple[ast.AST, ast.AST]] = []
                if isinstance(node, ast.Assign):
                    pairs = [(target, node.value) for target in node.targets]
                elif isinstance(node, ast.For | ast.comprehension):
                    pairs = [(node.target, node.iter)]
                elif isinstance(node, ast.withitem) and node.optional_vars is not None:
                    pairs = [(node.optional_vars, node.context_expr)]
                elif isinstance(node, ast.NamedExpr):
                    pairs = [(node.target, node.value)]
                for target, value in pairs:
                    for name in ast.walk(target):
                        if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store):
                            self.types[name.id] |= self._classes(value)


def _passes_on(handler: ast.ExceptHandler) -> bool:
    """Return whether a handler raises again what it caught."""
    raises = [node for node in ast.walk(handler) if isinstance(node, ast.Raise)]
    return any(node.exc is None or (isinstance(node.exc, ast.Name) and node.exc.id == handler.name) for node in raises)
