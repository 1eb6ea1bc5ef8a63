"""Serve MLflow UI and Optuna dashboard on 127.0.0.1, pointed at the stores of this repository, until Ctrl-C.

python scripts/ui.py [mlruns=DIR] [mlflow_port=5000] [optuna_port=8080]
"""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from urllib.error import URLError
from urllib.request import urlopen

from batchlab.config.schema import REPOSITORY
from batchlab.search.storage import open_storage
from batchlab.tracking.stores import optuna_artifacts, optuna_url, tracking_uri

SECONDS_TO_START = 120


def free_port(wanted: int) -> int:
    """The wanted port, or the next one that is free."""
    for port in range(wanted, wanted + 100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port
    raise SystemExit(f"No free port from {wanted} to {wanted + 99}.")


def wait_for(address: str, server: subprocess.Popen[bytes]) -> None:
    """Return when the address answers; exit where its server has ended or takes too long."""
    until = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < until and server.poll() is None:
        try:
            urlopen(address, timeout=5).close()
            return
        except (URLError, OSError):
            time.sleep(0.5)
    raise SystemExit(f"{address} did not start; its own words stand above.")


def on_sigterm(signum: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + signum)


def main() -> int:
    signal.signal(signal.SIGTERM, on_sigterm)  # the servers end with this process, however it ends
    typed = dict(argument.split("=", 1) for argument in sys.argv[1:])
    mlruns = typed.get("mlruns", os.environ.get("BATCHLAB_MLRUNS", str(REPOSITORY / "mlruns")))
    open_storage(mlruns)
    mlflow_port = free_port(int(typed.get("mlflow_port", 5000)))
    optuna_port = free_port(int(typed.get("optuna_port", 8080)))
    mlflow = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", tracking_uri(mlruns)]
    mlflow += ["--host", "127.0.0.1", "--port", str(mlflow_port), "--workers", "1"]
    dashboard = [str(Path(sys.executable).parent / "optuna-dashboard"), optuna_url(mlruns)]
    dashboard += ["--host", "127.0.0.1", "--port", str(optuna_port), "--artifact-dir", str(optuna_artifacts(mlruns))]
    quiet = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"}
    servers = [subprocess.Popen(command, env=quiet, stdout=subprocess.DEVNULL) for command in (mlflow, dashboard)]
    try:
        for name, port, server in (
            ("MLflow UI", mlflow_port, servers[0]),
            ("Optuna dashboard", optuna_port, servers[1]),
        ):
            wait_for(f"http://127.0.0.1:{port}", server)
            print(f"{name}: http://127.0.0.1:{port}", flush=True)
        print(f"Showing {mlruns}. Ctrl-C ends both.", flush=True)
        return max(server.wait() for server in servers)
    except KeyboardInterrupt:
        return 0
    finally:
        for server in servers:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    sys.exit(main())
