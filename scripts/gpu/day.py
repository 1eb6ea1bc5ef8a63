"""Device, configurations, clock and result lines that the scripts of a GPU day share."""

import json
import os
import signal
import statistics
import time
import traceback
from contextlib import contextmanager
from pathlib import Path

import torch

DEVICE = torch.device(os.environ.get("DAY_DEVICE", "cuda"))
CUDA = DEVICE.type == "cuda"  # elsewhere everything is tiny: a dry run of the scripts, not a measurement
OUT = Path(os.environ["DAY_OUT"])
PATIENCE = int(os.environ.get("PATIENCE", "1"))  # factor on seconds after which something counts as hanging
OUT.mkdir(parents=True, exist_ok=True)


def say(file: str, **row) -> None:
    """Print a result and append it to FILE.jsonl."""
    print(json.dumps(row), flush=True)
    with (OUT / f"{file}.jsonl").open("a") as lines:
        lines.write(json.dumps(row) + "\n")


def sync() -> None:
    if CUDA:
        torch.cuda.synchronize()


_is_registered = False


def config(*typed: str):
    global _is_registered
    from hydra import compose, initialize_config_dir

    from batchlab.config.registration import register_schema
    from batchlab.config.resolve import resolved
    from batchlab.config.schema import REPOSITORY

    if not _is_registered:
        register_schema()
        _is_registered = True
    fixed = [f"device={DEVICE}", "study=day", f"mlruns={OUT}/mlruns"]
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        return resolved(compose("train", [*fixed, *typed]))


class Late(BaseException):
    """The seconds of an attempt are over; passes the `except Exception` of what is tried."""


@contextmanager
def within(seconds: int):
    def late(*_):
        raise Late(f"took longer than {seconds} s")

    signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


def per_call(run, least_seconds=0.03 if CUDA else 0.001, repeats=15 if CUDA else 3):
    """Return the median microseconds of a call, many calls between two waits, and of enqueuing it alone (host time)."""
    for _ in range(5):
        run()
    sync()
    begun = time.perf_counter()
    run()
    sync()
    count = max(1, min(2000, int(least_seconds / max(time.perf_counter() - begun, 1e-6))))
    whole, host = [], []
    for _ in range(repeats):
        sync()
        begun = time.perf_counter()
        for _ in range(count):
            run()
        host.append((time.perf_counter() - begun) / count)
        sync()
        whole.append((time.perf_counter() - begun) / count)
    return statistics.median(whole) * 1e6, statistics.median(host) * 1e6


def error_of(error: BaseException) -> str:
    """Return the last of our lines in the traceback, and the error, in one line."""
    last = traceback.extract_tb(error.__traceback__)
    ours = [each for each in last if "batchlab" in each.filename] or last
    where = f"{ours[-1].filename.split('/src/')[-1]}:{ours[-1].lineno}" if ours else "?"
    return f"{where}: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
