"""Seconds per step, throughput and memory by batch size, and the law t(B) = alpha + beta*B. See --help."""

from batchlab.benchmark.keys import Benchmark
from batchlab.command import run_script

if __name__ == "__main__":
    run_script("benchmark", Benchmark)
