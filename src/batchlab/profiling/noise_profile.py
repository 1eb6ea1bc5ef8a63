"""Measure the gradient noise of a trained model, in three ways and by batch size."""

import sys
from dataclasses import dataclass, replace

import numpy as np

from batchlab.config.command_keys import Noise
from batchlab.config.schema import Config, Measure
from batchlab.laws.estimate import Estimate
from batchlab.laws.gradient_noise import NoiseScale, fit_slope
from batchlab.measures.gradients import training_sample
from batchlab.measures.noise_estimators import BatchNoise, ExactNoise, batch_noise, exact_noise, parts_noise
from batchlab.run.training_run import run, run_to_end
from batchlab.training.build import Built, build

SMALL = 20
"""Batches of up to a twentieth of the sample count as m much smaller than N, for the slope."""
PARTS = 16
"""Batches of the two-batch estimate: their gradients against that of all of them together."""


class NothingMeasured(Exception):
    """No model to measure, or no noise scale; the text says why."""


@dataclass(frozen=True)
class NoiseProfile:
    """The noise of one model on a sample of its training examples, which is the population here."""

    exact: ExactNoise  # from the gradient of every single example of the sample
    endless: NoiseScale  # the same taken as a sample of endless data
    two_batch: NoiseScale  # what training gets for free, parts against their total
    slope: Estimate  # of the variance against the batch size, both as logarithms, for small batches; theory says -1
    batches: list[BatchNoise]  # gradients of batches of 1, 2, 4, ... examples against that of the whole sample.


def profile_noise(keys: Noise, config: Config) -> NoiseProfile:
    """Train, then measure the model as it stands at the end; micro_batch_size=auto is settled.

    Raises:
        NothingMeasured: where the training did not end well, or the gradient has no noise scale.
    """
    built = trained(config)
    sample = training_sample(built, keys.num_examples)
    sample = replace(sample, population=len(sample))  # of the sample itself everything can be measured
    model, loss, count = built.train_step.model, built.loss_function, len(sample)
    parts = zip(sample.inputs.tensor_split(PARTS), sample.targets.tensor_split(PARTS), strict=True)
    exact, two_batch = exact_noise(model, loss, sample), parts_noise(model, loss, parts, count)
    endless = exact_noise(model, loss, replace(sample, population=sys.maxsize)).noise
    if not np.isfinite(exact.noise.scale.value):
        raise NothingMeasured(f"No noise scale: {exact.noise.reason}")
    sizes = [2**power for power in range(20) if 2**power <= count // 2]
    batches = batch_noise(model, loss, sample, sizes, keys.num_draws, config.seed)
    small = [each for each in batches if each.size <= count // SMALL]
    slope = fit_slope([each.size for each in small], [each.distances for each in small])
    return NoiseProfile(exact, endless, two_batch, slope, batches)


def trained(config: Config) -> Built:
    """Train the model of a configuration, measuring nothing else.

    Raises:
        NothingMeasured: where it diverged or ran out of memory.
    """
    built = build(replace(config, measure=Measure(gradient_noise=False)), config.seed)
    outcome = run_to_end(run(built, with_test=False)).outcome
    if outcome != "done":
        raise NothingMeasured(f"The training ended as {outcome}: there is no model to measure.")
    return built
