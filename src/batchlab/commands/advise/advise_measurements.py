"""Measurements that advice rests on: step time, memory, gradient noise, trainings to a target, in this order."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from batchlab.commands.advise.trainings import FIRST_SHARE, MAX_EPOCHS, Training, Trainings, first_training, noise_at
from batchlab.config.command_keys import Advise
from batchlab.config.schema import Config, Measure, Memory
from batchlab.laws.estimate import Estimate
from batchlab.laws.step_time import StepTime, fit_step_time
from batchlab.profiling.largest_batch import largest_batch
from batchlab.profiling.memory_process import NothingFits
from batchlab.profiling.micro_batch import free_for_runs
from batchlab.profiling.timing import Cell, time_cells
from batchlab.training.build import build
from batchlab.training.data_loading import load_dataset
from batchlab.training.plan import num_examples_of, score_of

STEP_SECONDS = 6.0
"""For the step-time probe."""
STEP_BLOCKS = 10
SPREAD = 8
"""Trainings are run at the reference batch size, and at this many times less and more."""
FIRST_WITHOUT_BUDGET = 3.0
"""Seconds of the first training where only its gradient noise is wanted."""
NUM_REPEATS = 2
PLATEAU = 0.95
"""The device is filled by the smallest batch with so much of the greatest measured throughput."""
PROBED = 64
"""Memory is probed up to so many times the reference batch size: larger batches are not recommended."""
PROBE_SECONDS = 10.0
"""A size whose steps take longer is not probed further."""
Tell = Callable[[str, float], None]
"""Shows what is being done, and the share of it that is done."""


@dataclass(frozen=True)
class Measured:
    """What was measured."""

    config: Config  # of the run that the advice is about
    num_train: int  # N
    step: StepTime  # the step-time law, with the run's own loader
    throughput: dict[int, float]  # batch size -> examples per second
    update_seconds: float  # alpha_0; 0 where every batch goes through whole
    ceiling: float  # most examples that fit at once; infinite where no limit was met
    memory: str  # what was found of it
    noise: Estimate  # gradient noise scale where the first training reached the target; NaN where it is not known
    noise_examples: float  # after which it was measured
    reference: int  # batch size of the first training
    trainings: Trainings | None  # to the target; None without a budget for them
    remarks: tuple[str, ...]  # what could not be measured, and why


def measure(keys: Advise, config: Config, tell: Tell) -> Measured:
    """Measure all but the trainings at several sizes; method=fill_then_reduce uses step time and first training."""
    num_train = len(load_dataset(config.data).train)
    config = replace(config, measure=Measure(gradient_noise=False))
    plain = replace(config, micro_batch_size="none", memory=Memory())
    step, throughput = step_time(plain, num_train, tell)
    reference = power_of_two(min(max(step.half_speed.value, 16), num_train / 8))
    ceiling, memory = memory_ceiling(config, min(num_train, PROBED * reference), num_train, tell)
    update = update_time(plain, step, ceiling, num_train)
    config = plain if math.isinf(ceiling) else replace(plain, micro_batch_size=int(ceiling))
    seconds = keys.budget_seconds * FIRST_SHARE or FIRST_WITHOUT_BUDGET
    tell("first training", 0.0)
    first = first_training(config, reference, num_train, seconds, keys.target)
    remarks = (f"the first training, at lr {config.lr:g}, {first.cause}",) if first.cause else ()
    noise, trainings = Estimate(math.nan, math.nan, math.nan), None
    if math.isfinite(first.examples):
        tell("gradient noise", 0.0)
        noise = noise_at(config, reference, first.examples)
    if keys.budget_seconds > 0 and math.isfinite(first.target):
        started = time.perf_counter()
        deadline = started + (1 - FIRST_SHARE) * keys.budget_seconds
        trainings = Trainings(config, num_train, score_of(config, load_dataset(config.data)), first.target, deadline)
        trainings.tell = lambda: tell("trainings", (time.perf_counter() - started) / keys.budget_seconds)
    return Measured(
        config, num_train, step, throughput, update, ceiling, memory, noise, first.examples, reference, trainings,
        remarks,
    )  # fmt: skip


def power_of_two(number: float) -> int:
    """Return the nearest power of two, in logarithm, at least 1."""
    return 2 ** max(0, round(math.log2(max(number, 1))))


def memory_ceiling(config: Config, largest: int, num_train: int, tell: Tell) -> tuple[float, str]:
    """Find the most examples that fit in one part, tested up to `largest`; and say what was found."""
    tell("memory", 0.0)
    if config.micro_batch_size != "auto":
        given = math.inf if config.micro_batch_size == "none" else int(config.micro_batch_size)
        return given, f"memory: not probed, micro_batch_size={config.micro_batch_size} is taken as it is"
    try:
        here = replace(config, batch_size=largest)
        probe = largest_batch(here, largest, free_for_runs(config), timeout=PROBE_SECONDS)
    except NothingFits as error:
        return math.inf, f"memory: not known ({error})"
    if probe.capped_by == "memory":
        return probe.size, f"memory: {probe.size} examples fit at once, {probe.limit_bytes / 1e9:.3g} GB may be taken"
    whole = ", the whole training split," if probe.size >= num_train else ""
    return math.inf, f"memory: {probe.size} examples{whole} fit at once, more were not tried"


def step_time(config: Config, largest: int, tell: Tell) -> tuple[StepTime, dict[int, float]]:
    """Time steps on the run's own stream; returns the law, and examples per second by batch size."""
    sizes = sorted({min(largest, 8 * 4**place) for place in range(12)})
    built = build(replace(config, batch_size=sizes[-1]), config.seed)
    cells = [Cell(built, size) for size in sizes]
    timings = time_cells(cells, STEP_BLOCKS, STEP_SECONDS, "wall", lambda share: tell("step time", share))
    good = [place for place in range(len(sizes)) if place not in timings.failed]
    kept, seconds = [sizes[place] for place in good], timings.seconds[:, good]
    medians = np.median(seconds, axis=0)
    return fit_step_time(kept, seconds), {size: size / float(t) for size, t in zip(kept, medians, strict=True)}


def update_time(config: Config, step: StepTime, ceiling: float, num_train: int) -> float:
    """Time alpha_0, the seconds of a step that do not come again with each part: 2 t(m) - t(2m)."""
    if 2 * ceiling > num_train:
        return 0.0
    most = int(ceiling)
    built = build(replace(config, batch_size=2 * most, micro_batch_size=most), config.seed)
    cells = [Cell(built, size, micro_batch_size=most) for size in (most, 2 * most)]
    timings = time_cells(cells, STEP_BLOCKS, STEP_SECONDS)
    if timings.failed or not len(timings.seconds):
        return 0.0
    one, two = np.median(timings.seconds, axis=0)
    return float(min(max(2 * one - two, 0.0), step.alpha_seconds.value))


def train_at_sizes(measured: Measured, config: Config) -> None:
    """Tune and repeat trainings at three batch sizes, the reference first; each has its share of the time.

    The learning rate starts from the configured one, moved by the square root of the batch size.
    """
    trainings, num_train = measured.trainings, measured.num_train
    assert trainings is not None
    ends, middle = trainings.deadline, measured.reference
    sizes = [middle, max(middle // SPREAD, 4), min(middle * SPREAD, power_of_two(num_train / 2.8))]
    sizes = list(dict.fromkeys(size for size in sizes if size >= 2))
    base = num_examples_of(config.batch_size, num_train)
    for place, size in enumerate(sizes):
        now = time.perf_counter()
        trainings.deadline = now + (ends - now) / (len(sizes) - place + 1)
        known = trainings.best_at(middle)
        start = known.lr * math.sqrt(size / middle) if known else config.lr * math.sqrt(size / base)
        limit = known.examples * (1 + 2 * size / middle) * 2 if known else MAX_EPOCHS * num_train
        trainings.tune(size, start, limit)
    trainings.deadline = ends
    for repeat in range(NUM_REPEATS):
        for size in sizes:
            trainings.repeat(size, config.seed + 1 + repeat)


@dataclass(frozen=True)
class Filled:
    """Batch size that the procedure ends at."""

    batch_size: int | None  # the first that reached the target; None where none did in the time
    lr: float  # it was trained with
    plateau: int  # batch size that fills the device
    tried: list[Training]  # trainings, largest batch first


def fill_then_reduce(measured: Measured, base_batch_size: int) -> Filled:
    """Train at the plateau of the throughput, halve the batch until the target is reached.

    lr goes with the square root of the batch size from the configured one, which holds at `base_batch_size`, as in the
    trainings of method=laws, so that the two methods differ in the batch size alone.

    Source: a primer on convolutional networks, "fill the GPU, then reduce".
    """
    trainings = measured.trainings
    assert trainings is not None
    plateau = plateau_of(measured.throughput)
    size, lr = plateau, measured.config.lr
    while size >= 2 and time.perf_counter() < trainings.deadline:
        lr = measured.config.lr * math.sqrt(size / base_batch_size)
        if trainings.train(size, lr, measured.config.seed, MAX_EPOCHS * measured.num_train).is_reached:
            return Filled(size, lr, plateau, list(trainings.done))
        size //= 2
    return Filled(None, lr, plateau, list(trainings.done))


def plateau_of(throughput: dict[int, float]) -> int:
    """Return the smallest batch size with 95 % of the greatest throughput."""
    most = max(throughput.values())
    return min(size for size, rate in throughput.items() if rate >= PLATEAU * most)
