"""How good a front a search finds in so many training seconds."""

import math
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from batchlab.config.schema import Config
from batchlab.search.storage import find_study
from batchlab.search.study import TrialState

WORST_ERROR = 0.2
"""Validation error of the reference point."""
POLL_SECONDS = 0.5
SECONDS = (0.01, 10.0)
"""Ends of the axis of training seconds, which is logarithmic."""


def search_front(
    config: Config, seed: int, *, words: list[str], train_seconds: float, timeout: float
) -> dict[str, float]:
    """Search with the command that a person would type, and measure what it found in so many training seconds.

    Trials count until their training seconds add up to so many; after `timeout` seconds the search is stopped. The
    words of its command line follow those that the configuration gives, e.g. ``batch_size=128``.

    Returns:
        front/hypervolume of (log seconds, error), each in [0, 1] of its range, front/num_trials that counted, and
        front/error, the least error among them.

    Raises:
        RuntimeError: where the search failed, or the timeout left too few training seconds.
    """
    with TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "batchlab.commands.main", "train", "search=joint", f"mlruns={folder}",
                   "study=front", f"seed={seed}", f"data_root={config.data_root}",
                   f"num_threads={config.num_threads or 1}", "measure=none", "hydra.sweeper.prune=false",
                   "hydra.sweeper.n_trials=1000",
                   f"hydra.sweeper.timeout={timeout}", *words]  # fmt: skip
        with (Path(folder) / "stderr").open("w+") as said:
            search = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said)
            try:
                while search.poll() is None and sum(seconds for seconds, _ in _trials(folder)) <= train_seconds:
                    time.sleep(POLL_SECONDS)
                ended = search.poll()  # by itself, and not because enough was trained
            finally:  # a Ctrl-C leaves no search behind
                search.terminate()
                search.wait()
            if ended:
                said.seek(0)
                raise RuntimeError(f"the search ended with {ended}: {said.read().strip()[-300:]}")
        return _of_trials(_trials(folder), train_seconds)


def _trials(folder: str) -> list[tuple[float, float]]:
    """Return training seconds and validation error of the trials that are done, in the order of their numbers."""
    study = find_study(folder, "front")
    trials = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE]) if study else []
    return [(each.values[0], 1 - each.values[1]) for each in trials if each.values]


def _of_trials(trials: Sequence[tuple[float, float]], train_seconds: float) -> dict[str, float]:
    counted, spent = [], 0.0
    for seconds, error in trials:
        spent += seconds
        if spent > train_seconds:
            break
        counted.append((seconds, error))
    if spent <= train_seconds:
        raise RuntimeError(f"the search trained for {spent:.1f} s before its timeout, {train_seconds} were to count")
    area = hypervolume(counted)
    return {"front/hypervolume": area, "front/num_trials": float(len(counted)),
            "front/error": min(error for _, error in counted)}  # fmt: skip


def hypervolume(points: Sequence[tuple[float, float]]) -> float:
    """Return the share of the box that (seconds, error) dominate: log seconds in `SECONDS`, errors to `WORST_ERROR`.

    Source: Zitzler and Thiele 1998 (size of the space covered).
    """
    low, high = map(math.log, SECONDS)
    scaled = [((math.log(seconds) - low) / (high - low), error / WORST_ERROR) for seconds, error in points]
    area, lowest = 0.0, 1.0
    for x, y in sorted((max(x, 0.0), y) for x, y in scaled if x < 1 and y < 1):
        if y < lowest:
            area += (1 - x) * (lowest - y)
            lowest = y
    return area
