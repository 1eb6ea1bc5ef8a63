"""Memory of this process and of its device: peak of one run though many share a process, what is free, errors."""

import ctypes
from pathlib import Path

import torch

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
CGROUPS = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"), Path("/sys/fs/cgroup/memory/memory.usage_in_bytes")),
)
"""Limit and use of the container that this process is in: version 2, version 1."""


OUT_OF_MEMORY = (
    "out of memory",  # CUDA's, its driver's and MPS's
    "can't allocate memory",  # a CPU's
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)
"""Words of torch's errors that say that memory ran out."""
NO_ENGINE = "unable to find an engine to execute this computation"
"""cuDNN's, where no workspace is left for any engine, and where there is none for the types."""
SHORT = 0.1
"""Share of a GPU's memory below which the first of these is the reason."""


def reset_peak(device: torch.device) -> None:
    """Forget the peak so far.

    On CUDA the allocator's own peak; on a CPU the peak resident set (VmHWM) of the process, on Linux only, after
    giving back what earlier runs freed.
    """
    if device.type == "cuda":
        if torch.cuda.is_initialized():
            torch.cuda.reset_peak_memory_stats(device)
    elif CLEAR.exists():
        ctypes.CDLL(None).malloc_trim(0)
        CLEAR.write_text("5")  # proc(5): resets VmHWM to the current resident set


def release_memory(device: torch.device) -> None:
    """Give back what earlier runs freed, and forget the peak; on CUDA the next steps have to ask for memory anew."""
    if device.type == "cuda" and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    reset_peak(device)


def peak_bytes(device: torch.device) -> float:
    """Return the peak since `reset_peak`, in bytes; NaN where this system does not say."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device))
    return status_bytes("VmHWM") if device.type == "cpu" else float("nan")


def status_bytes(name: str) -> float:
    """Return a size of this process as Linux states it, e.g. VmRSS or VmData, in bytes; NaN on other systems."""
    if STATUS.exists():
        for line in STATUS.read_text().splitlines():
            if line.startswith(f"{name}:"):
                return float(line.split()[1]) * 1024
    return float("nan")


def free_bytes(device: torch.device) -> int:
    """Return the memory that is free for data on the device, in bytes; on a CPU no more than the container allows."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    import psutil

    free = psutil.virtual_memory().available
    for limit, used in CGROUPS:
        # "max" = no limit; what the container's files take in the page cache counts as used
        if limit.exists() and (text := limit.read_text().strip()).isdigit():
            free = min(free, max(0, int(text) - int(used.read_text())))
    return free


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error of torch says that memory ran out, on any device."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error) if isinstance(error, RuntimeError) else ""
    if NO_ENGINE in text and torch.cuda.is_initialized():
        free, total = torch.cuda.mem_get_info()
        return free < SHORT * total
    return any(words in text for words in OUT_OF_MEMORY)
