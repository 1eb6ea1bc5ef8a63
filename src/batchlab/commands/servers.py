"""`batchlab ui` and `batchlab proxy`: servers that run until a signal comes."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from batchlab.config.installation import REPOSITORY, program
from batchlab.system.environment_errors import masked

UI = """\
Serve MLflow UI and Optuna dashboard on 127.0.0.1, pointed at the stores of a folder of results, until Ctrl-C.

{program} [mlruns=DIR] [mlflow_port=5000] [optuna_port=8080]"""
PROXY = """\
Stand between PostgreSQL and more workers than it has connections for: Optuna's gRPC proxy, until Ctrl-C.

{program} storage=postgresql+psycopg://... [host=127.0.0.1] [port=13000] [threads=16] [mlruns=DIR]

Workers type hydra.sweeper.storage=grpc://host:port. The password is better kept in ~/.pgpass or PGPASSWORD than typed.
Whoever reaches the port may read and write every study: it asks for no password, and listens on this machine alone
unless host= says otherwise."""
SECONDS_TO_START = 120


def serve_ui() -> int:
    """Serve both pages until one ends or a signal comes; the servers end with this process."""
    typed = _settings(UI.format(program=program("ui")), {"mlflow_port": "5000", "optuna_port": "8080"})
    from batchlab.search.storage import open_storage
    from batchlab.tracking.stores import optuna_artifacts, optuna_url, tracking_uri

    mlruns = typed["mlruns"]
    open_storage(mlruns)
    ports = {
        "MLflow UI": free_port(int(typed["mlflow_port"])),
        "Optuna dashboard": free_port(int(typed["optuna_port"])),
    }
    mlflow_port, optuna_port = map(str, ports.values())
    mlflow = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", tracking_uri(mlruns)]
    mlflow += ["--host", "127.0.0.1", "--port", mlflow_port, "--workers", "1"]
    dashboard = [str(Path(sys.executable).parent / "optuna-dashboard"), optuna_url(mlruns)]
    dashboard += ["--host", "127.0.0.1", "--port", optuna_port, "--artifact-dir", str(optuna_artifacts(mlruns))]
    quiet = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"}
    servers = [subprocess.Popen(command, env=quiet, stdout=subprocess.DEVNULL) for command in (mlflow, dashboard)]
    try:
        for (name, port), server in zip(ports.items(), servers, strict=True):
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


def serve_proxy() -> int:
    """Answer a search's workers from a database until a signal comes."""
    defaults = {"storage": "", "host": "127.0.0.1", "port": "13000", "threads": "16"}
    typed = _settings(usage := PROXY.format(program=program("proxy")), defaults)
    address, host, port = typed["storage"], typed["host"], int(typed["port"])
    if not address.startswith("postgresql"):
        print(usage, file=sys.stderr)
        return 2
    from batchlab.search.storage import start_proxy

    server = start_proxy(typed["mlruns"], address, host, port, int(typed["threads"]))
    print(f"grpc://{host}:{port} stands before {masked(address)}. Ctrl-C ends it.", flush=True)
    try:
        server.wait_for_termination()
    except KeyboardInterrupt:
        return 0
    finally:
        server.stop(grace=5).wait()
    return 0


def free_port(wanted: int) -> int:
    """Return the wanted port, or the next one that is free."""
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


def _settings(usage: str, defaults: Mapping[str, str]) -> dict[str, str]:
    """Read key=value words; --help or a word that is none of them shows the usage and exits with 0 or 2."""
    signal.signal(signal.SIGTERM, lambda signum, _frame: sys.exit(128 + signum))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    known = {"mlruns": os.environ.get("BATCHLAB_MLRUNS", str(REPOSITORY / "mlruns")), **defaults}
    typed = {key: value for key, _, value in (word.partition("=") for word in sys.argv[1:])}
    is_help = not {"--help", "-h"}.isdisjoint(typed)
    if is_help or not known.keys() >= typed.keys():
        print(usage, file=sys.stdout if is_help else sys.stderr)
        raise SystemExit(0 if is_help else 2)
    return known | typed
