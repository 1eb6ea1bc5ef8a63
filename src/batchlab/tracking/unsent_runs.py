"""Runs in the spool whose processes are gone: sent to MLflow by the command that comes next, and by each at its end."""

import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Any

from batchlab.system.environment_errors import masked
from batchlab.system.secrets import TRACKING
from batchlab.tracking.spool import End, Spool, read, reopen
from batchlab.tracking.stores import is_server, spool_folder, store_address, why_unavailable

DIED = "its process died"
SECONDS_BETWEEN_TRIES, SECONDS_AT_END = 0.5, 5.0


@dataclass
class UnsentRuns:
    """What was found in the spool, and what became of it."""

    num_sent: int = 0  # runs that MLflow has now
    num_waiting: int = 0  # runs that it did not take
    why: str = ""  # the reason, a sentence
    is_unavailable: bool = False  # whether MLflow did not answer in time, and was not asked for the others
    died: list[str] = field(default_factory=list)  # files of runs that had no end
    cut: list[str] = field(default_factory=list)  # files of which the last line was not whole
    unreadable: list[str] = field(default_factory=list)  # files with a run's name that are none
    elsewhere: Counter[str] = field(default_factory=Counter)  # address of another MLflow -> runs that are meant for it


def send_at_start(mlruns: str) -> None:
    """Send what earlier commands left behind, and say whether MLflow's server can be reached."""
    if why := why_unavailable():
        address = masked(os.environ[TRACKING])
        print(f"MLflow at {address} {why}: runs are kept in {spool_folder(mlruns)} until it can be.", file=sys.stderr)
        return
    found = send_unsent_runs(mlruns)
    sys.stderr.writelines(f"{line}\n" for line in summary_lines(found, mlruns, is_end=False))


def send_at_end(mlruns: str) -> int:
    """Send what is left of this command and of processes of it that died, and say what could not be sent.

    Returns the exit code: 1 where a database of our own could not be written; a server that is away fails no run.
    """
    found = send_unsent_runs(mlruns, SECONDS_AT_END)
    sys.stderr.writelines(f"{line}\n" for line in summary_lines(found, mlruns, is_end=True))
    return int(bool(found.num_waiting) and not is_server())


def send_unsent_runs(mlruns: str, seconds: float = 0.0) -> UnsentRuns:
    """Send the runs of processes that are gone, trying so many seconds; end those that had not ended."""
    found, until = UnsentRuns(), time.monotonic() + seconds
    for path in run_files(mlruns):
        spool = reopen(path)
        if spool is None:
            with suppress(OSError):
                found.unreadable += [path.name] if read(path) is None else []
            continue
        try:
            if spool.header.address != store_address(mlruns):
                found.elsewhere[spool.header.address or "mlflow.db"] += 1
                continue
            _complete(spool, found)
            _send(mlruns, spool, found, until)
        finally:
            spool.close()
    return found


def run_files(mlruns: str) -> list[Path]:
    """Return the files in the spool with the name of a run: 32 hexadecimal digits."""
    return sorted(spool_folder(mlruns).glob(f"{'[0-9a-f]' * 32}.jsonl"))


def _complete(spool: Spool, found: UnsentRuns) -> None:
    """Say what is missing, and write down an end where there is none."""
    if spool.was_cut:
        found.cut.append(spool.path.name)
    if spool.end is None:
        found.died.append(spool.path.name)
        last = max((value.timestamp_ms for value in spool.waiting), default=spool.header.began_ms)
        spool.finish(End("KILLED", last, {"outcome": "killed", "cause": DIED}))


def _send(mlruns: str, spool: Spool, found: UnsentRuns, until: float) -> None:
    """Send one run; where MLflow is away, the time is used up on the first of them."""
    from batchlab.tracking.mlflow_store import TrackingUnavailable
    from batchlab.tracking.sink import send  # mlflow: seconds

    while not found.is_unavailable:
        try:
            send(mlruns, spool)
        except TrackingUnavailable as error:
            found.why = str(error)
            if error.is_refusal:
                break
            found.is_unavailable = time.monotonic() >= until
            time.sleep(0.0 if found.is_unavailable else SECONDS_BETWEEN_TRIES)
        else:
            found.num_sent += 1
            return
    found.num_waiting += 1


def summary_lines(found: UnsentRuns, mlruns: str, is_end: bool) -> Iterator[str]:
    """Yield the lines that say what became of the spool; at a command's end what it has sent is not worth one."""
    folder = spool_folder(mlruns)
    if found.num_sent and not is_end:
        yield f"{_runs(found.num_sent)} of earlier commands, kept in {folder}: sent to MLflow."
    if found.died:
        lost = "lost is what came after the last evaluation, or after the checkpoint where it keeps one"
        yield f"{_runs(len(found.died))} had no end, because the process died: KILLED; {lost}."
    for name in found.cut:
        yield f"{folder / name}: its last line was cut off and is left out."
    for name in found.unreadable:
        yield f"{folder / name}: cannot be read as a run; it was left as it is."
    for address, count in () if is_end else found.elsewhere.items():
        how = "without MLFLOW_TRACKING_URI" if address == "mlflow.db" else f"with MLFLOW_TRACKING_URI={address}"
        yield f"{_runs(count)} in {folder} for another MLflow: a command {how} sends them."
    if found.num_waiting:
        address = store_address(mlruns)
        how = f" with MLFLOW_TRACKING_URI={address}" if address else ""
        yield f"{_runs(found.num_waiting)} in {folder}: {found.why}. The next command{how} sends them."


def _runs(count: int) -> str:
    return f"{count} run{'s' if count > 1 else ''}"


def spooled_runs(mlruns: str, sweep_id: str) -> list[dict[str, dict[str, Any]]]:
    """Return a command's runs that are in the spool, as `mlflow_tables.RecordedRun` with our own id."""
    runs = []
    for path in run_files(mlruns):
        try:
            content = read(path)
        except OSError:  # sent and removed since it was listed
            continue
        if content is not None and content.header.tags.get("sweep_id") == sweep_id:
            header, end = content.header, content.end
            tags, info = header.tags | (end.tags if end else {}), {"id": header.id, "began": header.began_ms}
            # the value at a metric's largest step, as MLflow shows it
            metrics = {value.key: value.value for value in sorted(content.values, key=attrgetter("step"))}
            runs.append({"params": header.params, "metrics": metrics, "tags": tags, "info": info})
    return runs
