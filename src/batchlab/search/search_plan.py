"""A checked search: what it is to do, the fingerprint of its study, and the study as its store has it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from optuna.trial import FrozenTrial

from batchlab.config.compose import without_hydra
from batchlab.config.identity import settings_affecting
from batchlab.config.installation import CONF, program
from batchlab.config.keys import Affects
from batchlab.config.objectives import MEASURED, TIMES
from batchlab.config.registration import time_objective
from batchlab.config.resolve import resolved
from batchlab.config.schema import Config
from batchlab.errors import ConfigError, reason
from batchlab.search.settings import Settings
from batchlab.search.space import Space
from batchlab.search.storage import open_storage
from batchlab.search.study import DIGEST, Study, check_fingerprint, found_study, metrics_of
from batchlab.system.environment_errors import masked
from batchlab.tasks.metric import Metric
from batchlab.tasks.objectives import is_measured
from batchlab.tracking.stores import optuna_url


@dataclass(frozen=True)
class SearchPlan:
    """A checked search."""

    settings: Settings  # of the sweeper
    space: Space  # what is searched
    fingerprint: dict[str, Any]  # what the study is about
    config_name: str  # primary configuration
    extra: Sequence[str]  # overrides of our own, e.g. the search path.

    def composed(self, trial: FrozenTrial) -> tuple[Config, dict[str, str]]:
        """Compose the typed configuration of a trial, and the option that was chosen in each group."""
        overrides = [*self.space.fixed, *self.space.lines(trial.params)]
        with initialize_config_dir(str(CONF), version_base="1.3", job_name="train"):
            config = compose(self.config_name, [*self.extra, *overrides], return_hydra_config=True)
        HydraConfig.instance().set_config(config)
        choices = {key: value for key, value in config.hydra.runtime.choices.items() if not key.startswith("hydra/")}
        return typed_config(config), choices


def score_metric(base: DictConfig) -> Metric | None:
    """Return the metric by which the runs of a composed configuration are judged; its data are loaded.

    None for a task function that is not batchlab's.
    """
    if OmegaConf.select(base, "data._target_") is None:
        return None
    from batchlab.training.data_loading import load_dataset  # torch: another application's search does without
    from batchlab.training.plan import score_of

    config = typed_config(base)
    return score_of(config, load_dataset(config.data))


def typed_config(composed: DictConfig) -> Config:
    """Return a composed configuration without Hydra's node, typed."""
    return resolved(without_hydra(composed))


def fingerprint(settings: Settings, space: Space, base: DictConfig) -> dict[str, str]:
    """Describe a study by key: objectives, dimensions, fixed settings, the data set's digest.

    `base` is the configuration of the fixed settings, Hydra's node included; a setting that a dimension moves has the
    dimension's description.
    """
    stamp = {f"{each.key.lstrip('+')}": each.described() for each in space.dimensions}
    stamp["objectives"] = ", ".join(
        f"{direction} {metric}" for metric, direction in zip(settings.metrics, settings.directions, strict=True)
    )
    if OmegaConf.select(base, "data._target_") is None:  # a task function that is not batchlab's
        return stamp | {key: value for key, _, value in (line.partition("=") for line in space.fixed)}
    from batchlab.training.data_loading import load_dataset  # torch: another application's search does without

    typed = typed_config(base)
    groups = tuple(f"{each.key}." for each in space.structural)
    measures = Affects.MEASURES if is_measured(settings.metrics) else Affects.NOTHING
    fixed = settings_affecting(typed, Affects.IDENTITY | Affects.SEEDS | measures)
    fixed = {key: value for key, value in fixed.items() if not key.startswith(groups)}
    moved = {"lr", "epochs"} if any(each.key in ("optimizer", "budget") for each in space.structural) else set()
    fixed = {key: value for key, value in fixed.items() if key not in moved}
    return {key: str(value) for key, value in fixed.items()} | stamp | {DIGEST: load_dataset(typed.data).digest}


def fix_time_objective(
    settings: Settings, space: Space, base: DictConfig, study: Study | None
) -> tuple[Settings, Space]:
    """Put the study's own seconds among the objectives, where a person typed none.

    Where the objectives are then not what every composition says by itself, they are one of the fixed overrides, so
    that each job and each pick has them. Nothing in `base` is resolved; HydraConfig has it.
    """
    node = OmegaConf.select(base, "objectives")
    if node is None or "${time_objective:}" not in str(OmegaConf.to_container(node, resolve=False)):
        return settings, space
    here, begun = time_objective(), metrics_of(study)[0] if study else []
    own = next((each for each in TIMES if each in begun), here)
    if own == here == MEASURED:
        return settings, space
    metrics = tuple(own if each == here else each for each in settings.metrics)
    objectives = ",".join(str(each).replace(here, own) for each in node)
    fixed = (*(each for each in space.fixed if not each.startswith("objectives=")), f"objectives=[{objectives}]")
    return replace(settings, metrics=metrics), replace(space, fixed=fixed)


FIXES = {
    "password": "PGPASSWORD=... in front of python, or write a line into ~/.pgpass",
    "does not exist": "the name of a database that is there, or make it with createdb",
    "GRPC connection": f"the address at which `{program('proxy')}` listens, when it runs",
    "refused": "the address at which the server listens, when it runs",
    "dialects:postgres": "postgresql+psycopg:// at its beginning",
}
"""What mends a store that cannot be opened, by a word of the reason."""


def storage_error(settings: Settings, error: Exception) -> ConfigError:
    """Make the error of a storage that cannot be opened, with what mends it where the reason is known."""
    address, why = masked(str(settings.storage or optuna_url(settings.mlruns))), masked(reason(error))
    fix = next((fix for word, fix in FIXES.items() if word in why), "")
    kinds = "an address of SQLAlchemy, grpc://host:port, a journal file .log, or null for mlruns/optuna.db"
    allowed = f"cannot be opened: {why}" if fix else f"cannot be opened as {kinds}: {why}"
    other = "null" if "://" in address else f"sqlite:///{address}"
    return ConfigError("hydra.sweeper.storage", address, allowed, fix or f"hydra.sweeper.storage={other}")


def as_begun(plan: SearchPlan, base: DictConfig) -> tuple[SearchPlan, list[ConfigError]]:
    """Put the seconds that its study optimises already into a plan, where a person typed none.

    Returns:
        The plan, and an error where the storage cannot be opened, or the study of this name is another one.
    """
    settings = plan.settings
    try:
        study = _find(settings)
    except Exception as error:
        return plan, [storage_error(settings, error)]
    HydraConfig.instance().set_config(base)  # corners have been composed since
    settings, space = fix_time_objective(settings, plan.space, base, study)
    plan = replace(plan, settings=settings, space=space, fingerprint=fingerprint(settings, space, base))
    return plan, check_fingerprint(study, plan.fingerprint) if study else []


def _find(settings: Settings) -> Study | None:
    """The study where there is one; a storage that is made when the search begins is not made now."""
    address = settings.storage or optuna_url(settings.mlruns)
    if isinstance(address, str) and address.startswith("sqlite:///"):
        path = Path(address.removeprefix("sqlite:///"))
        if not path.exists():
            if settings.storage and not path.parent.exists():
                raise FileNotFoundError(f"there is no folder {path.parent}")
            return None
    return found_study(settings, open_storage(settings.mlruns, settings.storage))
