"""Which seconds a study optimises: by the number of workers when it is made, by the study ever after."""

from dataclasses import replace
from functools import cache

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig

from batchlab.config.objectives import CALIBRATED, MEASURED
from batchlab.config.registration import register_schema, shares_host
from batchlab.config.resolve import resolved
from batchlab.config.schema import REPOSITORY
from batchlab.search.search_plan import fix_time_objective
from batchlab.search.settings import read_settings
from batchlab.search.storage import open_storage
from batchlab.search.study import open_study
from batchlab.tasks.classification import CLASSIFICATION
from batchlab.validation.grid import without_hydra

ACCURACY = "final/val_accuracy"
SEARCH, TWO = "search=joint", "hydra.sweeper.num_workers=2"


@cache
def composed(*overrides):
    register_schema()
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        return compose("train", list(overrides), return_hydra_config=True)


@pytest.fixture
def base_of():
    """A function: overrides -> what they compose to, as Hydra has it."""
    before = HydraConfig.instance().cfg

    def make(*overrides):
        base = composed(*overrides)
        HydraConfig.instance().set_config(base)
        return base

    yield make
    HydraConfig.instance().cfg = before


@pytest.mark.parametrize(
    ("overrides", "seconds"),
    [
        ([], MEASURED),
        ([SEARCH], MEASURED),
        ([SEARCH, "hydra.sweeper.num_workers=1"], MEASURED),
        ([SEARCH, TWO], CALIBRATED),
        ([SEARCH, "hydra.sweeper.n_jobs=2"], MEASURED),
        ([SEARCH, "hydra.sweeper.n_jobs=2", "hydra/launcher=joblib"], CALIBRATED),
        ([SEARCH, TWO, f"objectives=[{MEASURED}]"], MEASURED),
    ],
)
def test_trials_side_by_side_are_judged_as_if_alone(base_of, overrides, seconds):
    assert resolved(without_hydra(base_of(*overrides))).objectives[0] == seconds


def test_a_grid_of_runs_is_not_a_search_of_ours(base_of):
    base_of("hydra/launcher=joblib")
    assert not shares_host()


@pytest.fixture
def settled(base_of, settings, space_of):
    """A function: overrides, the study's seconds or None -> metrics of the search, and its fixed overrides."""

    def make(*overrides, begun=None):
        base = base_of(SEARCH, *overrides)
        study = None
        if begun is not None:
            own = replace(settings, metrics=(begun, ACCURACY))
            study = open_study(own, open_storage(own.mlruns), {})
        found, space = fix_time_objective(
            read_settings(base, CLASSIFICATION.score), space_of("lr=interval(0.1,1.0)"), base, study
        )
        return found.metrics, space.fixed

    return make


def test_a_new_study_takes_what_its_workers_allow(settled):
    assert settled() == ((MEASURED, ACCURACY), ())
    metrics, fixed = settled(TWO)
    assert metrics == (CALIBRATED, ACCURACY)
    assert fixed == (f"objectives=[{CALIBRATED},score]",)  # a pick is composed without the number of workers


def test_a_study_keeps_its_seconds_whoever_goes_on_with_it(settled):
    metrics, fixed = settled(begun=CALIBRATED)
    assert metrics == (CALIBRATED, ACCURACY)
    assert fixed == (f"objectives=[{CALIBRATED},score]",)
    metrics, fixed = settled(TWO, begun=CALIBRATED)
    assert metrics == (CALIBRATED, ACCURACY)


def test_a_study_begun_with_measured_seconds_keeps_them_beside_others(settled):
    metrics, fixed = settled(TWO, begun=MEASURED)
    assert metrics == (MEASURED, ACCURACY)
    assert fixed == (f"objectives=[{MEASURED},score]",)
    assert settled(begun=MEASURED) == ((MEASURED, ACCURACY), ())


def test_what_was_typed_is_left_to_the_study_to_refuse(settled):
    assert settled(f"objectives=[{MEASURED},{ACCURACY}]", begun=CALIBRATED) == ((MEASURED, ACCURACY), ())
    assert settled("objectives=[final/val_loss]", TWO, begun=CALIBRATED) == (("final/val_loss",), ())


def test_settling_twice_is_settling_once(base_of, settled, settings, space_of):
    base, own = base_of(SEARCH, TWO), replace(settings, metrics=(MEASURED, ACCURACY))
    study = open_study(own, open_storage(own.mlruns), {})
    first = fix_time_objective(read_settings(base, CLASSIFICATION.score), space_of("lr=interval(0.1,1.0)"), base, None)
    second = fix_time_objective(*first, base, study)
    assert second[0].metrics == (MEASURED, ACCURACY)
    assert second[1].fixed == (f"objectives=[{MEASURED},score]",)
