"""The configuration of a run: every key that a person can type, declared with its help, range and effects."""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from annotated_types import Interval

from batchlab.config.installation import REPOSITORY  # noqa: F401  (tests ask here)
from batchlab.config.keys import COUNT, MISSING, POSITIVE, Affects, Key, key, keys_of, split

BUDGETS = {
    "epochs": (),
    "steps": ("num_steps",),
    "examples": ("num_examples",),
    "seconds": ("seconds",),
    "target": ("val_accuracy", "max_epochs"),
}
"""Kinds of budget, each with the settings that it needs; no other kind takes them."""
OPEN_GROUPS = ("data", "model", "loss", "optimizer", "lr_scaling", "lr_schedule", "batch_schedule")
"""Groups whose keys are the arguments of their `_target_`; checked against its signature."""
IDENTITY, SEEDS, MEASURES, STEP_TIME, MEMORY, BATCH, LABEL = Affects
NOTHING = Affects.NOTHING
RUN = IDENTITY | LABEL
STEP = RUN | STEP_TIME | MEMORY
ON_MODEL = MEASURES | MEMORY
BELOW_ONE, SHARE, WEIGHT = Interval(ge=0, lt=1), Interval(ge=0, le=1), Interval(gt=0, le=1)
FOLDER = r"(?s).*\S.*", "the path of a folder"
DEVICE = r"auto|cpu|mps|cuda(:\d+)?", "one of auto, cpu, cuda, cuda:0, cuda:1, ..., mps"


@dataclass
class Budget:
    """What is held fixed; exactly the settings of its kind may be set (conf/budget/)."""

    kind: str = key(MISSING, "what is held fixed", tuple(BUDGETS), RUN, fix="epochs")
    num_steps: int | None = key(None, "optimizer steps (budget=steps)", COUNT, IDENTITY, fix=1000)
    num_examples: int | None = key(None, "examples processed (budget=examples)", COUNT, IDENTITY, fix=1000)
    seconds: float | None = key(None, "training seconds on the clock (budget=seconds)", POSITIVE, IDENTITY, fix=10)
    val_accuracy: float | None = key(
        None, "validation accuracy at which to stop, as a share (budget=target)", WEIGHT, IDENTITY, fix=0.95
    )
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
    """What is measured of a run's model beside its accuracy; nothing of it changes the run (conf/measure/)."""

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
        None,
        "threads of a CPU; null = one per core; 1 is faster for small models",
        Interval(ge=1, le=1024),
        STEP,
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
    objectives: list[str] = key([], "final metrics, averaged over seeds, that a search makes better")
    data_root: str = key(MISSING, "folder of data sets that are files", pattern=FOLDER, fix="data")
    mlruns: str = key(MISSING, "folder of every result", pattern=FOLDER, fix="mlruns")
    trust: list[str] = key([], "packages whose `_target_`s a file from elsewhere (-cd) may have; they run code")


def _argument(name: str, about: str, kind: type, values: Any, affects: Affects, **more: Any) -> Key:
    return Key(name, kind, MISSING, about, affects=affects, **split(values), **more)


ARGUMENTS = (
    _argument("*.traits", "what an option declares of itself (config/traits.py)", dict, None, NOTHING),
    _argument("data.*", "argument of the loader", str, None, STEP),
    _argument("data.root", "folder of the data set's files", str, None, MEMORY),
    _argument("data.path", "file or folder of your own data", str, None, MEMORY, fix="table.csv"),
    _argument("data.download", "whether files that are missing are fetched", bool, None, NOTHING),
    _argument(
        *("data.cache", "folder where decoded images are kept; null = nowhere", str, None, NOTHING),
        **{"pattern": FOLDER, "is_optional": True, "fix": "mlruns/images"},
    ),
    _argument("data.resident", "whether the data stay on the device", bool, ("auto", True, False), STEP, fix="auto"),
    _argument(
        *("data.num_workers", "processes that read data which do not stay on the device, ahead of training", int),
        *((Interval(ge=0, le=1024), "auto"), STEP_TIME),
        fix="auto",
    ),
    _argument("model.*", "argument of the model", str, None, STEP, coarse=STEP_TIME),  # which knows it by its shapes
    _argument("loss.*", "argument of the loss", str, None, STEP, coarse=STEP_TIME | MEMORY),
    _argument("optimizer.*", "argument of the optimizer", str, None, STEP, coarse=STEP_TIME | MEMORY),
    _argument("lr_scaling.*", "argument of the rule", str, None, RUN),
    _argument("lr_scaling.base_batch_size", "batch size at which lr holds", int, COUNT, IDENTITY, fix=128),
    _argument("lr_scaling.exponent", "1 for SGD, .5 to 1 for Adam", float, Interval(gt=0, le=2), RUN, fix=1),
    _argument("lr_schedule.*", "argument of the schedule", str, None, RUN),
    _argument("lr_schedule.warmup", "share of the budget over which lr climbs", float, BELOW_ONE, RUN, fix=0.05),
    _argument("lr_schedule.warmup_from", "share of lr at its start", float, SHARE, RUN, fix=0.1, is_optional=True),
    _argument("lr_schedule.final", "share of lr at the end", float, SHARE, RUN, fix=0.1),
    _argument("lr_schedule.factor", "of lr at each milestone", float, Interval(gt=0, lt=1), RUN, fix=0.1),
    _argument("lr_schedule.decay", "share of the budget over which lr falls", float, WEIGHT, RUN, fix=0.2),
    _argument("batch_schedule.*", "argument of the schedule", str, None, RUN | BATCH),
    _argument(
        *("batch_schedule.max_batch_size", "most examples of a batch; null = a tenth of the training split"),
        *(int, COUNT, RUN | BATCH),
        is_optional=True,
        fix=None,
    ),
    _argument("measure.sharpness.*", "a measure: function and arguments", dict, None, ON_MODEL),
    _argument("measure.sharpness.*.epsilon", "half width of the box", float, POSITIVE, ON_MODEL, fix=1e-3),
    _argument("measure.sharpness.*.rho", "distance", float, POSITIVE, ON_MODEL, fix=0.5),
    _argument("measure.sharpness.*.tolerance", "relative error", float, POSITIVE, ON_MODEL, fix=0.01),
    _argument("measure.sharpness.*.num_restarts", "ascents, of which the best counts", int, COUNT, ON_MODEL, fix=3),
    _argument("measure.sharpness.*.num_iterations", "steps of an ascent", int, COUNT, ON_MODEL, fix=10),
    _argument("measure.sharpness.*.num_steps", "steps of an ascent", int, COUNT, ON_MODEL, fix=1),
    _argument("measure.sharpness.*.num_vectors", "random vectors", int, COUNT, ON_MODEL, fix=30),
    _argument(
        *("measure.sharpness.*.num_dimensions", "of a random subspace; null = the whole space", int, COUNT, ON_MODEL),
        is_optional=True,
        fix=100,
    ),
)
"""Arguments of the groups' own options; ``<group>.*`` stands for all others, those of a user's own `_target_` too."""


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
