"""The commands of docs/scale.md, run on free ports: servers of a team, a search over them, launchers of clusters."""

import os
import re
import secrets
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.request import urlopen

import psutil
import pytest
from mlflow import MlflowClient
from optuna import load_study

from batchlab.config.schema import REPOSITORY
from batchlab.search.storage import open_storage
from batchlab.search.study import TrialState
from scripts.bench.postgres import NoPostgres, free_port, not_root, programs

pytestmark = pytest.mark.slow
PAGE = (REPOSITORY / "docs" / "scale.md").read_text()


def commands(name: str) -> list[str]:
    """The lines of one block of the page."""
    [block] = re.findall(rf"<!-- {name} -->\n```bash\n(.*?)```", PAGE, re.DOTALL)
    return block.replace("\\\n", " ").strip().splitlines()


def words(line: str, environment: dict[str, str]) -> list[str]:
    """A command line as the shell would read it: this Python's programs come first on the path."""
    filled = re.sub(r"\$\{?(\w+)\}?", lambda match: environment[match[1]], line.removesuffix("&"))
    first, *rest = shlex.split(filled)
    return [shutil.which(first, path=environment["PATH"]) or first, *rest]


def wait_for(address: str) -> None:
    until = time.monotonic() + 120
    while True:
        try:
            urlopen(address, timeout=5).close()
            return
        except OSError:
            assert time.monotonic() < until, f"{address} does not answer"
            time.sleep(0.3)


@pytest.fixture(scope="module")
def team():
    """The servers of the page, started by its own lines; what a person has in the environment there."""
    try:
        tools = programs()
    except NoPostgres as error:
        pytest.skip(str(error))
    with tempfile.TemporaryDirectory(prefix="batchlab-team-") as folder:
        names = ("PGPORT", "MLFLOW_PORT", "DASHBOARD_PORT", "PROXY_PORT")
        path = f"{Path(sys.executable).parent}:{tools}:{os.environ['PATH']}"
        secret = secrets.token_hex(8)
        env = os.environ | {"SERVERS": folder, "PATH": path, "PGPASSWORD": secret, "OMP_NUM_THREADS": "1"}
        env |= {name: str(free_port()) for name in names} | {"BATCHLAB_MLRUNS": f"{folder}/mlruns"}
        (Path(folder) / "password").write_text(secret)
        if not_root():
            for each in (folder, f"{folder}/password"):
                shutil.chown(each, "postgres", "postgres")
        for line in commands("PostgreSQL"):
            subprocess.run(words(line, env), check=True, env=env, cwd=folder, stdout=subprocess.DEVNULL, **not_root())
        servers = [
            subprocess.Popen(
                words(line, env), env=env, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            for line in commands("servers")
        ]
        try:
            for name in ("MLFLOW_PORT", "DASHBOARD_PORT"):
                wait_for(f"http://127.0.0.1:{env[name]}/")
            yield env, servers
        finally:
            for server in servers:
                server.terminate()
            for server in servers:
                server.wait(60)
            stop = [str(tools / "pg_ctl"), "-D", f"{folder}/postgres", "-m", "fast", "stop"]
            subprocess.run(stop, check=True, cwd=folder, stdout=subprocess.DEVNULL, **not_root())


NAMES = ("cost/calibrated_train_seconds", "final/val_accuracy")


def search(env: dict[str, str], *more: str) -> str:
    """The page's search, made short."""
    [line] = commands("search")
    short = ["measure=none", "epochs=1", "batch_size=64,128", "num_threads=1", *more]
    env = env | {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{env['MLFLOW_PORT']}"}
    done = subprocess.run(
        [*words(line, env), *short], env=env, cwd=REPOSITORY, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert env["PGPASSWORD"] not in done.stdout + done.stderr
    return done.stdout


def test_a_team_searches_over_its_servers(team, monkeypatch):
    env, _ = team
    monkeypatch.setenv("PGPASSWORD", env["PGPASSWORD"])
    search(env, "hydra.sweeper.n_trials=3", "hydra.sweeper.num_workers=2")
    search(env, "hydra.sweeper.n_trials=4", "hydra.sweeper.num_workers=0",
           f"hydra.sweeper.storage=grpc://127.0.0.1:{env['PROXY_PORT']}")  # fmt: skip
    address = f"postgresql+psycopg://batchlab@127.0.0.1:{env['PGPORT']}/optuna"
    trials = load_study(study_name="together", storage=open_storage(env["BATCHLAB_MLRUNS"], address)).trials
    assert sorted(trial.user_attrs["slot"] for trial in trials) == [0, 1, 2, 3]
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 4
    client = MlflowClient(f"http://127.0.0.1:{env['MLFLOW_PORT']}")
    for trial in trials:
        run = client.get_run(trial.user_attrs["mlflow_run_ids"][0])
        assert run.data.tags["optuna.trial_number"] == str(trial.number)
        assert [run.data.metrics[name] for name in NAMES] == trial.values
        assert "weights.pt" in {file.path for file in client.list_artifacts(run.info.run_id)}
    assert list(Path(env["SERVERS"], "artifacts").rglob("weights.pt"))


def test_the_servers_of_a_team_listen_on_this_machine_only(team):
    env, servers = team
    ours = {process.pid for server in servers for process in [server, *psutil.Process(server.pid).children(True)]}
    postgres = int(Path(env["SERVERS"], "postgres", "postmaster.pid").read_text().splitlines()[0])
    listening = [each for each in psutil.net_connections("inet") if each.status == psutil.CONN_LISTEN]
    addresses = {each.laddr for each in listening if each.pid in ours | {postgres}}
    assert {address.port for address in addresses} >= {
        int(env[name]) for name in ("PGPORT", "MLFLOW_PORT", "DASHBOARD_PORT", "PROXY_PORT")
    }
    assert {address.ip for address in addresses} <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


@pytest.mark.parametrize("launcher", ["submitit_local", pytest.param("ray", marks=pytest.mark.long)])
def test_engines_of_clusters_run_trials_of_a_study_on_postgresql(launcher, postgres, tmp_path):
    if launcher == "ray":
        pytest.importorskip("hydra_plugins.hydra_ray_launcher")
    address = postgres.database(f"test_{launcher}")
    typed = ["search=joint", "study=engines", "epochs=1,2", "measure=none", "num_threads=1", "hydra.sweeper.n_trials=2",
             f"hydra.sweeper.storage={address}", f"hydra/launcher={launcher}", "hydra.sweeper.n_jobs=2"]  # fmt: skip
    typed += ["+hydra.launcher.ray.init.num_cpus=2"] if launcher == "ray" else []
    env = os.environ | {"BATCHLAB_MLRUNS": str(tmp_path / "mlruns"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(REPOSITORY / "train.py"), *typed]
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    trials = load_study(study_name="engines", storage=open_storage(str(tmp_path), address)).trials
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 2
    assert all(len(trial.user_attrs["mlflow_run_ids"]) == 1 for trial in trials)
    assert "Pareto front" in done.stdout
