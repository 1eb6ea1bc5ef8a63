"""What the README says, typed: its commands run, its tables name every option."""

import re
import shlex

import pytest

from batchlab.config import REPOSITORY, register_schema
from batchlab.preflight import preflight

README = (REPOSITORY / "README.md").read_text()
COMMANDS = re.findall(r"^\$ (python train.py.*)$", README, flags=re.MULTILINE)
GROUPS = ("data", "model", "loss", "optimizer", "lr_scaling", "lr_schedule", "batch_schedule", "budget", "search")


def test_the_readme_has_commands():
    assert len(COMMANDS) >= 5


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_readme_does_what_it_says(type_command, command):
    typed, _, comment = command.partition("  # ")
    done = type_command(*shlex.split(typed)[2:])
    expected = int(re.sub(r"\D", "", comment) or 0)
    assert done.returncode == expected, done.stderr
    if expected:
        shown = README.split(f"$ {command}\n", 1)[1].split("```", 1)[0]
        assert done.stderr == shown
    else:
        assert "val accuracy" in done.stdout


@pytest.mark.parametrize("command", [command for command in COMMANDS if "exit code" not in command])
def test_a_command_of_the_readme_passes_the_gates(command, monkeypatch, tmp_path):
    register_schema()
    monkeypatch.setenv("BATCHLAB_MLRUNS", str(tmp_path))
    assert preflight(shlex.split(command)[2:]) is not None


@pytest.mark.parametrize("group", GROUPS)
def test_the_readme_names_every_option(group):
    for path in (REPOSITORY / "conf" / group).glob("*.yaml"):
        assert f"`{path.stem}`" in README, f"{group}={path.stem}"
