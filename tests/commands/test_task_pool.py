"""Runs of the claims: side by side, and past a worker that dies or a probe that fails."""

import time

import pytest

from batchlab.commands.claims.task_pool import run_tasks
from batchlab.experiments.arm_runs import ArmRun, is_known, known_runs

PROBES = """
import os

def number(config, seed):
    return {"front/number": float(seed)}

def crash(config, seed):
    raise ValueError("no such thing")

def die(config, seed):
    os._exit(9)
"""


@pytest.fixture
def run(config_of, tmp_path, monkeypatch):
    """A function: (probe, seed) pairs, deadline -> what was told of each, and the tasks."""
    (tmp_path / "probes_of_a_test.py").write_text(PROBES)
    monkeypatch.syspath_prepend(tmp_path)

    def run_probes(*pairs, deadline=600.0):
        said: dict[tuple[str, int], str] = {}
        tasks = [
            ArmRun("test", config_of(), seed, {"_target_": f"probes_of_a_test.{name}"}, False) for name, seed in pairs
        ]

        def tell(task, error):
            said[(task.probe["_target_"].rpartition(".")[2], task.seed)] = error

        run_tasks(tasks, 1, time.monotonic() + deadline, "command", tell)
        return said, tasks

    return run_probes


@pytest.mark.slow
def test_what_fails_or_dies_is_told_and_the_others_are_measured(run, tmp_path):
    said, tasks = run(("number", 0), ("crash", 0), ("number", 1), ("die", 0), ("number", 2), ("number", 3))
    assert said[("crash", 0)] == "ValueError: no such thing"
    assert "killed" in said[("die", 0)]
    known = known_runs(str(tmp_path / "mlruns"), ["test"])
    measured = {task.seed for task in tasks if task.probe["_target_"].endswith("number") and is_known(task, known)}
    assert {0, 1, 3} <= measured  # 2 may have waited beside the one that died


def test_nothing_begins_after_the_deadline(run):
    said, _ = run(("number", 0), deadline=-1.0)
    assert said == {}
