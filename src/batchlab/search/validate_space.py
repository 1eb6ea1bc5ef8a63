"""The corners of a search: both ends of every range and every item of every list, composed and checked."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from batchlab.config.compose import COMPOSE_ERRORS, compose, without_hydra
from batchlab.config.hydra_internals import is_basic, locate
from batchlab.config.instantiate import made
from batchlab.config.keys import Affects
from batchlab.config.schema import OPEN_GROUPS, Config, declared_key
from batchlab.config.trusted_targets import untrusted
from batchlab.errors import ConfigError, ConfigErrors, raised, reason
from batchlab.search.first_points import check_first_points, default_point
from batchlab.search.sampler import limit_to_grid, try_out
from batchlab.search.search_plan import SearchPlan, fingerprint, fix_time_objective, score_metric, typed_config
from batchlab.search.settings import Settings, read_settings
from batchlab.search.space import Dimension, Space
from batchlab.search.space_parser import value_of
from batchlab.search.trial_configs import is_active, parse_space
from batchlab.system.torchrun_env import torchrun_env
from batchlab.validation.compose_errors import diagnose
from batchlab.validation.dry_run import check_source
from batchlab.validation.grid import gate_one, with_values, without_brackets
from batchlab.validation.signature import without
from batchlab.validation.task_rules import check_comparable


def validate_space(
    config_name: str, overrides: Sequence[str], extra: Sequence[str], base: DictConfig, is_multirun: bool
) -> tuple[list[Config], SearchPlan | None, list[ConfigError]]:
    """Compose the corners of a search and send them through gate 1.

    Args:
        config_name: primary configuration.
        overrides: of the command line.
        extra: overrides of our own.
        base: the composed configuration of the fixed settings.
        is_multirun: whether -m was typed.

    Returns:
        Corners for gate 2, the plan, and every error of gate 1; neither corners nor plan where there is an error.
    """
    if not (is_multirun or base.hydra.mode == RunMode.MULTIRUN):
        return [], None, [ConfigError("hydra/sweeper", "batchlab", "a search needs a multirun", "-m")]
    try:
        if errors := check_source(typed_config(base)):
            return [], None, errors
        settings = read_settings(base, score_metric(base))
        space = parse_space(settings, overrides, GlobalHydra.instance().config_loader())
        settings, space = fix_time_objective(settings, space, base, None)
        errors = [
            *_no_dimensions(space),
            *_losses(space, base),
            *_launcher(settings, base),
            *check_first_points(settings, space, base),
        ]
    except ConfigErrors as error:
        return [], None, list(error.errors)
    except COMPOSE_ERRORS as error:
        return [], None, diagnose(config_name, list(overrides), list(extra), str(error))
    if settings.metrics and set(settings.directions) <= {"minimize", "maximize"}:  # else the objectives are to blame
        errors += _names(settings, space, overrides)
    corners, more = _checked_corners(config_name, list(extra), space, overrides)
    lists = {error.key: error for error in _lists(base, overrides)}
    if errors := [*lists.values(), *(error for error in [*errors, *more] if error.key not in lists)]:
        return [], None, errors
    settings = limit_to_grid(settings, space)
    return corners, SearchPlan(settings, space, fingerprint(settings, space, base), config_name, extra), []


def _lists(base: DictConfig, overrides: Sequence[str]) -> list[ConfigError]:
    """Find lists that were typed without their brackets."""
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    typed = parser.parse_overrides([line for line in overrides if not line.lstrip("+~").startswith("hydra")])
    return list(without_brackets(base, [override for override in typed if override.is_sweep_override()]))


def _no_dimensions(space: Space) -> Iterator[ConfigError]:
    if not space.dimensions:
        yield ConfigError("hydra.sweeper.params", "(nothing)", "there is nothing to search", "batch_size=32,64,128")
    for each in space.dimensions:
        key = each.key.lstrip("+")
        if key == "data" or key.startswith("data."):
            yield ConfigError(key, each.described(), "a study is about one data set", f"{key}={each.probes[0]}")
        elif not declared_key(key).affects & Affects.IDENTITY:
            allowed = "does not change what a run does, so that there is nothing to search"
            fix = "num_seeds=3" if declared_key(key).affects & Affects.SEEDS else f"{key}={each.probes[0]}"
            yield ConfigError(key, each.described(), allowed, fix)


def _losses(space: Space, base: DictConfig) -> Iterator[ConfigError]:
    if (objectives := OmegaConf.select(base, "objectives")) is not None:
        keys = [each.key.lstrip("+") for each in space.dimensions]
        yield from check_comparable(keys, [str(each) for each in objectives], base.score)


def _names(settings: Settings, space: Space, overrides: Sequence[str]) -> Iterator[ConfigError]:
    """What sampler, pruner and suggesting function say of their settings, they say now."""
    try:
        try_out(settings, space)
    except ConfigErrors as error:
        yield from error.errors
    except Exception as error:
        target = settings.sampler.get("_target_")
        allowed = f"refused its settings: {reason(error)}"
        typed = [line.partition("=")[0] for line in overrides if line.lstrip("+").startswith("hydra.sweeper.sampler.")]
        fix = f"the command without {typed[0]}" if typed else "hydra/sweeper/sampler=tpe"
        yield ConfigError("hydra.sweeper.sampler", target, allowed, fix)
    if settings.pruner is not None:
        try:
            made(settings.pruner)
        except Exception as error:
            target, fix = settings.pruner.get("_target_"), "hydra.sweeper.pruner=null"
            yield ConfigError("hydra.sweeper.pruner", target, f"refused its settings: it {raised(error)}", fix)
    if settings.custom_search_space:
        try:
            locate(settings.custom_search_space)
        except Exception as error:
            key = "hydra.sweeper.custom_search_space"
            fix = f"{key}=null, or {key}=package.module.function"
            yield ConfigError(key, settings.custom_search_space, raised(error), fix)


def _launcher(settings: Settings, base: DictConfig) -> Iterator[ConfigError]:
    is_here = is_basic(base.hydra.launcher._target_)
    if settings.num_workers and not is_here:
        allowed = "has no effect under a Hydra launcher, which brings its own processes"
        yield ConfigError("hydra.sweeper.num_workers", settings.num_workers, allowed, "hydra.sweeper.n_jobs=2")
    if (settings.num_workers or not is_here) and torchrun_env() is not None:
        allowed = "torchrun's processes share one trial at a time"
        fix = "hydra.sweeper.num_workers=0 hydra/launcher=basic, or num_processes=2 without torchrun"
        yield ConfigError("hydra.sweeper.num_workers", settings.num_workers, allowed, fix)


def _checked_corners(
    config_name: str, extra: list[str], space: Space, typed: Sequence[str]
) -> tuple[list[Config], list[ConfigError]]:
    """Every corner's configuration, and what gate 1 says of them."""
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    corners: list[Config] = []
    errors: list[ConfigError] = []
    missing = {each.key for each in space.plain if each.is_typed}
    for choice in itertools.product(*([f"{each.key}={item}" for item in each.probes] for each in space.structural)):
        lines = [*space.fixed, *choice]
        try:
            base = compose(config_name, [*extra, *lines])
        except COMPOSE_ERRORS as error:
            errors += diagnose(config_name, lines, extra, str(error))
            continue
        if strangers := untrusted(base, config_name, [*extra, *lines], typed):
            errors += strangers
            continue
        HydraConfig.instance().set_config(base)
        active = [each for each in space.plain if is_active(base, each)]
        missing -= {each.key for each in active}
        own = without_hydra(base)
        for corner in _points(space, base, active):
            try:
                found, more = gate_one(with_values(own, corner, parser))
            except COMPOSE_ERRORS as error:
                found, more = [], diagnose(config_name, [*lines, *corner], extra, str(error))
            corners += found
            errors += more
    return corners, [*in_space(errors, space), *(_never_there(key, space) for key in sorted(missing))]


def _points(space: Space, base: DictConfig, active: list[Dimension]) -> Iterator[tuple[str, ...]]:
    """The default point, and for each dimension its probes with the others at the default."""
    default = default_point(replace(space, structural=()), base)
    middle = {each.key: each.line(default[each.name]) if each.name in default else f"{each.key}={each.probes[0]}"
              for each in active}  # fmt: skip
    yield tuple(middle.values())
    for each in active:
        for probe in each.probes:
            yield tuple((middle | {each.key: f"{each.key}={probe}"}).values())


def _never_there(key: str, space: Space) -> ConfigError:
    described = next(each.described() for each in space.plain if each.key == key)
    group, _, name = key.partition(".")
    fix = without(group, name) if group in OPEN_GROUPS else f"the command without {key}"
    return ConfigError(key, described, "no configuration of this search has that key", fix)


def in_space(errors: Sequence[ConfigError], space: Space) -> list[ConfigError]:
    """Change the fixes of the corners' errors to a range, or a list without all that is wrong in it."""
    dimensions = {each.key: each for each in space.dimensions}
    wrong = {(each.key, value_of(str(each.value))) for each in errors}

    def changed(error: ConfigError) -> ConfigError:
        if (dimension := dimensions.get(error.key)) is None:
            return error
        if not dimension.items:
            return replace(error, fix=f"another range of {dimension.key}; it is {dimension.described()}")
        others = [item for item in dimension.items if (error.key, value_of(item)) not in wrong]
        return replace(error, fix=f"{dimension.key}={','.join(others)}") if others else error

    return list(map(changed, errors))
