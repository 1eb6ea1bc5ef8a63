"""Keys that commands have beside those of a run; light, because --help composes them."""

from dataclasses import dataclass, field
from typing import Any

from batchlab.profiling.benchmark_settings import Benchmark
from batchlab.profiling.noise_settings import Noise


@dataclass
class Advise:
    """Keys of `batchlab advise`."""

    budget_seconds: float = 60.0
    """Seconds for short trainings to a target; 0 = none, the advice rests on step time and gradient noise alone."""
    target: float | None = None
    """Validation accuracy in (0, 1] that the trainings go to; null = what a first short training reaches."""
    price_per_hour: float | None = None
    """What an hour of this machine costs, in any currency; the table then has a column for it."""
    method: str = "laws"
    """laws, or fill_then_reduce: the largest throughput first, then smaller until it converges."""
    output: str = "text"
    """text, or json."""


@dataclass
class Report:
    """Keys of `batchlab report`."""

    storage: Any = None
    """Where the Optuna study is, as hydra.sweeper.storage; null = optuna.db in the folder of results."""
    output: str = "text"
    """text, or json."""


@dataclass
class Claims:
    """Keys of `batchlab claims`."""

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


KEYS: dict[str, type] = {
    "advise": Advise, "benchmark": Benchmark, "noise": Noise, "report": Report, "claims": Claims
}  # fmt: skip
"""By the command's name, which is that of its file in conf/ too."""
