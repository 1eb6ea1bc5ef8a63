"""The jobs of a grid: the product of every list that was typed, composed and sent through gate 1."""

import itertools
import shlex
from collections.abc import Iterator, Sequence
from copy import deepcopy
from functools import lru_cache

from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from batchlab.config.compose import COMPOSE_ERRORS, compose, without_hydra
from batchlab.config.override_text import swept_values
from batchlab.config.resolve import resolved
from batchlab.config.schema import MISSING, Config
from batchlab.config.trusted_targets import untrusted
from batchlab.errors import ConfigError, ConfigErrors
from batchlab.validation.compose_errors import diagnose
from batchlab.validation.rules import check_config


def grid(
    config_name: str, overrides: list[str], extra: list[str], is_multirun: bool, typed: Sequence[str] | None = None
) -> tuple[list[Config], list[ConfigError]]:
    """Compose one configuration per job of the grid; group choices are composed, plain values set on a copy.

    Args:
        config_name: primary configuration.
        overrides: of the jobs.
        extra: overrides of our own, e.g. the search path.
        is_multirun: whether -m was typed.
        typed: those of the overrides that were typed; None = all.

    Returns:
        The configurations that could be made, and every error of gate 1.
    """
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    try:
        parsed = parser.parse_overrides(overrides)
    except HydraException as error:
        return [], diagnose(config_name, overrides, extra, str(error))
    if errors := _grid_errors(parsed):
        return [], errors
    fixed = [override.input_line or "" for override in parsed if not override.is_sweep_override()]
    sweeps = [override for override in parsed if override.is_sweep_override()]
    structural = [sweep for sweep in sweeps if is_structural(sweep)]
    plain = [sweep for sweep in sweeps if not is_structural(sweep)]
    configs: list[Config] = []
    for choice in itertools.product(*map(swept_lines, structural)):
        try:
            base = compose(config_name, [*extra, *fixed, *choice])
        except COMPOSE_ERRORS as error:
            swept = [sweep.input_line or "" for sweep in plain]
            errors += diagnose(config_name, [*fixed, *choice, *swept], extra, str(error))
            continue
        if strangers := untrusted(base, config_name, [*extra, *fixed, *choice], overrides if typed is None else typed):
            errors += strangers
            continue
        unbracketed = {error.key: error for error in without_brackets(base, plain)}
        errors += unbracketed.values()
        sweeps = [sweep for sweep in sweeps if sweep.key_or_group not in unbracketed]
        plain = [sweep for sweep in plain if sweep.key_or_group not in unbracketed]
        HydraConfig.instance().set_config(base)
        is_multirun = is_multirun or base.hydra.mode == RunMode.MULTIRUN
        own = without_hydra(base)
        for values in itertools.product(*map(swept_lines, plain)):
            try:
                found, more = gate_one(with_values(own, values, parser))
                configs, errors = configs + found, errors + more
            except COMPOSE_ERRORS as error:
                errors += diagnose(config_name, [*fixed, *choice, *values], extra, str(error))
    if sweeps and not (is_multirun or _is_search(parsed)):
        allowed = "several values need a multirun"
        errors += [_sweep_error(sweep, allowed, f"-m {shlex.quote(sweep.input_line or '')}") for sweep in sweeps]
    return configs, errors


def without_brackets(base: DictConfig, sweeps: Sequence[Override]) -> Iterator[ConfigError]:
    """Find values of a key that holds a list, typed without its brackets: they would be values of several runs."""
    for sweep in sweeps:
        is_list = OmegaConf.is_list(OmegaConf.select(base, sweep.key_or_group, throw_on_missing=False))
        values = swept_values(sweep) if is_list and sweep.is_discrete_sweep() else []
        if values and not any(value.startswith("[") for value in values):
            fix = shlex.quote(f"{sweep.get_key_element()}=[{','.join(values)}]")
            yield _sweep_error(sweep, "a list stands in brackets", fix)


def _is_search(parsed: list[Override]) -> bool:
    none = {"search": "none", "hydra/sweeper": "basic"}
    return any(none.get(each.key_or_group, each.value()) != each.value() for each in parsed)


def _grid_errors(parsed: list[Override]) -> list[ConfigError]:
    """Find keys that were typed several times, and intervals, which have no values to go through."""
    keys = [override.get_key_element() for override in parsed]
    errors = []
    for at, override in enumerate(parsed):
        if (key := override.get_key_element()) in keys[:at]:
            continue  # said where it stands first
        if keys.count(key) > 1:
            allowed = "the same key stands there several times, and only one would count"
            last = next(each for each in reversed(parsed) if each.get_key_element() == override.get_key_element())
            errors.append(_sweep_error(override, allowed, shlex.quote(last.input_line or "")))
        elif override.is_interval_sweep():
            fix = f"search=joint {shlex.quote(override.input_line or '')}"
            allowed = "an interval is for a search to choose from"
            errors += [] if _is_search(parsed) else [_sweep_error(override, allowed, fix)]
        elif override.is_sweep_override() and not swept_lines(override):
            fix = f"{key}=128,256,512" if key == "batch_size" else f"the command without {key}"
            errors.append(_sweep_error(override, "a list or range without a value", fix))
        elif override.is_sweep_override() and len(set(lines := swept_lines(override))) < len(lines):
            once = ",".join(dict.fromkeys(line.partition("=")[2] for line in lines))
            fix = f"{keys[at]}={once}, or num_seeds=3 for several seeds"
            errors.append(_sweep_error(override, "the grid has a value twice", fix))
    return errors


def is_structural(override: Override) -> bool:
    """Tell whether an override changes which files are composed, or which keys there are."""
    is_group = _is_group(GlobalHydra.instance().config_loader(), override.key_or_group)
    return is_group or override.is_add() or override.is_delete() or override.package is not None


@lru_cache(maxsize=256)
def _is_group(loader: ConfigLoader, key: str) -> bool:
    return bool(loader.get_group_options(key))  # it reads the folders each time, 50 ms


def swept_lines(override: Override) -> list[str]:
    """List an override for each value of a list; of one value, itself; of an interval, its lower end."""
    if not override.is_sweep_override():
        return [override.input_line or ""]
    if override.is_interval_sweep():
        return [f"{override.get_key_element()}={override.value().start}"]  # pyright: ignore
    return [f"{override.get_key_element()}={value}" for value in swept_values(override)]


def _sweep_error(override: Override, allowed: str, fix: str) -> ConfigError:
    key, _, value = (override.input_line or "").partition("=")
    return ConfigError(key, value, allowed, fix)


def params_of(composed: DictConfig, overrides: Sequence[str]) -> list[str]:
    """List the overrides of a multirun that stand in hydra.sweeper.params; those typed count above them."""
    params = composed.hydra.sweeper.get("params") or {}
    typed = {line.lstrip("+~").partition("=")[0] for line in overrides}
    return [f"{key}={value}" for key, value in params.items() if key not in typed]


def with_values(base: DictConfig, values: tuple[str, ...], parser: OverridesParser) -> DictConfig:
    """Set plain values on a copy of a configuration without Hydra's node."""
    config = deepcopy(base)
    for line in values:
        override = parser.parse_override(line)
        OmegaConf.update(config, override.key_or_group, override.value(), merge=True)
    return config


def gate_one(config: DictConfig) -> tuple[list[Config], list[ConfigError]]:
    """Check a configuration by gate 1; typed where every value is given."""
    try:
        typed = resolved(config)
    except ConfigErrors as error:
        if any(item.value != MISSING for item in error.errors):
            return [], list(error.errors)  # keys that do not belong there, or were deleted
        for item in error.errors:
            OmegaConf.update(config, item.key, None)
        missing, (_, others) = {item.key for item in error.errors}, gate_one(config)
        return [], [*error.errors, *(item for item in others if item.key not in missing)]
    return [typed], check_config(typed)
