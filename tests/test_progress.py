"""Progress: plain lines where stderr is no terminal, else bars."""

from __future__ import annotations

import io
import queue
import re

import pytest
from rich.console import Console

from segue import progress
from segue.progress import Bars, Lines, quiet, visible


class Recorded(Lines):
    """Lines that a test can wait for."""

    def __init__(self, every):
        super().__init__(every)
        self.lines = queue.Queue()

    def say(self, text):
        self.lines.put(text)

    def next(self):
        return self.lines.get(timeout=250)


def test_a_stage_has_a_line_at_its_begin_while_nothing_moves_while_it_moves_and_at_its_end():
    shown = Recorded(every=0.01)
    with shown("Encoding") as report:
        assert shown.next() == "Encoding"
        assert re.fullmatch(r"Encoding: [\d.]+ s so far", shown.next())
        report(3, 12, "passages")
        moved = next(line for line in iter(shown.next, None) if "3 of 12" in line)
        assert re.fullmatch(r"Encoding: 3 of 12, passages, [\d.]+ s so far", moved)
    last = [shown.next()]
    while not shown.lines.empty():
        last.append(shown.next())
    assert re.fullmatch(r"Encoding: done in [\d.]+ s", last[-1])


def test_a_stage_that_fails_is_not_said_to_be_done():
    shown = Recorded(every=1000)
    with pytest.raises(ValueError, match="broken"), shown("Encoding"):
        raise ValueError("broken")
    assert shown.lines.qsize() == 1


def test_rate_and_time_left_count_from_the_first_report(monkeypatch):
    """A resumed stage begins at 10 of 110 after 5 s; 50 more by 10 s are 10 a second, so 50 take 5 s."""
    now = iter([0.0, 5.0, 10.0, 10.0])
    monkeypatch.setattr(progress, "monotonic", lambda: next(now))
    stage = progress._Stage("Encoding")
    stage.progress(10, 110, "")
    stage.progress(60, 110, "passages")
    assert stage.line() == "Encoding: 60 of 110, 10 a second, passages, 10 s so far, about 5.0 s left"


def test_the_time_left_is_not_shown_while_one_part_takes_much_longer_than_those_before(monkeypatch):
    """One option in 20 s from 10 s on. 59 s into the next: one in 79 s, so four take 316 s; 61 s: unknown."""
    now = iter([0.0, 0.0, 10.0, 30.0, 89.0, 91.0])
    monkeypatch.setattr(progress, "monotonic", lambda: next(now))
    stage = progress._Stage("Comparing")
    for done in range(3):
        stage.progress(done, 6, "")
    assert stage.line() == "Comparing: 2 of 6, 1 min 29 s so far, about 5 min 16 s left"
    assert stage.line() == "Comparing: 2 of 6, 1 min 31 s so far"


def test_lines_go_to_stderr_and_quiet_shows_nothing(capsys):
    shown = visible()
    assert isinstance(shown, Lines)  # stderr of a test is no terminal
    shown.say("copy-last: R@5 40.0")
    quiet.say("nothing")
    with quiet("Encoding") as report:
        report(1, 2, "")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "copy-last: R@5 40.0\n")


def test_a_bar_shows_what_is_done_before_and_after_the_total_is_known():
    """Rich draws a bar once more when it ends, on a terminal and in a notebook alike."""
    terminal = Console(file=io.StringIO(), force_terminal=True, width=120)
    shown = Bars(terminal)
    with shown("Reading and encoding") as report:
        report(7, None, "passages encoded")
    with shown("Reading and encoding") as report:
        report(7, 18, "passages encoded, total estimated")
        report(10, 12, "passages encoded")
    without_colours = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", terminal.file.getvalue())
    assert re.search(r"Reading and encoding .* +7/\? .* passages encoded", without_colours)
    assert re.search(r"Reading and encoding .* 10/12 .* passages encoded", without_colours)
