"""Which batch size, with which learning rate, and why, from short probes and trainings. See --help."""

from batchlab.commands.advise.advise_keys import Advise
from batchlab.system.signals import note_signals

if __name__ == "__main__":
    note_signals()
    from batchlab.commands.command_line import run_script  # a second, in which a signal is only noted

    run_script("advise", Advise)
