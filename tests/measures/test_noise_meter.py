import math
from itertools import pairwise

import pytest
import torch
from mlflow import MlflowClient
from torch import nn

from batchlab.commands.train.job import train
from batchlab.measures import noise_meter
from batchlab.run.training_run import run, run_to_end
from batchlab.tracking.stores import tracking_uri
from batchlab.tracking.study_reader import recorded_runs
from batchlab.training.build import build
from batchlab.training.evaluation import Evaluation

NAME = "noise/gradient_noise_scale"


def run_all(built):
    points = []
    result = run_to_end(run(built), points.append)
    return [each for each in points if isinstance(each, Evaluation)], result


def scales(points):
    return [each.metrics.get(NAME) for each in points]


@pytest.mark.parametrize(
    "overrides", [[], ["micro_batch_size=50"], ["model.norm=batch"], ["optimizer=lbfgs", "epochs=0.3"]]
)
def test_measuring_changes_no_bit_of_the_run(config_of, overrides):
    overrides = ["epochs=2", *overrides] if "epochs=0.3" not in overrides else overrides
    (with_noise, first), (without, second) = (
        run_all(build(config_of(f"measure={name}", *overrides), seed=3)) for name in ("brief", "none")
    )
    assert [each.point.train_loss for each in with_noise] == [each.point.train_loss for each in without]
    assert [each.metrics["val/loss"] for each in with_noise] == [each.metrics["val/loss"] for each in without]
    assert all(torch.equal(value, second.weights[name]) for name, value in first.weights.items())
    assert first.finals[NAME] > 0
    assert scales(without) == [None] * len(without)
    assert NAME not in second.finals


def test_the_curve_and_the_final_are_recorded_as_one(config_of):
    config = config_of("epochs=3")
    train(config, "sweep")
    [found] = recorded_runs(config, "sweep")
    client = MlflowClient(tracking_uri(config.mlruns))
    [child] = client.search_runs([client.get_experiment_by_name("test").experiment_id], "tags.sweep_id = 'sweep'")
    history = client.get_metric_history(child.info.run_id, NAME)
    assert [metric.step for metric in history] == [10, 20, 29]
    metrics = found["metrics"]
    assert metrics[NAME] == history[-1].value
    assert metrics[f"{NAME}_low"] < metrics[NAME] < metrics[f"{NAME}_high"]
    assert 0 < metrics["cost/measure_seconds"] < metrics["cost/total_seconds"]


def test_an_end_without_a_model_is_nan_with_a_reason(config_of):
    config = config_of("loss=squared_error", "optimizer=sgd", "lr=1e30", "epochs=5")
    train(config, "sweep")
    [found] = recorded_runs(config, "sweep")
    assert math.isnan(found["metrics"][NAME])
    assert "training loss was" in found["tags"][f"why_nan.{NAME}"]


def test_a_run_is_measured_about_ten_times_and_at_its_end(config_of):
    points, result = run_all(build(config_of("epochs=4", "eval.every_examples=130"), seed=0))
    taken = [each.point for each in points if NAME in each.metrics]
    assert len(points) > 30
    assert 10 <= len(taken) <= 12
    assert points[-1].metrics[NAME] == result.finals[NAME]
    steps = [point.progress for point in taken]
    assert max(late - early for early, late in pairwise(steps)) < 0.15


def test_a_run_that_reaches_its_target_is_measured_there(config_of):
    config = config_of("budget=target", "budget.score=0.9", "batch_size=32")
    points, result = run_all(build(config, seed=0))
    assert points[-1].metrics[NAME] == result.finals[NAME] > 0


def test_accumulated_steps_are_read_at_every_evaluation_and_the_end_is_a_sample(config_of):
    micro, plain = (
        run_all(build(config_of("epochs=3", "eval.every_examples=150", *extra), seed=0))
        for extra in (["micro_batch_size=32"], [])
    )
    assert all(scale is not None for scale in scales(micro[0]))
    assert None in scales(plain[0])
    # the weights differ by rounding only
    assert micro[1].finals[NAME] == pytest.approx(plain[1].finals[NAME], rel=0.3)


def test_a_model_that_cannot_be_measured_is_trained_nevertheless(config_of, monkeypatch):
    class Refuses(nn.Sequential):
        def forward(self, inputs):
            if not self.training and torch.is_grad_enabled():
                raise RuntimeError("backward can only be called in training mode\nand more")
            return super().forward(inputs)

    monkeypatch.setattr("batchlab.training.build.build_model", lambda *_: Refuses(nn.Flatten(), nn.Linear(64, 10)))
    points, result = run_all(build(config_of("epochs=2"), seed=0))
    assert result.outcome == "done"
    assert all(math.isnan(scale) for scale in scales(points))
    assert result.missing[NAME] == "RuntimeError: backward can only be called in training mode"


@pytest.mark.parametrize(("batch_size", "most"), [(1, 8), (40, 40), (128, 64)])
def test_parts_are_no_larger_than_the_parts_of_training(config_of, batch_size, most):
    meter = noise_meter.NoiseMeter(build(config_of(f"batch_size={batch_size}"), seed=0))
    num_parts, size = meter._parts(is_end=False)
    assert size <= most
    assert 8 <= num_parts <= 16
    num_parts, size = meter._parts(is_end=True)
    assert size <= max(8, batch_size)
    assert num_parts * size <= 1257
