"""The command as people type it: processes, exit codes, signals, what is printed."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pexpect
import pytest
from mlflow import MlflowClient

from batchlab.config.schema import REPOSITORY
from batchlab.tracking.stores import tracking_uri

TRAIN = [sys.executable, str(REPOSITORY / "train.py")]


def runs_of(mlruns: Path, experiment: str) -> list:
    client = MlflowClient(tracking_uri(str(mlruns)))
    found = client.get_experiment_by_name(experiment)
    return client.search_runs([found.experiment_id], "tags.`batchlab.role` = 'run'")


def environment(tmp_path: Path) -> dict[str, str]:
    inherited = {
        key: value for key, value in os.environ.items() if key != "COLUMNS"
    }  # pytest-xdist's; not a terminal's
    return inherited | {"BATCHLAB_MLRUNS": str(tmp_path / "mlruns"), "OMP_NUM_THREADS": "1"}


def test_a_multirun_ends_with_a_table_of_one_row_per_batch_size(type_command, tmp_path):
    done = type_command("-m", "batch_size=32,128", "epochs=2", "num_seeds=2")
    assert done.returncode == 0, done.stderr
    rows = re.findall(r"│\s+(\d+) │\s+0.02 │\s+(\d+) │ 0\.\d{4} ± 0\.\d{4}", done.stdout)
    assert rows == [("32", "79"), ("128", "20")]
    assert "\x1b[" not in done.stdout  # plain where it is not a terminal
    assert len(runs_of(tmp_path / "mlruns", "runs-digits-mlp")) == 4
    assert "scikit-learn" in done.stdout


@pytest.mark.slow
def test_the_folder_where_a_command_is_typed_does_not_matter(type_command, tmp_path):
    done = type_command("epochs=1")
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"mlruns"}


def test_wrong_input_exits_with_2_and_leaves_nothing(type_command, tmp_path):
    done = type_command("-m", "batch_size=32,0", "lr=-1")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[0] == "2 errors; nothing was run, nothing was written."
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_key_beside_cfg_exits_with_2_too(type_command):
    assert type_command("--cfg", "job", "batchsize=3").returncode == 2


def test_a_model_that_crashes_while_training_exits_with_1_and_is_marked(type_command, tmp_path):
    (tmp_path / "crashing.py").write_text(
        "from torch import nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__(); self.layer = nn.Linear(64, 10); self.calls = 0\n"
        "    def forward(self, x):\n"
        "        self.calls += 1\n"
        "        if self.calls > 5: raise KeyError('the fifth batch')\n"
        "        return self.layer(x.flatten(1))\n"
    )
    done = type_command("model=own", "model._target_=crashing.Net", PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    [run] = runs_of(tmp_path / "mlruns", "runs-digits-own")
    assert (run.info.status, run.data.tags["cause"]) == ("FAILED", "KeyError: 'the fifth batch'")


@pytest.mark.parametrize(
    ("sent", "code"), [pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow), (signal.SIGINT, 130)]
)
def test_a_signal_ends_the_command_with_its_curves_recorded(tmp_path, sent, code):
    command = [*TRAIN, "-m", "batch_size=32,64", "epochs=100000", "study=stopped"]
    process = subprocess.Popen(
        command, env=environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    spool = tmp_path / "mlruns" / "spool"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not any(path.stat().st_size > 20_000 for path in spool.glob("*.jsonl")):
        time.sleep(0.2)
    process.send_signal(sent)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert "Traceback" not in err
    [run] = runs_of(tmp_path / "mlruns", "stopped")
    assert (run.info.status, run.data.tags["outcome"]) == ("KILLED", "killed")
    client = MlflowClient(tracking_uri(str(tmp_path / "mlruns")))
    assert len(client.get_metric_history(run.info.run_id, "val/accuracy")) > 10
    assert "1 killed" in out


@pytest.mark.slow
def test_two_commands_that_start_at_once_on_fresh_stores_both_work(tmp_path):
    command = [*TRAIN, "epochs=1"]
    both = [
        subprocess.Popen(
            command, env=environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for _ in range(2)
    ]
    for process in both:
        out, _ = process.communicate(timeout=180)
        assert process.returncode == 0, out
    runs = runs_of(tmp_path / "mlruns", "runs-digits-mlp")
    assert len(runs) == 2
    assert len({run.data.tags["mlflow.parentRunId"] for run in runs}) == 1


@pytest.mark.slow
def test_a_terminal_shows_a_bar_with_loss_accuracy_speed_and_time_left(tmp_path):
    arguments = [*TRAIN[1:], "budget=seconds", "budget.seconds=3"]
    child = pexpect.spawn(TRAIN[0], arguments, env=environment(tmp_path), dimensions=(40, 140), encoding="utf8")
    child.expect(r"seed 0 [^\r]*━[^\r]* % [^\r]*\d:\d\d[^\r]* loss [\d.]+ val accuracy [\d.]+ [\d,]+ ex/s", timeout=120)
    child.expect("val accuracy", timeout=60)
    child.expect(pexpect.EOF, timeout=60)
    child.close()
    assert child.exitstatus == 0
