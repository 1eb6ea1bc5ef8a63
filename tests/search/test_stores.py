"""Searches on stores other than SQLite: a journal file, PostgreSQL and gRPC, with servers started here."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from optuna import load_study

from batchlab.config import REPOSITORY
from batchlab.search.storage import open_storage
from batchlab.search.study import TrialState

pytestmark = pytest.mark.slow
SEARCH = ("search=joint", "study=stores", "batch_size=64,128", "epochs=1", "hydra.sweeper.n_trials=4")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(port: int) -> None:
    until = time.monotonic() + 60
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert time.monotonic() < until, "the server did not start"
        time.sleep(0.1)


@contextmanager
def serving(*command: str, port: int, **more) -> Iterator[None]:
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **more)
    try:
        wait_for(port)
        yield
    finally:
        server.send_signal(signal.SIGINT)  # a smart shutdown of PostgreSQL would wait for clients
        server.wait(60)


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """A server of our own; initdb refuses root, so that it belongs to `postgres` there."""
    programs, initdb = shutil.which("postgres"), shutil.which("initdb")
    if not programs or not initdb:
        pytest.skip("needs PostgreSQL's server programs")
    user = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.getuid() == 0 else {}
    folder.mkdir()
    if user:
        shutil.chown(folder, "postgres", "postgres")
        for parent in list(folder.parents)[:-1]:
            parent.chmod(parent.stat().st_mode | 0o011)
    name = "postgres" if user else pwd.getpwuid(os.getuid()).pw_name
    data, port = folder / "data", free_port()
    setup = [initdb, "-D", str(data), "-A", "trust", "-E", "UTF8"]
    subprocess.run(setup, check=True, stdout=subprocess.DEVNULL, cwd=folder, **user)
    arguments = ("-D", str(data), "-p", str(port), "-k", str(folder), "-c", "listen_addresses=127.0.0.1")
    with serving(programs, *arguments, port=port, cwd=folder, **user):
        yield f"postgresql+psycopg://{name}@127.0.0.1:{port}/postgres"


@contextmanager
def grpc(folder: Path) -> Iterator[str]:
    folder.mkdir()
    port = free_port()
    code = (
        "from optuna.storages import run_grpc_proxy_server, RDBStorage; "
        f"run_grpc_proxy_server(RDBStorage('sqlite:///{folder}/behind.db'), host='127.0.0.1', port={port})"
    )
    with serving(sys.executable, "-c", code, port=port):
        yield f"grpc://127.0.0.1:{port}"


@contextmanager
def journal(folder: Path) -> Iterator[str]:
    folder.mkdir()
    yield str(folder / "study.log")


@pytest.mark.parametrize("store", [journal, postgres, grpc])
def test_two_processes_share_a_study_on_any_store(store, tmp_path):
    with store(tmp_path / "store") as address:
        env = os.environ | {"BATCHLAB_MLRUNS": str(tmp_path / "mlruns"), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, str(REPOSITORY / "train.py"), *SEARCH, f"hydra.sweeper.storage={address}"]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        both = [subprocess.Popen(command, env=env, cwd=tmp_path, **pipes) for _ in range(2)]
        outputs = [process.communicate(timeout=300)[0] for process in both]
        assert [process.returncode for process in both] == [0, 0], outputs
        again = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, check=True)
        trials = load_study(study_name="stores", storage=open_storage(str(tmp_path), address)).get_trials()
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 4
    assert sorted(trial.user_attrs["slot"] for trial in trials) == [0, 1, 2, 3]
    assert "Pareto front" in again.stdout
    assert "Retraining" not in again.stdout
