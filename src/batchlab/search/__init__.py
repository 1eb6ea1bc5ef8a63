"""Optuna's side: the only place that imports optuna."""
