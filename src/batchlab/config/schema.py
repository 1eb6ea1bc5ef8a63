"""The configuration of a run: every key that a person can type, declared with its help, range and effects."""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from annotated_types import Interval

from batchlab.config.argument_keys import (
    ARGUMENTS,
    BATCH,
    BELOW_ONE,
    DEVICE,
    FOLDER,
    IDENTITY,
    MEASURES,
    MEMORY,
    NOTHING,
    ON_MODEL,
    RUN,
    SEEDS,
    STEP,
    STEP_TIME,
)
from batchlab.config.installation import REPOSITORY  # noqa: F401  (tests ask here)
from batchlab.config.keys import COUNT, MISSING, POSITIVE, Key, key, keys_of

BUDGETS = {
    "epochs": (),
    "steps": ("num_steps",),
    "examples": ("num_examples",),
    "seconds": ("seconds",),
    "target": ("score", "max_epochs"),
}
"""Kinds of budget, each with the settings that it needs; no other kind takes them."""
OPEN_GROUPS = ("data", "model", "loss", "optimizer", "lr_scaling", "lr_schedule", "batch_schedule")
"""Groups whose keys are the arguments of their `_target_`; checked against its signature."""


@dataclass
class Budget:
    """What is held fixed; exactly the settings of its kind may be set (conf/budget/)."""

    kind: str = key(MISSING, "what is held fixed", tuple(BUDGETS), RUN, fix="epochs")
    num_steps: int | None = key(None, "optimizer steps (budget=steps)", COUNT, IDENTITY, fix=1000)
    num_examples: int | None = key(None, "examples processed (budget=examples)", COUNT, IDENTITY, fix=1000)
    seconds: float | None = key(None, "training seconds on the clock (budget=seconds)", POSITIVE, IDENTITY, fix=10)
    score: float | None = key(None, "value of the score at which to stop (budget=target)", None, IDENTITY, fix=0.95)
    max_epochs: float | None = key(
        None, "passes after which a run without the target is censored (budget=target)", POSITIVE, IDENTITY, fix=10
    )


@dataclass
class Eval:
    """When to evaluate."""

    every_examples: int | None = key(
        None, "examples between evaluations, at least the largest batch; null = one pass", COUNT, IDENTITY
    )


@dataclass
class Memory:
    """What micro_batch_size=auto may take; refused where that is none or a number."""

    limit_bytes: Any = key(
        None, "bytes that a run may take, Python included; null = what is free", COUNT, IDENTITY | MEMORY, fix=2**31
    )
    headroom: float | None = key(
        None, "share of the limit that stays free; null = 0.1", BELOW_ONE, IDENTITY | MEMORY, fix=0.1
    )
    max_micro_batch_size: Any = key(
        None, "largest size that is tried; null = only memory limits it", COUNT, IDENTITY | BATCH, fix=512
    )


@dataclass
class Measure:
    """What is measured of a run's model beside its scores; nothing of it changes the run (conf/measure/)."""

    gradient_noise: bool = key(
        False, "gradient noise scale at evaluations; under accumulation from the steps", None, ON_MODEL | STEP_TIME
    )
    sharpness: dict[str, Any] = key({}, "measures by name, functions of (landscape, **settings)", None, ON_MODEL)
    num_examples: int | None = key(
        None, "training examples that sharpness is measured on; null = all", COUNT, ON_MODEL, fix=2000
    )
    every_evals: int | None = key(
        None, "evaluations between measures along the run; null = at its end only", COUNT, MEASURES, fix=1
    )
    batch_norm: str | None = key(
        None, "batch norm by its running statistics, or by those of the sample", ("eval", "train"), ON_MODEL, fix="eval"
    )


@dataclass
class Checkpoint:
    """When a run's state is written down, from which the same command goes on; nothing of it changes the run."""

    every_seconds: float | None = key(None, "seconds between checkpoints; null = none is written", POSITIVE, fix=60)


@dataclass
class Config:
    """One run. The open groups hold a `_target_` and its arguments."""

    data: dict[str, Any] = key({}, "the examples and their splits", None, STEP)
    model: dict[str, Any] = key({}, "the network", None, STEP)
    loss: dict[str, Any] = key({}, "what is minimized", None, STEP)
    optimizer: dict[str, Any] = key({}, "how weights are updated", None, STEP)
    lr_scaling: dict[str, Any] = key({}, "how the learning rate follows the batch size", None, RUN)
    lr_schedule: dict[str, Any] = key({}, "how the learning rate moves along a run", None, RUN)
    batch_schedule: dict[str, Any] = key({}, "how the batch size moves along a run", None, RUN | BATCH)
    budget: Budget = field(default_factory=Budget)
    eval: Eval = field(default_factory=Eval)
    memory: Memory = field(default_factory=Memory)
    measure: Measure = field(default_factory=Measure)
    checkpoint: Checkpoint = field(default_factory=Checkpoint)

    batch_size: Any = key(
        MISSING, "examples per optimizer step; full = the training split", (COUNT, "full"), IDENTITY | BATCH, fix=128
    )
    micro_batch_size: Any = key(
        "none",
        "most examples in one forward and backward pass; auto = the most that fit",
        (COUNT, "none", "auto"),
        RUN | STEP_TIME | BATCH,
    )
    lr: float = key(
        MISSING, "base learning rate; each optimizer brings its own, lr_scaling moves it", POSITIVE, IDENTITY, fix=0.1
    )
    epochs: float | None = key(None, "passes over the training split (budget=epochs)", POSITIVE, IDENTITY, fix=10)
    seed: int = key(  # NumPy takes 32 bits; later seeds of a run, and fresh ones of a search, follow
        0, "first seed: initialisation, order of examples, augmentation", Interval(ge=0, le=2**32 - 2**16), SEEDS
    )
    num_seeds: int = key(1, "runs per configuration: seed, seed+1, ...", Interval(ge=1, le=10_000), SEEDS)
    device: str = key("auto", "where a run trains", None, STEP, pattern=DEVICE)
    precision: str = key("float32", "type of the numbers in a pass", ("float32", "tf32", "bfloat16", "float16"), STEP)
    num_threads: int | None = key(
        *(None, "threads of a CPU; null = one per core; 1 is faster for small models", Interval(ge=1, le=1024), STEP),
        fix=1,
    )
    compile: Any = key(
        False,
        "true = torch.compile; cuda_graph = launch a step's passes at once; auto = that where launches take the time",
        (False, True, "cuda_graph", "auto"),
        STEP,
        fix=False,
    )
    cudnn_benchmark: bool = key(False, "whether cuDNN times its kernels for each batch size (a GPU)", None, STEP)
    launch: str = key("single", "one process, or ddp: num_processes share every batch", ("single", "ddp"), STEP)
    num_processes: int = key(
        1, "processes that share every batch of batch_size examples", Interval(ge=1, le=4096), STEP
    )
    sync_batch_norm: bool = key(False, "batch norm over the whole batch, not each process's share", None, STEP)
    study: str = key(
        MISSING,
        "name under which runs are grouped, also of a folder",
        pattern=(r"(?!\.+$)[\w.-]+", "letters, digits, '_', '-' and '.'"),
        fix="first-look",
    )
    score: str | None = key(
        None, "metric of the task that ranks, picks and stops, e.g. f1; null = the task's own", None, IDENTITY, fix="f1"
    )
    objectives: list[str] = key([], "final metrics, averaged over seeds, that a search makes better")
    data_root: str = key(MISSING, "folder of data sets that are files", pattern=FOLDER, fix="data")
    mlruns: str = key(MISSING, "folder of every result", pattern=FOLDER, fix="mlruns")
    trust: list[str] = key([], "packages whose `_target_`s a file from elsewhere (-cd) may have; they run code")


@lru_cache(maxsize=1)
def _declared() -> dict[str, Key]:
    return {each.name: each for each in (*keys_of(Config), *ARGUMENTS)}


def declared_keys() -> list[Key]:
    """List every declared key of a run: those of the schema with their groups, then the arguments of open groups.

    A `Key` has name, kind (a type), default, help, allowed (in words) and affects: what a generated page needs. For the
    keys of another dataclass whose fields are made by `keys.key` (a script's, the sweeper's) ask `keys.keys_of`.
    """
    return list(_declared().values())


@lru_cache(maxsize=1024)
def declared_key(name: str) -> Key:
    """Return the declaration of a dotted key; of an argument that has none of its own, that of its group.

    A key that batchlab does not know, e.g. one that another version recorded, affects everything.
    """
    declared = _declared()
    if ".traits" in name:
        return declared["*.traits"]
    if name.startswith("measure.sharpness."):
        _, _, _, *argument = name.split(".", 3)
        name = ".".join(["measure.sharpness.*", *argument])
        return declared.get(name, declared["measure.sharpness.*"])
    unknown = Key(name, str, MISSING, "", affects=~NOTHING)
    return declared.get(name) or declared.get(f"{name.partition('.')[0]}.*", unknown)
