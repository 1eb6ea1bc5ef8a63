"""The MLflow server stopped, hanging and started again under runs and searches: a real server, real processes."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from batchlab.tracking.spool import read
from tests.faults.processes import (
    QUICK,
    MlflowServer,
    check_study,
    ended,
    num_values,
    runs_of,
    start,
    trials_of,
    wait_until,
)

pytestmark = pytest.mark.slow
LONG = (*QUICK, "study=away", "epochs=1000000")
SECONDS = (*QUICK, "study=away", "budget=seconds")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[MlflowServer]:
    """Running."""
    server = MlflowServer(tmp_path / "server")
    server.start()
    yield server
    server.stop()


def spooled_runs(folder: Path) -> list[Path]:
    return sorted((folder / "mlruns" / "spool").glob("*.jsonl"))


def check_curve(address: str, run) -> None:
    """The curve has each evaluation once, and ends where the run did."""
    client = MlflowClient(address)
    history = client.get_metric_history(run.info.run_id, "val/loss")
    steps = [metric.step for metric in history]
    assert steps == sorted(set(steps))
    assert steps[-1] == run.data.metrics["cost/num_steps"]
    seconds = client.get_metric_history(run.info.run_id, "progress/train_seconds")
    assert [metric.step for metric in seconds] == steps
    assert {path.path for path in client.list_artifacts(run.info.run_id)} == {"config.yaml", "weights.pt"}


WAITING = """
import os, time
from torch import nn

class Net(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.layer, self.steps = nn.Linear(64, num_classes), 0

    def forward(self, inputs):
        self.steps += self.training
        for step, name in ((500, "away"), (1500, "back")):
            while self.steps == step and not os.path.exists(name):
                time.sleep(0.05)
        return self.layer(inputs.flatten(1))
"""


def test_a_run_trains_on_while_the_server_is_away_and_its_curve_is_whole_when_it_is_back(tmp_path, server):
    (tmp_path / "waiting.py").write_text(WAITING)
    typed = (*QUICK, "study=away", "epochs=200", "model=own", "model._target_=waiting.Net")
    process = start(tmp_path, *typed, MLFLOW_TRACKING_URI=server.address, PYTHONPATH=str(tmp_path))
    wait_until(lambda: runs_of(tmp_path, "away", server.address), process)
    server.stop()
    before = num_values(tmp_path)
    (tmp_path / "away").touch()
    wait_until(lambda: num_values(tmp_path) > before + 500, process)
    server.start()
    (tmp_path / "back").touch()
    output = ended(process)
    [run] = runs_of(tmp_path, "away", server.address)
    assert run.info.status == "FINISHED"
    check_curve(server.address, run)
    assert spooled_runs(tmp_path) == []
    assert "val accuracy" in output


def test_runs_without_a_server_wait_in_the_spool_and_the_next_command_sends_them_once(tmp_path, server):
    server.stop()
    typed = ("-m", "seed=0,1,2", *QUICK, "study=away", "epochs=2")
    output = ended(start(tmp_path, *typed, MLFLOW_TRACKING_URI=server.address))
    assert f"MLflow at {server.address} cannot be reached: runs are kept in " in output
    assert f"3 runs in {tmp_path}/mlruns/spool: MLflow at {server.address}: connection refused." in output
    assert "No report page: MLflow at" in output
    assert "away: 3 runs" in output  # the table
    assert len(spooled_runs(tmp_path)) == 3
    server.start()
    report = start(tmp_path, "study=away", program="scripts/report.py", MLFLOW_TRACKING_URI=server.address)
    assert f"3 runs of earlier commands, kept in {tmp_path}/mlruns/spool: sent to MLflow." in ended(report)
    runs = runs_of(tmp_path, "away", server.address)
    assert sorted(run.data.params["seed"] for run in runs) == ["0", "1", "2"]
    for run in runs:
        assert run.info.status == "FINISHED"
        check_curve(server.address, run)
    assert spooled_runs(tmp_path) == []
    again = start(tmp_path, "study=away", program="scripts/report.py", MLFLOW_TRACKING_URI=server.address)
    assert "sent to MLflow" not in ended(again)
    assert len(runs_of(tmp_path, "away", server.address)) == 3


def test_a_server_that_hangs_holds_no_run_and_gets_it_once_though_it_answers_late(tmp_path, server):
    environment = {"MLFLOW_TRACKING_URI": server.address, "MLFLOW_HTTP_REQUEST_TIMEOUT": "2"}
    ended(start(tmp_path, *QUICK, "study=other", "epochs=1", **environment))
    server.send(signal.SIGSTOP)
    output = ended(start(tmp_path, *SECONDS, "budget.seconds=5", **environment))
    assert "does not answer within 3 s: runs are kept in " in output
    assert "no answer within 2 s. The next command with MLFLOW_TRACKING_URI=" in output
    server.send(signal.SIGCONT)  # what it was asked meanwhile it does now
    ended(start(tmp_path, *QUICK, "study=other", "epochs=1", "seed=1", **environment))
    [run] = runs_of(tmp_path, "away", server.address)
    assert run.info.status == "FINISHED"
    check_curve(server.address, run)


@pytest.mark.parametrize("is_unavailable", [pytest.param(False, marks=pytest.mark.long), True])
def test_a_killed_run_is_ended_by_the_next_command_with_the_curve_it_had(tmp_path, server, is_unavailable):
    process = start(tmp_path, *LONG, MLFLOW_TRACKING_URI=server.address)
    wait_until(lambda: runs_of(tmp_path, "away", server.address), process)
    if is_unavailable:
        server.stop()
    wait_until(lambda: num_values(tmp_path) > 100, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    [path] = spooled_runs(tmp_path)
    content = read(path)
    if is_unavailable:
        server.start()
    [run] = runs_of(tmp_path, "away", server.address)
    assert run.info.status == "RUNNING"
    output = ended(start(tmp_path, *QUICK, "study=other", "epochs=1", MLFLOW_TRACKING_URI=server.address))
    assert "1 run had no end, because the process died: KILLED" in output
    [run] = runs_of(tmp_path, "away", server.address)
    assert (run.info.status, run.data.tags["cause"]) == ("KILLED", "its process died")
    history = MlflowClient(server.address).get_metric_history(run.info.run_id, "val/loss")
    steps = [value.step for value in content.values if value.key == "val/loss"]
    assert [metric.step for metric in history] == steps
    assert spooled_runs(tmp_path) == []


@pytest.mark.long
def test_a_search_goes_on_while_the_server_is_away_and_both_stores_agree_afterwards(tmp_path, server):
    typed = (
        "search=joint",
        *QUICK[:2],
        "study=away",
        "epochs=tag(log,int(interval(5,20)))",
        "hydra.sweeper.n_trials=16",
    )
    process = start(tmp_path, *typed, "hydra.sweeper.num_workers=2", MLFLOW_TRACKING_URI=server.address)
    wait_until(lambda: len(runs_of(tmp_path, "away", server.address)) > 2, process)
    server.stop()
    before = len([trial for trial in trials_of(tmp_path, "away") if trial.state.is_finished()])
    wait_until(lambda: sum(each.state.is_finished() for each in trials_of(tmp_path, "away")) > before + 4, process)
    server.start()
    ended(process)
    ended(start(tmp_path, *typed, MLFLOW_TRACKING_URI=server.address))  # sends what a slow server was not back for
    check_study(tmp_path, "away", 16, server.address)
    assert spooled_runs(tmp_path) == []


def test_a_run_that_is_killed_while_its_server_is_away_from_the_start_is_made_later(tmp_path, server):
    server.stop()
    process = start(tmp_path, *LONG, MLFLOW_TRACKING_URI=server.address)
    wait_until(lambda: num_values(tmp_path) > 100, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    server.start()
    ended(start(tmp_path, *QUICK, "study=other", "epochs=1", MLFLOW_TRACKING_URI=server.address))
    [run] = runs_of(tmp_path, "away", server.address)
    assert (run.info.status, run.data.tags["cause"]) == ("KILLED", "its process died")


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("ftp://host/path", "an address that begins with http://, https://, sqlite://, postgresql://"),
        ("http://me:secret@host:port", "cannot be read as scheme://host:port"),
        ("http://", "names no host"),
        ("postgresql+nothing://me:secret@host/db", "cannot be opened: Can't load plugin"),
    ],
)
def test_an_address_that_is_none_is_refused_before_anything_begins(type_command, tmp_path, address, said):
    done = type_command(*QUICK, "epochs=1", MLFLOW_TRACKING_URI=address)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "secret" not in done.stderr
    assert "Type MLFLOW_TRACKING_URI=http://127.0.0.1:5000" in done.stderr
    assert not (tmp_path / "mlruns").exists()
