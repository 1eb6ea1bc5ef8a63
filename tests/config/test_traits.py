"""Traits: what options declare, by which every rule goes, and what a person's own option may declare."""

import math

import pytest

from batchlab.commands.advise.lr_rule import is_adaptive
from batchlab.config.identity import config_key
from batchlab.config.resolve import flat_params
from batchlab.config.traits import BatchScheduleTraits, LossTraits, OptimizerTraits, check_traits, declared
from batchlab.profiling.calibration import counts_alone
from batchlab.run.training_run import run, run_to_end
from batchlab.search.sweeper_keys import sampler_traits
from batchlab.training.build import build
from batchlab.validation.dry_run import check_data
from batchlab.validation.rules import check_config

NUMBERS = ("data=quadratic", "data.num_examples=500", "lr=0.001", "budget=steps", "budget.num_steps=3", "measure=brief",
           "measure.num_examples=8")  # fmt: skip
HUBER = ("loss=own", "loss._target_=torch.nn.HuberLoss")


@pytest.mark.parametrize("name", ["HuberLoss", "L1Loss", "SmoothL1Loss", "MSELoss"])
def test_a_loss_of_torch_trains_on_numbers(config_of, name):
    config = config_of(*NUMBERS, "loss=own", f"loss._target_=torch.nn.{name}")
    assert [*check_config(config), *check_data(config)] == []
    finals = run_to_end(run(build(config, seed=0))).finals
    assert math.isfinite(finals["final/val_loss"])
    assert math.isfinite(finals["sharpness/lambda_max"])


def test_mean_squares_are_the_same_with_torchs_loss_and_ours(config_of):
    ours, torchs = (
        run_to_end(run(build(config_of(*NUMBERS, *loss), seed=0))).finals["final/val_loss"]
        for loss in (["loss=squared_error"], ["loss=own", "loss._target_=torch.nn.MSELoss"])
    )
    assert torchs == pytest.approx(ours, rel=1e-6)


@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        (["data=quadratic"], "loss"),
        (["data=quadratic", "loss=own", "loss._target_=torch.nn.CrossEntropyLoss"], "loss"),
        ([*HUBER, "+loss.traits.task=regression"], "loss"),
        (["loss=mean_output"], "loss"),
        (["data=quadratic", "loss=contrastive", "model=simclr", "measure=none"], "loss"),
    ],
)
def test_a_loss_for_other_targets_is_refused(config_of, overrides, key):
    config = config_of(*overrides)
    assert check_config(config) == []
    assert [error.key for error in check_data(config)] == [key]


def test_a_library_class_has_the_traits_of_the_option_with_its_target(config_of):
    own = ("optimizer=own", "lr=0.1")
    lbfgs = config_of(*own, "optimizer._target_=torch.optim.LBFGS", "objectives=[cost/calibrated_train_seconds]")
    assert declared(OptimizerTraits, lbfgs.optimizer).multi_pass
    assert not counts_alone(lbfgs)
    rprop = config_of(*own, "optimizer._target_=torch.optim.Rprop", "lr_schedule=cosine")
    assert [error.key for error in check_data(rprop)] == ["lr_schedule"]
    assert sampler_traits({"_target_": "optuna.samplers.CmaEsSampler"}).single_objective


def test_an_own_option_declares_its_traits_and_is_the_same_run(config_of):
    plain = ("optimizer=own", "optimizer._target_=torch.optim.SGD", "lr=0.1")
    several = config_of(*plain, "+optimizer.traits.multi_pass=true", "objectives=[cost/calibrated_train_seconds]")
    assert not counts_alone(several)
    assert [error.key for error in check_config(several)] == ["objectives"]
    assert config_key(several) == config_key(config_of(*plain))
    assert not [key for key in flat_params(several) if "traits" in key]
    grows = config_of("batch_schedule=constant", "+batch_schedule.traits.grows=true")
    assert declared(BatchScheduleTraits, grows.batch_schedule).grows


@pytest.mark.parametrize(
    ("typed", "fix"),
    [
        ("optimizer.traits.multipass=true", "+optimizer.traits.multi_pass=True"),
        ("loss.traits.tusk=any", "+loss.traits.task=any"),
        ("++loss.traits.task=ranking", "loss.traits.task=any"),
        ("optimizer.traits.adaptive=3", "optimizer.traits.adaptive=true"),
        ("lr_scaling.traits=3", "~lr_scaling.traits"),
    ],
)
def test_a_trait_that_does_not_exist_is_refused(config_of, typed, fix):
    config = config_of(typed if typed.startswith("+") else f"++{typed}")
    assert [error.fix for error in check_traits(config)] == [fix]
    assert [error.key for error in check_config(config)] == [typed.lstrip("+").partition("=")[0]]


def test_every_loss_says_what_it_is_for(config_of):
    tasks = {name: declared(LossTraits, config_of(f"loss={name}").loss).task for name in ("focal", "squared_error")}
    assert tasks == {"focal": "classification", "squared_error": "any"}


@pytest.mark.parametrize(
    ("target", "expected"),
    [("torch.optim.SGD", False), ("torch.optim.Adamax", True), ("batchlab.optim.muon.muon_with_adamw", False)],
)
def test_an_optimizer_is_adaptive_as_declared_or_by_its_arguments(target, expected):
    assert is_adaptive({"_target_": target}) is expected
