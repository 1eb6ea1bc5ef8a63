"""What scripts/benchmark.py does: its keys, what it times, and the laws fitted to that."""
