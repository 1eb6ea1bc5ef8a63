"""A full disk under each thing that is written, and folders that may not be written: a small tmpfs, real processes."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from batchlab.config.schema import REPOSITORY
from batchlab.search.study import TrialState
from tests.faults.processes import (
    QUICK,
    check_study,
    ended,
    num_values,
    runs_of,
    start,
    trials_of,
    wait_until,
    without_roots_rights,
)

pytestmark = pytest.mark.slow
MEBIBYTE = 1 << 20
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a tmpfs and gives folders away")


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of 64 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path, num_free: int = 0) -> Path:
    """Leave so many bytes free."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    with filler.open("rb+") as file:
        file.truncate(filler.stat().st_size - num_free)
    return filler


@needs_root
def test_a_full_disk_ends_a_run_in_one_message_and_the_same_command_works_when_there_is_space(small):
    process = start(small, *QUICK, "study=disk", "epochs=1000000")
    wait_until(lambda: num_values(small) > 100, process)
    filler = fill(small)
    output = ended(process, 1)
    assert "No space left on device. Lost: this run from here on; what it had before is kept" in output
    filler.unlink()
    output = ended(start(small, *QUICK, "study=disk", "epochs=2"))
    assert "1 run of earlier commands" in output  # its end may have fitted in where a value did not
    first, second = sorted(runs_of(small, "disk"), key=lambda run: run.info.start_time)
    assert first.info.status in ("KILLED", "FAILED")
    assert "val/loss" in first.data.metrics
    assert second.info.status == "FINISHED"
    assert list((small / "mlruns" / "spool").iterdir()) == []


@needs_root
def test_weights_that_do_not_fit_are_said_to_be_lost_and_the_curve_is_kept(small):
    wide = ("model=mlp", "model.width=1500")
    process = start(small, *QUICK, "study=disk", "budget=seconds", "budget.seconds=6", *wide)
    wait_until(lambda: num_values(small) > 10, process)
    filler = fill(small, 3 * MEBIBYTE)
    output = ended(process, 1)
    assert "No space left on device. Lost: the weights of this run; its curves are kept." in output
    filler.unlink()
    ended(start(small, *QUICK, "study=disk", "epochs=1"))
    first, second = sorted(runs_of(small, "disk"), key=lambda run: run.info.start_time)
    assert first.info.status == "FAILED"
    assert {"val/loss", "final/val_accuracy"} <= set(first.data.metrics)
    assert second.info.status == "FINISHED"


@needs_root
def test_a_full_disk_under_mlflows_database_alone_loses_nothing(small):
    """The database's folder is a disk of its own."""
    process = start(
        small.parent, *QUICK, "study=disk", "budget=seconds", "budget.seconds=8",
        MLFLOW_TRACKING_URI=f"sqlite:///{small}/own.db",
    )  # fmt: skip
    wait_until(lambda: num_values(small.parent) > 10, process)
    filler = fill(small)
    output = ended(process, 1)
    assert f"{small}/own.db: database or disk is full. The next command with MLFLOW_TRACKING_URI=" in output
    assert "disk: 1 run" in output  # the table, from the spool
    filler.unlink()
    address = f"sqlite:///{small}/own.db"
    ended(start(small.parent, *QUICK, "study=disk", "epochs=1", MLFLOW_TRACKING_URI=address))
    assert [run.info.status for run in runs_of(small.parent, "disk", address)] == ["FINISHED", "FINISHED"]


@needs_root
@pytest.mark.parametrize("num_workers", [pytest.param(0, marks=pytest.mark.long), 2])
def test_a_full_disk_under_a_search_costs_no_slot(small, num_workers):
    typed = ["search=joint", *QUICK[:2], "study=disk", "epochs=tag(log,int(interval(5,40)))"]
    typed += ["hydra.sweeper.n_trials=10", f"hydra.sweeper.num_workers={num_workers}"]
    process = start(small, *typed)
    wait_until(lambda: sum(trial.state.is_finished() for trial in trials_of(small, "disk")) > 2, process)
    filler = fill(small)
    output = ended(process, 1)
    assert "No space left on device" in output or "database or disk is full" in output
    filler.unlink()
    ended(start(small, *typed))
    check_study(small, "disk", 10)
    assert not [
        trial
        for trial in trials_of(small, "disk")
        if trial.state is TrialState.FAIL and "traceback" in trial.user_attrs
    ]


@needs_root
def test_a_disk_without_space_is_seen_before_anything_begins(small):
    filler = fill(small)
    output = ended(start(small, *QUICK, "epochs=1"), 2)
    assert f"mlruns={small}/mlruns: a folder for results; {small}: No space left on device. Type mlruns=" in output
    assert list(small.iterdir()) == [filler]


@needs_root
@pytest.mark.parametrize("num_free", [128 * 1024, pytest.param(512 * 1024, marks=pytest.mark.long), MEBIBYTE])
def test_a_database_that_does_not_fit_when_it_is_made_leaves_no_half_of_one(small, num_free):
    filler = fill(small, num_free)
    output = ended(start(small, "-m", "seed=0,1", *QUICK, "study=disk", "epochs=1"), 1)
    assert "No space left on device" in output or "database or disk is full" in output
    assert not (small / "mlruns" / "mlflow.db").exists()
    filler.unlink()
    ended(start(small, "-m", "seed=0,1", *QUICK, "study=disk", "epochs=1"))
    assert "RUNNING" not in {run.info.status for run in runs_of(small, "disk")}
    assert sum(run.info.status == "FINISHED" for run in runs_of(small, "disk")) >= 2


@needs_root
@pytest.mark.parametrize("closed", ["", "spool", "mlflow.db"])
def test_a_folder_that_an_ordinary_user_may_only_read_is_refused(tmp_path, closed):
    mlruns = tmp_path / "mlruns"
    ended(start(tmp_path, *QUICK, "study=closed", "epochs=1"))
    path = mlruns / closed
    os.chown(path, 65534, 65534)
    path.chmod(0o555)
    before = {each: each.stat().st_mtime_ns for each in mlruns.rglob("*")}
    command = [sys.executable, str(REPOSITORY / "train.py"), *QUICK, "study=closed", "epochs=1"]
    env = os.environ | {"BATCHLAB_MLRUNS": str(mlruns), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, env=env, cwd=tmp_path, capture_output=True, text=True, preexec_fn=without_roots_rights
    )
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert f"mlruns={mlruns}: a folder for results; {path} is not writable. Type mlruns=" in done.stderr
    assert {each: each.stat().st_mtime_ns for each in mlruns.rglob("*")} == before
