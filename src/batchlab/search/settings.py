"""The sweeper's keys, read once and checked against `study` and `objectives`."""

import inspect
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import psutil
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

from batchlab.config.installation import program
from batchlab.config.keys import keys_of
from batchlab.config.objectives import SCORE
from batchlab.config.override_text import override_text
from batchlab.errors import ConfigError, ConfigErrors, config_error, nearest
from batchlab.search.sweeper_keys import SAMPLERS, BatchlabSweeperConf, sampler_traits
from batchlab.tasks.metric import LOSS, Metric
from batchlab.tasks.objectives import is_final, judging_objective, name_of, parse_objective

FIRST_POINTS = ("default", "linear", "sqrt")
BYTES_OF_A_WORKER = 2**30
"""What a process with PyTorch, MLflow and Optuna takes, before its model."""


@dataclass(frozen=True)
class Settings:
    """Settings of a search."""

    study: str  # the study's name
    metrics: tuple[str, ...]  # names of the objectives
    directions: tuple[str, ...]  # minimize or maximize, one per objective
    storage: Any  # Optuna's address, or a node; None = optuna.db in mlruns
    mlruns: str  # folder of results
    num_trials: int  # of the study in total
    timeout: float | None  # seconds for this command; None = no limit
    num_workers: int  # processes; 0 = this one
    num_jobs: int  # trials that are handed to a Hydra launcher at once
    max_failure_rate: float  # largest share of crashed trials
    sampler: dict[str, Any]  # node of Optuna's sampler
    pruner: dict[str, Any] | None  # node of Optuna's pruner, or None
    prune: bool  # whether trials may be stopped before their end
    first_points: tuple[str, ...]  # points to try first
    params: dict[str, Any]  # dimension -> override text
    custom_search_space: str | None  # dotted path of a function, or None


def read_settings(config: DictConfig, score: Metric | None = None) -> Settings:
    """Read the settings of a composed configuration, Hydra's node included.

    `study`, `objectives` and `mlruns` are read where there are such keys, as in batchlab's own configuration. Another
    application's results are kept in ./mlruns. `score` is the metric by which batchlab's own runs are judged.

    Raises:
        ConfigErrors: every key that cannot be followed.
    """
    sweeper: dict[str, Any] = OmegaConf.to_container(config.hydra.sweeper, resolve=True)  # type: ignore[assignment]
    objectives = OmegaConf.select(config, "objectives")
    if objectives is None:
        directions = _directions(sweeper["direction"]) or ["minimize"]
        objectives = [f"{direction}:value_{place}" for place, direction in enumerate(directions)]
    if unknown := [each for each in _directions(sweeper["direction"]) if each not in ("minimize", "maximize")]:
        known = [nearest(each, ("minimize", "maximize")) or "minimize" for each in _directions(sweeper["direction"])]
        fix = override_text("hydra.sweeper.direction", known if len(known) > 1 else known[0])
        raise config_error("hydra.sweeper.direction", unknown[0], "minimize or maximize, one per objective", fix)
    known = [each for each in objectives if is_final(each) and (score is not None or name_of(each) != SCORE)]
    parsed = [parse_objective(each, score or LOSS) for each in known]
    study = str(OmegaConf.select(config, "study") or sweeper["study_name"] or config.hydra.job.name)
    errors = [*_not_nodes(sweeper)] or [*_errors(sweeper), *_disagreements(sweeper, study, parsed)]
    if errors:
        raise ConfigErrors(*errors)
    same = (
        "storage",
        "timeout",
        "num_workers",
        "max_failure_rate",
        "sampler",
        "pruner",
        "prune",
        "custom_search_space",
    )
    return Settings(
        study=study,
        metrics=tuple(name for name, _ in parsed),
        directions=tuple(direction for _, direction in parsed),
        mlruns=str(Path(OmegaConf.select(config, "mlruns") or Path(config.hydra.runtime.cwd) / "mlruns").absolute()),
        num_trials=sweeper["n_trials"],
        num_jobs=sweeper["n_jobs"],
        first_points=tuple(_listed(sweeper["first_points"])),
        params=sweeper["params"] or {},
        **{name: sweeper[name] for name in same},
    )


def _listed(value: Any) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else [str(value)] if value else []


def _directions(value: Any) -> list[str]:
    return [each.lower().rpartition(".")[2] for each in _listed(value)]


def _not_nodes(sweeper: dict[str, Any]) -> Iterator[ConfigError]:
    """Names in the place of a node, and keys that nothing reads."""
    sampler, pruner = sweeper["sampler"], sweeper["pruner"]
    if not isinstance(sampler, dict):
        allowed = "options of the group hydra/sweeper/sampler, with a slash"
        yield ConfigError("hydra.sweeper.sampler", sampler, allowed, f"hydra/sweeper/sampler={sampler}")
    else:
        yield from _unknown_sampler_keys(sampler)
    if pruner is not None and not isinstance(pruner, dict):
        fix = "'hydra.sweeper.pruner={_target_:optuna.pruners.MedianPruner}'"
        yield ConfigError("hydra.sweeper.pruner", pruner, "null or a node of an Optuna pruner", fix)
    for key in sorted(set(sweeper) - {each.name for each in fields(BatchlabSweeperConf)}):
        close = nearest(key, [each.name for each in fields(BatchlabSweeperConf)])
        fix = f"hydra.sweeper.{close}={sweeper[key]}" if close else f"{program()} search=joint --help"
        yield ConfigError(f"hydra.sweeper.{key}", sweeper[key], "no such key; nothing reads it", fix)


def _unknown_sampler_keys(sampler: dict[str, Any]) -> Iterator[ConfigError]:
    """Keys that neither one of Optuna's samplers has nor the released plugin's node of it."""
    declared = [node for node in SAMPLERS.values() if node["_target_"] == sampler.get("_target_")]
    if not declared:  # a sampler of the user's own
        return
    known = {*inspect.signature(get_object(sampler["_target_"])).parameters}.union(*declared, ["traits"])
    for key in sorted(key for key in set(sampler) - known if not key.startswith("_")):
        full, close = f"hydra.sweeper.sampler.{key}", nearest(key, sorted(k for k in known if k[0] != "_"))
        allowed = f"no such key; {sampler['_target_']} has {', '.join(sorted(k for k in known if k[0] != '_'))}"
        fix = f"hydra.sweeper.sampler.{close}={sampler[key]}" if close else f"the command without {full}"
        yield ConfigError(full, sampler[key], allowed, fix)


def _errors(sweeper: dict[str, Any]) -> Iterator[ConfigError]:
    def error(key: str, allowed: str, typed: str) -> ConfigError:
        return ConfigError(f"hydra.sweeper.{key}", sweeper[key], allowed, f"hydra.sweeper.{key}={typed}")

    for declared in keys_of(BatchlabSweeperConf):
        if (wrong := declared.error(sweeper[declared.name], f"hydra.sweeper.{declared.name}")) is not None:
            yield wrong
    most = max(1, psutil.virtual_memory().total // BYTES_OF_A_WORKER)
    if not 0 <= sweeper["num_workers"] <= most:
        allowed = f"an integer from 0 to {most}: processes side by side, each of about 1 GiB; 0 = in this one"
        yield error("num_workers", allowed, "2")
    if unknown := [each for each in _listed(sweeper["first_points"]) if each not in FIRST_POINTS]:
        yield error("first_points", f"{unknown[0]} is none of {', '.join(FIRST_POINTS)}", "[default]")
    if sweeper["search_space"] is not None:
        allowed = "has no effect: the released plugin's old form of params"
        yield error("search_space", allowed, "null and the space in hydra.sweeper.params")
    if sweeper["pruner"] is not None and not sweeper["prune"]:
        yield error("pruner", "has no effect with hydra.sweeper.prune=false", "null")


def _disagreements(sweeper: dict[str, Any], study: str, objectives: list[tuple[str, str]]) -> Iterator[ConfigError]:
    """Keys of the released plugin that say something else than `study` and `objectives` do."""
    name, directions = sweeper["study_name"], _directions(sweeper["direction"])
    if name is not None and name != study:
        fix = f"study={name}" if name else f"hydra.sweeper.study_name={study}"
        yield ConfigError("hydra.sweeper.study_name", name, f"disagrees with study={study}", fix)
    if directions and directions != [direction for _, direction in objectives]:
        stated = ", ".join(f"{direction} {metric}" for metric, direction in objectives)
        fix = "objectives=[final/val_loss]" if directions == ["minimize"] else "hydra.sweeper.direction=null"
        if directions == [direction for name, direction in objectives if name == judging_objective([name])]:
            fix = "objectives=[score]"
        yield ConfigError(
            "hydra.sweeper.direction", ",".join(directions), f"disagrees with the objectives: {stated}", fix
        )
    if sampler_traits(sweeper["sampler"]).single_objective and len(objectives) > 1:
        allowed = f"searches one objective, there are {len(objectives)}"
        yield ConfigError("hydra.sweeper.sampler", sweeper["sampler"]["_target_"], allowed, "hydra/sweeper/sampler=tpe")
    if sweeper["pruner"] is not None and len(objectives) > 1:
        allowed = "has no effect with several objectives: Optuna's pruners look at one"
        yield ConfigError(
            "hydra.sweeper.pruner", sweeper["pruner"].get("_target_"), allowed, "hydra.sweeper.pruner=null"
        )
