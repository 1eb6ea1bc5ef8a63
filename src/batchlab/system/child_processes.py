"""Processes that a command starts: what they find in their environment, and how they end with it."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Collection
from pathlib import Path

SWEEP_ID = "BATCHLAB_SWEEP_ID"
"""Environment variable that tells every process of one command which command it is."""
WORKER, UNTIL = "BATCHLAB_WORKER", "BATCHLAB_UNTIL"
"""Environment of a search's worker: its place, and time.monotonic() at which to stop: one clock for all of a host."""
PR_SET_PDEATHSIG = 1
SECONDS_BETWEEN_LOOKS = 0.02

Process = subprocess.Popen[bytes]


def module_command(module: str, *arguments: str) -> tuple[list[str], dict[str, str]]:
    """Return command line and environment of a module of ours in a process that imports what this one does."""
    paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
    return [sys.executable, "-P", "-m", module, *arguments], os.environ | {"PYTHONPATH": paths}


def available_cores() -> list[int]:
    """List the cores that this process may use, by number."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def end_with_parent(signum: int) -> None:
    """Have the kernel send this process a signal when its parent dies, where it can."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signum)


def leave_interrupts_to_parent() -> None:
    """Ignore Ctrl-C, which reaches every process of a terminal: the parent ends its children in good order."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def describe_exit(code: int) -> str:
    """Say how a process ended: exit codes below 0 are signals."""
    if code >= 0:
        return f"ended with exit code {code}"
    cause = " (out of memory?)" if -code == signal.SIGKILL else ""
    return f"was ended by {signal.Signals(-code).name}{cause}"


def last_lines(log: Path, count: int) -> list[str]:
    """Return the end of what a process wrote."""
    return log.read_text(errors="replace").strip().splitlines()[-count:]


def wait_for(processes: Collection[Process], seconds: float) -> None:
    """Wait until every process has ended, at most so long."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and any(process.poll() is None for process in processes):
        time.sleep(SECONDS_BETWEEN_LOOKS)


def end_all(processes: Collection[Process], seconds: float) -> None:
    """Wait so long for processes to end by themselves, then kill them; none is left."""
    wait_for(processes, seconds)
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.wait()
