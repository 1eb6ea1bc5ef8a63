"""A throw-away PostgreSQL of Debian's programs on a free port of 127.0.0.1, for measurements and tests.

    with serving() as server:
        server.address("optuna")    # a database of its own, with the password in the address
        server.stop(); server.start()

Users need a password, so that it is seen where one is not masked. Data lie in a temporary folder and go with it.
"""

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

USER, PASSWORD = "batchlab", "open-sesame"
SECONDS_TO_START = 60.0
PR_SET_PDEATHSIG = 1


class NoPostgres(RuntimeError):
    """PostgreSQL's server programs are not installed; the text says what to type."""


def programs() -> Path:
    """The folder of initdb and postgres; of several versions the highest.

    Raises:
        NoPostgres: where there is none.
    """
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name), reverse=True)
    on_path = shutil.which("initdb")
    for folder in [*debian, *([Path(on_path).parent] if on_path else [])]:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise NoPostgres("needs PostgreSQL's server programs: apt-get install postgresql")


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def not_root() -> dict[str, Any]:
    """As whom the programs run: initdb refuses root, so that there it is Debian's user postgres."""
    return {"user": "postgres", "group": "postgres", "extra_groups": []} if os.getuid() == 0 else {}


class Postgres:
    """A server with its data.

    Args:
        folder: empty; belongs to the user that the programs run as.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._programs, self.port = folder, programs(), free_port()
        self._server: subprocess.Popen[bytes] | None = None
        secret = folder / "password"
        secret.write_text(PASSWORD)
        if not_root():
            shutil.chown(secret, "postgres", "postgres")
        command = [str(self._programs / "initdb"), "-D", str(folder / "data"), "-U", USER, "-E", "UTF8", "--no-sync"]
        command += ["--auth", "scram-sha-256", "--pwfile", str(secret)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder, **not_root())

    @property
    def pid(self) -> int:
        """Of the server, while it runs."""
        assert self._server is not None
        return self._server.pid

    def address(self, database: str = "postgres", *, password: str = PASSWORD) -> str:
        """An address of SQLAlchemy, password and all."""
        return f"postgresql+psycopg://{USER}:{password}@127.0.0.1:{self.port}/{database}"

    def ask(self, question: str, *, database: str = "postgres") -> list[tuple[Any, ...]]:
        """The rows of an SQL statement, as the user that may do everything."""
        with self._connect(database) as connection:
            cursor = connection.execute(question.encode())
            return cursor.fetchall() if cursor.description else []

    def database(self, name: str) -> str:
        """A new empty database; returns its address."""
        self.ask(f'CREATE DATABASE "{name}"')
        return self.address(name)

    def cut(self, database: str) -> int:
        """Cut every connection to a database; returns how many there were."""
        rows = self.ask(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'")
        return len(rows)

    def start(self) -> None:
        """Start the server, on the same port every time; returns when it answers."""
        command = [str(self._programs / "postgres"), "-D", str(self._folder / "data"), "-p", str(self.port)]
        command += ["-k", str(self._folder), "-c", "listen_addresses=127.0.0.1"]
        with (self._folder / "log").open("a") as log:
            server = self._server = subprocess.Popen(  # pyright: ignore[reportAttributeAccessIssue]
                command, stdout=log, stderr=log, cwd=self._folder, preexec_fn=_end_with_parent, **not_root()
            )
        until = time.monotonic() + SECONDS_TO_START
        while True:
            try:
                self._connect("postgres").close()
                return
            except psycopg.OperationalError:
                if time.monotonic() > until or server.poll() is not None:
                    raise RuntimeError((self._folder / "log").read_text()[-2000:]) from None
            time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop the server.

        Args:
            how: SIGINT as an administrator does it, connections are closed at once (SIGTERM would wait for clients);
                SIGQUIT without writing anything down.
        """
        if self._server is not None:
            self._server.send_signal(how)
            self._server.wait(60)
            self._server = None

    def _connect(self, database: str) -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user=USER, password=PASSWORD, dbname=database, autocommit=True
        )


@contextmanager
def serving() -> Iterator[Postgres]:
    """A server that runs within the block, and leaves nothing.

    Raises:
        NoPostgres: where its programs are not installed.
    """
    programs()
    with tempfile.TemporaryDirectory(prefix="batchlab-postgres-") as folder:
        if not_root():
            shutil.chown(folder, "postgres", "postgres")
        server = Postgres(Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.stop(signal.SIGQUIT)


def _end_with_parent() -> None:
    os.setpgrp()  # a Ctrl-C is for the script, which then stops the server
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGINT)
