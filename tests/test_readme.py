"""What the README says, typed: its commands run, its tables name every option."""

import os
import re
import shlex
import subprocess
import sys

import pytest

from batchlab.commands.train.preflight import preflight
from batchlab.config.schema import REPOSITORY, register_schema

README = (REPOSITORY / "README.md").read_text()
COMMANDS = re.findall(r"^\$ (python train.py.*)$", README, flags=re.MULTILINE)
SCRIPTS = re.findall(r"^\$ (python scripts/.*)$", README, flags=re.MULTILINE)
FIRST = {
    "runs": ["-m", "batch_size=64,128", "epochs=1"],
    "joint": ["search=joint", "epochs=1,2", "hydra.sweeper.n_trials=2"],
}
"""What a study that the README reports is made by, in a short way."""
GROUPS = ("data", "model", "loss", "optimizer", "lr_scaling", "lr_schedule", "batch_schedule", "budget")
GROUPS += ("measure", "search")


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
        assert ("Claim" if "experiment=" in command else "val accuracy") in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("command", SCRIPTS)
def test_a_script_of_the_readme_runs(command, tmp_path):
    words = shlex.split(command)[1:]
    env = os.environ | {"BATCHLAB_MLRUNS": str(tmp_path), "OMP_NUM_THREADS": "1"}
    study = next((word.removeprefix("study=") for word in words if word.startswith("study=")), "")
    before = [*FIRST[study.partition("-")[0]], f"study={study}"] if words[0] == "scripts/report.py" else []
    for arguments in (["train.py", *before], words) if before else (words,):
        typed = [sys.executable, *arguments]
        done = subprocess.run(typed, cwd=REPOSITORY, env=env, capture_output=True, text=True, timeout=500)
        assert done.returncode == 0, done.stderr
    if words[0] == "scripts/claims.py":
        assert "supported" in done.stdout
    else:
        assert list(tmp_path.glob("reports/*/*.json"))


@pytest.mark.parametrize("command", [command for command in COMMANDS if "exit code" not in command])
def test_a_command_of_the_readme_passes_the_gates(command, monkeypatch, tmp_path):
    register_schema()
    monkeypatch.setenv("BATCHLAB_MLRUNS", str(tmp_path))
    assert preflight(shlex.split(command)[2:]) is not None


@pytest.mark.parametrize("group", GROUPS)
def test_the_readme_names_every_option(group):
    for path in (REPOSITORY / "conf" / group).glob("*.yaml"):
        assert f"`{path.stem}`" in README, f"{group}={path.stem}"


def test_every_test_that_the_table_of_faults_names_is_there():
    named = set(re.findall(r"`(test_\w+)`", (REPOSITORY / "docs" / "faults.md").read_text()))
    tests = "\n".join(path.read_text() for path in (REPOSITORY / "tests").rglob("test_*.py"))
    assert len(named) > 40
    assert named <= set(re.findall(r"^def (test_\w+)", tests, flags=re.MULTILINE))
