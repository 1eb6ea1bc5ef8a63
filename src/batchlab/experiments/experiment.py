"""Experiments as their yaml says: a claim, arms that are compared, and checks stated before any run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from hydra import compose
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from batchlab.config.installation import CONF
from batchlab.config.schema import Config
from batchlab.errors import ConfigError, ConfigErrors
from batchlab.experiments.arms import compose_arms, is_possible

FOLDER = CONF / "experiment"


@dataclass(frozen=True)
class Claim:
    """What somebody says about batch size."""

    number: int  # its place in the table
    says: str  # the claim in a sentence
    source: str  # who says it, and where
    cost: str  # what the experiment costs on which hardware
    leaves_out: str  # where it is confounded, and by what; what was not measured
    full_scale: str  # what the full preset needs, or why there is none


@dataclass(frozen=True)
class Check:
    """A statistic of the arms and the region in which it supports the claim."""

    name: str  # what is asked, in a few words
    statistic: str  # difference, ratio, equivalence, slope, law or ordering
    metric: str  # of the arms; see `arm_results.metric_bounds`
    of: str | Sequence[str]  # an arm, or the arms of a slope, a law or an ordering
    minus: str | None = None  # the arm that is subtracted, or divided by; none = the value itself
    minus_metric: str | None = None  # of that arm, where it is not the same
    baseline: str | None = None  # of a ratio: the arm that is subtracted from both, so that it is a share of a gap
    above: float | None = None  # the statistic supports the claim above this
    below: float | None = None  # and below this
    margin: float | None = None  # of an equivalence, in both directions
    law: str | None = None  # convergence or step_time
    parameter: str | None = None  # of the law: r_squared, or one of its numbers
    tune: str | None = None  # metric by which each arm's best setting is chosen; none = it has one
    # settings that choose among those of an arm, e.g. ``{"lr": 0.05}``.
    where: Mapping[str, Any] = field(default_factory=dict)
    target: float | None = None  # validation accuracy that target/... is read off the curves for.
    # where curves are read, ``{"steps": 50}``, or between which their mean is taken, ``{"epochs": [12, 16]}``; none =
    # at their end
    at: Mapping[str, Any] = field(default_factory=dict)
    failed: float | None = None  # the value of a run that diverged; none = NaN
    # whether it stands beside the verdict (a deconfounded run, a size) and does not decide it
    is_secondary: bool = False
    unit: str = ""  # of the effect as it is shown: %, pp, x, or nothing

    @property
    def arms(self) -> list[str]:
        """Return the names of the arms it looks at."""
        names = [self.of] if isinstance(self.of, str) else list(self.of)
        return names + [name for name in (self.minus, self.baseline) if name]


@dataclass(frozen=True)
class Experiment:
    """One claim's experiment, composed."""

    name: str  # of its yaml
    claim: Claim
    arms: Mapping[str, list[Config]]  # name -> configurations; several where one of them is to be chosen
    checks: Sequence[Check]  # in order; those that are not beside decide
    probe: Mapping[str, Any] | None  # node of what measures an arm instead of training it, or None
    is_alone: bool  # whether nothing else may run meanwhile
    max_seeds: int  # no look is taken at more
    figure: Mapping[str, Any]  # what is drawn
    preset: str  # small, or the scale that was asked for


def possible_configs(experiment: Experiment) -> list[Config]:
    """Return the configurations of all arms that this machine can run."""
    return [config for arm in experiment.arms.values() for config in arm if is_possible(config.device)]


def experiment_names() -> list[str]:
    """List the experiments in conf/experiment, by the claim's number and then by name; without what they share."""
    files = [path for path in FOLDER.glob("*.yaml") if not path.name.startswith("_")]
    return [path.stem for path in sorted(files, key=lambda path: (int(_sweeper(path).claim.number), path.stem))]


def presets_of(name: str) -> list[str]:
    """List the scales that an experiment has."""
    return ["small", *map(str, _sweeper(FOLDER / f"{name}.yaml").get("presets", {}))]


def _sweeper(path: Path) -> DictConfig:
    node = OmegaConf.load(path)
    assert isinstance(node, DictConfig)
    return node.hydra.sweeper


def compose_experiment(name: str, overrides: Sequence[str], preset: str) -> Experiment:
    """Compose an experiment and its arms; Hydra must be initialised on conf/. `overrides` are those of all arms.

    Raises:
        ConfigErrors: with every error of gate 1.
    """
    words = [f"experiment={name}", f"hydra.sweeper.preset={preset}", *overrides]
    base = compose("train", words, return_hydra_config=True)
    HydraConfig.instance().set_config(base)
    arms, errors = compose_arms("train", words, [], base)
    if errors:
        raise ConfigErrors(*errors)
    return experiment_of(name, base.hydra.sweeper, arms)


def experiment_of(name: str, sweeper: DictConfig, arms: Mapping[str, list[Config]]) -> Experiment:
    """Return the experiment of a composed node hydra.sweeper.

    Raises:
        ConfigErrors: where its yaml has a check that cannot be made.
    """
    node: Any = OmegaConf.to_container(sweeper, resolve=True)
    checks = [_check(name, each, arms) for each in node["checks"]]
    rest = {key: node[key] for key in ("probe", "is_alone", "max_seeds", "figure", "preset")}
    return Experiment(name=name, claim=Claim(**node["claim"]), arms=arms, checks=checks, **rest)


def _check(name: str, node: dict[str, Any], arms: Mapping[str, list[Config]]) -> Check:
    known = {each.name for each in fields(Check)}
    allowed, fix = f"one of {', '.join(sorted(known))}", f"conf/experiment/{name}.yaml"
    if errors := [ConfigError(f"checks.{key}", node[key], allowed, fix) for key in node if key not in known]:
        raise ConfigErrors(*errors)
    check = Check(**node)
    unknown = [arm for arm in check.arms if arm not in arms]
    if unknown:
        raise ConfigErrors(ConfigError("checks.of", unknown[0], f"one of the arms {', '.join(arms)}", f"{name}.yaml"))
    return check
