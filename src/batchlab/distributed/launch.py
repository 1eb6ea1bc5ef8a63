"""Start and join the processes of a run, on this host or as torchrun started them.

They talk through gloo, and exchange what lies on GPUs through nccl. Those that are started here meet through a file
and listen on the loopback interface only.
"""

import os
import signal
import subprocess
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from batchlab.system.child_processes import (
    describe_exit,
    end_all,
    end_with_parent,
    last_lines,
    leave_interrupts_to_parent,
    module_command,
)
from batchlab.system.signals import check_stop
from batchlab.system.torchrun_env import RanksFailed, torchrun_env

SECONDS_TO_START = 120.0
SECONDS_TO_END = 5.0
TIMEOUT = timedelta(days=1)
"""Of one exchange through gloo: the leader may evaluate long, and a process that dies closes its connections."""
GPU_TIMEOUT = timedelta(minutes=5)
"""Of one exchange between GPUs, which all processes have begun: NCCL does not notice that one of them dies."""

_gpus: "dist.ProcessGroup | None" = None


def join(folder: Path, rank: int, num_processes: int) -> None:
    """Join the processes that meet in a folder of this host."""
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    _join(init_method=(folder / "store").as_uri(), rank=rank, world_size=num_processes)


def join_torchrun() -> None:
    """Join the processes that torchrun started; it said in the environment where they meet."""
    _join()


def _join(**where: Any) -> None:
    global _gpus
    dist.init_process_group("gloo", timeout=TIMEOUT, **where)
    _gpus = None


def group_of(device: torch.device) -> "dist.ProcessGroup | None":
    """Return the group through which tensors of a device are exchanged; None is gloo's, of all processes.

    The first time for GPUs every process asks at the same time, which makes the group.
    """
    global _gpus
    if device.type != "cuda":
        return None
    if _gpus is None:
        made = dist.new_group(backend="nccl", timeout=GPU_TIMEOUT)
        _gpus = made if isinstance(made, dist.ProcessGroup) else None
    return _gpus


def local_rank() -> int:
    """Return this process's number on its host."""
    place = torchrun_env()
    return dist.get_rank() if place is None else place.local_rank


class Followers:
    """The other processes of this command's runs, started here; `num_processes` of a run counts this one too."""

    def __init__(self, num_processes: int) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="batchlab-ranks-")
        folder, self._processes = Path(self._folder.name), {}
        for rank in range(1, num_processes):
            arguments = (str(folder), str(rank), str(num_processes))
            command, environment = module_command("batchlab.distributed.follower", *arguments)
            with (folder / f"{rank}.log").open("w") as log:
                nothing = subprocess.DEVNULL
                self._processes[rank] = subprocess.Popen(
                    command, stdin=nothing, stdout=log, stderr=log, env=environment, preexec_fn=_bind_to_parent
                )
        self._wait_until_ready(folder)
        join(folder, 0, num_processes)

    def why_ended(self, seconds: float = 0.0) -> str:
        """Return which of them ended and how, with its last lines; empty where all live.

        So many seconds are waited for the first to end: its connections close before it is gone.
        """
        until = time.monotonic() + seconds
        while time.monotonic() < until and all(process.poll() is None for process in self._processes.values()):
            time.sleep(0.02)
        for rank, process in self._processes.items():
            if (code := process.poll()) is not None:
                words = last_lines(Path(self._folder.name) / f"{rank}.log", 5)
                return "\n".join([f"Process {rank} of the run {describe_exit(code)}.", *words])
        return ""

    def end(self, seconds: float = 0.0) -> None:
        """Wait so long for them to end by themselves; then end them."""
        end_all(self._processes.values(), seconds)
        self._folder.cleanup()

    def _wait_until_ready(self, folder: Path) -> None:
        until = time.monotonic() + SECONDS_TO_START
        while not all((folder / f"{rank}.ready").exists() for rank in self._processes):
            time.sleep(0.02)
            try:
                check_stop()
                if (why := self.why_ended()) or time.monotonic() > until:
                    raise RanksFailed(why or f"The processes of the run were not ready after {SECONDS_TO_START:g} s.")
            except BaseException:
                self.end()
                raise


def _bind_to_parent() -> None:
    leave_interrupts_to_parent()
    end_with_parent(signal.SIGKILL)
