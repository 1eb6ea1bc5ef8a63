"""Which run this is: configuration key, commit, versions, host."""

import hashlib
import json
import os
import platform
import shlex
import subprocess
import sys
from functools import lru_cache
from importlib.metadata import version
from typing import Any

from hydra.core.hydra_config import HydraConfig

from batchlab.config.installation import IS_CLONE, REPOSITORY, program
from batchlab.config.keys import Affects
from batchlab.config.resolve import flat_params
from batchlab.config.schema import Config, declared_key
from batchlab.system.environment_errors import masked

NOT_ORIGIN = ("study", "search", "objectives")
"""Keys of a command that say with which other runs one belongs, and not what it does."""
OURS = "batchlab."
OWN_SOURCES = ("hydra", "main", "schema")


def config_key(config: Config) -> str:
    """Hash the settings that change what a run does: 12 hexadecimal digits.

    Left out are settings that affect no identity, those at the schema's default (so that a new key leaves the runs of
    earlier versions what they are), and the device's index. Options of ours count by name: moving a module changes
    nothing.
    """
    return hash_of(_of_any_device(config, Affects.IDENTITY))


def curve_key(config: Config) -> str:
    """Hash what makes learning curves comparable: all but batch size, lr, seeds and the length of the budget."""
    return hash_of(_of_any_device(config, Affects.LABEL))


def _of_any_device(config: Config, what: Affects) -> dict[str, Any]:
    return settings_affecting(config, what) | {"device": config.device.split(":")[0]}


def hash_of(facts: Any) -> str:
    """Hash what JSON can hold, other values as text: 12 hexadecimal digits."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:12]


def settings_affecting(config: Config, what: Affects) -> dict[str, Any]:
    """Select the settings that affect something, by dotted key, less those at the schema's default.

    Options of ours stand by name; of a setting that affects it coarsely only counts whether it is zero.
    """
    found = {}
    for name, value in flat_params(config).items():
        declared = declared_key(name)
        if declared.affects & what and value != declared.default:
            is_coarse = isinstance(value, float) and not declared.affects & what & ~declared.coarse
            found[name] = bool(value) if is_coarse else by_name(name, value)
    return found


def by_name(key: str, value: Any) -> Any:
    """Return a setting of `flat_params` with an option of ours by its name: ``mlp`` for ``batchlab.models.mlp.mlp``."""
    is_target = key.endswith("_target_") or key.startswith("measure.sharpness.")
    if not is_target or not str(value).startswith(OURS):
        return value
    target, space, settings = str(value).partition(" ")
    return f"{target.rpartition('.')[2]}{space}{settings}"


@lru_cache(maxsize=1)
def environment() -> dict[str, str]:
    """Read commit, whether files differ from it, versions and host; once per process."""
    packages = ("torch", "hydra-core", "optuna", "mlflow", "numpy")
    return {
        "commit": (_git("rev-parse", "HEAD") or "unknown") if IS_CLONE else f"v{version('batchlab')}",
        "dirty": str(IS_CLONE and bool(_git("status", "--porcelain"))).lower(),
        "python": platform.python_version(),
        **{f"version.{package}": version(package) for package in packages},
        "host": platform.node(),
        "cpu": _cpu_name(),
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "command": masked(" ".join(sys.argv)),
    }


def origin() -> str:
    """Return the command that trains this job's configuration alone, quoted for a shell; empty outside of a Hydra job.

    Of an experiment it is the arm, with all of its settings.
    """
    if not HydraConfig.initialized():
        return ""
    hydra = HydraConfig.get()
    added = [each for each in hydra.runtime.config_sources if each.provider not in OWN_SOURCES]
    words = [*program().split(), *(["-cd", added[0].path] if len(added) == 1 else [])]
    words += ["-cn", str(hydra.job.config_name)] if hydra.job.config_name != "train" else []
    arm = hydra.sweeper.get("arm")
    own = {line.partition("=")[0] for line in hydra.sweeper.arms[arm]} if arm else set()
    task = [word for word in hydra.overrides.task if word.lstrip("+~").partition("=")[0] not in {*NOT_ORIGIN, *own}]
    task += [f"hydra.searchpath=[{','.join(f'{each.schema}://{each.path}' for each in added)}]"] if added[1:] else []
    return masked(shlex.join([*words, *(["-m", *task, f"hydra.sweeper.arm={arm}"] if arm else task)]))


def load_average() -> str:
    """Return the load average of the last minute, e.g. ``0.25``; empty where the system does not say."""
    return f"{os.getloadavg()[0]:.2f}" if hasattr(os, "getloadavg") else ""


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(REPOSITORY), *arguments], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def _cpu_name() -> str:
    try:
        with open("/proc/cpuinfo") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
