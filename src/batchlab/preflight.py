"""Everything that a command line asks for, composed and checked before anything is written.

Hydra composes and validates one job at a time, after it has made folders; here the whole grid, or the corners of a
search, go through Hydra's own parser and compose API first, so that every mistake is found together and costs nothing.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from hydra import compose, initialize_config_dir
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig

from batchlab.arms import compose_arms
from batchlab.check_stores import check_stores
from batchlab.config import REPOSITORY, Config, is_arms_sweeper, is_search_sweeper
from batchlab.diagnosis import not_a_setting
from batchlab.experiment import Experiment, experiment_of, possible_configs
from batchlab.grid import COMPOSE_ERRORS, grid
from batchlab.mistake import Mistake, WrongInput

if TYPE_CHECKING:
    from batchlab.search.plan import SearchPlan


@dataclass(frozen=True)
class Asked:
    """What a command line asks for.

    Attributes:
        configs: one per job of a grid; empty for a search, and where something is only to be shown.
        search: the search, or None.
        experiment: the experiment, or None.
    """

    configs: list[Config]
    search: "SearchPlan | None"
    experiment: Experiment | None = None


def preflight(arguments: list[str], config_name: str = "train") -> Asked:
    """Compose and check every job; exits with code 2 and every mistake where there is one.

    Args:
        arguments: the command line after the program's name.
        config_name: primary configuration in conf/.

    Returns:
        What is asked for; nothing where the command line only asks to be shown something (--help, --cfg).
    """
    parser = get_args_parser()
    args, unknown = parser.parse_known_args(arguments)
    if unknown:
        stop([not_a_setting(word) for word in unknown])
    if args.help or args.hydra_help or args.cfg or args.info or args.shell_completion:
        return Asked([], None)
    folders = [f"file://{Path(args.config_dir).absolute()}"] if args.config_dir else []
    extra = [f"hydra.searchpath=[{','.join(folders)}]"] if folders else []
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3", job_name="train"):
        name, plan, experiment = args.config_name or config_name, None, None
        if mistakes := _two_sweepers(args.overrides):
            stop(mistakes)
        base = _base(name, args.overrides, extra)
        if base is not None and is_search_sweeper(base.hydra.sweeper):
            from batchlab.survey import survey  # optuna: only where it searches

            found, mistakes = survey(name, args.overrides, extra, base, args.multirun)
            configs, plan = found.corners, found.plan
        elif base is not None and is_arms_sweeper(base.hydra.sweeper):
            experiment, mistakes = _experiment(name, args.overrides, extra, base)
            configs = possible_configs(experiment) if experiment else []
        else:
            configs, mistakes = grid(name, args.overrides, extra, args.multirun)
    mistakes += [
        mistake for folder in sorted({config.mlruns for config in configs}) for mistake in check_stores(folder)
    ]
    mistakes = mistakes or _gate_two(configs, plan)
    if plan is not None and base is not None:
        from batchlab.survey import as_begun, check_study, in_space

        plan = plan if mistakes else as_begun(plan, base)
        mistakes = [in_space(mistake, plan.space) for mistake in mistakes] or check_study(plan)
    if mistakes:
        stop(mistakes)
    return Asked([] if plan else configs, plan, experiment)


def stop(mistakes: list[Mistake]) -> NoReturn:
    """Print every mistake once, to stderr, and exit with code 2."""
    lines = list(dict.fromkeys(str(mistake) for mistake in mistakes))
    count = "1 mistake" if len(lines) == 1 else f"{len(lines)} mistakes"
    print(
        f"{count}; nothing was run, nothing was written.",
        *(f"  {line}" for line in lines),
        sep="\n",
        file=sys.stderr,
    )
    raise SystemExit(2)


def _two_sweepers(overrides: list[str]) -> list[Mistake]:
    """An experiment and a search in one command, or two experiments: each brings a sweeper of its own."""
    words = [word.lstrip("+").partition("=") for word in overrides]
    typed = {key: value for key, _, value in words}
    names = [name for key, _, value in words if key == "experiment" for name in value.split(",")]
    if len(names) > 1:
        several = f"one experiment; `python scripts/claims.py {' '.join(names)}` runs several"
        return [Mistake("experiment", ",".join(names), several, f"-m experiment={names[0]}")]
    if "experiment" in typed and typed.get("search", "none") != "none":
        allowed = "an experiment brings its own arms; there is nothing to search"
        return [Mistake("search", typed["search"], allowed, f"-m experiment={typed['experiment']}")]
    return []


def _base(config_name: str, overrides: list[str], extra: list[str]) -> DictConfig | None:
    """The configuration of what is typed with one value; None where it cannot be composed."""
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    try:
        parsed = parser.parse_overrides(overrides)
        fixed = [override.input_line or "" for override in parsed if not override.is_sweep_override()]
        base = compose(config_name, [*extra, *fixed], return_hydra_config=True)
    except COMPOSE_ERRORS:
        return None
    HydraConfig.instance().set_config(base)
    return base


def _experiment(
    config_name: str, overrides: list[str], extra: list[str], base: DictConfig
) -> tuple[Experiment | None, list[Mistake]]:
    """The experiment whose arms are to be run."""
    arms, mistakes = compose_arms(config_name, overrides, extra, base)
    if mistakes:
        return None, mistakes
    if any(config.num_processes > 1 for arm in arms.values() for config in arm):
        return None, [
            Mistake("num_processes", "several", "an experiment's arms run in one process each", "num_processes=1")
        ]
    try:
        experiment = experiment_of(str(base.hydra.runtime.choices.experiment), base.hydra.sweeper, arms)
    except WrongInput as error:
        return None, list(error.mistakes)
    if possible_configs(experiment):
        return experiment, []
    device = next(config.device for arm in arms.values() for config in arm)
    return None, [Mistake("device", device, "one that this machine has; every arm asks for it", "device=cpu")]


def _gate_two(configs: list[Config], plan: "SearchPlan | None") -> list[Mistake]:
    from batchlab.probe.micro_batch import check_memory  # torch: seconds, and only now is it needed
    from batchlab.rehearse import check_data, check_grid

    mistakes = [mistake for config in configs for mistake in check_data(config)]
    mistakes = mistakes or (check_grid(configs) if plan is None else [])
    if not mistakes and any(config.micro_batch_size == "auto" for config in configs):
        import batchlab.job  # noqa: F401  (the process of a run has it: what it takes counts)
    return mistakes or check_memory(configs, plan.settings.num_workers if plan else 1)
