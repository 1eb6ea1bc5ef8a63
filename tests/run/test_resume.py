"""Runs and searches whose processes are killed, and the same command again: real processes, signals, disks."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from mlflow import MlflowClient
from optuna import load_study
from optuna.trial import TrialState

from batchlab.config.schema import REPOSITORY
from batchlab.search.storage import open_storage
from batchlab.tracking.stores import tracking_uri
from batchlab.training.checkpoint import folder_of

pytestmark = pytest.mark.slow
STUDY = "resume"
OFTEN = "checkpoint.every_seconds=0.1"
LONG = (f"study={STUDY}", "epochs=80", "batch_size=16", "model.norm=batch", "measure=none", "num_threads=1")
TIMED = ("progress/train_seconds",)


def start(tmp_path: Path, *arguments: str, before: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    env = os.environ | {"BATCHLAB_MLRUNS": str(tmp_path / "mlruns"), "OMP_NUM_THREADS": "1"}
    command = [*before, sys.executable, str(REPOSITORY / "train.py"), *arguments]
    return subprocess.Popen(command, env=env, cwd=tmp_path, start_new_session=True, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip


def ended(process: subprocess.Popen[str], code: int = 0) -> str:
    output, _ = process.communicate(timeout=200)
    assert process.returncode == code, output
    assert "Traceback" not in output, output
    return output


def checkpoint_of(tmp_path: Path) -> Path | None:
    return next(iter(folder_of(str(tmp_path / "mlruns")).glob("*.pt")), None)


def wait_until(condition, process: subprocess.Popen[str], seconds: float = 150.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < until, "nothing happened"
        time.sleep(0.02)


def steps_of(path: Path | None) -> int:
    return torch.load(path, weights_only=True)["states"]["loop"]["counts"]["steps"] if path else 0


def wait_for_checkpoint(tmp_path: Path, process: subprocess.Popen[str], num_steps: int = 500) -> None:
    wait_until(lambda: steps_of(checkpoint_of(tmp_path)) >= num_steps, process)


def runs_of(tmp_path: Path) -> list:
    """The study's runs, the first one first."""
    client = MlflowClient(tracking_uri(str(tmp_path / "mlruns")))
    experiment = client.get_experiment_by_name(STUDY)
    assert experiment is not None
    where, order = "tags.`batchlab.role` = 'run'", ["attributes.start_time ASC"]
    return client.search_runs([experiment.experiment_id], where, order_by=order)


def recorded(tmp_path: Path, run) -> dict[str, object]:
    """Curves, finals and weights of a run, less what is measured in seconds and bytes."""
    client = MlflowClient(tracking_uri(str(tmp_path / "mlruns")))
    names = [name for name in run.data.metrics if not name.startswith("cost/") and name not in TIMED]
    curves = {name: client.get_metric_history(run.info.run_id, name) for name in names}
    folder = tmp_path / run.info.run_id
    folder.mkdir()
    weights = torch.load(client.download_artifacts(run.info.run_id, "weights.pt", str(folder)), weights_only=True)
    found: dict[str, object] = {name: value.numpy().tobytes() for name, value in weights.items()}
    return found | {name: [(each.step, repr(each.value)) for each in curve] for name, curve in curves.items()}


def test_a_run_that_is_killed_and_stopped_goes_on_by_the_same_command_to_the_last_bit(tmp_path):
    (tmp_path / "whole").mkdir()
    ended(start(tmp_path / "whole", *LONG))
    num_steps = 0
    for fatal in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
        process = start(tmp_path, *LONG, OFTEN)
        wait_for_checkpoint(tmp_path, process, num_steps + 500)
        process.send_signal(fatal)
        output = ended(process, -fatal if fatal == signal.SIGKILL else 128 + fatal)
        assert ("is kept; the same command goes on from there" in output) == (fatal != signal.SIGKILL)
        assert ("seed 0: resumed at step" in output) == (num_steps > 0)
        num_steps = steps_of(checkpoint_of(tmp_path))
    output = ended(start(tmp_path, *LONG, OFTEN))
    assert f"seed 0: resumed at step {num_steps} (" in output
    *before, last = runs_of(tmp_path)
    assert [run.info.status for run in before[1:]] == ["KILLED", "KILLED"]
    assert not [name for run in before for name in run.data.metrics if name.startswith("final/")]
    assert last.data.tags["resumed_from_step"] == str(num_steps)
    assert (last.info.status, last.data.tags["outcome"]) == ("FINISHED", "done")
    assert recorded(tmp_path, last) == recorded(tmp_path / "whole", runs_of(tmp_path / "whole")[0])
    assert list(folder_of(str(tmp_path / "mlruns")).iterdir()) == []


def fill(folder: Path, seconds: float) -> None:
    """Take every byte that is free, and those that become free while it lasts."""
    until = time.monotonic() + seconds
    with open(folder / "filling", "wb", buffering=0) as file:
        while time.monotonic() < until:
            try:
                file.write(bytes(1024))
            except OSError:
                time.sleep(0.01)


def test_a_full_disk_costs_neither_the_run_nor_its_earlier_checkpoint(tmp_path):
    """A file system of one MiB under the checkpoints, which something else fills; mounting it takes root."""
    folder = folder_of(str(tmp_path / "mlruns"))
    folder.mkdir(parents=True)
    script = (
        f"trap '' TERM; mount -t tmpfs -o size=1m tmpfs {folder} && \"$@\"; code=$?; cp -r {folder} kept; exit $code"
    )
    process = start(tmp_path, *LONG, OFTEN, before=("unshare", "--mount", "sh", "-c", script, "sh"))
    inside = Path(f"/proc/{process.pid}/root{folder}")
    wait_until(lambda: steps_of(next(iter(inside.glob("*.pt")), None)) >= 500, process)
    fill(inside, seconds=2)
    os.killpg(process.pid, signal.SIGTERM)
    output = ended(process, 143)
    assert output.count("its checkpoint could not be written (No space left on device); the run goes on") == 1
    assert sorted(path.suffix for path in (tmp_path / "kept").iterdir()) == ["", ".lock", ".pt"]
    num_steps = steps_of(next((tmp_path / "kept").glob("*.pt")))
    assert f"its checkpoint, at step {num_steps} " in output


def test_a_folder_that_becomes_read_only_costs_neither_the_run_nor_its_earlier_checkpoint(tmp_path):
    """As somebody to whom a folder's mode means something: root too, less its right to pass over it."""
    folder, rights = folder_of(str(tmp_path / "mlruns")), "--bounding-set=-dac_override,-dac_read_search"
    process = start(tmp_path, *LONG, OFTEN, before=("setpriv", rights) if os.geteuid() == 0 else ())
    wait_for_checkpoint(tmp_path, process)
    folder.chmod(0o555)
    while list(folder.glob("*.part")):
        folder.chmod(0o755)
        time.sleep(0.01)
        folder.chmod(0o555)
    [path] = folder.glob("*.pt")
    before = path.read_bytes()
    output = ended(process)
    assert output.count("its checkpoint could not be written (Permission denied); the run goes on") == 1
    assert f"its checkpoint {path} could not be removed (Permission denied)" in output
    assert path.read_bytes() == before
    assert sorted(each.suffix for each in folder.iterdir()) == [".lock", ".pt"]
    folder.chmod(0o755)
    assert "val accuracy" in output


def trials_of(tmp_path: Path) -> list:
    if not (tmp_path / "mlruns" / "optuna.db").exists():
        return []
    try:
        return load_study(study_name=STUDY, storage=open_storage(str(tmp_path / "mlruns"))).get_trials(deepcopy=False)
    except KeyError:
        return []


def test_a_lost_trial_of_a_search_goes_on_with_its_point_and_counts_no_loss(tmp_path):
    typed = ["search=joint", f"study={STUDY}", "batch_size=choice(16,24,32)", "lr=0.01,0.02", "epochs=60"]
    typed += [
        "measure=none",
        "hydra.sweeper.n_trials=2",
        "hydra.sweeper.num_workers=1",
        "hydra.sweeper.first_points=[]",
    ]
    outputs = []
    for _ in range(2):
        process = start(tmp_path, *typed, OFTEN)
        begun = steps_of(checkpoint_of(tmp_path))
        wait_until(lambda begun=begun: steps_of(checkpoint_of(tmp_path)) >= begun + 200, process)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    outputs.append(ended(start(tmp_path, *typed, "checkpoint.every_seconds=0.2")))
    lost = [trial for trial in trials_of(tmp_path) if "lost" in trial.user_attrs]
    done = [trial for trial in trials_of(tmp_path) if trial.state is TrialState.COMPLETE]
    again = [trial for trial in trials_of(tmp_path) if "again" in trial.user_attrs]
    assert len(lost) == 2
    assert [trial.params for trial in again] == [trial.params for trial in lost]
    assert again[-1].user_attrs["losses"] == 0
    assert again[-1].user_attrs["resumed_from_step"] > again[0].user_attrs["resumed_from_step"] > 0
    assert {trial.user_attrs["slot"] for trial in done} == {0, 1}
    assert list(folder_of(str(tmp_path / "mlruns")).iterdir()) == []


def test_checkpoints_that_no_trial_goes_on_from_are_removed_when_the_study_is_done(tmp_path):
    folder = folder_of(str(tmp_path / "mlruns"))
    folder.mkdir(parents=True)
    (folder / "0123456789abcdef.lock").write_text(STUDY)
    (folder / "0123456789abcdef.pt").write_text("of a trial that was given up")
    typed = ["search=joint", f"study={STUDY}", "epochs=1,2", "measure=none", "hydra.sweeper.n_trials=2"]
    assert "Removed 1 checkpoint of trials that did not go on." in ended(start(tmp_path, *typed))
    assert list(folder.iterdir()) == []
