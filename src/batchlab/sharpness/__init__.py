"""Measures of sharpness: how fast the loss grows around the weights."""
