"""The typed configuration: every key that a person can type, and what it means."""

import os
from dataclasses import asdict, dataclass, field, fields, make_dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from batchlab.config.objectives import CALIBRATED, MEASURED
from batchlab.errors import ConfigError, ConfigErrors

REPOSITORY = Path(__file__).resolve().parents[3]
MISSING = "???"
"""What stands where a value must be given."""
OPEN_GROUPS = ("data", "model", "loss", "optimizer", "lr_scaling", "lr_schedule", "batch_schedule")
"""Groups whose keys are the arguments of their `_target_`; checked against its signature."""


@dataclass
class Budget:
    """What is held fixed; exactly the settings of its kind may be set (conf/budget/)."""

    kind: str = "???"
    """epochs, steps, examples, seconds or target."""
    num_steps: int | None = None
    """Optimizer steps (kind steps)."""
    num_examples: int | None = None
    """Examples processed (kind examples)."""
    seconds: float | None = None
    """Training seconds on the clock (kind seconds)."""
    val_accuracy: float | None = None
    """Validation accuracy in (0, 1] at which to stop (kind target)."""
    max_epochs: float | None = None
    """Passes after which a run that did not reach the target is censored (kind target)."""


@dataclass
class Eval:
    """When to evaluate."""

    every_examples: int | None = None
    """Examples between evaluations, at least the largest batch; null = one pass over the training split."""


@dataclass
class Memory:
    """What micro_batch_size=auto may take; without effect, and refused, where that is none or a number."""

    limit_bytes: Any = None
    """Bytes that the process of a run may take, Python and libraries included; null = what the device has free."""
    headroom: float | None = None
    """Share of the limit that stays free; null = 0.1."""
    max_micro_batch_size: Any = None
    """No size above this one is tried; null = only memory limits it."""


@dataclass
class Measure:
    """What is measured of a run's model beside its accuracy; nothing of it changes the run (conf/measure/)."""

    gradient_noise: bool = False
    """The gradient noise scale at evaluations, off the clock; under accumulation from the training steps."""
    sharpness: dict[str, Any] = field(default_factory=dict)
    """Measures by name, each a function of (landscape, **settings): sharpness/<name>."""
    num_examples: int | None = None
    """Training examples that sharpness is measured on, at most."""
    every_evals: int | None = None
    """Evaluations between measures along the run; null = at its end only."""
    batch_norm: str | None = None
    """eval: batch norm's running statistics; train: those of the sample."""


@dataclass
class Checkpoint:
    """When a run's state is written down, from which the same command goes on; nothing of it changes the run."""

    every_seconds: float | None = None
    """Seconds between two checkpoints; null = none is written."""


@dataclass
class Config:
    """One run. The open groups hold a `_target_` and its arguments."""

    data: dict[str, Any] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)
    loss: dict[str, Any] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)
    lr_scaling: dict[str, Any] = field(default_factory=dict)
    lr_schedule: dict[str, Any] = field(default_factory=dict)
    batch_schedule: dict[str, Any] = field(default_factory=dict)
    budget: Budget = field(default_factory=Budget)
    eval: Eval = field(default_factory=Eval)
    memory: Memory = field(default_factory=Memory)
    measure: Measure = field(default_factory=Measure)
    checkpoint: Checkpoint = field(default_factory=Checkpoint)

    batch_size: Any = "???"
    """Examples per optimizer step, or full = the training split."""
    micro_batch_size: Any = "none"
    """Maximum number of examples in one forward and backward pass: none, an integer, or auto = the most that fit."""
    lr: float = "???"  # pyright: ignore[reportAssignmentType]
    """Base learning rate, at lr_scaling.base_batch_size."""
    epochs: float | None = None
    """Passes over the training split (budget=epochs)."""
    seed: int = 0
    """First seed: initialisation, order of examples, augmentation."""
    num_seeds: int = 1
    """Runs per configuration, with seeds seed, seed+1, ..."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:n or mps."""
    precision: str = "float32"
    """float32, bfloat16 or float16."""
    num_threads: int | None = None
    """Threads of a CPU that share one operation; null = torch's choice, one per core."""
    compile: bool = False
    """Compile the model with torch.compile."""
    launch: str = "single"
    """How one run is spread: single (this process), or ddp (num_processes share every batch)."""
    num_processes: int = 1
    """Processes that share every batch (launch=ddp); batch_size is what they take together."""
    sync_batch_norm: bool = False
    """Batch norm's statistics over the whole batch instead of each process's share (launch=ddp)."""
    study: str = "???"
    """Name under which runs are grouped."""
    objectives: list[str] = field(default_factory=list)
    """Final metrics, averaged over seeds, that a run hands to the search."""
    data_root: str = "???"
    """Folder of data sets that are files; data.root unless that is given."""
    mlruns: str = "???"
    """Folder of every result."""
    trust: list[str] = field(default_factory=list)
    """Packages whose `_target_`s files from elsewhere (-cd, hydra.searchpath) may have; it changes no run."""


def register_schema(more: type | None = None) -> None:
    """Make the schema known to Hydra under the name `schema`; conf/train.yaml starts from it.

    Args:
        more: dataclass with the keys of a script, which stand beside those of a run.
    """
    kinds = [Config, *([more] if more else [])]
    all_keys = [(each.name, each.type, each) for kind in kinds for each in fields(kind)]
    node = OmegaConf.structured(make_dataclass("Config", all_keys) if more else Config)
    for group in OPEN_GROUPS:
        OmegaConf.set_struct(node[group], False)
    OmegaConf.set_struct(node.measure.sharpness, False)
    ConfigStore.instance().store(name="schema", node=node)
    OmegaConf.register_new_resolver("repository", lambda: str(REPOSITORY), replace=True)
    OmegaConf.register_new_resolver("process_id", os.getpid, replace=True)
    OmegaConf.register_new_resolver("default_study", default_study, replace=True)
    OmegaConf.register_new_resolver("launch_of", launch_of, replace=True)
    OmegaConf.register_new_resolver("time_objective", time_objective, replace=True)


def launch_of(num_processes: Any) -> str:
    """How a run is spread where it is not typed: ddp with several processes."""
    return "ddp" if isinstance(num_processes, int) and num_processes > 1 else "single"


def default_study() -> str:
    """Where none is typed: ``experiment-<name>``, hydra.sweeper.study_name, ``<search or runs>-<data>-<model>``."""
    hydra = HydraConfig.get()
    if experiment := hydra.runtime.choices.get("experiment"):
        return f"experiment-{experiment}"
    choices, is_search = hydra.runtime.choices, is_search_sweeper(hydra.sweeper)
    if is_search and hydra.sweeper.study_name:
        return str(hydra.sweeper.study_name)
    search = choices.get("search", "none")
    first = (search if search != "none" else "search") if is_search else "runs"
    return f"{first}-{choices.get('data')}-{choices.get('model')}"


def time_objective() -> str:
    """Where none is typed: seconds as they are measured; of trials side by side, as if each had the host alone."""
    return CALIBRATED if shares_host() else MEASURED


def shares_host() -> bool:
    """Whether trials of this command's search train side by side on a host."""
    if not HydraConfig.initialized():
        return False
    hydra = HydraConfig.get()
    if not is_search_sweeper(hydra.sweeper):
        return False
    is_basic = str(hydra.launcher._target_).endswith(".BasicLauncher")
    return (hydra.sweeper.num_workers if is_basic else hydra.sweeper.n_jobs) > 1


def is_search_sweeper(sweeper: DictConfig) -> bool:
    """Whether the node hydra.sweeper is that of our own sweeper."""
    return str(sweeper._target_).startswith("hydra_plugins.batchlab_sweeper.")


def is_arms_sweeper(sweeper: DictConfig) -> bool:
    """Whether the node hydra.sweeper is that of an experiment."""
    return str(sweeper._target_).startswith("hydra_plugins.batchlab_arms.")


def resolved(config: DictConfig) -> Config:
    """The configuration as plain typed objects, interpolations resolved, without Hydra's own node.

    Args:
        config: what Hydra composed.

    Returns:
        A `Config` whose open groups are plain dicts.

    Raises:
        ConfigErrors: where a value that must be given is not, or a key was added that nothing reads.
    """
    missing = sorted(key for key in OmegaConf.missing_keys(config) if not key.startswith("hydra."))
    if missing:
        raise ConfigErrors(*map(_missing, missing))
    values = OmegaConf.to_container(config, resolve=True)
    assert isinstance(values, dict)
    settings = {str(key): value for key, value in values.items() if key != "hydra"}
    allowed = getattr(OmegaConf.get_type(config), "__dataclass_fields__", Config.__dataclass_fields__)
    if added := [key for key in settings if key not in allowed]:
        raise ConfigErrors(*(_added(key, settings[key]) for key in added))
    if deleted := [key for key in Config.__dataclass_fields__ if key not in settings]:
        raise ConfigErrors(*map(_deleted, deleted))
    return typed({key: value for key, value in settings.items() if key in Config.__dataclass_fields__})


def typed(settings: dict[str, Any]) -> Config:
    """The configuration of plain settings, as `asdict` gives them; their types were checked against the schema."""
    groups = {"budget": Budget, "eval": Eval, "memory": Memory, "measure": Measure, "checkpoint": Checkpoint}
    return Config(**settings | {name: group(**settings[name]) for name, group in groups.items()})


def _missing(key: str) -> ConfigError:
    """A key of an open group waits for its value; of another group it stands in one of the group's files."""
    group, _, name = key.partition(".")
    if name and group not in OPEN_GROUPS:
        return _deleted(group)
    return ConfigError(key, MISSING, "must be given", f"{key}=...")


def _deleted(key: str) -> ConfigError:
    return ConfigError(f"~{key}", "", "every run has it", f"the command without ~{key}")


def _added(key: str, value: Any) -> ConfigError:
    if key == "best":
        allowed = (
            "no such pick; a search writes its picks into mlruns/reports/<study>/best, and one folder goes with it"
        )
        return ConfigError(key, value, allowed, f"-cd mlruns/reports/<study of a search> +best={value}")
    return ConfigError(key, value, "no such key; nothing reads it", f"the command without +{key}")


def flat_params(config: Config) -> dict[str, Any]:
    """Every setting of a run under its dotted key, e.g. ``{"batch_size": 128, "model.width": 64, ...}``.

    A measure with its settings is one of them: MLflow takes 100 in one write.
    """
    flat: dict[str, Any] = {}

    def walk(prefix: str, value: Any) -> None:
        """Add what stands below a prefix."""
        if isinstance(value, dict) and prefix.startswith("measure.sharpness."):
            settings = (f"{name}={inner}" for name, inner in value.items() if name != "_target_")
            flat[prefix] = " ".join([str(value.get("_target_")), *settings])
        elif isinstance(value, dict):
            for key, inner in value.items():
                walk(f"{prefix}.{key}" if prefix else str(key), inner)
        else:
            flat[prefix] = value

    walk("", {key: value for key, value in asdict(config).items() if key != "trust"})
    return flat
