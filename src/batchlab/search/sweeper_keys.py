"""Keys of `hydra/sweeper=batchlab` and of its samplers; the plugin registers them. Imports nothing heavy."""

from dataclasses import dataclass, field
from typing import Any

from annotated_types import Interval
from omegaconf import DictConfig, OmegaConf

from batchlab.config.keys import COUNT, POSITIVE, key
from batchlab.config.traits import of_target


@dataclass
class BatchlabSweeperConf:
    """Keys of hydra.sweeper; those of hydra-optuna-sweeper 1.3 mean what they mean there."""

    _target_: str = "hydra_plugins.batchlab_sweeper.BatchlabSweeper"
    _recursive_: bool = False
    defaults: list[Any] = field(default_factory=lambda: [{"sampler": "tpe"}])
    sampler: Any = "???"
    """Node of an Optuna sampler; hydra/sweeper/sampler= tpe, random, nsgaii, gp, qmc, cmaes, motpe or grid."""
    pruner: Any = None
    """Node of an Optuna pruner, for one objective; null = Optuna's default, the median of finished trials."""
    prune: bool = True
    """Whether a trial may be stopped before its end."""
    direction: Any = None
    """Read only: must agree with the objectives."""
    storage: Any = None
    """Optuna's address, a journal file, grpc://host:port or a node; null = optuna.db in mlruns."""
    study_name: str | None = None
    """Read only: must agree with study; where study has its default, it names the study."""
    n_trials: int = key(20, "trials of the study in total, over all commands that work on it", COUNT)
    timeout: float | None = key(None, "seconds after which this command ends; null = none", POSITIVE, fix=600)
    num_workers: int = 0
    """Processes that train side by side; 0 = in this process."""
    n_jobs: int = key(1, "jobs handed to a Hydra launcher at once; no effect on the basic launcher", COUNT)
    max_failure_rate: float = key(0.5, "largest share of crashed trials in the whole study", Interval(ge=0, le=1))
    first_points: Any = field(default_factory=list)
    """Points to try first: default, and linear or sqrt for the line of that lr-scaling rule through it."""
    params: dict[str, Any] | None = None
    """Dimension -> override text, e.g. batch_size: 32,64 or lr: tag(log, interval(0.001, 1))."""
    search_space: Any = None
    """Refused; the released plugin's old form of params."""
    custom_search_space: str | None = None
    """Dotted path of a function (config, trial) that suggests more."""


@dataclass(frozen=True)
class SamplerTraits:
    """What a sampler declares under `traits`: it searches a single objective, or goes through a grid of all values."""

    single_objective: bool = False
    grid: bool = False


TPE: dict[str, Any] = {
    "_target_": "optuna.samplers.TPESampler",
    "seed": None,
    "n_startup_trials": 10,
    "multivariate": True,
    "constant_liar": None,
    "warn_independent_sampling": None,
    "consider_prior": None,
    "prior_weight": None,
    "consider_magic_clip": None,
    "consider_endpoints": None,
}
SAMPLERS: dict[str, dict[str, Any]] = {
    "tpe": TPE | {"n_ei_candidates": 24},
    "motpe": TPE | {"n_ehvi_candidates": 24},
    "random": {"_target_": "optuna.samplers.RandomSampler", "seed": None},
    "nsgaii": {
        "_target_": "optuna.samplers.NSGAIISampler",
        "seed": None,
        "population_size": 50,
        "mutation_prob": None,
        "crossover_prob": 0.9,
        "swapping_prob": 0.5,
        "constraints_func": None,
    },
    "cmaes": {
        "_target_": "optuna.samplers.CmaEsSampler",
        "seed": None,
        "x0": None,
        "sigma0": None,
        "independent_sampler": None,
        "warn_independent_sampling": True,
        "consider_pruned_trials": False,
        "restart_strategy": None,
        "inc_popsize": None,
        "use_separable_cma": False,
        "source_trials": None,
        "traits": {"single_objective": True},
    },
    "gp": {"_target_": "optuna.samplers.GPSampler", "seed": None, "n_startup_trials": 10},
    "qmc": {"_target_": "optuna.samplers.QMCSampler", "seed": None, "scramble": True},
    "grid": {"_target_": "optuna.samplers.GridSampler", "_partial_": True, "seed": None, "traits": {"grid": True}},
}


def sampler_traits(node: dict[str, Any]) -> SamplerTraits:
    """Read the traits of a sampler's node, by its `_target_` where it declares none itself."""
    return of_target(SamplerTraits, node, SAMPLERS.values())


def times(factor: float, value: float) -> str:
    """Multiply, with four digits."""
    return f"{float(factor) * float(value):.4g}"


def quarter_of_train(*, _root_: DictConfig) -> int:
    """Compute the largest power of two that is at most a quarter of the training split.

    Raises:
        ConfigErrors: what the loader found wrong (OmegaConf wraps it).
    """
    from batchlab.training.data_loading import load_dataset  # torch: only when a search asks

    data = OmegaConf.to_container(_root_["data"], resolve=True)
    assert isinstance(data, dict)
    num_train = len(load_dataset({str(key): value for key, value in data.items()}).train)
    return 1 << (max(4, num_train) // 4).bit_length() - 1
