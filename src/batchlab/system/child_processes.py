"""Processes that a command starts: what they find in their environment, and how they end with it."""

SWEEP_ID = "BATCHLAB_SWEEP_ID"
"""Environment variable that tells every process of one command which command it is."""
WORKER, UNTIL = "BATCHLAB_WORKER", "BATCHLAB_UNTIL"
"""Environment of a search's worker: its place, and time.monotonic() at which to stop: one clock for all of a host."""
