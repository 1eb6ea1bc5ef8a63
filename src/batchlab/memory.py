"""Peak memory of one run, though many share a process."""

import ctypes
from pathlib import Path

import torch

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def reset_peak(device: torch.device) -> None:
    """Forget the peak so far, and give back what earlier runs freed.

    On CUDA the allocator's own peak; on a CPU the peak resident set (VmHWM) of the process, on Linux only.
    """
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    elif CLEAR.exists():
        ctypes.CDLL(None).malloc_trim(0)
        CLEAR.write_text("5")  # proc(5): resets VmHWM to the current resident set


def peak_bytes(device: torch.device) -> float:
    """Peak since `reset_peak`, in bytes; NaN where this system does not say."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device))
    if device.type == "cpu" and STATUS.exists():
        for line in STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return float(line.split()[1]) * 1024
    return float("nan")


def free_bytes(device: torch.device) -> int:
    """Memory that is free for data on the device, in bytes."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    import psutil

    return psutil.virtual_memory().available
