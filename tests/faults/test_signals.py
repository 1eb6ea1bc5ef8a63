"""SIGINT and SIGTERM while a program begins, trains, and writes for the last time: exit codes, nothing half done."""

import os
import signal
from pathlib import Path

import pytest
from mlflow import MlflowClient

from batchlab.search.study import TrialState
from batchlab.tracking.stores import tracking_uri
from tests.faults.processes import (
    QUICK,
    check_study,
    ended,
    has_loaded,
    is_heeding,
    num_values,
    runs_of,
    start,
    trials_of,
    wait_until,
)

pytestmark = pytest.mark.slow
SIGNALS = pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
AT_START = {
    "python": lambda process: is_heeding(process, signal.SIGTERM),
    "torch": lambda process: has_loaded(process, "libtorch_cpu"),
}
HOOKED = '''
"""A model whose import has signals come at a chosen moment, from inside of what happens there."""
import os
from torch import nn
from sqlalchemy import event
from sqlalchemy.engine import Engine
from batchlab.tracking.recorder import Recorder

SENT, WHERE = int(os.environ["SENT"]), os.environ["WHERE"]

class Net(nn.Module):
    def __init__(self, input_shape, num_classes):
        super().__init__()
        self.layer = nn.Linear(64, num_classes)

    def forward(self, inputs):
        return self.layer(inputs.flatten(1))

def hooked(name, count):
    before = getattr(Recorder, name)
    def changed(self, *arguments):
        for _ in range(count):
            os.kill(os.getpid(), SENT)
        return before(self, *arguments)
    setattr(Recorder, name, changed)

left = [int(os.environ.get("SKIP", "0"))]

def cut(connection, cursor, statement, parameters, context, many):
    if statement.startswith(WHERE):
        left[0] -= 1
        if left[0] == -1:
            os.kill(os.getpid(), SENT)
            sum(range(1000))

if WHERE == "the weights":
    hooked("_save", 2)
elif WHERE == "the end":
    hooked("_end", 2)
else:
    event.listen(Engine, "after_cursor_execute", cut)
'''
OWN = ("data=digits", "measure=none", "model=own", "model._target_=hooked.Net")


def hooked(tmp_path: Path, sent: int, where: str, skip: int = 0) -> dict[str, str]:
    (tmp_path / "hooked.py").write_text(HOOKED)
    return {"PYTHONPATH": str(tmp_path), "SENT": str(int(sent)), "WHERE": where, "SKIP": str(skip)}


@SIGNALS
@pytest.mark.parametrize("when", AT_START)
def test_a_signal_while_a_command_begins_ends_it_quietly_and_leaves_nothing(tmp_path, sent, code, when):
    process = start(tmp_path, "-m", "seed=0,1", "epochs=100000")
    wait_until(lambda: AT_START[when](process), process)
    process.send_signal(sent)
    assert ended(process, code) == "Stopped; nothing was run.\n"
    assert list(tmp_path.iterdir()) == []


@SIGNALS
def test_signals_again_and_again_in_training_end_the_run_once(tmp_path, sent, code):
    process = start(tmp_path, *QUICK, "study=signals", "epochs=1000000")
    wait_until(lambda: num_values(tmp_path) > 100, process)
    for _ in range(3):
        process.send_signal(sent)
    output = ended(process, code)
    [run] = runs_of(tmp_path, "signals")
    assert (run.info.status, run.data.tags["outcome"]) == ("KILLED", "killed")
    assert list((tmp_path / "mlruns" / "spool").iterdir()) == []
    assert "Stopped; the curves so far are recorded" in output


@SIGNALS
@pytest.mark.parametrize("where", ["the weights", "the end"])
def test_two_signals_in_the_final_write_leave_a_whole_run(tmp_path, sent, code, where):
    process = start(tmp_path, *OWN, "study=signals", "epochs=2", **hooked(tmp_path, sent, where))
    ended(process, code)
    [run] = runs_of(tmp_path, "signals")
    assert (run.info.status, run.data.tags["outcome"]) == ("FINISHED", "done")
    assert "final/val_accuracy" in run.data.metrics
    client = MlflowClient(tracking_uri(str(tmp_path / "mlruns")))
    assert {path.path for path in client.list_artifacts(run.info.run_id)} == {"config.yaml", "weights.pt"}
    assert list((tmp_path / "mlruns" / "spool").iterdir()) == []


@pytest.mark.parametrize(
    ("sent", "code", "where", "skip"),
    [
        (signal.SIGTERM, 143, "INSERT INTO trial_user_attributes", 5),
        (signal.SIGINT, 130, "UPDATE trials", 2),
        (signal.SIGTERM, 143, "INSERT INTO metrics", 1),
        (signal.SIGTERM, 143, "INSERT INTO runs", 1),
    ],
)
def test_a_signal_inside_a_stores_call_ends_a_search_with_the_signals_code(tmp_path, sent, code, where, skip):
    typed = ("search=joint", *OWN, "study=signals", "epochs=1,2,3,4", "hydra.sweeper.n_trials=6")
    environment = hooked(tmp_path, sent, where, skip)
    ended(start(tmp_path, *typed, **environment), code)
    trials = trials_of(tmp_path, "signals")
    assert not [trial.number for trial in trials if trial.state is TrialState.RUNNING]
    assert not [trial.user_attrs for trial in trials if "traceback" in trial.user_attrs]
    assert "RUNNING" not in {run.info.status for run in runs_of(tmp_path, "signals")}
    ended(start(tmp_path, *typed, **(environment | {"SKIP": "1000000"})))
    check_study(tmp_path, "signals", 6)


@pytest.mark.parametrize(
    ("sent", "code"), [pytest.param(signal.SIGTERM, 143, marks=pytest.mark.long), (signal.SIGINT, 130)]
)
def test_a_signal_to_a_search_with_workers_leaves_nothing_running(tmp_path, sent, code):
    typed = ("search=joint", *QUICK[:2], "study=signals", "epochs=tag(log,int(interval(5,40)))")
    process = start(tmp_path, *typed, "hydra.sweeper.n_trials=40", "hydra.sweeper.num_workers=2")
    wait_until(lambda: sum(trial.state.is_finished() for trial in trials_of(tmp_path, "signals")) > 2, process)
    os.killpg(process.pid, sent)
    ended(process, code)
    assert not [trial for trial in trials_of(tmp_path, "signals") if trial.state is TrialState.RUNNING]
    assert "RUNNING" not in {run.info.status for run in runs_of(tmp_path, "signals")}
    assert list((tmp_path / "mlruns" / "spool").iterdir()) == []
