"""Commands as real processes, an MLflow server, and what the stores say afterwards."""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from mlflow import MlflowClient
from optuna import load_study

from batchlab.config.schema import REPOSITORY
from batchlab.search.storage import open_storage
from batchlab.search.study import FrozenTrial, TrialState, is_done
from batchlab.tracking.spool import read
from batchlab.tracking.stores import tracking_uri

QUICK = ("data=digits", "measure=none", "num_threads=1")


def start(folder: Path, *arguments: str, program: str = "train.py", **environment: str) -> subprocess.Popen[str]:
    """A command whose results go to folder/mlruns; in a process group of its own."""
    paths = os.pathsep.join(filter(None, (environment.pop("PYTHONPATH", ""), os.environ.get("PYTHONPATH", ""))))
    fixed = {"BATCHLAB_MLRUNS": str(folder / "mlruns"), "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    env = os.environ | fixed | environment
    command = [sys.executable, str(REPOSITORY / program), *arguments]
    return subprocess.Popen(command, env=env, cwd=folder, start_new_session=True, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip


def ended(process: subprocess.Popen[str], code: int = 0) -> str:
    """What a command has printed, once it has ended with the code, and without a traceback."""
    output, _ = process.communicate(timeout=300)
    assert process.returncode == code, output
    assert "Traceback" not in output, output
    return output


def wait_until(condition: Callable[[], object], process: subprocess.Popen[str] | None = None) -> None:
    """Until it is so; a process that ends before that has failed."""
    until = time.monotonic() + 240
    while not condition():
        assert process is None or process.poll() is None, process.communicate()[0]
        assert time.monotonic() < until, "nothing happened"
        time.sleep(0.05)


def num_values(folder: Path) -> int:
    """Values in the spool so far."""
    paths = (folder / "mlruns" / "spool").glob("*.jsonl")
    return sum(len(content.values) for path in paths if (content := read(path)))


def runs_of(folder: Path, study: str, address: str = "") -> list:
    """Every training of a study, as MLflow has it."""
    client = MlflowClient(address or tracking_uri(str(folder / "mlruns")))
    found = client.get_experiment_by_name(study)
    return client.search_runs([found.experiment_id], "tags.`batchlab.role` = 'run'") if found else []


def trials_of(folder: Path, study: str) -> list[FrozenTrial]:
    """The trials of a study; nothing where there is none yet."""
    if not (folder / "mlruns" / "optuna.db").exists():
        return []
    try:
        return load_study(study_name=study, storage=open_storage(str(folder / "mlruns"))).get_trials(deepcopy=False)
    except KeyError:
        return []


def check_study(folder: Path, study: str, num_trials: int, address: str = "") -> None:
    """Every slot is done once, nothing is running, and MLflow has each done trial's values, once."""
    trials = trials_of(folder, study)
    done = [trial for trial in trials if is_done(trial)]
    assert sorted(trial.user_attrs["slot"] for trial in done) == list(range(num_trials))
    assert not [trial.number for trial in trials if trial.state in (TrialState.RUNNING, TrialState.WAITING)]
    runs = runs_of(folder, study, address)
    assert {run.info.status for run in runs} <= {"FINISHED", "KILLED", "FAILED"}
    for trial in (trial for trial in done if trial.state is TrialState.COMPLETE):
        tried = [run for run in runs if run.data.tags.get("optuna.trial_number") == str(trial.number)]
        [run] = [run for run in tried if run.info.status == "FINISHED" and "pick" not in run.data.tags]
        assert run.data.metrics["final/val_accuracy"] == trial.values[1]


def is_heeding(process: subprocess.Popen[str], number: int) -> bool:
    """Whether a process has a handler of its own for a signal."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:")).split()[1]
    return bool(int(caught, 16) >> (number - 1) & 1)


def has_loaded(process: subprocess.Popen[str], library: str) -> bool:
    """Whether a process has a shared library in its memory."""
    return library in Path(f"/proc/{process.pid}/maps").read_text()


def without_roots_rights() -> None:
    """In a child of root: folders and files are as closed to it as to anybody."""
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP; takes effect with the program


class MlflowServer:
    """An `mlflow server` on a free port, with a database and artifacts of its own.

    Args:
        folder: for both.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self.address, self._folder = f"http://127.0.0.1:{self._port}", folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it answers."""
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self._port)]
        command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{self._folder}/server.db"]
        command += ["--artifacts-destination", str(self._folder / "artifacts")]
        quiet = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"}
        with (self._folder / "log").open("a") as log:
            self._process = subprocess.Popen(command, env=quiet, stdout=log, stderr=log, start_new_session=True)
        wait_until(self._answers)

    def _answers(self) -> bool:
        try:
            with urlopen(f"{self.address}/health", timeout=5) as answer:
                return answer.status == 200
        except (URLError, OSError):
            return False

    def send(self, number: int) -> None:
        """A signal to all of its processes."""
        assert self._process is not None
        os.killpg(self._process.pid, number)

    def stop(self) -> None:
        """At once, as a host that is switched off."""
        if self._process is not None:
            self.send(signal.SIGKILL)
            self._process.wait()
            self._process = None
