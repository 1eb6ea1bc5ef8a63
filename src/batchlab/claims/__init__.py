"""Published claims about batch size: their experiments, what is asked of the numbers, and the verdicts."""
