"""Lead runs that several processes share: start the others, and have them follow."""

import atexit
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace

import torch.distributed as dist

from batchlab.distributed.launch import SECONDS_TO_END, Followers, join_torchrun
from batchlab.distributed.messages import Ranks, count_of, joined, send
from batchlab.system.torchrun_env import RanksFailed, torchrun_env
from batchlab.training.build import Built

LOST = ("Connection", "connection", "Broken pipe", "NCCL")
"""One of these words stands in every error of an exchange with a process that is gone."""
SECONDS_TO_DIE = 2.0

_team: "Team | None" = None
_has_met = False
"""Whether there ever was a team: the processes of torchrun can be met once."""


@contextmanager
def shared(built: Built) -> Iterator[Built]:
    """Share the batches of a run, built by the leader, with config.num_processes processes; nothing for one.

    Yields:
        What `run` drives; when the caller is done with it, in whatever way, the other processes are, too.

    Raises:
        RanksFailed: where one of the others ended.
    """
    if built.config.num_processes == 1:
        yield built
        return
    team = _team_of(built.config.num_processes)
    try:
        together = team.begin(built)
        yield together
        assert isinstance(together.train_step.ranks, Ranks)
        together.train_step.ranks.end()
    except BaseException as error:
        # wherever it was interrupted, the others wait for something else: no next word would be understood
        disband(error)
        raise


def _team_of(num_processes: int) -> "Team":
    global _team
    if _team is not None and _team.num_processes != num_processes:
        dismiss()
    _team = _team or Team(num_processes)
    return _team


def dismiss() -> None:
    """Have the other processes end, where there are any; those of torchrun wait for it from their start."""
    global _team
    if not _has_met and torchrun_env() is not None:
        _team = Team(0)
    if _team is not None:
        team, _team = _team, None
        team.dismiss()


def disband(error: BaseException) -> None:
    """End the other processes at once.

    Raises:
        RanksFailed: where an error in talking to them has its cause in one that ended.
    """
    global _team
    team, _team = _team, None
    is_lost = isinstance(error, RuntimeError) and any(word in str(error) for word in LOST)
    if team is not None and (why := team.disband(is_lost)) and is_lost:
        raise RanksFailed(why) from error


class Team:
    """The other processes of this command's runs, which stay from run to run; `num_processes` counts this one too."""

    def __init__(self, num_processes: int) -> None:
        global _has_met
        _has_met, self.num_processes, self._followers = True, num_processes, None
        if torchrun_env() is None:
            self._followers = Followers(num_processes)
        else:
            join_torchrun()
        atexit.register(dismiss)

    def begin(self, built: Built) -> Built:
        """Have every other process build the same run, and join them.

        Raises:
            RanksFailed: where one of them cannot.
        """
        device = "cpu" if built.device.type == "cpu" else "cuda"
        send({"config": asdict(replace(built.config, device=device)), "seed": built.seed})
        if num_failed := count_of(False):
            raise RanksFailed(f"{num_failed} of {self.num_processes} processes could not build the run")
        return joined(built)

    def dismiss(self) -> None:
        """Tell them that no run follows; they end by themselves."""
        with suppress(RuntimeError):  # one of them is gone already; so is the reason to tell it
            send(None)
            dist.destroy_process_group()
        if self._followers is not None:
            self._followers.end(SECONDS_TO_END)

    def disband(self, is_lost: bool) -> str:
        """End them where they stand, one of which does not answer where `is_lost`; say which had ended, and how."""
        if self._followers is None:
            return "Another process of the run ended; torchrun has its words."
        why = self._followers.why_ended(SECONDS_TO_DIE if is_lost else 0.0)
        self._followers.end()
        dist.destroy_process_group()
        return why
