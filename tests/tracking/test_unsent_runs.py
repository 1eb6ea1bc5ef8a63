"""Runs whose processes are gone reach MLflow once, whoever was cut off in the middle, and whatever MLflow knows."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from batchlab.tracking.mlflow_store import TrackingUnavailable, client_of, forget_stores, open_store
from batchlab.tracking.sink import RUN_ID, send
from batchlab.tracking.spool import End, Header, Spool, Value, begin
from batchlab.tracking.store_checks import check_study
from batchlab.tracking.study_reader import recorded_runs
from batchlab.tracking.unsent_runs import (
    send_at_end,
    send_at_start,
    send_unsent_runs,
    spool_folder,
    store_address,
    summary_lines,
)

CLOSED = "http://127.0.0.1:9"
VALUES = [Value("val/loss", 1.0 / step, 1_000 + step, step) for step in range(1, 2_500)]


@pytest.fixture
def mlruns(tmp_path: Path) -> str:
    return str(tmp_path / "mlruns")


def left(mlruns: str, name: str = "0", end: End | None = None) -> Spool:
    tags = {"batchlab.role": "run", "sweep_id": "sweep"}
    data_set = {"name": "digits", "digest": "1", "source_type": "local", "source": "x"}
    header = Header(name * 32, "study", f"B{name}", 1_000, store_address(mlruns), tags, {"lr": "0.1"}, data_set)
    spool = begin(spool_folder(mlruns), header)
    spool.append(VALUES)
    if end is not None:
        spool.finish(end)
    return spool


def runs_of(mlruns: str) -> list:
    store = open_store(mlruns, "study")
    return store.client.search_runs([store.experiment_id], "tags.`batchlab.role` = 'run'")


def check_whole(mlruns: str, status: str) -> None:
    [run] = runs_of(mlruns)
    assert (run.info.status, run.data.params["lr"], run.data.tags[RUN_ID]) == (status, "0.1", "0" * 32)
    assert run.info.start_time == 1_000
    assert len(run.inputs.dataset_inputs) == 1
    history = client_of(mlruns).get_metric_history(run.info.run_id, "val/loss")
    assert [(metric.step, metric.value) for metric in history] == [(value.step, value.value) for value in VALUES]


def test_a_run_whose_process_died_is_sent_and_ended_as_killed(mlruns):
    left(mlruns).close()
    found = send_unsent_runs(mlruns)
    check_whole(mlruns, "KILLED")
    [run] = runs_of(mlruns)
    assert (run.data.tags["cause"], run.info.end_time) == ("its process died", VALUES[-1].timestamp_ms)
    first, second = summary_lines(found, mlruns, is_end=False)
    assert first.startswith("1 run of earlier commands, kept in ")
    assert second.startswith("1 run had no end, because the process died: KILLED")
    assert list(spool_folder(mlruns).iterdir()) == []
    assert list(summary_lines(send_unsent_runs(mlruns), mlruns, is_end=False)) == []


def test_a_run_of_a_living_process_is_left_to_it(mlruns):
    spool = left(mlruns)
    assert list(summary_lines(send_unsent_runs(mlruns), mlruns, is_end=True)) == []
    assert spool.path.exists()


@pytest.mark.parametrize("moment", ["made and not noted", "half sent", "sent and not removed"])
def test_whoever_is_cut_off_while_sending_leaves_one_run(mlruns, monkeypatch, moment):
    spool = left(mlruns, end=End("FINISHED", 9_000, {"outcome": "done"}))
    client = open_store(mlruns, "study").client
    with monkeypatch.context() as patched:
        if moment == "made and not noted":
            patched.setattr(spool, "note", cut_off)
        elif moment == "half sent":
            patched.setattr(client, "log_inputs", cut_off)
        else:
            patched.setattr(spool, "remove", cut_off)
        with pytest.raises(KeyboardInterrupt):
            send(mlruns, spool)
    spool.close()
    assert spool.path.exists()
    assert send_unsent_runs(mlruns).num_sent == 1
    check_whole(mlruns, "FINISHED")
    assert not spool.path.exists()


def cut_off(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_run_that_mlflow_has_lost_is_sent_anew_and_whole(mlruns):
    spool = left(mlruns)
    send(mlruns, spool)
    client_of(mlruns).delete_run(spool.run_id)
    spool.finish(End("FINISHED", 9_000, {"outcome": "done"}))
    with pytest.raises(TrackingUnavailable):
        send(mlruns, spool)
    send(mlruns, spool)
    check_whole(mlruns, "FINISHED")


def test_runs_of_a_deleted_experiment_wait_for_the_command_that_the_message_names(mlruns):
    store = open_store(mlruns, "study")
    store.client.delete_experiment(store.experiment_id)
    forget_stores()
    left(mlruns, end=End("FINISHED", 9_000, {"outcome": "done"})).close()
    [line] = summary_lines(send_unsent_runs(mlruns), mlruns, is_end=True)
    assert "the experiment study was deleted in MLflow; " in line
    [error] = check_study(mlruns, "study")
    _, restore, _ = line.split("`")
    assert error.fix == f"study=study-2, or bring it back with `{restore}`"
    assert list(check_study(mlruns, "study-2")) == []
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    subprocess.run(restore, shell=True, check=True, capture_output=True, env=os.environ | {"PATH": path})
    assert list(check_study(mlruns, "study")) == []
    assert send_unsent_runs(mlruns).num_sent == 1
    check_whole(mlruns, "FINISHED")


def test_runs_that_cannot_be_sent_stay_and_are_said_and_shown(mlruns, monkeypatch, config_of, capsys):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", CLOSED)
    for name in "01":
        left(mlruns, name, End("FINISHED", 9_000, {"outcome": "done"})).close()
    found = send_unsent_runs(mlruns)
    assert (found.num_waiting, found.is_unavailable) == (2, True)
    [line] = summary_lines(found, mlruns, is_end=True)
    folder = spool_folder(mlruns)
    how = f"The next command with MLFLOW_TRACKING_URI={CLOSED} sends them."
    assert line == f"2 runs in {folder}: MLflow at {CLOSED}: connection refused. {how}"
    said = []
    shown = recorded_runs(config_of(f"mlruns={mlruns}"), "sweep", said.append)
    assert [run["metrics"]["val/loss"] for run in shown] == [VALUES[-1].value] * 2
    assert [run["tags"]["outcome"] for run in shown] == ["done", "done"]
    assert "connection refused" in said[0]
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert send_at_end(mlruns) == 0
    assert capsys.readouterr().err == ""  # said when a command begins
    send_at_start(mlruns)
    where = f"a command with MLFLOW_TRACKING_URI={CLOSED}"
    assert f"2 runs in {folder} for another MLflow: {where}" in capsys.readouterr().err
    assert len(list(folder.glob("*.jsonl"))) == 2


def test_one_run_that_mlflow_refuses_does_not_keep_the_others(mlruns):
    bad = left(mlruns, "0")
    bad.append([Value("no:such*name?", 1.0, 1, 1)])
    bad.close()
    left(mlruns, "1").close()
    found = send_unsent_runs(mlruns)
    assert (found.num_sent, found.num_waiting) == (1, 1)
    assert send_at_end(mlruns) == 1


def test_files_that_are_no_runs_are_left_alone_and_said_where_they_look_like_one(mlruns):
    folder = spool_folder(mlruns)
    folder.mkdir(parents=True)
    for name in ("notes.txt", f"{'f' * 32}.jsonl", "other.jsonl"):
        (folder / name).write_text("mine\n")
    [line] = summary_lines(send_unsent_runs(mlruns), mlruns, is_end=True)
    assert line == f"{folder}/{'f' * 32}.jsonl: cannot be read as a run; it was left as it is."
    assert {path.read_text() for path in folder.iterdir()} == {"mine\n"}
