"""Searches whose processes are killed, whose trials fail, and that run side by side: real processes, real signals."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from optuna import load_study

from batchlab.config.schema import REPOSITORY
from batchlab.search.storage import open_storage
from batchlab.search.study import FrozenTrial, TrialState, is_done

pytestmark = pytest.mark.slow
STUDY = "faults"
SHORT = ("search=joint", "data=digits", "measure=none", f"study={STUDY}", "epochs=tag(log,int(interval(5,40)))")


def start(tmp_path: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    env = os.environ | {"BATCHLAB_MLRUNS": str(tmp_path / "mlruns"), "OMP_NUM_THREADS": "1"} | environment
    command = [sys.executable, str(REPOSITORY / "train.py"), *arguments]
    return subprocess.Popen(command, env=env, cwd=tmp_path, start_new_session=True, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip


def trials_of(tmp_path: Path) -> list[FrozenTrial]:
    if not (tmp_path / "mlruns" / "optuna.db").exists():
        return []
    try:
        return load_study(study_name=STUDY, storage=open_storage(str(tmp_path / "mlruns"))).get_trials(deepcopy=False)
    except KeyError:
        return []


def wait_until(condition, seconds: float = 240.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "nothing happened"
        time.sleep(0.05)


def num_done(tmp_path: Path) -> int:
    return sum(is_done(trial) for trial in trials_of(tmp_path))


def is_training(tmp_path: Path) -> bool:
    return any(trial.state is TrialState.RUNNING and trial.params for trial in trials_of(tmp_path))


def ended(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=400)
    assert process.returncode == 0, output
    return output


def check_slots(trials: list[FrozenTrial], count: int) -> None:
    done = [trial for trial in trials if is_done(trial)]
    assert sorted(trial.user_attrs["slot"] for trial in done) == list(range(count))
    assert not [trial.number for trial in trials if trial.state in (TrialState.RUNNING, TrialState.WAITING)]


@pytest.mark.long
def test_a_study_killed_three_times_is_done_by_the_same_command(tmp_path):
    typed = (*SHORT, "hydra.sweeper.n_trials=30", "hydra.sweeper.num_workers=2")
    for count in (4, 10, 16):
        process = start(tmp_path, *typed)
        wait_until(lambda count=count: num_done(tmp_path) >= count and is_training(tmp_path))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert num_done(tmp_path) < 30
    output = ended(start(tmp_path, *typed))
    check_slots(trials_of(tmp_path), 30)
    lost = [trial for trial in trials_of(tmp_path) if trial.user_attrs.get("lost")]
    assert len(lost) >= 2  # something was running nearly every time
    assert "30 trials:" in output


def test_a_killed_worker_is_replaced_and_costs_no_slot(tmp_path):
    process = start(tmp_path, *SHORT, "hydra.sweeper.n_trials=16", "hydra.sweeper.num_workers=1")
    wait_until(lambda: num_done(tmp_path) >= 3 and is_training(tmp_path))
    running = [trial for trial in trials_of(tmp_path) if trial.state is TrialState.RUNNING]
    os.kill(running[0].user_attrs["lease"]["pid"], signal.SIGKILL)
    output = ended(process)
    check_slots(trials_of(tmp_path), 16)
    assert "A worker was ended by SIGKILL (out of memory?)" in output
    workers = {trial.user_attrs["lease"]["pid"] for trial in trials_of(tmp_path)}
    assert len(workers) == 2


def test_workers_do_not_outlive_their_supervisor(tmp_path):
    process = start(tmp_path, *SHORT, "hydra.sweeper.n_trials=60", "hydra.sweeper.num_workers=2")
    wait_until(lambda: num_done(tmp_path) >= 2)
    workers = {trial.user_attrs["lease"]["pid"] for trial in trials_of(tmp_path) if "lease" in trial.user_attrs}
    process.kill()
    process.wait()
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), seconds=60)
    assert not [trial for trial in trials_of(tmp_path) if trial.state is TrialState.RUNNING]


@pytest.mark.parametrize("num_workers", [pytest.param(0, marks=pytest.mark.long), 2])
def test_one_ctrl_c_ends_everything_cleanly(tmp_path, num_workers):
    typed = (*SHORT, "hydra.sweeper.n_trials=60", f"hydra.sweeper.num_workers={num_workers}")
    process = start(tmp_path, *typed)
    wait_until(lambda: num_done(tmp_path) >= 3 and is_training(tmp_path))
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 130, output
    assert "Pareto front" in output
    assert "Traceback" not in output
    assert not [trial for trial in trials_of(tmp_path) if trial.state is TrialState.RUNNING]
    assert num_done(tmp_path) < 60


def test_two_processes_started_together_share_the_study(tmp_path):
    typed = (*SHORT, "hydra.sweeper.n_trials=14")
    outputs = [ended(process) for process in [start(tmp_path, *typed), start(tmp_path, *typed)]]
    trials = trials_of(tmp_path)
    check_slots(trials, 14)
    points = [tuple(sorted(trial.params.items())) for trial in trials]
    assert len(set(points)) == len(points)
    assert len({trial.user_attrs["lease"]["pid"] for trial in trials}) == 2
    assert sum("Retraining best_score" in output for output in outputs) == 1


def test_the_timeout_bounds_the_wall_clock_and_gives_the_slot_back(tmp_path):
    begun = time.monotonic()
    typed = (*SHORT, "hydra.sweeper.n_trials=500", "hydra.sweeper.timeout=6")
    output = ended(start(tmp_path, *typed, "epochs=2000", "eval.every_examples=100000"))
    assert time.monotonic() - begun < 60
    assert "the same command goes on" in output or "no trial is done" in output
    assert not [trial for trial in trials_of(tmp_path) if trial.state is TrialState.RUNNING]


DOUBLE = '''
import os, torch
from batchlab.search.trial_ref import current_ref
from torch import nn

class Double(nn.Module):
    """Runs out of memory from 51 examples on, diverges below 14, has a bug once."""

    def __init__(self, input_shape, num_classes):
        super().__init__()
        self.layer = nn.Linear(input_shape[0] * input_shape[1] * input_shape[2], num_classes)

    def forward(self, inputs):
        logits = self.layer(inputs.flatten(1))
        if not self.training or len(inputs) < 3:
            return logits
        if len(inputs) >= 51:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate more than there is.")
        if len(inputs) < 14:
            return logits * float("nan")
        if current_ref() is not None and not os.path.exists(os.environ["DOUBLE_FLAG"]):
            open(os.environ["DOUBLE_FLAG"], "w").close()
            raise RuntimeError("a bug of the model")
        return logits
'''


def test_failures_are_outcomes_and_the_sampler_leaves_the_bad_region(tmp_path):
    (tmp_path / "doubles.py").write_text(DOUBLE)
    typed = ["search=joint", "data=digits", f"study={STUDY}", "model=own", "model._target_=doubles.Double", "epochs=1"]
    typed += ["batch_size=tag(log,int(interval(8,128)))", "hydra.sweeper.n_trials=60", "hydra.sweeper.first_points=[]"]
    process = start(tmp_path, *typed, PYTHONPATH=str(tmp_path), DOUBLE_FLAG=str(tmp_path / "flag"))
    output = ended(process)
    trials = trials_of(tmp_path)
    check_slots(trials, 60)
    outcomes = Counter()
    for trial in trials:
        batch_size = trial.params["batch_size"]
        outcome = (trial.user_attrs.get("result") or {}).get("outcome", "crashed")
        outcomes[outcome] += 1
        if batch_size >= 51:
            assert (outcome, trial.state) == ("out_of_memory", TrialState.PRUNED)
            assert trial.constraints["out_of_memory"] == 1.0
        elif batch_size < 14:
            assert (outcome, trial.state) == ("diverged", TrialState.PRUNED)
            assert trial.constraints["diverged"] == 1.0
        elif outcome == "crashed":
            assert trial.state is TrialState.FAIL
            assert "a bug of the model" in trial.user_attrs["traceback"]
        else:
            assert trial.state in (TrialState.COMPLETE, TrialState.PRUNED)
            assert trial.constraints == {}
    assert outcomes["crashed"] == 1
    assert f"{outcomes['out_of_memory']} out of memory" in output
    is_bad = [trial.params["batch_size"] >= 51 or trial.params["batch_size"] < 14 for trial in trials]
    sizes = [trial.params["batch_size"] for trial in trials]
    first = next(place for place, size in enumerate(sizes) if size >= 51)
    assert all(size < sizes[first] for size in sizes[first + 1 :])  # memory grows with the batch
    assert sum(is_bad[30:]) < sum(is_bad[:30])


@pytest.mark.parametrize("launcher", ["joblib", pytest.param("submitit_local", marks=pytest.mark.long)])
def test_trials_run_under_hydras_launchers(tmp_path, launcher):
    typed = ["search=joint", f"study={STUDY}", "epochs=1,2", f"hydra/launcher={launcher}"]
    typed += ["hydra.launcher.n_jobs=2"] if launcher == "joblib" else []
    output = ended(start(tmp_path, *typed, "hydra.sweeper.n_jobs=2", "hydra.sweeper.n_trials=4"))
    trials = trials_of(tmp_path)
    check_slots(trials, 4)
    assert "Pareto front" in output
    assert all(trial.state is TrialState.COMPLETE for trial in trials)
    assert all(len(trial.user_attrs["mlflow_run_ids"]) == 1 for trial in trials)


DYING = '''
import os, signal
from batchlab.search.trial_ref import current_ref
from doubles_base import Double as Base

class Double(Base):
    """Its process is killed the first time."""

    def forward(self, inputs):
        is_trial = current_ref() is not None  # and no dry run
        if self.training and is_trial and not os.path.exists(os.environ["DOUBLE_FLAG"]):
            open(os.environ["DOUBLE_FLAG"], "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        return self.layer(inputs.flatten(1))
'''


def test_a_job_that_dies_with_its_process_costs_that_job_alone(tmp_path):
    (tmp_path / "doubles_base.py").write_text(DOUBLE)
    (tmp_path / "doubles.py").write_text(DYING)
    typed = ["search=joint", f"study={STUDY}", "model=own", "model._target_=doubles.Double", "epochs=1"]
    typed += ["hydra/launcher=submitit_local", "hydra.sweeper.n_jobs=2", "hydra.sweeper.n_trials=4"]
    ended(start(tmp_path, *typed, PYTHONPATH=str(tmp_path), DOUBLE_FLAG=str(tmp_path / "flag")))
    trials = trials_of(tmp_path)
    check_slots(trials, 4)
    assert sum("lost" in trial.user_attrs for trial in trials) == 1
    assert sum(trial.state is TrialState.COMPLETE for trial in trials) == 4
