"""The keys of an option's arguments: what each of them means, may be and affects; and what keys can affect."""

from typing import Any

from annotated_types import Interval

from batchlab.config.keys import COUNT, MISSING, POSITIVE, Affects, Key, split

IDENTITY, SEEDS, MEASURES, STEP_TIME, MEMORY, BATCH, LABEL = Affects
NOTHING = Affects.NOTHING
RUN = IDENTITY | LABEL
STEP = RUN | STEP_TIME | MEMORY
ON_MODEL = MEASURES | MEMORY
BELOW_ONE, SHARE, WEIGHT = Interval(ge=0, lt=1), Interval(ge=0, le=1), Interval(gt=0, le=1)
FOLDER = r"(?s).*\S.*", "the path of a folder"
DEVICE = r"auto|cpu|mps|cuda(:\d+)?", "one of auto, cpu, cuda, cuda:0, cuda:1, ..., mps"


def _argument(
    name: str, about: str, kind: type, values: Any, affects: Affects, default: Any = MISSING, **more: Any
) -> Key:
    return Key(name, kind, default, about, affects=affects, **split(values), **more)


ARGUMENTS = (
    _argument("*.traits", "what an option declares of itself (config/traits.py)", dict, None, NOTHING),
    _argument("data.*", "argument of the loader", str, None, STEP),
    _argument("data.root", "folder of the data set's files", str, None, MEMORY),
    _argument("data.path", "file or folder of your own data", str, None, MEMORY, fix="table.csv"),
    _argument("data.val_path", "file that is the val split", str, None, MEMORY, is_optional=True),
    _argument("data.test_path", "file that is the test split", str, None, MEMORY, is_optional=True),
    _argument("data.download", "whether files that are missing are fetched", bool, None, NOTHING),
    _argument(
        *("data.cache", "folder where decoded images are kept; null = nowhere", str, None, NOTHING),
        **{"pattern": FOLDER, "is_optional": True, "fix": "mlruns/images"},
    ),
    _argument(
        "data.missing", "words of a table that mean missing, as an empty cell does", list, None, STEP, default=[]
    ),
    _argument("data.group", "column whose groups stay in one split", str, None, STEP, None, is_optional=True),
    _argument(
        "data.time",
        "column by which a table is split: the earliest rows train",
        str,
        None,
        STEP,
        None,
        is_optional=True,
    ),
    _argument("data.skip_broken", "whether broken images are left out, not refused", bool, None, STEP, default=False),
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
