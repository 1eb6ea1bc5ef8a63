"""Data that change under a study: who has read them goes on, who reads the others is refused."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from optuna import load_study

from batchlab.config.schema import REPOSITORY
from batchlab.search.storage import open_storage
from batchlab.search.study import FrozenTrial, TrialState, is_done
from tests.faults.test_data import TABLE, as_csv, rows

pytestmark = pytest.mark.slow
STUDY = "under-change"
SEARCH = ("search=joint", f"study={STUDY}", "batch_size=32,64", "epochs=tag(log,int(interval(5,40)))", *TABLE)


@pytest.fixture
def study(tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """A function: arguments -> the running search on table.csv, which is there."""
    (tmp_path / "table.csv").write_bytes(as_csv(rows()))
    env = os.environ | {"BATCHLAB_MLRUNS": str(tmp_path / "mlruns"), "OMP_NUM_THREADS": "1"}

    def start(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, str(REPOSITORY / "train.py"), *SEARCH, "data.path=table.csv", *arguments]
        return subprocess.Popen(
            command, env=env, cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    return start


def trials_of(tmp_path: Path) -> list[FrozenTrial]:
    try:
        return load_study(study_name=STUDY, storage=open_storage(str(tmp_path / "mlruns"))).get_trials(deepcopy=False)
    except KeyError:
        return []


def wait_for_trials(tmp_path: Path, count: int) -> list[FrozenTrial]:
    until = time.monotonic() + 240
    while not (tmp_path / "mlruns" / "optuna.db").exists() or len(done(tmp_path)) < count:
        assert time.monotonic() < until, "nothing happened"
        time.sleep(0.05)
    return trials_of(tmp_path)


def done(tmp_path: Path) -> list[int]:
    return sorted(trial.user_attrs["slot"] for trial in trials_of(tmp_path) if is_done(trial))


def end_of(process: subprocess.Popen[str]) -> tuple[int, str]:
    output, _ = process.communicate(timeout=300)
    assert "Traceback" not in output
    return process.returncode, output


def refused(tmp_path: Path, code: int, output: str) -> None:
    assert code == 2, output
    assert re.search(rf"data_digest=\w+: the data has changed: the study {STUDY} was begun with other examples", output)
    assert f"Type study={STUDY}-2, or have the data as it was" in output
    assert not [trial for trial in trials_of(tmp_path) if trial.state is TrialState.RUNNING]


def ends_with_the_old_data(tmp_path: Path, process: subprocess.Popen[str], count: int) -> None:
    code, output = end_of(process)
    assert code == 0, output
    assert done(tmp_path) == list(range(count))
    assert not [trial for trial in trials_of(tmp_path) if trial.state is TrialState.RUNNING]


def test_a_process_goes_on_with_the_data_that_it_read_and_the_next_command_is_refused(study, tmp_path):
    running = study("hydra.sweeper.n_trials=30")
    wait_for_trials(tmp_path, 2)
    (tmp_path / "table.csv").write_bytes(as_csv(rows(seed=1)))
    ends_with_the_old_data(tmp_path, running, 30)
    refused(tmp_path, *end_of(study("hydra.sweeper.n_trials=32")))
    assert done(tmp_path) == list(range(30))
    (tmp_path / "table.csv").write_bytes(as_csv(rows()))
    ends_with_the_old_data(tmp_path, study("hydra.sweeper.n_trials=32"), 32)


@pytest.mark.long
def test_a_worker_that_starts_after_the_data_changed_ends_the_search(study, tmp_path):
    running = study("hydra.sweeper.n_trials=40", "hydra.sweeper.num_workers=1")
    trials = wait_for_trials(tmp_path, 2)
    (tmp_path / "table.csv").write_bytes(as_csv(rows(seed=1)))
    os.kill(next(trial.user_attrs["lease"]["pid"] for trial in trials if "lease" in trial.user_attrs), signal.SIGKILL)
    code, output = end_of(running)
    refused(tmp_path, code, output)
    assert "A worker refuses to go on." in output
    (tmp_path / "table.csv").write_bytes(as_csv(rows()))
    ends_with_the_old_data(tmp_path, study("hydra.sweeper.n_trials=40", "hydra.sweeper.num_workers=1"), 40)


@pytest.mark.long
def test_a_job_of_a_launcher_that_reads_the_changed_data_ends_the_search(study, tmp_path):
    typed = ("hydra/launcher=submitit_local", "hydra.sweeper.n_jobs=2", "hydra.sweeper.n_trials=6")
    running = study(*typed)
    wait_for_trials(tmp_path, 2)
    (tmp_path / "table.csv").write_bytes(as_csv(rows(seed=1)))
    refused(tmp_path, *end_of(running))
    (tmp_path / "table.csv").write_bytes(as_csv(rows()))
    ends_with_the_old_data(tmp_path, study(*typed), 6)
