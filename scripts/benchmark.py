"""Seconds per step, throughput and memory by batch size, and the law t(B) = alpha + beta*B. See --help."""

from batchlab.commands.main import run_command

if __name__ == "__main__":
    run_command("benchmark")
