"""Optuna's gRPC proxy between PostgreSQL and many workers. See --help."""

from batchlab.commands.main import run_command

if __name__ == "__main__":
    run_command("proxy")
