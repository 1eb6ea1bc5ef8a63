"""Keys of scripts/claims.py beside those of a run."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Claims:
    """Keys of scripts/claims.py beside those of a run."""

    names: Any = field(default_factory=list)
    """Experiments in conf/experiment; none = all."""
    preset: str = "small"
    """small, or full: the scale at which the claims were made."""
    budget_minutes: float = 90.0
    """No run begins after so long; what is missing then stays open."""
    num_workers: int = 2
    """Trainings side by side; what is about seconds runs alone."""
    max_seeds: int = 24
    """No look is taken at more; 0 = nothing is run, what is recorded is judged."""
    write: bool = True
    """Whether docs/claims.md is written; only where all claims are asked for."""
    output: str = "text"
    """text, or json."""
