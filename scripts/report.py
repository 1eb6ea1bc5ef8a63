"""A study's page: the answer, its figures and where they come from, from what was recorded. See --help."""

from batchlab.commands.main import run_command

if __name__ == "__main__":
    run_command("report")
