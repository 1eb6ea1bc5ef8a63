"""Real processes whose run ends early: it does in all, with its cause; none stays behind, and another goes on."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import psutil
import pytest
import torch
from torch import nn

from batchlab.config.schema import REPOSITORY
from batchlab.distributed import leader
from batchlab.run.training_run import run, run_to_end
from batchlab.system.torchrun_env import RanksFailed
from batchlab.training.build import build
from batchlab.training.checkpoint import open_checkpointer
from tests.distributed.two_processes import TWO, curve


class RefusesTheLastShare(nn.Linear):
    """Runs out of memory in the second process only, from its third pass on."""

    def __init__(self) -> None:
        super().__init__(64, 10)
        self.passes = 0

    def forward(self, inputs):
        self.passes += self.training
        if self.passes > 2 and torch.distributed.is_initialized() and torch.distributed.get_rank() == 1:
            raise torch.OutOfMemoryError("no more memory here")
        return super().forward(inputs.flatten(1))


DROPPING = """
from torch import nn

def Net(num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.Dropout(0.3), nn.Linear(32, num_classes))
"""


def resumable(config, stop_at=None):
    """Points and result of a run with checkpoints after every step; without a result where it is stopped at a step."""
    points, built = [], build(config, seed=3)
    with open_checkpointer(built, lambda text: None) as checkpointer, leader.shared(built) as together:
        training = run(together, checkpointer=checkpointer)
        while True:
            try:
                points.append(next(training))
            except StopIteration as end:
                return points, end.value, checkpointer.resumed_from if checkpointer else None
            if getattr(points[-1], "point", points[-1]).counts.steps == stop_at:
                training.close()
                return points, None, None


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        ["model=own", "model._target_=dropping.Net", "optimizer=adam"],
        ["data.resident=false", "batch_size=101", "micro_batch_size=20"],
        ["model.norm=batch", "sync_batch_norm=true", "lr_schedule=cosine"],
    ],
)
def test_a_run_of_two_processes_goes_on_from_its_checkpoint_to_the_last_bit(
    config_of, facts_of, monkeypatch, tmp_path, overrides
):
    (tmp_path / "dropping.py").write_text(DROPPING)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("batchlab.training.loop.TICK_SECONDS", 0.0)
    fixed = ["epochs=2", "measure=none", "num_threads=1", TWO, *overrides]
    *whole, _ = resumable(config_of(*fixed))
    kept_often = config_of(*fixed, "checkpoint.every_seconds=1e-9")
    resumable(kept_often, stop_at=13)
    leader.dismiss()  # other processes go on
    *resumed, resumed_from = resumable(kept_often)
    assert resumed_from == 12
    assert facts_of(*resumed) == facts_of(*whole)


@pytest.mark.slow
def test_memory_that_runs_out_in_one_process_ends_the_run_in_all_and_the_next_run_goes_on(config_of, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.syspath_prepend(str(REPOSITORY))
    target = "model._target_=tests.distributed.test_early_ends.RefusesTheLastShare"
    config = config_of("model=own", target, "epochs=2", "measure=none", TWO)
    _, result = curve(config)
    assert result.outcome == "out_of_memory"
    assert "1 of 2 processes" in result.cause
    _, again = curve(config_of("epochs=1", "measure=none", TWO))
    assert again.outcome == "done"


@pytest.mark.slow
def test_divergence_is_seen_by_all_and_the_processes_stay(config_of):
    _, result = curve(config_of("lr=1e30", "epochs=2", "measure=none", TWO))
    assert result.outcome == "diverged"
    _, again = curve(config_of("epochs=1", "measure=none", TWO))
    assert again.outcome == "done"


@pytest.mark.slow
def test_a_process_that_is_killed_fails_the_run_with_its_name_and_leaves_none_behind(config_of):
    config, before = config_of("epochs=200", "measure=none", TWO), psutil.Process().children()

    def train_and_kill():
        with leader.shared(build(config, 0)) as built:
            training, children = run(built), [each for each in psutil.Process().children() if each not in before]
            next(training)
            assert len(children) == 1
            children[0].kill()
            run_to_end(training)

    with pytest.raises(RanksFailed, match="Process 1 of the run was ended by SIGKILL"):
        train_and_kill()
    after = [each for each in psutil.Process().children() if each not in before]
    assert not [each for each in after if each.status() != psutil.STATUS_ZOMBIE]
    assert curve(replace(config, epochs=1))[1].outcome == "done"


def follower_ids(folder):
    return [each.pid for each in psutil.process_iter(["cmdline"]) if folder in " ".join(each.info["cmdline"] or [])]


@pytest.mark.slow
def test_a_leader_that_is_killed_leaves_no_process_behind(tmp_path):
    environment = os.environ | {"BATCHLAB_MLRUNS": str(tmp_path / "mlruns"), "TMPDIR": str(tmp_path)}
    command = [sys.executable, str(REPOSITORY / "train.py"), "epochs=5000", "measure=none", TWO]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 120
    while not (found := follower_ids(str(tmp_path / "batchlab-ranks-"))) and time.monotonic() < until:
        time.sleep(0.1)
    assert len(found) == 1
    process.send_signal(signal.SIGKILL)
    process.wait()
    until = time.monotonic() + 30
    while psutil.pid_exists(found[0]) and time.monotonic() < until:
        time.sleep(0.05)
    assert not psutil.pid_exists(found[0])


@pytest.mark.slow
@pytest.mark.parametrize(("arguments", "code"), [(["--help"], 0), (["batch_size=0"], 1), ([TWO[:-1] + "3"], 1)])
def test_torchrun_ends_where_nothing_is_run(arguments, code, tmp_path):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*torchrun, str(REPOSITORY / "train.py"), *arguments]
    environment = os.environ | {"BATCHLAB_MLRUNS": str(tmp_path / "mlruns")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == code, done.stderr
    assert not (tmp_path / "mlruns").exists()
