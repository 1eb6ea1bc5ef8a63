"""Seconds per step, throughput and memory by batch size, and the law t(B) = alpha + beta*B. See --help."""

from batchlab.benchmark.keys import Benchmark
from batchlab.stopping import note_signals

if __name__ == "__main__":
    note_signals()
    from batchlab.command import run_script  # a second, in which a signal is only noted

    run_script("benchmark", Benchmark)
