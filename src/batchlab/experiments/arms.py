"""Arms of an experiment: settings with names, each a few overrides on what they have in common."""

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from batchlab.config.compose import COMPOSE_ERRORS, without_hydra
from batchlab.config.schema import Config
from batchlab.errors import ConfigError
from batchlab.validation.grid import gate_one, grid, is_structural, swept_lines, with_values


def arm_overrides(sweeper: DictConfig) -> dict[str, list[str]]:
    """Return the overrides of each arm; its own count above those of the chosen preset."""
    preset = list(sweeper.presets[sweeper.preset]) if sweeper.preset != "small" else []
    lines = {}
    for name, own in sweeper.arms.items():
        keys = {line.partition("=")[0] for line in own}
        lines[str(name)] = [*(line for line in preset if line.partition("=")[0] not in keys), *map(str, own)]
    return lines


CLOCK = "clock"
"""An arm of this name is a probe of step times; it is not compared, others take their step_seconds from it."""


def probe_of(probe: Mapping[str, Any] | None, arms: Collection[str], arm: str) -> dict[str, Any] | None:
    """Return the node that measures an arm; None where it is trained. With an arm called clock only that is probed."""
    if probe is None or (CLOCK in arms and arm != CLOCK):
        return None
    own = probe.get("by_arm", {}).get(arm, {})
    return {key: value for key, value in probe.items() if key != "by_arm"} | own


def arm_probe(sweeper: DictConfig) -> dict[str, Any] | None:
    """Return the node that measures the arm of this job; None where it is trained."""
    probe: Any = OmegaConf.to_container(sweeper.probe, resolve=True) if sweeper.probe is not None else None
    return probe_of(probe, list(sweeper.arms), sweeper.arm)


def is_possible(device: str) -> bool:
    """Check whether this machine has the device that a configuration asks for."""
    if not device.startswith("cuda"):
        return True
    import torch  # seconds, and only for arms that ask for a GPU

    return torch.cuda.is_available()


def arm_jobs(sweeper: DictConfig, typed: Sequence[str]) -> list[list[str]]:
    """Return the overrides of each job of each arm (or the chosen one) that this machine can run, after those typed."""
    parser, jobs = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader()), []
    for name, own in arm_overrides(sweeper).items():
        devices = [line.partition("=")[2] for line in own if line.startswith("device=")]
        if sweeper.arm not in (None, name) or not all(map(is_possible, devices)):
            continue
        lines = parser.parse_overrides([*typed, *own, f"hydra.sweeper.arm={name}"])
        jobs += [list(job) for job in itertools.product(*map(swept_lines, lines))]
    return jobs


def compose_arms(
    config_name: str, overrides: list[str], extra: list[str], base: DictConfig
) -> tuple[dict[str, list[Config]], list[ConfigError]]:
    """Compose the configurations of each arm and send them through gate 1; return them by arm, and every error.

    `overrides` are those of the command line, which compose to `base` (HydraConfig has it); `extra` are our own.
    """
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    if errors := _wrong_settings(base.hydra.sweeper):
        return {}, errors
    configs: dict[str, list[Config]] = {}
    try:
        typed = parser.parse_overrides(overrides)
        arms = {name: parser.parse_overrides(lines) for name, lines in arm_overrides(base.hydra.sweeper).items()}
    except HydraException as error:
        why = str(error).splitlines()[0]
        return {}, [ConfigError("the arms", config_name, why, "overrides as at the command line")]
    if errors := [item for each in typed for item in _not_to_be_typed(each)]:
        return {}, errors
    for name, own in arms.items():
        if errors := _typed_twice(name, typed, own):
            return {}, errors
        configs[name], errors = _compose_arm(config_name, typed, own, extra, base, parser)
        if errors:
            return {}, errors
    return configs, []


def _compose_arm(
    config_name: str,
    typed: list[Override],
    own: list[Override],
    extra: list[str],
    base: DictConfig,
    parser: OverridesParser,
) -> tuple[list[Config], list[ConfigError]]:
    if any(map(is_structural, own)):
        lines = [[each.input_line or "" for each in part] for part in (typed, own)]
        return grid(config_name, [*lines[0], *lines[1]], extra, is_multirun=True, typed=lines[0])
    configs: list[Config] = []
    errors: list[ConfigError] = []
    common = without_hydra(base)
    for values in itertools.product(*map(swept_lines, own)):
        try:
            found, more = gate_one(with_values(common, values, parser))
        except COMPOSE_ERRORS as error:
            return [], [ConfigError("an arm", " ".join(values), str(error).splitlines()[0], "keys of a run")]
        configs, errors = configs + found, errors + more
    return configs, errors


def _wrong_settings(sweeper: DictConfig) -> list[ConfigError]:
    """Refuse a preset or an arm that there is not."""
    presets, arms = ["small", *map(str, sweeper.presets)], list(map(str, sweeper.arms))
    return [
        ConfigError(f"hydra.sweeper.{key}", value, f"one of {', '.join(known)}", f"hydra.sweeper.{key}={known[0]}")
        for key, value, known in (("preset", sweeper.preset, presets), ("arm", sweeper.arm, arms))
        if value is not None and value not in known
    ]


def _not_to_be_typed(typed: Override) -> Iterator[ConfigError]:
    """Refuse a list of values, which no check can judge, and a sweeper key that only the experiment may set."""
    key, value = typed.get_key_element(), (typed.input_line or "").partition("=")[2]
    if typed.is_sweep_override():
        first = next(iter(typed.sweep_string_iterator())) if typed.is_choice_sweep() else "one of them"
        yield ConfigError(key, value, "one value: an experiment compares its arms", f"{key}={first}")
    if key.startswith("hydra.sweeper.") and key not in ("hydra.sweeper.preset", "hydra.sweeper.arm"):
        allowed = "stated in conf/experiment before any run; seeds are num_seeds"
        yield ConfigError(key, value, allowed, f"the command without {key}")


def _typed_twice(name: str, typed: list[Override], own: list[Override]) -> list[ConfigError]:
    values = {each.get_key_element(): (each.input_line or "").partition("=")[2] for each in typed}
    allowed = f"the arm {name} of this experiment sets it"
    both = [key for key in values if key in {each.get_key_element() for each in own}]
    return [ConfigError(key, values[key], allowed, f"the command without {key}") for key in both]
