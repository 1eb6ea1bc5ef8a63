"""Keys of scripts/noise.py beside those of a run."""

from dataclasses import dataclass


@dataclass
class Noise:
    """Keys of scripts/noise.py beside those of a run."""

    num_examples: int = 2000
    """Training examples whose single gradients are measured, at most."""
    num_draws: int = 512
    """Batches of each size."""
    output: str = "text"
    """text, or json."""
