"""Passwords in addresses: out of the command line and the environment before anything can write them down.

Hydra copies a command line into each job's folder, launchers pickle it, processes show it, libraries put addresses into
their errors. So a password is taken out at the start and handed on as its library documents it: libpq reads
PGPASSWORD, MLflow MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, and every process of a command inherits them.
"""

import os
import re
import sys
from collections.abc import Iterator, MutableMapping, Sequence
from urllib.parse import unquote

from omegaconf import DictConfig, OmegaConf

from batchlab.errors import ConfigError

SECRET = r"(?P<user>[^:/@\s'\"]*):(?P<password>[^@\s'\"]+)@"
POSTGRES, HTTP = re.compile(rf"(postgresql[\w+.-]*://){SECRET}"), re.compile(rf"(https?://){SECRET}")
OTHER = re.compile(r"://[^:/@\s]*:[^@/\s]+@|[?&]password=", re.IGNORECASE)
TRACKING, PGPASSWORD = "MLFLOW_TRACKING_URI", "PGPASSWORD"


def hide_passwords() -> list[ConfigError]:
    """Take passwords out of this process's command line and of MLFLOW_TRACKING_URI; return an error for each left."""
    words, errors = hand_on(sys.argv, os.environ)
    replaced = dict(zip(sys.argv, words, strict=True))
    sys.orig_argv[:] = [replaced.get(word, word) for word in sys.orig_argv]  # a search's workers are started from it
    sys.argv[:] = words
    return errors


def hand_on(words: Sequence[str], environment: MutableMapping[str, str]) -> tuple[list[str], list[ConfigError]]:
    """Return a command line without passwords, and an error for each address whose password cannot be handed on.

    In the environment MLFLOW_TRACKING_URI loses its password, and the variables of libpq and MLflow are set.
    """
    tracking = environment.get(TRACKING, "")
    if found := HTTP.match(tracking):
        environment["MLFLOW_TRACKING_USERNAME"] = unquote(found["user"])
        environment["MLFLOW_TRACKING_PASSWORD"] = unquote(found["password"])
        tracking = environment[TRACKING] = HTTP.sub(r"\1", tracking)
    known = {unquote(found["password"]) for text in (*words, tracking) for found in POSTGRES.finditer(text)}
    kept = [POSTGRES.sub(r"\1\g<user>@", word) for word in words]
    errors = [error for word in kept for error in _not_handed_on(word)]
    if known:
        if tracking:
            environment[TRACKING] = POSTGRES.sub(r"\1\g<user>@", tracking)
        if len(known | ({environment[PGPASSWORD]} if PGPASSWORD in environment else set())) > 1:
            allowed, fix = "addresses have different passwords, and libpq reads one variable", "them without passwords"
            errors.append(ConfigError(PGPASSWORD, "***", allowed, f"{fix}: ~/.pgpass has a line for each"))
        else:
            environment[PGPASSWORD] = known.pop()
    return kept, errors


def in_files(sweeper: DictConfig) -> list[ConfigError]:
    """Return an error for a password in hydra.sweeper.storage in a file; an interpolation is written as it is."""
    node = OmegaConf.to_container(sweeper, resolve=False)
    storage = str(node.get("storage")) if isinstance(node, dict) else ""
    if not OTHER.search(storage):
        return []
    allowed, fix = "a password in a file is copied into the folder of each job", f"{PGPASSWORD}=... in front of python"
    return [ConfigError("hydra.sweeper.storage", storage, allowed, f"{fix}, not in the file")]


def _not_handed_on(word: str) -> Iterator[ConfigError]:
    if OTHER.search(word):
        key, _, address = word.partition("=")
        allowed = "a password in this address would be written down; only postgresql://user:password@ is handed on"
        fix = "the address without it, and the password where its driver looks for one"
        is_short = address.startswith("postgres://")
        yield ConfigError(key, address, allowed, "postgresql+psycopg:// instead of postgres://" if is_short else fix)
