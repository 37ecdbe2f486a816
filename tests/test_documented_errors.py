"""Every public function documents each exception that its source can raise."""

from pathlib import Path

import pytest
from raised_errors import STANDARD, Package, documented

import segue
from segue import errors

SEGUE_ERRORS = {name: value for name, value in vars(errors).items() if isinstance(value, type)}
SEGUE = Package.of_folder(Path(segue.__file__).parent, SEGUE_ERRORS)
OURS = (AssertionError, NotImplementedError)
"""Never the caller's fault."""
UNREACHED = {"score": ["SegueError"]}
"""What the source names on a way that is never taken: ``score`` shares its windows with no other process."""


def public_definitions(package, places):
    """Return the public functions, constructors and methods by name, those of the classes that functions return too."""
    found, pending = {}, [(name, package.find(*place)) for name, place in places.items()]
    for name, known in pending:
        if known.is_function:
            found[name] = known
            pending += [(one.node.name, one) for one in package.returned(known) if (one.node.name, one) not in pending]
        elif known.is_class and name not in found:
            found[name] = known
            for method, member in package.members(known).items():
                if member.is_function and not method.startswith("_"):
                    found[f"{name}.{method}"] = member
    return found


def undocumented(package, known):
    """Return the names of the exceptions that a function can raise, and that neither it nor its class documents."""
    named = documented(known.docstring) | documented(known.owner and known.owner.docstring)
    if known.is_class and (maker := package.member(known, "__init__")) is not None:
        named |= documented(maker.docstring)
    bases = tuple(package.exceptions[name] for name in named if name in package.exceptions)
    return sorted(error.__name__ for error in package.raised(known) if not issubclass(error, (*bases, *OURS)))


EXAMPLE = {
    "shop": """
from shop.parts import Till, CLOSED, opened
import contextlib

class Refusal(Exception): ...

def refuse(what: str) -> LookupError:
    return KeyError(what)

def _private(number):
    if number < 0:
        raise ValueError(number)

def plain(number):
    _private(number)

def helped(number):
    raise refuse("it")

def caught(number):
    try:
        _private(number)
    except (TypeError, ValueError):
        return None

def passed_on(number):
    try:
        _private(number)
    except ValueError as error:
        log(error)
        raise

def turned(number):
    try:
        _private(number)
    except CLOSED as error:
        raise RuntimeError(number) from error

def suppressed(number):
    with contextlib.suppress(ValueError):
        _private(number)

def of_a_parameter(till: Till | None):
    till.take(1)

def of_an_item(tills: list[Till]):
    return [one.total for one in tills]

def of_a_variable():
    made = Till(3)
    return made.drawer.pull()

def inside():
    def inner():
        raise OSError
    return inner

@opened("door")
def decorated():
    pass

TABLE = {"a": plain}

def by_table(name):
    TABLE[name]()
""",
    "shop.parts": '''
CLOSED = (TypeError, ValueError)

def opened(name):
    def decorate(function):
        raise PermissionError
    return decorate

class Drawer:
    def pull(self):
        """Pull.

        Raises:
            EOFError: it is stuck.
        """

class Till:
    def __init__(self, size: int) -> None:
        self.drawer = Drawer()
        if size > 5:
            raise OverflowError

    def take(self, amount):
        self._check(amount)

    def _check(self, amount):
        raise ArithmeticError

    @property
    def total(self):
        raise BufferError

class BigTill(Till):
    def _check(self, amount):
        raise InterruptedError
''',
}
RAISED = {
    "plain": "ValueError", "helped": "LookupError", "caught": "", "passed_on": "ValueError", "turned": "RuntimeError",
    "suppressed": "", "of_a_parameter": "ArithmeticError InterruptedError", "of_an_item": "BufferError",
    "of_a_variable": "EOFError OverflowError", "inside": "OSError", "decorated": "PermissionError",
    "by_table": "ValueError",
}  # fmt: skip


@pytest.mark.parametrize("name", RAISED)
def test_what_a_function_raises_is_read_from_its_source(name):
    shop = Package(EXAMPLE, STANDARD)
    assert {error.__name__ for error in shop.raised(shop.find("shop", name))} == set(RAISED[name].split())


SHOP = {
    "shop": '''
class Refusal(Exception): ...
class Closed(Refusal, OSError): ...

def documents_all(number):
    """Sell.

    Args:
        number: how many.

    Raises:
        Refusal: it is closed.
        ValueError: there are none,
            or too many.
    """
    if number: raise Closed
    raise ValueError

def documents_none():
    """Sell.

    Returns:
        Refusal: not raised.
    """
    raise Closed

def documents_another():
    """Sell.

    Raises:
        ValueError: always.
    """
    raise Closed

class Till:
    """Money.

    Raises:
        Closed: it is closed.
    """

    def __init__(self): raise Closed

    def open(self):
        if isinstance(self, Drawer): raise Closed

    def shut(self): raise ValueError

    def _private(self): raise ValueError

class Drawer:
    def __init__(self): raise KeyError
''',
}


def test_what_is_not_documented_is_found():
    known = {"Refusal": type("Refusal", (Exception,), {})}
    known["Closed"] = type("Closed", (known["Refusal"], OSError), {})
    shop = Package(SHOP, known)
    places = {name: ("shop", name) for name in ("documents_all", "documents_none", "documents_another", "Till")}
    found = {name: undocumented(shop, one) for name, one in public_definitions(shop, places).items()}
    assert found == {
        "documents_all": [],
        "documents_none": ["Closed"],
        "documents_another": ["Closed"],
        "Till": [],
        "Till.open": [],
        "Till.shut": ["ValueError"],
    }


PLACES = {name: place.partition(":")[::2] for name, place in segue._PLACES.items()}
PUBLIC = public_definitions(SEGUE, {name: (module, inner or name) for name, (module, inner) in PLACES.items()})


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_function_documents_every_exception_that_it_raises(name):
    assert undocumented(SEGUE, PUBLIC[name]) == UNREACHED.get(name, []), (
        "name them, or a base, in the section Raises of its docstring"
    )


def test_every_public_name_is_looked_at():
    assert set(segue.__all__) <= PUBLIC.keys()
    assert {"PassageBank.search", "Comparison.to_pandas", "ReleasedRetriever.next"} <= PUBLIC.keys()
