"""Searches on stores other than SQLite: a journal file, PostgreSQL, and PostgreSQL behind a gRPC proxy."""

import os
import subprocess
import sys
from uuid import uuid4

import pytest
from optuna import load_study

from batchlab.config.schema import REPOSITORY
from batchlab.search.storage import open_storage
from batchlab.search.study import TrialState
from scripts.bench.postgres import free_port

pytestmark = pytest.mark.slow
SEARCH = ("search=joint", "study=stores", "batch_size=64,128", "epochs=1", "hydra.sweeper.n_trials=4")


@pytest.fixture
def journal(tmp_path):
    return str(tmp_path / "study.log")


@pytest.fixture
def database(postgres):
    return postgres.database(f"test_{uuid4().hex[:8]}")


@pytest.fixture
def grpc(database, tmp_path):
    port = free_port()
    command = [sys.executable, str(REPOSITORY / "scripts" / "proxy.py"), f"storage={database}", f"port={port}"]
    server = subprocess.Popen([*command, f"mlruns={tmp_path}"], stdout=subprocess.PIPE, text=True)
    assert server.stdout.readline().startswith(
        f"grpc://127.0.0.1:{port} stands before postgresql+psycopg://batchlab:***@"
    )
    yield f"grpc://127.0.0.1:{port}"
    server.terminate()
    assert server.wait(30) == 143


@pytest.mark.parametrize("store", [pytest.param("journal", marks=pytest.mark.long), "database", "grpc"])
def test_two_processes_share_a_study_on_any_store(store, tmp_path, request):
    address = request.getfixturevalue(store)
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
