"""The page's files without a browser: they name nothing outside, find each other, and can be read in light and dark."""

import re

import pytest

from segue.serving.pages import PAGE

FILES = sorted(PAGE.iterdir())
TEXT_ON = [(text, ground) for ground in ("paper", "panel") for text in ("ink", "soft", "accent", "good", "bad", "warn")]
TEXT_ON += [("ink", "accent-bg"), ("ink", "good-bg"), ("soft", "good-bg"), ("ink", "bad-bg"), ("ink", "warn-bg"),
            ("on-accent", "accent")]  # fmt: skip


def colours() -> dict[str, dict[str, str]]:
    """Return the colours of each scheme; the dark one comes second."""
    style = (PAGE / "style.css").read_text(encoding="utf-8")
    light, dark = (
        dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block)) for block in re.findall(r":root \{(.*?)\}", style, re.S)
    )
    return {"light": light, "dark": dark}


def luminance(colour: str) -> float:
    """Return the relative luminance of WCAG 2."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(scheme):
    of = colours()[scheme]
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    low = {pair: contrast(of[pair[0]], of[pair[1]]) for pair in TEXT_ON if contrast(of[pair[0]], of[pair[1]]) < 4.5}
    assert low == {}


def test_no_file_names_anything_outside():
    for path in FILES:
        outside = set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+[^\s\"'`]*", path.read_text(encoding="utf-8")))
        assert outside <= {"http://www.w3.org/2000/svg"}, path.name


def test_every_import_and_link_is_there():
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        named = re.findall(r"from \"\./([\w.]+)\"", text) + re.findall(
            r"(?:src|href)=\"(?:page/)?([\w-]+\.\w+)\"", text
        )
        missing = [name for name in named if not (PAGE / name).exists() and name != "openapi.json"]
        assert missing == [], path.name


def test_scripts_write_no_markup():
    for path in FILES:
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write", path.read_text(encoding="utf-8")
        )
