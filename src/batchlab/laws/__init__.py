"""Arithmetic of batch size: step time, convergence, gradient noise; arrays in, numbers with intervals out."""
