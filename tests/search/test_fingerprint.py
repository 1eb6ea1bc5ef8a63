"""What a study was begun with, against what it is asked for now."""

import optuna
import pytest

from batchlab.config.identity import settings_affecting
from batchlab.config.keys import Affects
from batchlab.search.study import check_fingerprint

SEARCHED = ("batch_size", "micro_batch_size", "lr", "epochs")
OF_0_1 = {
    **{"data._target_": "batchlab.data.digits.load_digits", "data.val_fraction": "0.15", "data.test_fraction": "0.15"},
    **{"data.split_seed": "0", "data.resident": "auto", "model._target_": "batchlab.model.mlp.mlp"},
    **{"model.width": "128", "model.depth": "2", "model.norm": "none", "model.ghost_size": "None"},
    **{"loss._target_": "torch.nn.CrossEntropyLoss", "optimizer._target_": "torch.optim.SGD"},
    **{"optimizer._partial_": "True", "optimizer.momentum": "0.9", "optimizer.weight_decay": "0.0"},
    **{"lr_scaling._target_": "batchlab.optim.lr_scaling.none", "lr_scaling._partial_": "True"},
    **{"lr_schedule._target_": "batchlab.optim.lr_schedule.constant", "lr_schedule._partial_": "True"},
    **{"lr_schedule.warmup": "0.0", "lr_schedule.warmup_from": "None", "batch_schedule._partial_": "True"},
    **{"batch_schedule._target_": "batchlab.optim.batch_schedule.constant", "budget.kind": "epochs"},
    **{"budget.num_steps": "None", "budget.num_examples": "None", "budget.seconds": "None"},
    **{"budget.val_accuracy": "None", "budget.max_epochs": "None", "eval.every_examples": "None"},
    **{"memory.limit_bytes": "None", "memory.headroom": "None", "memory.max_micro_batch_size": "None"},
    **{"seed": "0", "num_seeds": "1", "device": "auto", "precision": "float32", "num_threads": "None"},
    "compile": "False",
}
"""What version 0.1.0 wrote for `search=joint`, without dimensions, objectives and data."""


@pytest.fixture
def differing(config_of):
    """A function: overrides -> keys in which a study of 0.1 differs from them."""
    study = optuna.create_study()
    study.set_user_attr("fingerprint", OF_0_1)

    def keys(*overrides: str) -> list[str]:
        settings = settings_affecting(config_of("device=auto", *overrides), Affects.IDENTITY | Affects.SEEDS)
        now = {key: str(value) for key, value in settings.items() if key not in SEARCHED}
        return [error.key for error in check_fingerprint(study, now)]

    return keys


def test_a_study_of_version_0_1_goes_on(differing):
    assert differing() == []


def test_what_was_changed_since_is_named(differing):
    assert differing("model.width=64", "optimizer.momentum=0.8") == ["model.width", "optimizer.momentum"]
