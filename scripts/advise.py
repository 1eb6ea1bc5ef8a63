"""Which batch size, with which learning rate, and why, from short probes and trainings. See --help."""

from batchlab.commands.main import run_command

if __name__ == "__main__":
    run_command("advise")
