"""Seconds per step, throughput and memory by batch size, and the law t(B) = alpha + beta*B. See --help."""

from batchlab.profiling.benchmark_settings import Benchmark
from batchlab.system.signals import note_signals

if __name__ == "__main__":
    note_signals()
    from batchlab.commands.command_line import run_script  # a second, in which a signal is only noted

    run_script("benchmark", Benchmark)
