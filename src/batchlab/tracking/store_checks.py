"""What stands in the stores' places before anything begins: read-only folders, other programs' files, wrong addresses.

Files are looked at with SQLite alone and never written: MLflow and Optuna would add their tables to whatever database
they are given, and MLflow tries for 100 s to open a file that is none.
"""

import errno
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote, urlsplit

from batchlab.errors import ConfigError
from batchlab.system.environment_errors import masked
from batchlab.system.secrets import TRACKING
from batchlab.tracking.stores import RESTORE, SERVERS, sqlite_path, tracking_uri

DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
OWN = (".lock", "spool", "artifacts", "artifacts-optuna", "reports", "hydra")
"""What commands write in a folder of results, beside the databases."""
ENOUGH = 1 << 16
"""Bytes that must fit before anything begins: what a spool file and a page of each database take."""
ANOTHER = "mlruns=/a/folder/of/yours"


@dataclass(frozen=True)
class Owner:
    """Whose database it is."""

    name: str  # of the program
    tables: frozenset[str]  # some of its own
    package: str  # which Python package it is
    migrations: str  # folder of its alembic migrations, in the package
    upgrade: str  # command that brings an older database up to date


MLFLOW = Owner(
    "MLflow",
    frozenset({"experiments", "runs", "metrics", "params", "tags"}),
    "mlflow",
    "store/db_migrations/versions",
    "mlflow db upgrade sqlite:///{}",
)
OPTUNA = Owner(
    "Optuna",
    frozenset({"studies", "trials", "trial_params"}),
    "optuna",
    "storages/_rdb/alembic/versions",
    "optuna storage upgrade --storage sqlite:///{}",
)


def check_stores(mlruns: str) -> list[ConfigError]:
    """Return every error of the places where results go; nothing is written, and no server is asked."""
    address, folder = os.environ.get(TRACKING, ""), Path(mlruns).absolute()
    errors = list(unwritable(mlruns))
    if reason := _address_fault(address):
        fix = f"{TRACKING}=http://127.0.0.1:5000, or none for mlflow.db in mlruns"
        errors.append(ConfigError(TRACKING, masked(address), reason, fix))
    if errors:
        return errors
    named = ConfigError("mlruns", mlruns, "", "mlruns=/another/folder")
    if not address:
        errors += _database(folder / "mlflow.db", MLFLOW, named)
    elif address.startswith("sqlite:///"):
        fix = f"{TRACKING}=sqlite:////another/file.db, or none for mlflow.db in mlruns"
        errors += _database(Path(address.removeprefix("sqlite:///")), MLFLOW, ConfigError(TRACKING, address, "", fix))
    return [*errors, *_database(folder / "optuna.db", OPTUNA, named)]


def check_study(mlruns: str, study: str) -> Iterator[ConfigError]:
    """Find a study whose experiment was deleted in MLflow, which then takes no run of that name; no server is asked."""
    path = sqlite_path(tracking_uri(mlruns))
    if path is None or not path.exists() or not path.stat().st_size:
        return
    asked = "SELECT experiment_id FROM experiments WHERE name = ? AND lifecycle_stage = 'deleted'"
    with suppress(sqlite3.Error), _opened(path) as connection:  # one that cannot be read is said by `check_stores`
        if row := connection.execute(asked, (study,)).fetchone():
            restore = RESTORE.format(tracking_uri(mlruns), row[0])
            allowed = "its experiment was deleted in MLflow, which keeps the name"
            yield ConfigError("study", study, allowed, f"study={study}-2, or bring it back with `{restore}`")


def unwritable(folder: str) -> Iterator[ConfigError]:
    """Yield an error where results cannot be written into a folder, existing or not."""
    path = found = Path(folder).absolute()
    try:
        found = next(parent for parent in (path, *path.parents) if parent.exists())
        with TemporaryDirectory(dir=found) as trial:  # root passes every os.access, and still cannot write everywhere
            (Path(trial) / "space").write_bytes(bytes(ENOUGH))
    except OSError as error:
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        what = f"{found}: {os.strerror(error.errno or errno.EIO)}" if is_full else f"{found} is not writable"
        yield ConfigError("mlruns", folder, f"a folder for results; {what}", ANOTHER)
        return
    databases = (path / f"{name}{end}" for name in ("mlflow.db", "optuna.db") for end in ("", "-wal", "-shm"))
    for own in (*(path / name for name in OWN), *databases):
        if own.exists() and not os.access(own, os.W_OK | (os.X_OK if own.is_dir() else 0)):
            yield ConfigError("mlruns", folder, f"a folder for results; {own} is not writable", ANOTHER)


def _address_fault(address: str) -> str:
    """Return why MLflow cannot be at an address; empty where it can, or none is given."""
    try:
        parts = urlsplit(address)
        scheme, host, _ = parts.scheme.partition("+")[0], parts.hostname, parts.port
    except ValueError:
        return "cannot be read as scheme://host:port"
    is_file = scheme in ("", "file") and os.environ.get("MLFLOW_ALLOW_FILE_STORE", "").lower() == "true"
    if address and scheme not in (*SERVERS, *DATABASES, "databricks") and not is_file:
        return f"an address that begins with {', '.join(f'{each}://' for each in (*SERVERS, *DATABASES))}"
    if scheme in SERVERS and not host:
        return "names no host"
    return _no_driver(address) if scheme in DATABASES else ""


def _no_driver(address: str) -> str:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import SQLAlchemyError

    try:
        make_url(address).get_dialect().import_dbapi()
    except (SQLAlchemyError, ImportError) as error:
        return f"cannot be opened: {masked(str(error).splitlines()[0])}"
    return ""


def _database(path: Path, owner: Owner, named: ConfigError) -> Iterator[ConfigError]:
    """Yield an error where a file is there and is none of the owner's, or of another release; `named` lacks why."""
    if not path.exists() or not path.stat().st_size:
        return
    left, fix = "; it was left as it is", named.fix
    try:
        tables, revision = _look_into(path)
    except sqlite3.Error as error:
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
            return
        yield replace(named, allowed=f"{path} is no database of {owner.name}, or a damaged one ({error}){left}")
        return
    if not tables:
        return
    if not owner.tables <= tables:
        shown = ", ".join(sorted(tables)[:5])
        yield replace(named, allowed=f"{path} is not {owner.name}'s, but has tables of its own ({shown}){left}")
    elif (head := _newest(owner)) and revision != head:
        what = f"is of another release of {owner.name} (its schema is {revision}, this one's {head})"
        fix = f"{fix}, or bring a copy of it up to date with `{owner.upgrade.format(path)}`"
        yield replace(named, allowed=f"{path} {what}{left}", fix=fix)


def _look_into(path: Path) -> tuple[set[str], str | None]:
    """Return the names of the tables, and the schema's revision where one is noted."""
    with _opened(path) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if "alembic_version" not in tables:
            return tables, None
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return tables - {"alembic_version"}, row[0] if row else None


def _opened(path: Path) -> closing[sqlite3.Connection]:
    """Open a database to be read; nothing is made beside it."""
    is_open = path.with_name(f"{path.name}-wal").exists()
    how = "mode=ro" if is_open else "immutable=1"  # without it SQLite makes the files beside that nobody else has made
    return closing(sqlite3.connect(f"file:{quote(str(path))}?{how}", uri=True))


def _newest(owner: Owner) -> str | None:
    """Return the revision that the installed release makes, read off its migrations: no import that takes seconds."""
    spec = find_spec(owner.package)
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(spec.submodule_search_locations[0]) / owner.migrations
    text = "\n".join(path.read_text() for path in folder.glob("*.py"))
    made = set(re.findall(r'^revision = "([^"]+)"', text, re.MULTILINE))
    heads = made - set(re.findall(r'^down_revision = "([^"]+)"', text, re.MULTILINE))
    return heads.pop() if len(heads) == 1 else None
