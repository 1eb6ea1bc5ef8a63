"""Runs as they are recorded, and studies of them, made up."""

import math

import pytest

from batchlab.report.study_data import study_of


def recorded(batch_size, accuracy=0.9, seed=0, lr=0.1, seconds=1.0, outcome="done", pick="", **more):
    """A run; `more` are params, or metrics where the name has a slash."""
    steps = 1000 * 10 / batch_size
    metrics = {"final/val_accuracy": accuracy, "final/val_loss": 1 - accuracy, "final/test_accuracy": accuracy - 0.01}
    metrics |= {"cost/train_seconds": seconds, "cost/num_steps": steps, "cost/num_examples": 10_000.0}
    metrics |= {"cost/examples_per_second": 10_000 / seconds, "cost/peak_memory_bytes": 2.0**30}
    metrics |= {"cost/total_seconds": seconds + 1, "cost/eval_seconds": 0.5, "progress/epochs": 10.0}
    metrics |= {name: value for name, value in more.items() if "/" in name}
    if outcome != "done":
        metrics = {name: math.nan if name.startswith("final/") else value for name, value in metrics.items()}
    params = {"batch_size": str(batch_size), "lr": str(lr), "lr_used": str(lr), "seed": str(seed), "epochs": "10"}
    params |= {"data._target_": "batchlab.data.digits.load_digits", "model._target_": "batchlab.models.mlp.mlp"}
    params |= {"measure.num_examples": "2000", "measure.batch_norm": "eval"}
    params |= {name: value for name, value in more.items() if "/" not in name and name != "trial"}
    settings = sorted((name, value) for name, value in params.items() if name != "seed")
    tags = {"config_key": str(settings), "outcome": outcome, "cause": "", "data_digest": "d1", "commit": "c1"}
    tags |= {"origin": f"python train.py batch_size={batch_size} lr={lr}", "load_average": "0.50"}
    tags |= {"optuna.trial_number": str(more["trial"])} if "trial" in more else {}
    tags |= {"pick": pick} if pick else {}
    name = f"{len(settings)}-{batch_size}-{lr}-{seed}-{pick}"
    return {"params": params, "metrics": metrics, "tags": tags, "info": {"id": name, "began": 1000, "ended": 61_000}}


@pytest.fixture
def make_run():
    """A function: batch size, accuracy, seed, ... -> a run as it is read back."""
    return recorded


@pytest.fixture
def make_study():
    """A function: runs, search -> the study of them."""
    return lambda runs, search=None: study_of("made-up", runs, search)


@pytest.fixture
def grid(make_study):
    """A study of three batch sizes and three seeds, by t = 2 ms + 10 us * B, the largest less accurate."""
    accuracy = {32: 0.960, 128: 0.955, 512: 0.80}
    runs = [
        recorded(size, value + 0.004 * seed, seed, seconds=(2e-3 + 1e-5 * size) * 10_000 / size)
        for size, value in accuracy.items()
        for seed in range(3)
    ]
    return make_study(runs)
