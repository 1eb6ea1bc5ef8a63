"""Measurements by training a little: step time, largest batch, FLOPs, calibrated seconds."""
