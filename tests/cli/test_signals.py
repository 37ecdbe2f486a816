"""Signals: one line and the documented exit code, from the first import to the last line."""

import subprocess
import sys

import pytest
from processes import environment

SENT = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # jobs in the background of a shell ignore it
import segue.cli.signals as signals
assert not {"typer", "numpy", "torch"} & sys.modules.keys(), "it would be listened for too late"
signals.listen()
try:
    os.kill(os.getpid(), signal.NAME)
    print("not ended")
finally:
    AFTERWARDS
"""


def run(code: str) -> tuple[int, str, str]:
    found = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=False)
    return found.returncode, found.stdout, found.stderr


def ended(name: str, afterwards: str = "pass") -> tuple[int, str, str]:
    return run(SENT.replace("NAME", name).replace("AFTERWARDS", afterwards))


@pytest.mark.parametrize(("name", "code", "word"), [("SIGINT", 130, "interrupted"), ("SIGTERM", 143, "terminated")])
def test_a_signal_before_anything_heavy_is_imported_ends_in_one_line(name, code, word):
    line = f"segue: {word}; finished work is kept, run the same command to resume\n"
    assert ended(name) == (code, "", line)


def test_a_second_signal_waits_for_nothing():
    code, out, err = ended("SIGTERM", "os.kill(os.getpid(), signal.SIGINT); print('waited')")
    assert (code, out, err.count("\n")) == (130, "", 1)


def test_afterwards_signals_have_their_default_action():
    code, _, err = ended("SIGCONT", "signals.stop_listening(); os.kill(os.getpid(), signal.SIGINT)")
    assert (code, err) == (-2, "")


def test_a_signal_in_a_destructor_ends_the_command_too():
    """Python prints an exception of a destructor and goes on."""
    dying = "type('Dying', (), {'__del__': lambda self: os.kill(os.getpid(), signal.SIGTERM)})()"
    code = SENT.replace("os.kill(os.getpid(), signal.NAME)", f"import time; {dying}; time.sleep(30)")
    line = "segue: terminated; finished work is kept, run the same command to resume\n"
    assert run(code.replace("AFTERWARDS", "pass")) == (143, "", line)


def test_an_ignored_interrupt_stays_ignored():
    code = SENT.replace("signals.listen()", "signal.signal(signal.SIGINT, signal.SIG_IGN); signals.listen()")
    assert run(code.replace("NAME", "SIGINT").replace("AFTERWARDS", "pass")) == (0, "not ended\n", "")
