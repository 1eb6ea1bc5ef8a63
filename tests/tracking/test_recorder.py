import math
import multiprocessing
import sys
import time
from pathlib import Path

import pytest
import torch
from mlflow import MlflowClient

from batchlab.commands.train.job import train
from batchlab.config.identity import config_key, environment
from batchlab.config.resolve import flat_params
from batchlab.run.training_run import run, run_to_end
from batchlab.tracking.mlflow_store import client_of, open_store
from batchlab.tracking.recorder import Recorder
from batchlab.tracking.stores import tracking_uri
from batchlab.tracking.study_reader import recorded_runs
from batchlab.tracking.unsent_runs import run_files
from batchlab.training.build import build
from batchlab.training.evaluation import Evaluation


def children(mlruns: str) -> list:
    client = MlflowClient(tracking_uri(mlruns))
    experiment = client.get_experiment_by_name("test")
    return client.search_runs([experiment.experiment_id], "tags.`batchlab.role` = 'run'")


def test_a_job_leaves_curves_finals_params_tags_data_set_and_weights(config_of, tmp_path):
    config = config_of("epochs=3", "num_seeds=2", "lr_scaling=linear", "batch_size=64")
    values = train(config, "sweep")
    runs = children(config.mlruns)
    assert len(runs) == 2
    client = MlflowClient(tracking_uri(config.mlruns))
    newest = runs[0]
    assert newest.info.status == "FINISHED"
    history = client.get_metric_history(newest.info.run_id, "val/accuracy")
    assert [metric.step for metric in history] == [20, 40, 59]  # ceil(1257 k / 64), then the end
    for name in ("train/loss", "train/lr", "train/batch_size", "progress/examples", "progress/train_seconds"):
        assert len(client.get_metric_history(newest.info.run_id, name)) == 3
    finals = {"final/val_accuracy", "final/val_auroc", "final/val_auprc", "final/val_precision", "final/test_accuracy"}
    costs = {"cost/train_seconds", "cost/eval_seconds", "cost/peak_memory_bytes", "cost/examples_per_second"}
    assert finals | costs <= set(newest.data.metrics)
    assert newest.data.metrics["cost/num_steps"] == 59
    params = newest.data.params
    assert (float(params["batch_size"]), float(params["lr"]), float(params["lr_used"])) == (64, 0.02, 0.01)
    assert float(params["log2_batch_size"]) == 6
    tags = newest.data.tags
    assert tags["config_key"] == config_key(config)
    assert {"commit", "dirty", "version.torch", "cores", "load_average", "command", "device", "outcome"} <= set(tags)
    assert newest.inputs.dataset_inputs[0].dataset.name == "digits"
    accuracies = [run.data.metrics["final/val_accuracy"] for run in runs]
    assert values[1] == pytest.approx(sum(accuracies) / 2)
    assert {artifact.path for artifact in client.list_artifacts(newest.info.run_id)} == {"config.yaml", "weights.pt"}
    folder = Path(client.download_artifacts(newest.info.run_id, "weights.pt", str(tmp_path)))
    assert torch.load(folder, weights_only=True)["1.weight"].shape == (128, 64)
    assert list((Path(config.mlruns) / "spool").iterdir()) == []


def test_one_parent_run_holds_a_studys_children(config_of):
    for batch_size in (32, 64):
        train(config_of(f"batch_size={batch_size}", "epochs=1"), "sweep")
    config = config_of()
    parent = open_store(config.mlruns, "test").parent_id
    assert {run.data.tags["mlflow.parentRunId"] for run in children(config.mlruns)} == {parent}
    assert len(recorded_runs(config, "sweep")) == 2
    assert recorded_runs(config, "another") == []


@pytest.mark.parametrize(
    ("error", "status"), [(KeyboardInterrupt, "KILLED"), (SystemExit, "KILLED"), (OSError, "FAILED")]
)
def test_a_run_that_is_cut_off_keeps_its_curves(config_of, error, status):
    config = config_of("epochs=3")
    built = build(config, seed=0)

    def cut_off():
        with Recorder(built, "sweep") as recorder:
            evaluations = (each for each in run(built) if isinstance(each, Evaluation))
            for _ in range(2):
                recorder.evaluation(next(evaluations))
            raise error("cut off")

    with pytest.raises(error):
        cut_off()
    [child] = children(config.mlruns)
    assert child.info.status == status
    assert len(MlflowClient(tracking_uri(config.mlruns)).get_metric_history(child.info.run_id, "val/loss")) >= 1
    assert child.data.tags["outcome"] == status.lower()


def test_a_diverged_run_is_finished_with_its_cause_and_without_values(config_of):
    config = config_of("loss=squared_error", "optimizer=sgd", "lr=1e30", "epochs=5")
    values = train(config, "sweep")
    [child] = children(config.mlruns)
    assert (child.info.status, child.data.tags["outcome"]) == ("FINISHED", "diverged")
    assert "loss was" in child.data.tags["cause"]
    assert math.isnan(values[1])


def _first_use(mlruns: str, results) -> None:
    store = open_store(mlruns, "test")
    results.put((store.experiment_id, store.parent_id))


@pytest.mark.slow
def test_processes_that_create_a_study_at_once_end_with_one_parent(tmp_path):
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    workers = [context.Process(target=_first_use, args=(str(tmp_path / "mlruns"), results)) for _ in range(3)]
    for worker in workers:
        worker.start()
    found = {results.get(timeout=120) for _ in workers}
    for worker in workers:
        worker.join()
    assert len(found) == 1
    assert [worker.exitcode for worker in workers] == [0, 0, 0]


def test_identity_forgets_names_seeds_paths_and_device_index(config_of):
    same = [[], ["study=other"], ["seed=7"], ["num_seeds=3"], ["data_root=x"]]
    same += [["objectives=[final/val_loss]"], ["measure=none"]]
    assert len({config_key(config_of(*overrides)) for overrides in same}) == 1
    assert config_key(config_of("device=cuda:0")) == config_key(config_of("device=cuda:1"))
    others = [["batch_size=64"], ["lr=0.1"], ["model.width=64"], ["epochs=3"], ["lr_scaling=linear"], ["device=cuda"]]
    assert len({config_key(config_of(*overrides)) for overrides in [[], *others]}) == len(others) + 1


def test_params_stay_within_mlflows_limit_of_one_write(config_of):
    assert len(flat_params(config_of("data=table", "model=mlp", "optimizer=muon", "lr_scaling=linear"))) < 90


def test_times_of_a_run_go_forward_when_the_hosts_clock_is_set_back(config_of, monkeypatch):
    config = config_of("epochs=2")
    built = build(config, seed=0)
    with Recorder(built, "sweep") as recorder:
        training = run(built)
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now - 86_400)
        recorder.finish(
            run_to_end(training, lambda at: recorder.evaluation(at) if isinstance(at, Evaluation) else None)
        )
    [child] = children(config.mlruns)
    assert child.info.start_time <= child.info.end_time
    times = [metric.timestamp for metric in client_of(config.mlruns).get_metric_history(recorder.run_id, "val/loss")]
    assert child.info.start_time <= times[0] <= times[1] <= child.info.end_time


def test_a_password_reaches_neither_spool_nor_mlflow(config_of, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py", "hydra.sweeper.storage=postgresql://me:secret@host/db"])
    environment.cache_clear()
    config = config_of("epochs=1")
    tags = {"note": "redis://me:secret@host"}
    with Recorder(build(config, seed=0), "sweep", tags):
        [file] = run_files(config.mlruns)
        text = file.read_text()
    environment.cache_clear()
    [child] = children(config.mlruns)
    assert "secret" not in text + str(child.data.tags) + str(child.data.params)
    assert "postgresql://me:***@host/db" in child.data.tags["command"]


def test_runs_that_version_0_2_recorded_stay_known(config_of):
    """Claims read runs again by this key: a new setting that changes no run must not be part of it."""
    assert config_key(config_of("device=cpu")) == "4b09793bdbc5"
    assert config_key(config_of("device=cpu", "trust=[mine]", "checkpoint.every_seconds=60")) == "4b09793bdbc5"
