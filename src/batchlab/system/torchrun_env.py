"""The rank that torchrun gave this process, and what the command line becomes there."""

import os
from dataclasses import dataclass

from batchlab.errors import ConfigError, ConfigErrors


class RanksFailed(RuntimeError):
    """A process of a run that several share has ended or does not answer; nothing that was measured is to blame."""


@dataclass(frozen=True)
class TorchrunRank:
    """A process among those of one run."""

    rank: int  # from 0, over all hosts; 0 leads
    num_processes: int  # of the run
    local_rank: int  # from 0, on this host: the index of its GPU


def torchrun_env() -> TorchrunRank | None:
    """Return the rank that torchrun gave this process; None where it was not started by torchrun, or alone."""
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
    if not all(name in os.environ for name in names) or int(os.environ["WORLD_SIZE"]) == 1:
        return None
    return TorchrunRank(*(int(os.environ[name]) for name in names[:3]))


def with_torchrun(arguments: list[str], rank: TorchrunRank) -> list[str]:
    """Return the arguments of a command line that says how many processes torchrun started.

    Raises:
        ConfigErrors: where another number or another launch was typed.
    """
    given = {"launch": "ddp", "num_processes": str(rank.num_processes)}
    typed = {key: value for key, _, value in (word.partition("=") for word in arguments)}
    started = f"torchrun started {rank.num_processes} processes"
    wrong = {key: value for key, value in given.items() if typed.get(key, value) != value}
    if wrong:
        errors = (ConfigError(key, typed[key], started, f"it without {key}=, or {key}={wrong[key]}") for key in wrong)
        raise ConfigErrors(*errors)
    return [*arguments, *(f"{key}={value}" for key, value in given.items() if key not in typed)]
