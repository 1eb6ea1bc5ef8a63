"""Gradient noise of a trained model: exact, from two batch sizes, and as it falls with the batch size. See --help."""

from batchlab.commands.main import run_command

if __name__ == "__main__":
    run_command("noise")
