"""Gradient noise of a trained model: exact, from two batch sizes, and as it falls with the batch size. See --help."""

from batchlab.command import run_script
from batchlab.noise.keys import Noise

if __name__ == "__main__":
    run_script("noise", Noise)
