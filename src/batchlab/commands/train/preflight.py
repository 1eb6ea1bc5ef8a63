"""Everything that a command line asks for, composed and checked before anything is written.

Hydra composes and validates one job at a time, after it has made folders; here the whole grid, or the corners of a
search, go through Hydra's own parser and compose API first, so that every error is found together and costs nothing.
"""

import shlex
from argparse import Namespace
from dataclasses import replace
from typing import TYPE_CHECKING

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig

from batchlab.commands.command_line import Request, composing, stop
from batchlab.config.compose import COMPOSE_ERRORS, compose
from batchlab.config.installation import program
from batchlab.config.registration import is_arms_sweeper, is_search_sweeper
from batchlab.config.schema import Config
from batchlab.config.trusted_targets import has_folders_from_elsewhere, untrusted, untrusted_jobs
from batchlab.errors import ConfigError, ConfigErrors
from batchlab.experiments.arms import compose_arms
from batchlab.experiments.experiment import Experiment, experiment_of, possible_configs
from batchlab.system.deferred_writes import writes_wait
from batchlab.system.secrets import in_files
from batchlab.tracking.store_checks import check_stores, check_study
from batchlab.validation.cli_args import folders_from_elsewhere, is_only_shown, read_flags, search_path
from batchlab.validation.compose_errors import diagnose
from batchlab.validation.grid import grid, params_of
from batchlab.validation.signature import check_hydra

if TYPE_CHECKING:
    from batchlab.search.search_plan import SearchPlan


@writes_wait()
def preflight(arguments: list[str], config_name: str = "train") -> Request:
    """Compose and check every job; exits with code 2 and every error where there is one.

    Returns:
        What is asked for; nothing where the command line only asks to be shown something (--help, --cfg).
    """
    args, errors = read_flags(arguments)
    if errors := errors or _two_sweepers(args.overrides):
        stop(errors)
    folders = folders_from_elsewhere(args)
    if is_only_shown(args) and not args.cfg and not folders:
        return Request([])
    name, extra = args.config_name or config_name, search_path(folders)
    with composing():
        base, errors = _base(name, args.overrides, extra)
        if errors:
            stop(errors)
        if is_only_shown(args):  # what files from elsewhere say may be resolved to be shown
            if base is None:
                stop(diagnose(name, args.overrides, extra, "it cannot be composed"))
            return Request([])
        found, errors = _found(name, args, extra, base)
    if base is not None and has_folders_from_elsewhere(base):
        errors += untrusted_jobs(found.configs, args.overrides)
    places = sorted({(config.mlruns, config.study) for config in found.configs})
    errors += [error for folder in sorted({folder for folder, _ in places}) for error in check_stores(folder)]
    errors = errors or [error for place in places for error in check_study(*place)]
    errors = errors or _gate_two(found.configs, found.search)
    if found.search is not None and base is not None:
        from batchlab.search.search_plan import as_begun
        from batchlab.search.validate_space import in_space

        plan = found.search
        if errors:
            errors = in_space(errors, plan.space)
        else:
            plan, errors = as_begun(plan, base)
        found = replace(found, search=plan)
    if errors:
        stop([_of_an_option(error, args.overrides) for error in errors])
    return replace(found, configs=[]) if found.search else found


def _of_an_option(error: ConfigError, overrides: list[str]) -> ConfigError:
    """Have a key that an option brings along deleted, where the fix is to leave out what was not typed."""
    typed = {line.lstrip("+~").partition("=")[0] for line in overrides}
    left_out, separator, others = error.fix.removeprefix("the command without ").partition(", or ")
    is_brought = left_out != error.fix and left_out == error.key and "." in left_out and left_out not in typed
    return replace(error, fix=f"{shlex.quote(f'~{left_out}')}{separator}{others}") if is_brought else error


def _found(name: str, args: Namespace, extra: list[str], base: DictConfig | None) -> tuple[Request, list[ConfigError]]:
    """Compose every job of a grid or an experiment, or the corners of a search; returns what gate 1 says too."""
    if base is not None and is_search_sweeper(base.hydra.sweeper):
        from batchlab.search.validate_space import validate_space  # optuna: only where it searches

        corners, plan, errors = validate_space(name, args.overrides, extra, base, args.multirun)
        return Request(corners, plan), errors
    if base is not None and is_arms_sweeper(base.hydra.sweeper):
        experiment, errors = _experiment(name, args.overrides, extra, base)
        return Request(possible_configs(experiment) if experiment else [], None, experiment), errors
    params = params_of(base, args.overrides) if base is not None and args.multirun else []
    configs, errors = grid(name, [*args.overrides, *params], extra, args.multirun, args.overrides)
    return Request(configs), errors


def _two_sweepers(overrides: list[str]) -> list[ConfigError]:
    """Find an experiment and a search in one command, or two experiments: each brings a sweeper of its own."""
    words = [word.lstrip("+").partition("=") for word in overrides]
    typed = {key: value for key, _, value in words}
    names = [name for key, _, value in words if key == "experiment" for name in value.split(",")]
    if len(names) > 1:
        several = f"one experiment; `{program('claims')} {' '.join(names)}` runs several"
        return [ConfigError("experiment", ",".join(names), several, f"-m experiment={names[0]}")]
    if names and names[0].startswith("_"):
        allowed = "what experiments share, and none itself"
        return [ConfigError("experiment", names[0], allowed, "-m experiment=accumulation")]
    if "experiment" in typed and typed.get("search", "none") != "none":
        allowed = "an experiment brings its own arms; there is nothing to search"
        return [ConfigError("search", typed["search"], allowed, f"-m experiment={typed['experiment']}")]
    return []


def _base(config_name: str, overrides: list[str], extra: list[str]) -> tuple[DictConfig | None, list[ConfigError]]:
    """Compose what is typed with one value, None where that cannot be done; and find what it may not run."""
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    try:
        parsed = parser.parse_overrides(overrides)
        fixed = [override.input_line or "" for override in parsed if not override.is_sweep_override()]
        base = compose(config_name, [*extra, *fixed])
    except COMPOSE_ERRORS:
        return None, []
    errors = untrusted(base, config_name, [*extra, *fixed], overrides) or in_files(base.hydra.sweeper)
    if errors := errors or list(check_hydra(base)):
        return None, errors
    HydraConfig.instance().set_config(base)
    return base, []


def _experiment(
    config_name: str, overrides: list[str], extra: list[str], base: DictConfig
) -> tuple[Experiment | None, list[ConfigError]]:
    """Compose the experiment whose arms are to be run."""
    arms, errors = compose_arms(config_name, overrides, extra, base)
    if errors:
        return None, errors
    if any(config.num_processes > 1 for arm in arms.values() for config in arm):
        allowed = "an experiment's arms run in one process each"
        return None, [ConfigError("num_processes", "several", allowed, "num_processes=1")]
    try:
        experiment = experiment_of(str(base.hydra.runtime.choices.experiment), base.hydra.sweeper, arms)
    except ConfigErrors as error:
        return None, list(error.errors)
    if possible_configs(experiment):
        return experiment, []
    device = next(config.device for arm in arms.values() for config in arm)
    return None, [ConfigError("device", device, "one that this machine has; every arm asks for it", "device=cpu")]


def _gate_two(configs: list[Config], plan: "SearchPlan | None") -> list[ConfigError]:
    from batchlab.profiling.micro_batch import check_memory  # torch: seconds, and only now is it needed
    from batchlab.validation.dry_run import check_data, check_grid

    errors = [error for config in configs for error in check_data(config)]
    errors = errors or (check_grid(configs) if plan is None else [])
    if not errors and any(config.micro_batch_size == "auto" for config in configs):
        import batchlab.commands.train.job  # noqa: F401  (the process of a run has it: what it takes counts)
    return errors or check_memory(configs, plan.settings.num_workers if plan else 1)
