"""A class that a script or a notebook defines works on several processes, or the user is told what to do."""

import subprocess
import sys

import worlds
from processes import environment

from recipes import write_import

SCRIPT = """
import sys
import threading

import torch
from torch import nn

import segue

LOCK = threading.Lock()


def squashed(values):
    return torch.tanh(values)


class Mine(nn.Module):
    def __init__(self, dimension, context):
        super().__init__()
        self.inner = nn.Linear(dimension, 8)
        self.head = nn.Linear(8, dimension)

    def forward(self, context, mask):
        return self.head(squashed(self.inner(context[:, -1])))


class Locked(Mine):
    def forward(self, context, mask):
        with LOCK:
            return super().forward(context, mask)


try:
    record = segue.triage(sys.argv[1], sys.argv[2]).record
except segue.SegueError as error:
    print(type(error).__name__, error)
else:
    for entry in record.entries:
        print(entry.name, entry.status, entry.reason)
"""


def said_by(folder, model):
    """Run a script that compares a model of its own, and return what it prints."""
    bank = worlds.drift_world(5, 16, 10, 16)
    (folder / "script.py").write_text(SCRIPT, encoding="utf-8")
    columns = {"document_id": [bank.document_ids[number] for number in bank.document_of], "position": bank.position}
    recipe = write_import(folder, bank.vectors, columns, model={"name": f"__main__:{model}"},
                          triage={"budget_minutes": 5},
                          compute={"processes": 2})  # fmt: skip
    command = [sys.executable, str(folder / "script.py"), str(recipe), str(folder / "run")]
    done = subprocess.run(command, cwd=folder, env=environment(), check=True, capture_output=True, text=True)
    return done.stdout


def test_a_model_that_a_script_defines_is_trained_in_other_processes(tmp_path):
    said = said_by(tmp_path, "Mine").splitlines()
    (trained,) = [line for line in said if line.startswith("infonce")]
    assert trained in ("infonce done None", "infonce under-trained None"), said


def test_a_model_that_no_other_process_can_have_is_refused_before_anything_is_trained(tmp_path):
    said = said_by(tmp_path, "Locked")
    assert said.startswith("SettingsError '__main__:Locked' cannot be sent to other processes: got TypeError")
    assert "put it in a module beside your script and name that, or set [compute] processes = 1" in said
    assert not (tmp_path / "run" / "options").exists()
