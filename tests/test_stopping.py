"""SIGTERM reaches the loop of a search even where Python drops the exception."""

import os
import subprocess
import sys

LOST = """
import os, signal
from batchlab.stopping import check_stop, on_sigterm

class Dropping:
    def __del__(self):  # what a destructor raises is printed and forgotten
        os.kill(os.getpid(), signal.SIGTERM)
        sum(range(1000))

signal.signal(signal.SIGTERM, on_sigterm)
dropping = Dropping()
del dropping
print("went on", flush=True)
check_stop()
print("never")
"""


def test_an_exception_that_python_dropped_is_raised_at_the_next_look():
    ended = subprocess.run([sys.executable, "-c", LOST], env=os.environ.copy(), capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (143, "went on\n")
    assert "Exception ignored" in ended.stderr
