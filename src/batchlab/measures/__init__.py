"""Measures of a model at hand: sharpness and gradient noise."""
