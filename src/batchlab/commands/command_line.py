"""The command line of a script: the keys of a run beside the script's own, composed and checked together."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, fields
from importlib import import_module
from pathlib import Path
from typing import Any, Generic, NoReturn, TypeVar

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf

from batchlab.commands.train.preflight import stop
from batchlab.config.registration import register_schema
from batchlab.config.schema import REPOSITORY, Config
from batchlab.errors import ConfigError, ConfigErrors
from batchlab.system.exit_codes import exit_code
from batchlab.system.secrets import hide_passwords
from batchlab.system.signals import heed_signals, ignore_signals
from batchlab.tracking.store_checks import check_stores
from batchlab.tracking.unsent_runs import send_at_end, send_at_start
from batchlab.validation.grid import grid

Keys = TypeVar("Keys")


@dataclass(frozen=True)
class Command(Generic[Keys]):
    """What was typed.

    Attributes:
        keys: the script's own.
        configs: of runs; one for each combination of the lists that were typed.
        overrides: those of a run's keys, as they were typed.
    """

    keys: Keys
    configs: list[Config]
    overrides: list[str]


def run_script(name: str, kind: Callable[..., Any]) -> NoReturn:
    """What every script does: read the command line, do its job, end with its exit code; 130 on Ctrl-C.

    Args:
        name: of the package batchlab.commands.<name>; its <name>_rules.check and <name>_job.job are called (they
            import torch: not for --help), and of conf/<name>.yaml.
        kind: dataclass of the script's own keys.
    """
    if errors := hide_passwords():
        stop(errors)

    def check(keys: Any, configs: list[Config]) -> list[ConfigError]:
        return import_module(f"batchlab.commands.{name}.{name}_rules").check(keys, configs)

    def work() -> int:
        heed_signals()
        try:
            command = read_command(name, kind, sys.argv[1:], check)
            code = import_module(f"batchlab.commands.{name}.{name}_job").job(command)
        except KeyboardInterrupt:
            print("Stopped; nothing was written.", file=sys.stderr)
            return 130
        return code or send_at_end(command.configs[0].mlruns)

    code = exit_code(work)
    ignore_signals()
    sys.exit(code)


def read_command(
    name: str, kind: Callable[..., Keys], arguments: list[str], check: Callable[[Keys, list[Config]], list[ConfigError]]
) -> Command[Keys]:
    """Compose and check a script's command line; exits with code 2 and every error, 0 after --help or --cfg job.

    Args:
        name: primary configuration in conf/.
        kind: dataclass of the script's own keys; a value list for one of them needs no brackets.
        arguments: after the script's name.
        check: the script's own checks; called where nothing else is wrong.

    Returns:
        Keys and configurations that passed gate 1.
    """
    assert isinstance(kind, type)
    register_schema(kind)
    own = [each.name for each in fields(kind)]  # pyright: ignore[reportArgumentType]
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3", job_name=name):
        shown = [word for word in arguments if word.startswith("-")]
        overrides = [_in_brackets(word, own) for word in arguments if not word.startswith("-") and word != "job"]
        _show(name, shown, overrides)
        configs, errors = grid(name, overrides, [], is_multirun=True)
        errors += _one_process(name, configs)
        if errors:
            stop(errors)
        composed = compose(name, [each for each in overrides if each.partition("=")[0] in own])
        values: Any = OmegaConf.to_container(OmegaConf.masked_copy(composed, own), resolve=True)
    if any(config.checkpoint.every_seconds is not None for config in configs):
        key = "checkpoint.every_seconds"
        stop([ConfigError(key, "", "has no effect: only train.py keeps checkpoints", f"the command without {key}")])
    keys = kind(**values)
    errors = check_stores(configs[0].mlruns)
    if not errors:
        send_at_start(configs[0].mlruns)  # a check may look for a study whose runs were left behind
        try:
            errors = check(keys, configs)
        except ConfigErrors as error:  # data that cannot be read shows where it is first asked for
            errors = list(error.errors)
    if errors:
        stop(errors)
    return Command(keys, configs, [each for each in overrides if each.partition("=")[0] not in own])


def _one_process(name: str, configs: list[Config]) -> list[ConfigError]:
    """Only the benchmark measures what several processes do; another script would not say that it does not."""
    most = max((config.num_processes for config in configs), default=1)
    if name == "benchmark" or most == 1:
        return []
    return [ConfigError("num_processes", most, "this script measures in one process", "num_processes=1")]


def _show(name: str, shown: list[str], overrides: list[str]) -> None:
    """Answer --help and --cfg job, and refuse other words with a dash."""
    if not shown:
        return
    if shown[0] in ("--help", "-h"):
        config = compose(name, return_hydra_config=True)
        print(OmegaConf.masked_copy(config.hydra.help, ["header"]).header.strip())
    elif shown[0] in ("--cfg", "-c"):
        print(OmegaConf.to_yaml(compose(name, overrides)), end="")
    else:
        allowed = "is no option of a script; lists are compared without it"
        stop([ConfigError(word, "", allowed, f"scripts/{Path(sys.argv[0]).name} --help") for word in shown])
    sys.exit(0)


def _in_brackets(word: str, own: list[str]) -> str:
    """A list, a choice or a range of one of the script's own keys as a list; any other word as it is."""
    key, _, value = word.partition("=")
    if key not in own or value.startswith("["):
        return word
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    try:
        override = parser.parse_override(word)
    except HydraException:
        return word
    if not override.is_sweep_override() or override.is_interval_sweep():
        return word
    return f"{key}=[{','.join(map(str, override.sweep_iterator()))}]"
