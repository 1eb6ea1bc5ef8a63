"""What the search relies on beyond Optuna's documented interface; fails where another version does otherwise."""

import optuna
import pytest
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import TrialState

from batchlab.search import optuna_internals
from batchlab.search.optuna_internals import (
    completed,
    fix_param,
    forget_relative_params,
    frozen,
    is_fixed,
    models,
    scoped_session,
    set_known_trials,
    storage_of,
    study_id_of,
    suggest,
    trial_id_of,
)


class Counting(BaseSampler):
    """Draws the number of trials that it can see, and counts how often it was asked for relative parameters."""

    def __init__(self):
        self.num_asked = 0

    def infer_relative_search_space(self, study, trial):
        return {"x": FloatDistribution(0, 100)}

    def sample_relative(self, study, trial, search_space):
        self.num_asked += 1
        return {"x": float(len(study._get_trials(deepcopy=False, use_cache=True)))}

    def sample_independent(self, study, trial, param_name, param_distribution):
        return 7


@pytest.fixture
def study(tmp_path):
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(storage=f"sqlite:///{tmp_path}/optuna.db", sampler=RandomSampler(seed=0))


def test_ids_lead_to_the_trial_and_its_study(study):
    trial = study.ask()
    storage = storage_of(study)
    assert storage.get_trial(trial_id_of(trial)).number == trial.number
    assert [each.number for each in storage.get_all_trials(study_id_of(study))] == [trial.number]


def test_a_parameter_of_any_distribution_is_suggested_and_stored(study):
    trial = study.ask()
    value = suggest(trial, "width", IntDistribution(1, 8))
    assert frozen(trial).params == {"width": value}
    assert storage_of(study).get_trial(trial_id_of(trial)).params == {"width": value}


def test_a_completed_trial_is_as_the_storage_has_it(study):
    trial = study.ask({"x": FloatDistribution(0, 1)})
    ended = completed(trial, [0.25])
    storage_of(study).set_trial_state_values(trial_id_of(trial), TrialState.COMPLETE, [0.25])
    stored = storage_of(study).get_trial(trial_id_of(trial))
    assert (ended.state, ended.values, ended.params) == (stored.state, stored.values, stored.params)
    assert frozen(trial).state is TrialState.RUNNING


def test_the_sampler_sees_the_trials_that_are_given_to_it(study):
    trials = [completed(study.ask(), [0.0]) for _ in range(3)]
    study.sampler = Counting()
    trial = optuna.trial.Trial(study, trial_id_of(study.ask()))
    set_known_trials(study, trials[:2])
    forget_relative_params(trial)
    assert trial.suggest_float("x", 0, 100) == 2


def test_relative_parameters_are_drawn_anew_once_they_are_forgotten(study):
    study.sampler = sampler = Counting()
    trial = study.ask()
    assert trial.relative_params == trial.relative_params
    asked = sampler.num_asked
    forget_relative_params(trial)
    trial.suggest_float("x", 0, 100)
    assert sampler.num_asked == asked + 1


def test_a_fixed_parameter_is_suggested_without_asking_the_sampler(study):
    trial = study.ask()
    assert not is_fixed(trial, "batch_size")
    fix_param(trial, "batch_size", 32)
    assert is_fixed(trial, "batch_size")
    assert trial.suggest_int("batch_size", 1, 64) == 32


def test_tables_of_the_storage_have_the_columns_that_a_slot_is_looked_up_by(study):
    trial = study.ask()
    trial.set_user_attr("slot", 3)
    with scoped_session(storage_of(study)._backend.scoped_session) as session:
        attribute = models.TrialUserAttributeModel
        rows = session.query(attribute).filter(attribute.key == "slot", attribute.value_json == "3").all()
        assert [row.trial_id for row in rows] == [trial_id_of(trial)]


def test_only_the_adapter_imports_private_modules():
    folder = optuna_internals.__file__.rpartition("/")[0]
    from pathlib import Path

    for path in Path(folder).glob("*.py"):
        if path.name != "optuna_internals.py":
            assert "from optuna.storages._" not in path.read_text(), path.name
