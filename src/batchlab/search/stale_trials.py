"""The lease of the process that runs a trial, by which any other can tell whether that process lives."""

import os
import platform
import time
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import psutil

from batchlab.search.retry import last_trouble

SECONDS_BETWEEN_BEATS = 20.0
SECONDS_WITHOUT_BEAT = 90.0
"""A process on another host whose beat stood still for so long, by our own clock, is dead."""


@dataclass(frozen=True)
class Lease:
    """A process and its last sign of life."""

    host: str  # the machine's name, for people
    realm: str  # boot and PID namespace; within one realm a PID says it all
    pid: int  # process id
    started: str  # when the process started, in the kernel's own ticks: a PID that is used again differs
    beat: int = 0  # grows while the process lives

    def as_attribute(self, beat: int = 0) -> dict[str, Any]:
        """Return what is kept in a trial's user attributes."""
        return asdict(self) | {"beat": beat}


@lru_cache(maxsize=1)
def _realm() -> str:
    boot, namespace = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    if boot.exists() and namespace.exists():
        return f"{boot.read_text().strip()} {namespace.readlink()}"
    return f"{platform.node()} {int(psutil.boot_time())}"


def _started(pid: int) -> str | None:
    """When a process started; None where there is none, or only its unburied remains."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] in ("Z", "X") else fields[19]
    except OSError:
        if Path("/proc/self/stat").exists():
            return None
    try:
        return str(psutil.Process(pid).create_time())
    except psutil.NoSuchProcess:
        return None


def own_lease() -> Lease:
    """Make the lease of this process."""
    return Lease(platform.node(), _realm(), os.getpid(), _started(os.getpid()) or "")


class StaleTrialDetector:
    """Tells dead processes from living ones; remembers when it saw each beat of another host for the first time."""

    def __init__(self) -> None:
        self._seen: dict[tuple[Any, ...], float] = {}

    def is_dead(self, attribute: dict[str, Any] | None) -> bool:
        """Tell whether the process of a trial's lease is gone.

        Beats that could not be written because the store was away do not count as missing: time begins anew then.
        No lease (None) is dead: taking a slot and writing the lease happen under one lock.
        """
        if attribute is None:
            return True
        lease = Lease(**attribute)
        if lease.realm == _realm():
            return _started(lease.pid) != lease.started
        key, now = tuple(attribute.values()), time.monotonic()
        return now - max(self._seen.setdefault(key, now), last_trouble()) > SECONDS_WITHOUT_BEAT
