"""Processes of tests run the package under test and end where they should."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from processes import environment

import segue

WHERE = "import segue, worlds; print(segue.__file__)"


def test_a_process_imports_the_package_under_test_whatever_else_is_on_its_path(tmp_path, monkeypatch):
    (tmp_path / "segue").mkdir()
    (tmp_path / "segue" / "__init__.py").write_text("raise ImportError('another package')")
    (tmp_path / "kept.py").write_text("")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    code = f"{WHERE}; import kept"
    done = subprocess.run([sys.executable, "-c", code], env=environment(), cwd="/", capture_output=True, check=True)
    assert Path(done.stdout.decode().strip()) == Path(segue.__file__).resolve()


@pytest.mark.parametrize(("most", "code"), [(3, -signal.SIGKILL), (None, 0)])
def test_a_process_is_killed_at_the_call_that_is_named(most, code):
    script = f"from processes import CallCounter; CallCounter({most}).start(); [abs(n) for n in range(9)]"
    assert subprocess.run([sys.executable, "-c", script], env=environment(), check=False).returncode == code
