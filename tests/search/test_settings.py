"""The sweeper's keys against `study` and `objectives`; configurations of the released plugin run."""

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig

from batchlab.config.registration import register_schema
from batchlab.config.schema import REPOSITORY
from batchlab.errors import ConfigErrors
from batchlab.search.sampler import limit_to_grid, sampler_of
from batchlab.search.settings import read_settings
from batchlab.search.storage import open_storage
from batchlab.search.study import open_study
from batchlab.tasks.classification import CLASSIFICATION


def settings_of(*overrides):
    register_schema()
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        config = compose("train", ["hydra/sweeper=batchlab", *overrides], return_hydra_config=True)
    HydraConfig.instance().set_config(config)
    return read_settings(config, CLASSIFICATION.score)


def test_without_a_word_two_objectives_and_the_default_study():
    settings = settings_of()
    assert settings.study == "search-digits-mlp"
    assert list(zip(settings.metrics, settings.directions, strict=True)) == [
        ("cost/train_seconds", "minimize"),
        ("final/val_accuracy", "maximize"),
    ]


def test_the_released_plugins_configuration_is_read():
    settings = settings_of(
        "hydra.sweeper.study_name=sphere",
        "hydra.sweeper.direction=[minimize,maximize]",
        "hydra.sweeper.n_jobs=2",
        "hydra.sweeper.storage=sqlite:///x.db",
        "hydra.sweeper.max_failure_rate=0",
        "hydra.sweeper.sampler.consider_prior=false",
        "hydra.sweeper.sampler.seed=123",
    )
    assert (settings.study, settings.num_jobs, settings.storage) == ("sphere", 2, "sqlite:///x.db")


@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        (["hydra.sweeper.study_name=a", "study=b"], "hydra.sweeper.study_name"),
        (["hydra.sweeper.direction=maximize"], "hydra.sweeper.direction"),
        (["hydra.sweeper.direction=[maximize,maximize]"], "hydra.sweeper.direction"),
        (["hydra.sweeper.n_trials=0"], "hydra.sweeper.n_trials"),
        (["hydra.sweeper.timeout=-1"], "hydra.sweeper.timeout"),
        (["hydra.sweeper.num_workers=-1"], "hydra.sweeper.num_workers"),
        (["hydra.sweeper.num_workers=99999"], "hydra.sweeper.num_workers"),
        (["hydra.sweeper.sampler=random"], "hydra.sweeper.sampler"),
        (["hydra.sweeper.pruner=median"], "hydra.sweeper.pruner"),
        (["+hydra.sweeper.n_worker=2"], "hydra.sweeper.n_worker"),
        (["hydra.sweeper.n_jobs=0"], "hydra.sweeper.n_jobs"),
        (["hydra.sweeper.max_failure_rate=2"], "hydra.sweeper.max_failure_rate"),
        (["hydra.sweeper.first_points=[cubic]"], "hydra.sweeper.first_points"),
        (["hydra.sweeper.sampler.sed=1"], "hydra.sweeper.sampler.sed"),
        (["+hydra.sweeper.sampler.sed=1"], "hydra.sweeper.sampler.sed"),
        (["hydra/sweeper/sampler=cmaes"], "hydra.sweeper.sampler"),
        (["hydra.sweeper.pruner={_target_:optuna.pruners.HyperbandPruner}"], "hydra.sweeper.pruner"),
        (["hydra.sweeper.search_space={x:{type:int}}"], "hydra.sweeper.search_space"),
    ],
)
def test_a_key_that_cannot_be_followed_is_refused(overrides, key):
    with pytest.raises(ConfigErrors) as error:
        settings_of(*overrides)
    assert [item.key for item in error.value.errors] == [key]


def test_a_direction_that_agrees_is_accepted():
    assert settings_of("hydra.sweeper.direction=maximize", "objectives=[final/val_accuracy]").directions == (
        "maximize",
    )


@pytest.mark.parametrize("name", ["tpe", "motpe", "random", "nsgaii", "gp", "qmc"])
def test_every_sampler_is_made(space_of, name):
    settings = settings_of(f"hydra/sweeper/sampler={name}", "hydra.sweeper.sampler.seed=1")
    assert sampler_of(settings, space_of("lr=interval(0.1,1.0)"))(0, 0) is not None


def test_one_objective_has_cmaes_too(space_of):
    settings = settings_of("hydra/sweeper/sampler=cmaes", "objectives=[final/val_loss]")
    assert type(sampler_of(settings, space_of("lr=interval(0.1,1.0)"))(0, 0)).__name__ == "CmaEsSampler"


def test_a_grid_goes_through_every_point(space_of):
    space = space_of("b=16,32,64", "lr=0.1,0.2", "optimizer=adam,sgd")
    settings = settings_of("hydra/sweeper/sampler=grid")
    assert sampler_of(settings, space)(0, 0) is not None
    with pytest.raises(ConfigErrors, match="a grid needs a list"):
        limit_to_grid(settings, space_of("lr=interval(0.1,1.0)"))


@pytest.mark.parametrize(("sampler", "asked", "num_trials"), [("grid", 20, 12), ("grid", 5, 5), ("random", 20, 20)])
def test_a_grid_has_no_more_trials_than_points(space_of, sampler, asked, num_trials):
    space = space_of("b=16,32,64", "lr=0.1,0.2", "optimizer=adam,sgd")
    settings = settings_of(f"hydra/sweeper/sampler={sampler}", f"hydra.sweeper.n_trials={asked}")
    assert limit_to_grid(settings, space).num_trials == num_trials


@pytest.mark.parametrize("seed", ["null", "3"])
def test_a_grid_is_gone_through_once_however_many_processes_share_it(space_of, settings, seed):
    """Trial n takes the n-th point: another order in another process, or for another slot, takes some twice."""
    space = space_of("b=16,32,64", "lr=0.1,0.2")
    found = settings_of("hydra/sweeper/sampler=grid", f"hydra.sweeper.sampler.seed={seed}")
    study, points = open_study(settings, open_storage(settings.mlruns), {}), []
    for slot in range(6):
        study.sampler = sampler_of(found, space)(slot, 0)  # as a process does that has just begun
        trial = study.ask()
        points.append(tuple(trial._suggest(each.name, each.distribution) for each in space.dimensions))
    assert len(set(points)) == 6


def test_a_seed_gives_each_slot_its_own_draws_and_always_the_same(space_of):
    make = sampler_of(settings_of("hydra.sweeper.sampler.seed=1"), space_of("lr=interval(0.1,1.0)"))
    draws = [make(slot, 0)._rng.rng.random() for slot in (0, 1, 0)]
    assert draws[0] == draws[2] != draws[1]
