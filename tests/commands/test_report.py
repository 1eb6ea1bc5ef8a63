"""scripts/report.py and the pages that commands write: from the records alone, byte for byte."""

import json
import shlex
import shutil
import subprocess
import sys

import pytest
from mlflow import MlflowClient
from optuna import load_study
from optuna.artifacts import get_all_artifact_meta

from batchlab.config.schema import REPOSITORY
from batchlab.search.storage import open_storage
from batchlab.tracking.mlflow_tables import database_of, table_runs
from batchlab.tracking.stores import optuna_artifacts, tracking_uri
from batchlab.tracking.study_reader import curves_of, pages_of_client, study_runs


def report(tmp_path, *arguments):
    command = [sys.executable, str(REPOSITORY / "scripts" / "report.py"), f"mlruns={tmp_path / 'mlruns'}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=tmp_path)


def files_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*")}


@pytest.fixture
def multirun(type_command, tmp_path):
    done = type_command("-m", "batch_size=64,128", "num_seeds=2", "epochs=1", "study=two", "model.width=16")
    assert done.returncode == 0, done.stderr
    assert f"Report: {tmp_path / 'mlruns' / 'reports' / 'two' / 'index.html'}" in done.stdout
    return tmp_path / "mlruns"


@pytest.mark.slow
def test_a_page_that_is_deleted_comes_back_byte_for_byte(multirun, tmp_path, type_command):
    folder = multirun / "reports" / "two"
    before = files_of(folder)
    assert {"index.html", "summary.json", "score.png", "score.svg"} <= {path.name for path in before}
    shutil.rmtree(multirun / "reports")
    again = report(tmp_path, "study=two", "output=json")
    assert again.returncode == 0, again.stderr
    assert files_of(folder) == before
    summary = json.loads(again.stdout)
    assert summary == json.loads((folder / "summary.json").read_text())
    client = MlflowClient(tracking_uri(str(multirun)))
    experiment = client.get_experiment_by_name("two")
    assert experiment is not None
    runs = {}
    reads = (
        table_runs(database_of(client), experiment.experiment_id),
        pages_of_client(client, [experiment.experiment_id]),
    )
    for read in reads:  # the quick way says what MLflow's own does
        runs = {run["info"]["id"]: run for run in read}
        assert {run_id: runs[run_id] for run_id in sorted(runs)} == known_runs(client, experiment.experiment_id)
    curves = curves_of(str(multirun), list(runs), ["val/accuracy", "not/measured"])
    assert set(curves) == {(run_id, "val/accuracy") for run_id in runs if runs[run_id]["params"]}
    for (run_id, metric), curve in curves.items():
        assert curve == {point.step: point.value for point in client.get_metric_history(run_id, metric)}
    [parent] = client.search_runs([experiment.experiment_id], "tags.`batchlab.role` = 'parent'")
    laid = {each.path for each in client.list_artifacts(parent.info.run_id, "report")}
    assert {"report/score.png", "report/score.svg", "report/summary.json"} <= laid
    command = shlex.split(summary["recommended"]["command"])
    assert type_command(*command[2:], "study=again").returncode == 0
    keys = [run["tags"]["config_key"] for name in ("two", "again") for run in study_runs(str(multirun), name)]
    assert keys[-1] in keys[:4]


def known_runs(client, experiment_id):
    runs = client.search_runs([experiment_id])
    return {
        run.info.run_id: {
            "params": run.data.params,
            "metrics": pytest.approx(run.data.metrics, nan_ok=True),
            "tags": run.data.tags,
            "info": {"id": run.info.run_id, "status": run.info.status, "began": run.info.start_time,
                     "ended": run.info.end_time},
        }
        for run in sorted(runs, key=lambda run: run.info.run_id)
    }  # fmt: skip


WRONG = {
    "study=none-of-that-name": "no such study with trainings in",
    "study=x lr=5": "lr=5: has no effect: a page is made of what was recorded. Type the command without lr",
    "study=x data=digits": "data=digits: has no effect",
    "search=joint": "study=joint-digits-mlp: no such study",
    "output=html study=x": "text or json",
    "": "study=runs-digits-mlp: no such study with trainings in",
}


@pytest.mark.parametrize("typed", WRONG)
def test_wrong_input_costs_nothing(refused_by_script, typed):
    assert WRONG[typed] in refused_by_script("report", *typed.split())


@pytest.mark.slow
def test_a_name_that_is_nearly_right_is_mended(multirun, tmp_path):
    done = report(tmp_path, "study=tow")
    assert done.returncode == 2
    assert "Type study=two" in done.stderr


@pytest.mark.slow
def test_a_search_has_its_page_and_its_figures_in_the_dashboard_once(type_command, tmp_path):
    typed = ["search=joint", "epochs=1,2", "model.width=16", "hydra.sweeper.n_trials=4"]
    done = type_command(*typed)
    assert done.returncode == 0, done.stderr
    mlruns = tmp_path / "mlruns"
    folder = mlruns / "reports" / "joint-digits-mlp"
    before = {path: text for path, text in files_of(folder).items() if path.parts[0] != "best"}
    shutil.rmtree(folder)
    assert report(tmp_path, "study=joint-digits-mlp").returncode == 0
    assert files_of(folder) == before
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["kind"] == "search"
    assert summary["recommended"]["n"] == 3
    assert summary["recommended"]["is_fresh"]
    study = load_study(study_name="joint-digits-mlp", storage=open_storage(str(mlruns)))
    names = [meta.filename for meta in get_all_artifact_meta(study)]
    assert sorted(names) == sorted(path.name for path in before if path.parts[0] == "figures")
    assert len(list(optuna_artifacts(str(mlruns)).iterdir())) == len(names)
