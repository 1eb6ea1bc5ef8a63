"""Names of objectives that a configuration may choose by itself."""

MEASURED, CALIBRATED = TIMES = ("cost/train_seconds", "cost/calibrated_train_seconds")
"""Seconds of training: as the clock measured them beside whatever else ran, and step times measured alone x steps."""
SCORE = "score"
"""Stands for ``final/val_<score>`` until the data say which task it is."""
