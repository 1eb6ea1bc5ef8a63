"""What a database server that is away says."""

import psycopg
from sqlalchemy.exc import OperationalError

ADDRESS = "postgresql+psycopg://me:open-sesame@host/optuna"


def refused() -> OperationalError:
    return OperationalError(None, None, psycopg.OperationalError("connection refused by me:open-sesame\nsecond line"))


def cut() -> OperationalError:
    return OperationalError("SELECT 1", {}, psycopg.errors.AdminShutdown("terminating connection"))
