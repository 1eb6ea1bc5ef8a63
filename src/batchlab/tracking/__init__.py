"""Records of runs: spool files, MLflow, and reading a study back."""

import os

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # MLflow reads it at import, and would call home on every run
