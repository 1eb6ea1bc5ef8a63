"""Records of runs: spool files, MLflow, and reading a study back."""
