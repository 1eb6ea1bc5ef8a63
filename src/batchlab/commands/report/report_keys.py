"""Keys of scripts/report.py beside those of a run."""

from dataclasses import dataclass
from typing import Any


@dataclass
class Report:
    """Keys of scripts/report.py beside those of a run."""

    storage: Any = None
    """Where the Optuna study is, as hydra.sweeper.storage; null = optuna.db in the folder of results."""
    output: str = "text"
    """text, or json."""
