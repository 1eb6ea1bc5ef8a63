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

from hydra.core.hydra_config import HydraConfig

from batchlab.config.resolve import flat_params
from batchlab.config.schema import REPOSITORY, Config
from batchlab.system.environment_errors import masked

NOT_IDENTITY = (
    *("study", "seed", "num_seeds", "objectives", "mlruns", "data_root", "data.root", "data.path"),
    *("checkpoint.every_seconds", "trust"),
)
SPREAD = ("launch", "num_processes", "sync_batch_norm")
"""Keys of how a run is spread over processes: part of what it is only where it is spread."""
READ_OFF = "measure."
"""Settings of what is measured on a run; it trains the same without them."""
NOT_ORIGIN = ("study", "search", "objectives")
"""Keys of a command that say with which other runs one belongs, and not what it does."""
OWN_SOURCES = ("hydra", "main", "schema")


def config_key(config: Config) -> str:
    """Hash of the settings that change what a run does: 12 hexadecimal digits.

    Left out: names, seeds, paths, the device's index, checkpoints, objectives and measures, which are read off a run.
    memory.* counts only as long as micro_batch_size=auto is not settled: a run does what its micro-batch size says,
    typed or found.
    """
    flat = {key: value for key, value in flat_params(config).items() if key not in NOT_IDENTITY}
    settings = {key: value for key, value in flat.items() if not key.startswith(READ_OFF)}
    settings = {key: value for key, value in settings.items() if not (key.startswith("memory.") and value is None)}
    if config.launch == "single":
        settings = {key: value for key, value in settings.items() if key not in SPREAD}
    settings["device"] = config.device.split(":")[0]
    text = json.dumps(settings, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@lru_cache(maxsize=1)
def environment() -> dict[str, str]:
    """Commit, whether files differ from it, versions and host; read once per process."""
    packages = ("torch", "hydra-core", "optuna", "mlflow", "numpy")
    return {
        "commit": _git("rev-parse", "HEAD") or "unknown",
        "dirty": str(bool(_git("status", "--porcelain"))).lower(),
        "python": platform.python_version(),
        **{f"version.{package}": version(package) for package in packages},
        "host": platform.node(),
        "cpu": _cpu_name(),
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "command": masked(" ".join(sys.argv)),
    }


def origin() -> str:
    """The command that trains this job's configuration alone, quoted for a shell; empty outside of a Hydra job.

    Of an experiment it is the arm, with all of its settings.
    """
    if not HydraConfig.initialized():
        return ""
    hydra = HydraConfig.get()
    added = [each for each in hydra.runtime.config_sources if each.provider not in OWN_SOURCES]
    words = ["python", "train.py", *(["-cd", added[0].path] if len(added) == 1 else [])]
    words += ["-cn", str(hydra.job.config_name)] if hydra.job.config_name != "train" else []
    arm = hydra.sweeper.get("arm")
    own = {line.partition("=")[0] for line in hydra.sweeper.arms[arm]} if arm else set()
    task = [word for word in hydra.overrides.task if word.lstrip("+~").partition("=")[0] not in {*NOT_ORIGIN, *own}]
    task += [f"hydra.searchpath=[{','.join(f'{each.schema}://{each.path}' for each in added)}]"] if added[1:] else []
    return masked(shlex.join([*words, *(["-m", *task, f"hydra.sweeper.arm={arm}"] if arm else task)]))


def load_average() -> str:
    """Processes that wanted a core in the last minute, e.g. ``0.25``; empty where the system does not say."""
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
