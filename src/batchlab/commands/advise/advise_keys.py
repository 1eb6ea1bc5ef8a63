"""Keys of scripts/advise.py beside those of a run."""

from dataclasses import dataclass


@dataclass
class Advise:
    """Keys of scripts/advise.py beside those of a run."""

    budget_seconds: float = 60.0
    """Seconds for short trainings to a target; 0 = none, the advice rests on step time and gradient noise alone."""
    target: float | None = None
    """Validation accuracy in (0, 1] that the trainings go to; null = what a first short training reaches."""
    price_per_hour: float | None = None
    """What an hour of this machine costs, in any currency; the table then has a column for it."""
    method: str = "laws"
    """laws, or fill_then_reduce: the largest throughput first, then smaller until it converges (from a primer)."""
    output: str = "text"
    """text, or json."""
