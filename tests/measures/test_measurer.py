"""Sharpness in runs: measured off the clock, of the model as it is, without leaving a trace in it."""

import math
import sys

import pytest
import torch
from mlflow import MlflowClient
from torch import nn

from batchlab.commands.train.job import train, trial_identity
from batchlab.config.identity import config_key
from batchlab.measures.landscape import Landscape, held
from batchlab.measures.measurer import Measurer
from batchlab.run.training_run import run, run_to_end
from batchlab.tracking.stores import tracking_uri
from batchlab.tracking.study_reader import recorded_runs
from batchlab.training.build import build, resolve
from batchlab.validation.dry_run import check_data, check_grid

BRIEF = {"sharpness/train_loss", "sharpness/lambda_max", "sharpness/lr_lambda_max", "sharpness/adaptive_sam"}
TINY = ("epochs=2", "model.width=16", "measure.num_examples=100")


def broken(landscape: Landscape) -> float:
    raise RuntimeError("derivative for aten::thing is not implemented")


def infinite(landscape: Landscape) -> float:
    return math.inf


def test_a_run_ends_with_its_largest_eigenvalue_and_adaptive_sam_beside_its_training_loss(config_of):
    built = build(config_of(*TINY, "lr=0.05", "lr_scaling=linear", "batch_size=64", "lr_schedule=cosine"), seed=0)
    finals = run_to_end(run(built)).finals
    assert {name for name in finals if name.startswith("sharpness/")} == BRIEF
    assert all(math.isfinite(finals[name]) for name in BRIEF)
    assert finals["sharpness/lr_lambda_max"] == pytest.approx(0.025 * finals["sharpness/lambda_max"])  # scaled by 1/2
    assert finals["cost/measure_seconds"] > 0
    assert finals["cost/total_seconds"] >= finals["cost/measure_seconds"] + finals["cost/train_seconds"]


def test_train_loss_is_that_of_the_sample(config_of):
    """With at most so many examples as there are: then the sample is the whole split."""
    finals = run_to_end(run(build(config_of("epochs=1", "measure.num_examples=5000"), seed=0))).finals
    assert finals["sharpness/train_loss"] == pytest.approx(finals["final/train_loss"], rel=1e-5)  # float32 logits


@pytest.mark.parametrize("extra", [["model.norm=batch"], ["model.norm=ghost_batch", "model.ghost_size=16"]])
@pytest.mark.parametrize("mode", ["eval", "train"])
def test_measuring_changes_nothing_of_the_run(config_of, extra, mode):
    common = ["model.width=16", *extra, "batch_size=64", "budget=steps", "budget.num_steps=40"]
    along = ["measure=sharpness", "measure.every_evals=1", "measure.num_examples=64", f"measure.batch_norm={mode}"]
    plain = run_to_end(run(build(config_of(*common, "measure=none"), seed=3)))
    measured = run_to_end(run(build(config_of(*common, *along, "eval.every_examples=1000"), seed=3)))
    assert measured.missing == {}
    assert plain.weights.keys() == measured.weights.keys()
    assert all(torch.equal(plain.weights[name], measured.weights[name]) for name in plain.weights)


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_a_held_model_is_put_back_bit_by_bit(mode):
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Dropout(0.5), nn.Linear(5, 2))
    model[1].eval()  # a mode of its own
    inputs = torch.randn(8, 4)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    modes, stream = [module.training for module in model.modules()], torch.get_rng_state()
    with held(model, mode):
        first = model(inputs)
        assert torch.equal(first, model(inputs))  # no dropout
        torch.rand(3)
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())
    assert modes == [module.training for module in model.modules()]
    assert torch.equal(stream, torch.get_rng_state())
    assert model[1].track_running_stats


def test_batch_norm_is_measured_in_the_mode_that_is_asked_for(config_of):
    found = {}
    for mode in ("eval", "train"):
        built = build(config_of(*TINY, "model.norm=batch", f"measure.batch_norm={mode}"), seed=0)
        found[mode] = run_to_end(run(built)).finals["sharpness/train_loss"]
        model, [(inputs, targets)] = built.train_step.model.train(mode == "train"), list(Measurer(built)._parts)
        assert found[mode] == pytest.approx(nn.functional.cross_entropy(model(inputs), targets).item(), rel=1e-5)
    assert found["eval"] != pytest.approx(found["train"], rel=1e-3)


def test_every_n_th_evaluation_and_the_end_are_points_of_a_curve(config_of):
    config = config_of(*TINY, "epochs=5", "measure.every_evals=2")
    train(config, "sweep")
    client = MlflowClient(tracking_uri(config.mlruns))
    [child] = client.search_runs([client.get_experiment_by_name("test").experiment_id], "tags.`batchlab.role` = 'run'")
    for name in BRIEF:
        history = {metric.step: metric.value for metric in client.get_metric_history(child.info.run_id, name)}
        assert list(history) == [20, 40, 49]  # epochs 2, 4 and 5; the final is the last of them
    assert child.data.params["measure.batch_norm"] == "eval"
    assert child.data.params["measure.sharpness.adaptive_sam"].endswith("rho=0.5 num_steps=1")


def test_a_measure_that_fails_is_nan_with_a_reason_and_the_run_is_done(config_of, monkeypatch):
    monkeypatch.setitem(sys.modules, "own_measures", sys.modules[__name__])
    own = [f"measure.sharpness.{name}._target_=own_measures.{name}" for name in ("broken", "infinite")]
    config = config_of(*TINY, *own)
    assert check_data(config) == []
    train(config, "sweep")
    [child] = recorded_runs(config, "sweep")
    assert child["tags"]["outcome"] == "done"
    broken = child["tags"]["why_nan.sharpness/broken"]
    assert "RuntimeError: derivative for aten::thing is not implemented" in broken
    assert child["tags"]["why_nan.sharpness/infinite"] == "it is not finite"
    assert math.isnan(child["metrics"]["sharpness/broken"])
    assert math.isnan(child["metrics"]["sharpness/infinite"])
    assert math.isfinite(child["metrics"]["sharpness/lambda_max"])


def test_a_run_that_diverged_has_no_sharpness(config_of):
    config = config_of(
        "loss=squared_error",
        "optimizer=sgd",
        "lr=1e30",
        "objectives=[sharpness/lr_lambda_max]",
        "measure.gradient_noise=false",
    )
    result = run_to_end(run(build(config, seed=0)))
    assert result.outcome == "diverged"
    assert math.isnan(result.finals["sharpness/lambda_max"])
    assert result.finals["cost/measure_seconds"] == 0
    assert math.isnan(train(config, "sweep")[0])


def test_regression_is_measured_too(config_of):
    options = ["data=quadratic", "data.num_examples=300", "loss=squared_error", "model.depth=0", "lr=0.001"]
    config = config_of(*options, "epochs=1", "measure=sharpness", "optimizer=sgd")
    result = run_to_end(run(build(config, seed=0)))
    assert result.missing == {}
    assert result.finals["sharpness/lambda_max"] > 0


def test_what_is_measured_is_not_part_of_what_a_run_is(config_of):
    configs = [config_of(f"measure={name}") for name in ("none", "brief", "sharpness")]
    assert len({config_key(config) for config in configs}) == 1
    assert len({trial_identity(resolve(config)) for config in configs}) == 1
    assert "twice" in check_grid(configs)[0].allowed


def test_settings_of_a_measure_that_is_an_objective_are_part_of_what_a_trial_is(config_of):
    objective = "objectives=[sharpness/lambda_max]"
    configs = [config_of(objective, f"measure.num_examples={count}") for count in (100, 200)]
    assert len({trial_identity(resolve(config)) for config in configs}) == 2


def test_unknown_settings_of_a_measure_are_named(config_of):
    [error] = check_data(config_of("measure.sharpness.adaptive_sam.radius=1"))
    assert error.key == "measure.sharpness.adaptive_sam.radius"
    [error] = check_data(config_of("measure.sharpness.mine._target_=batchlab.measures.sam.sums"))
    assert error.fix == "measure.sharpness.mine._target_=batchlab.measures.sam.sam"
