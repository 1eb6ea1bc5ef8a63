from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from optuna.study import Study

from batchlab.search import retry
from batchlab.search.settings import Settings
from batchlab.search.space import Space
from batchlab.search.space_parser import make_space
from batchlab.search.stale_trials import own_lease
from batchlab.search.storage import open_storage
from batchlab.search.study import open_study
from batchlab.search.trial_queue import TrialQueue

PARETO = ("cost/train_seconds", "final/val_accuracy")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Two objectives, five trials, a random sampler with a seed, SQLite in a temporary folder."""
    sampler = {"_target_": "optuna.samplers.RandomSampler", "seed": 0}
    return Settings(
        "test",
        PARETO,
        ("minimize", "maximize"),
        None,
        str(tmp_path),
        5,
        None,
        0,
        1,
        0.5,
        sampler,
        None,
        True,
        (),
        {},
        None,
    )


@pytest.fixture
def open_slots(settings: Settings) -> Callable[..., tuple[Study, TrialQueue]]:
    """A function: changed settings -> the study and slots of a process that has just opened it."""

    def make(**changes: Any) -> tuple[Study, TrialQueue]:
        changed = replace(settings, **changes)
        study = open_study(changed, open_storage(changed.mlruns), {})
        return study, TrialQueue(study, changed, own_lease(), [])

    return make


@pytest.fixture
def space_of() -> Callable[..., Space]:
    """A function: typed lines, params -> the space."""
    return make_test_space


def make_test_space(*lines: str, params: tuple[str, ...] = ()) -> Space:
    """The space of typed lines and params; keys with a group's name are structural."""
    parser = OverridesParser.create()
    return make_space(
        parser.parse_overrides(list(params)),
        parser.parse_overrides(list(lines)),
        lambda override: override.key_or_group in ("optimizer", "model"),
    )


@pytest.fixture
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pauses, and nothing remembered of other tests' servers."""
    monkeypatch.setattr(retry, "PAUSES", (0.0, 0.01))
    monkeypatch.setattr(retry, "_given_up", set())
    monkeypatch.setattr(retry, "_last_trouble", [float("-inf")])
