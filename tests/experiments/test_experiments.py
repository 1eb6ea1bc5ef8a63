"""Every experiment composes, asks something that can be answered, and says where it comes from."""

from functools import cache

import pytest
from hydra import initialize_config_dir
from omegaconf import OmegaConf

from batchlab.config.registration import register_schema
from batchlab.config.schema import REPOSITORY
from batchlab.errors import ConfigErrors
from batchlab.experiments.arm_results import STATISTICS
from batchlab.experiments.claims_table import FACTORS
from batchlab.experiments.experiment import FOLDER, Experiment, compose_experiment, experiment_names, presets_of

NAMES = experiment_names()


@cache
def composed(name: str, preset: str = "small") -> Experiment:
    """The experiment; composing takes a second, and changes nothing."""
    register_schema()
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3", job_name="train"):
        return compose_experiment(name, ["mlruns=/nowhere"], preset)


def test_there_is_one_experiment_for_each_of_28_claims():
    numbers = [OmegaConf.load(FOLDER / f"{name}.yaml").hydra.sweeper.claim.number for name in NAMES]
    assert numbers == list(range(1, 29))


@pytest.mark.parametrize("name", NAMES)
def test_an_experiment_composes_at_every_scale(name):
    for preset in presets_of(name):
        experiment = composed(name, preset)
        assert all(experiment.arms.values())
        for config in (config for arm in experiment.arms.values() for config in arm):
            assert config.num_threads == 1
            assert config.study == f"experiment-{name}"


@pytest.mark.parametrize("name", NAMES)
def test_what_an_experiment_asks_can_be_answered(name):
    experiment = composed(name)
    assert any(not check.is_secondary for check in experiment.checks)
    for check in experiment.checks:
        assert check.statistic in STATISTICS
        assert check.unit in FACTORS
        bounds = [check.above, check.below, check.margin]
        assert any(bound is not None for bound in bounds), f"{check.name} has no region"
        assert (check.statistic == "equivalence") == (check.margin is not None)
        settings = [len(experiment.arms[arm]) for arm in check.arms]
        assert max(settings) == 1 or check.tune or check.where, f"{check.name} does not choose a setting"
    drawn = [arm for arms in experiment.figure.get("series", {}).values() for arm in arms]
    assert set(drawn) <= set(experiment.arms)


@pytest.mark.parametrize("name", NAMES)
def test_the_header_names_claim_source_command_and_cost(name):
    header = (FOLDER / f"{name}.yaml").read_text().split("defaults:")[0]
    for words in ("# Claim ", "# Source: ", f"#   python train.py -m experiment={name}\n", "minute"):
        assert words in header


def test_a_preset_that_is_not_there_is_refused():
    with pytest.raises(ConfigErrors, match="preset"):
        composed("grow_batch", "huge")
