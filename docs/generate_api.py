"""The page of the Python API: the public names of ``segue``, in the order of the flow, for mkdocstrings."""

from __future__ import annotations

from pathlib import Path

import segue

PAGE = Path(__file__).with_name("api.md")
HEAD = """# Python API

*Made from `segue.__all__` by `make docs`; do not edit by hand.*

The public names of `segue`, in the order of the flow. Everything else may change between versions. Each name is
imported when it is first used.
"""


def api_page() -> str:
    """Return the whole page."""
    assert set(segue._PLACES) == set(segue.__all__)
    parts = [HEAD.strip()]
    for name, place in segue._PLACES.items():
        module, _, inner = place.partition(":")
        label = f"segue.{name}"
        parts.append(f"::: {module}.{inner or name}\n    options:\n      heading: {label}\n      toc_label: {label}")
    return "\n\n".join(parts) + "\n"
