"""The errors that Segue raises on purpose.

Each is a ``SegueError`` and the standard exception a caller would expect. It carries the exit code of the command line
and states four things: what is wrong, what was found, what was expected, what to do.
"""


def explain(what: str, *, got: object = None, expected: object = None, fix: str = "") -> str:
    """Join the four parts of an error message into one line.

    >>> explain("bank and model differ", got="384 dimensions", expected="768", fix="rebuild the bank")
    'bank and model differ: got 384 dimensions, expected 768. To fix it: rebuild the bank.'
    """
    facts = [f"got {got}"] if got is not None else []
    facts += [f"expected {expected}"] if expected is not None else []
    head = f"{what}: {', '.join(facts)}" if facts else what
    return f"{head}. To fix it: {fix}." if fix else f"{head}."


class SegueError(Exception):
    """Base class of all errors raised on purpose.

    Args:
        what: what is wrong; the whole message where nothing else is given.
        got: what was found.
        expected: what was expected.
        fix: what to do, in the imperative.

    Attributes:
        exit_code: exit code of the command line.
        what, got, fix: as given.
    """

    exit_code = 2

    def __init__(self, what: str = "", *, got: object = None, expected: object = None, fix: str = "") -> None:
        self.what, self.got, self.fix = what, got, fix
        plain = got is None and expected is None and not fix  # also when unpickled from its message
        message = what if plain else explain(what, got=got, expected=expected, fix=fix)
        super().__init__(message.encode(errors="backslashreplace").decode())  # half a character cannot be written


class InputError(SegueError, ValueError):
    """A document, file, vector or argument cannot be used as it is."""


class SettingsError(SegueError, ValueError):
    """A recipe has unknown keys or impossible values; the message lists all of them."""


class MissingExtraError(SegueError, ImportError):
    """An optional dependency is not installed; the message names the extra."""


class SpaceError(SegueError, ValueError):
    """Two things that must live in one embedding space do not."""


class StorageError(SegueError, OSError):
    """Something could not be written or read back whole (disk full, file changed, folder in use)."""


class BlockedError(SegueError, RuntimeError):
    """An integrity check failed, so no headline number may be printed."""

    exit_code = 3


class OtherRankError(SegueError, RuntimeError):
    """Another rank of a training failed and has reported why; this one ends without a message of its own."""

    def __init__(self, what: str = "another rank of this training failed", *, exit_code: int = 2) -> None:
        super().__init__(what)
        self.exit_code = exit_code
