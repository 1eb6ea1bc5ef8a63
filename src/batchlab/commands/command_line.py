"""The command line of every command: read, composed and checked before anything is written."""

import re
import sys
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn

from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf

from batchlab.config.command_keys import KEYS, key_errors
from batchlab.config.compose import COMPOSE_ERRORS, compose, without_hydra
from batchlab.config.installation import CONF, program
from batchlab.config.override_text import swept_values
from batchlab.config.registration import register_schema
from batchlab.config.schema import Config
from batchlab.config.trusted_targets import untrusted_jobs
from batchlab.errors import ConfigError, ConfigErrors
from batchlab.experiments.experiment import Experiment
from batchlab.system.deferred_writes import writes_wait
from batchlab.system.environment_errors import masked
from batchlab.system.secrets import hide_passwords
from batchlab.system.signals import heed_signals
from batchlab.tracking.store_checks import check_stores
from batchlab.tracking.unsent_runs import send_at_end, send_at_start
from batchlab.validation.cli_args import folders_from_elsewhere, read_flags, search_path
from batchlab.validation.grid import grid

if TYPE_CHECKING:
    from batchlab.search.search_plan import SearchPlan

Check = Callable[[Any, list[Config]], Iterable[ConfigError]]
"""Finds errors, given a command's own keys and the configurations of its jobs."""
ONE_CONFIGURATION = ("advise", "noise", "claims")
OF_TRAIN = ("search", "experiment", "objectives", "num_seeds", "hydra")
"""Keys of which only `train` makes something, and groups of them; claims has its experiments' own."""
OF_REPORT = ("mlruns", "study", "search", "experiment", "data", "model")
"""Keys that say where a study is recorded and what it is called: beside a typed study only the first two."""


@dataclass(frozen=True)
class Request:
    """What a command line asks for."""

    configs: list[Config]  # of runs, one per job of a grid; empty for a search, and where something is only to be shown
    search: "SearchPlan | None" = None  # of `train`, or None
    experiment: Experiment | None = None  # of `train`, or None
    keys: Any = None  # the command's own; None for `train`
    overrides: tuple[str, ...] = ()  # those of a run's keys, as they were typed; empty for `train`


def composing(job_name: str = "train") -> AbstractContextManager[None]:
    """Return a context in which configurations are composed from conf/."""
    return initialize_config_dir(str(CONF), version_base="1.3", job_name=job_name)


def stop(errors: Sequence[ConfigError]) -> NoReturn:
    """Print every error once, to stderr, and exit with code 2."""
    lines = list(dict.fromkeys(masked(str(error)) for error in errors))
    count = "1 error" if len(lines) == 1 else f"{len(lines)} errors"
    print(f"{count}; nothing was run, nothing was written.", *(f"  {line}" for line in lines),
          sep="\n", file=sys.stderr)  # fmt: skip
    raise SystemExit(2)


def run_script(name: str) -> int:
    """Read the command line of any command but `train`, do its work and return its exit code; 130 on Ctrl-C.

    The module batchlab.commands.<name>.<name>_command has `CHECKS` and `run`; it imports torch: not for --help.
    """
    if errors := hide_passwords():
        stop(errors)

    heed_signals()
    try:
        request = read_command(name, sys.argv[1:])
        code = _module(name).run(request)
    except KeyboardInterrupt:
        print("Stopped; nothing was written.", file=sys.stderr)
        return 130
    return code or send_at_end(request.configs[0].mlruns)


def _module(name: str) -> Any:
    return import_module(f"batchlab.commands.{name}.{name}_command")


@writes_wait()
def read_command(name: str, arguments: Sequence[str]) -> Request:
    """Compose and check a command line; exits with code 2 and every error, with 0 after --help or --cfg job.

    Words without = are `names` of claims; a value list for one of the command's own keys needs no brackets.
    """
    register_schema(KEYS[name])
    own = [each.name for each in fields(KEYS[name])]
    args, errors = read_flags(_with_names(arguments) if "names" in own else arguments)
    if errors := errors or _not_of_a_script(name, args):
        stop(errors)
    extra = search_path(folders := folders_from_elsewhere(args))
    with composing(name):
        overrides = [_in_brackets(word, name) for word in args.overrides]
        if args.help or args.cfg:
            shown = compose(name, [*extra, *([] if args.help else overrides)])
            print(shown.hydra.help.header.strip() if args.help else OmegaConf.to_yaml(without_hydra(shown)).rstrip())
            sys.exit(0)
        configs, errors = grid(name, overrides, extra, is_multirun=True, typed=args.overrides)
        errors = _of_this_command(name, configs, overrides, errors)
        errors += untrusted_jobs(configs, args.overrides) if folders else []
        try:
            composed = compose(name, [*extra, *(each for each in overrides if each.partition("=")[0] in own)])
        except COMPOSE_ERRORS:
            stop(errors)
        values: Any = OmegaConf.to_container(OmegaConf.masked_copy(composed, own), resolve=True)
        keys = KEYS[name](**values)
        if errors:
            stop([*errors, *key_errors(name, keys)])
    if errors := check_stores(configs[0].mlruns):
        stop(errors)
    send_at_start(configs[0].mlruns)  # a check may look for a study whose runs were left behind
    if errors := _errors(name, keys, configs):
        stop(errors)
    return Request(configs, keys=keys, overrides=tuple(w for w in overrides if w.partition("=")[0] not in own))


def _errors(name: str, keys: Any, configs: list[Config]) -> list[ConfigError]:
    """Find values that the declarations of a command's keys do not allow; then what the first of its checks finds."""
    errors = {error.key: error for error in key_errors(name, keys)}
    try:
        for check in _module(name).CHECKS:
            more = [error for error in check(keys, configs) if error.key not in errors]
            if errors or more:
                return [*errors.values(), *more]
    except ConfigErrors as error:  # data that cannot be read shows where it is first asked for
        return [*errors.values(), *error.errors]
    return []


def _with_names(arguments: Sequence[str]) -> list[str]:
    names = [word for word in arguments if "=" not in word and not word.startswith("-") and word != "job"]
    rest = [word for word in arguments if word not in names]
    return [*rest, f"names=[{','.join(names)}]"] if names else rest


def _not_of_a_script(name: str, args: Namespace) -> list[ConfigError]:
    """Find flags of Hydra that only `train` follows."""
    typed = {"-m": args.multirun, "--run": args.run, "--info": args.info, "--hydra-help": args.hydra_help}
    typed |= {"--config-name": args.config_name, "-sc": args.shell_completion, "--package": args.package}
    allowed = "is an option of train alone; lists are compared without -m"
    return [ConfigError(flag, "", allowed, f"{program(name)} --help") for flag, value in typed.items() if value]


def _of_this_command(
    name: str, configs: Sequence[Config], typed: Sequence[str], errors: Sequence[ConfigError]
) -> list[ConfigError]:
    """Add what a command cannot follow to a grid's errors; a key has one message, and lists go without -m."""
    unread = {error.key: error for error in _not_read(name, typed)}
    others = [replace(each, fix=each.fix.removeprefix("-m ")) for each in errors if each.key not in unread]
    known = {*unread, *(error.key for error in others)}
    without_effect = [each for each in _without_effect(name, configs, typed) if each.key not in known]
    return [*unread.values(), *others, *without_effect]


def _without_effect(name: str, configs: Sequence[Config], typed: Sequence[str]) -> list[ConfigError]:
    """Find lists and keys of a run that only `train`, or only it and the benchmark, follow."""
    most = max((config.num_processes for config in configs), default=1)
    errors = list(_several(name, typed))
    if name != "benchmark" and most > 1:
        allowed = "this command measures in one process"
        errors.append(ConfigError("num_processes", most, allowed, "num_processes=1"))
    if any(config.checkpoint.every_seconds is not None for config in configs):
        key = "checkpoint.every_seconds"
        errors.append(ConfigError(key, "", "has no effect: only train keeps checkpoints", f"the command without {key}"))
    return errors


def _several(name: str, typed: Sequence[str]) -> Iterator[ConfigError]:
    """Find lists of values where a command takes one: for its own keys, and for all where it has one configuration."""
    own = [each.name for each in fields(KEYS[name])]
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    for override in parser.parse_overrides(list(typed)):
        key, _, text = (override.input_line or "").partition("=")
        is_single = key in own or name in ONE_CONFIGURATION
        if is_single and override.is_discrete_sweep() and (values := swept_values(override)):
            allowed = "one value" if key in own else "one value: this command is about one configuration"
            yield ConfigError(key, text, allowed, f"{key}={values[0]}")


def _not_read(name: str, typed: Sequence[str]) -> Iterator[ConfigError]:
    """Find keys that were typed and that a command makes nothing of."""
    own = [each.name for each in fields(KEYS[name])]
    words = [word.lstrip("+~").partition("=") for word in typed]
    read = OF_REPORT[:2] if "study" in (key for key, _, _ in words) else OF_REPORT
    for key, _, value in words:
        group = re.split(r"[./@]", key)[0]
        is_train = group in OF_TRAIN if name != "claims" else key in ("search", "experiment")
        is_read = group in read if name == "report" else not is_train
        if is_read or key in own or key == "hydra.searchpath" or value in ("none", "null"):
            continue
        allowed = "has no effect here: it is for train"
        if name == "report":
            allowed = "has no effect: a page is made of what was recorded"
        fix = (
            f"{program('claims')} {value}" if (name, key) == ("claims", "experiment") else f"the command without {key}"
        )
        yield ConfigError(key, value, allowed, fix)


def _in_brackets(word: str, name: str) -> str:
    """Return a list, a choice or a range of one of the command's own lists as a list; any other word as it is."""
    key, _, value = word.partition("=")
    lists = [each.name for each in fields(KEYS[name]) if each.type is Any]
    if key not in lists or value.startswith("["):
        return word
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    try:
        override = parser.parse_override(word)
    except HydraException:
        return word
    if not override.is_sweep_override() or override.is_interval_sweep():
        return word
    return f"{key}=[{','.join(map(str, override.sweep_iterator()))}]"
