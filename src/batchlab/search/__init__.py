"""Hyper-parameter search with Optuna; the only package that imports it."""
