"""A signal reaches whoever works even where Python drops the exception that it raised."""

import os
import signal
import subprocess
import sys

import pytest

LOST = """
import os, sys
from batchlab.system.signals import check_stop, heed_signals

class Dropping:
    def __del__(self):  # what a destructor raises is printed and forgotten
        os.kill(os.getpid(), int(sys.argv[1]))
        sum(range(1000))

heed_signals()
dropping = Dropping()
del dropping
print("went on", flush=True)
try:
    check_stop()
except KeyboardInterrupt:
    sys.exit(130)
print("never")
"""


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_an_exception_that_python_dropped_is_raised_at_the_next_look(sent, code):
    command = [sys.executable, "-c", LOST, str(int(sent))]
    ended = subprocess.run(command, env=os.environ.copy(), capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (code, "went on\n")
    assert "Exception ignored" in ended.stderr
