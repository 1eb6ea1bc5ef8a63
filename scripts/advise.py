"""Which batch size, with which learning rate, and why, from short probes and trainings. See --help."""

from batchlab.advise.keys import Advise
from batchlab.command import run_script

if __name__ == "__main__":
    run_script("advise", Advise)
