"""Run-time type checks of the tests: as in mypy, an int may stand where a float is expected (PEP 484)."""

import contextlib

import jaxtyping
from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))


@contextlib.contextmanager
def shapes_checked(on: bool = True):
    """Switch the checks of shapes and types on or off."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", not on)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", before)
