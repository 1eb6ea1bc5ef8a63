"""Gradient noise of a trained model: exact, from two batch sizes, and as it falls with the batch size. See --help."""

from batchlab.profiling.noise_settings import Noise
from batchlab.system.signals import note_signals

if __name__ == "__main__":
    note_signals()
    from batchlab.commands.command_line import run_script  # a second, in which a signal is only noted

    run_script("noise", Noise)
