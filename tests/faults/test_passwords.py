"""A password in an address is nowhere in what a command prints and writes, whoever runs its jobs: real servers."""

import importlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest

from batchlab.config.schema import REPOSITORY
from batchlab.system.secrets import hand_on
from batchlab.tracking.stores import masked

SECRET = "geheim42"
STORE = f"postgresql+psycopg://user:{SECRET}@127.0.0.1"
SEARCH = ("search=joint", "epochs=1,2", "batch_size=32,64", "lr=0.02", "num_threads=1", "measure=none", "study=secret")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def told(done: subprocess.CompletedProcess[str], folder: Path, secret: str) -> list[str]:
    """Where a secret stands: in what was printed, and in any file below a folder, databases among them."""
    places = [name for name, text in (("stdout", done.stdout), ("stderr", done.stderr)) if secret in text]
    return places + [str(path) for path in folder.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]


def test_postgresqls_password_goes_to_libpq_and_mlflows_to_mlflow():
    environment = {"MLFLOW_TRACKING_URI": f"https://me:{SECRET}%40x@host/mlflow"}
    typed = ["train.py", "search=joint", f"hydra.sweeper.storage={STORE}:1/x", "'{url: postgresql://a:geheim42@b/c}'"]
    words, errors = hand_on(typed, environment)
    assert errors == []
    assert words[2:] == ["hydra.sweeper.storage=postgresql+psycopg://user@127.0.0.1:1/x", "'{url: postgresql://a@b/c}'"]
    assert environment == {
        "MLFLOW_TRACKING_URI": "https://host/mlflow",
        "MLFLOW_TRACKING_USERNAME": "me",
        "MLFLOW_TRACKING_PASSWORD": f"{SECRET}@x",
        "PGPASSWORD": SECRET,
    }


def test_two_postgresqls_with_one_password_share_it_and_two_passwords_are_refused():
    environment = {"MLFLOW_TRACKING_URI": f"{STORE}/mlflow"}
    assert hand_on([f"storage={STORE}/optuna"], environment) == (
        ["storage=postgresql+psycopg://user@127.0.0.1/optuna"],
        [],
    )
    assert environment["MLFLOW_TRACKING_URI"] == "postgresql+psycopg://user@127.0.0.1/mlflow"
    _, [error] = hand_on(["storage=postgresql://user:other@host/optuna"], environment)
    assert "~/.pgpass" in error.fix
    assert "other" not in str(error)


@pytest.mark.parametrize("address", [f"mysql://me:{SECRET}@host/x", f"postgresql://host/x?user=me&password={SECRET}"])
def test_a_password_that_cannot_be_handed_on_is_refused_and_not_repeated(address):
    words, [error] = hand_on([f"hydra.sweeper.storage={address}"], {})
    assert words == [f"hydra.sweeper.storage={address}"]
    assert SECRET not in masked(str(error))


def test_addresses_without_a_password_are_left_alone():
    typed = ["storage=postgresql://user@host:5432/x", "data.path=http://host:80/a@b", "lr=0.1", "grpc://host:1"]
    assert hand_on(typed, {}) == (typed, [])


@pytest.mark.slow
def test_a_store_that_does_not_answer_is_named_without_its_password(type_command, tmp_path):
    done = type_command(*SEARCH, f"hydra.sweeper.storage={STORE}:{free_port()}/x", "hydra.sweeper.n_trials=2")
    assert done.returncode == 2, done.stderr
    assert "hydra.sweeper.storage=postgresql+psycopg://user@127.0.0.1" in done.stderr
    assert told(done, tmp_path, SECRET) == []


@pytest.mark.slow
def test_an_mlflow_that_does_not_answer_is_named_without_its_password(type_command, tmp_path):
    address = f"http://user:{SECRET}@127.0.0.1:{free_port()}"
    done = type_command("epochs=1", MLFLOW_TRACKING_URI=address, MLFLOW_HTTP_REQUEST_MAX_RETRIES="0")
    assert told(done, tmp_path, SECRET) == []


@pytest.mark.slow
def test_a_password_in_a_file_is_refused(type_command, tmp_path):
    (tmp_path / "mine" / "extra").mkdir(parents=True)
    node = f"hydra: {{sweeper: {{storage: '{STORE}:1/x'}}}}"
    (tmp_path / "mine" / "extra" / "mine.yaml").write_text(f"# @package _global_\n{node}\n")
    (tmp_path / "results").mkdir()
    done = type_command("-cd", "mine", *SEARCH, "+extra=mine", "trust=[hydra]")
    assert done.returncode == 2
    assert "user:***@127.0.0.1:1/x: a password in a file is copied into the folder of each job" in done.stderr
    assert told(done, tmp_path / "results", SECRET) == []


@contextmanager
def mlflow_server(folder: Path) -> Iterator[str]:
    """MLflow's own server on a free port; it takes any password."""
    folder.mkdir()
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += [
        "--backend-store-uri",
        f"sqlite:///{folder}/served.db",
        "--artifacts-destination",
        str(folder / "files"),
    ]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    try:
        until = time.monotonic() + 120
        while True:
            try:
                urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                break
            except OSError:
                assert time.monotonic() < until, (folder / "log").read_text()
                time.sleep(0.2)
        yield f"http://user:{SECRET}@127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


@pytest.mark.slow
@pytest.mark.parametrize(
    "how", ["hydra.sweeper.num_workers=2", pytest.param("hydra/launcher=joblib", marks=pytest.mark.long)]
)
def test_a_search_on_postgresql_and_mlflow_servers_writes_no_password_down(tmp_path, how):
    postgres = importlib.import_module("scripts.bench.postgres")
    with postgres.serving() as server, mlflow_server(tmp_path / "server") as tracking:
        address = server.database("secret")
        env = os.environ | {"BATCHLAB_MLRUNS": str(tmp_path / "mlruns"), "OMP_NUM_THREADS": "1"}
        env |= {"MLFLOW_TRACKING_URI": tracking}
        typed = [*SEARCH, f"hydra.sweeper.storage={address}", "hydra.sweeper.n_trials=3", how]
        command = [sys.executable, str(REPOSITORY / "train.py"), *typed]
        done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=280)
        tables = server.ask(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'", database="secret"
        )
        rows = [row for (table,) in tables for row in server.ask(f'SELECT * FROM "{table}"', database="secret")]
    assert done.returncode == 0, done.stderr
    assert "Pareto front" in done.stdout
    assert rows
    for secret in (SECRET, postgres.PASSWORD):
        assert told(done, tmp_path, secret) == []
        assert secret not in str(rows)
