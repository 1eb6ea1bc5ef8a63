"""What scripts/advise.py does: a batch size with an interval, from short probes and short trainings."""
