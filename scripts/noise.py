"""Gradient noise of a trained model: exact, from two batch sizes, and as it falls with the batch size. See --help."""

from batchlab.noise.keys import Noise
from batchlab.stopping import note_signals

if __name__ == "__main__":
    note_signals()
    from batchlab.command import run_script  # a second, in which a signal is only noted

    run_script("noise", Noise)
