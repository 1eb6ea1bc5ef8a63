"""Gradient noise of a model after its training: variance and direction of a batch's gradient by its size."""

from dataclasses import replace

import numpy as np

from batchlab.config.command_keys import Noise
from batchlab.config.schema import Config
from batchlab.laws.gradient_noise import cosine_law
from batchlab.profiling.noise_profile import profile_noise

LARGE = 4.0
"""Times the noise scale, where the law puts cosine² at .8."""


def gradient_noise(config: Config, seed: int, *, num_examples: int, num_draws: int) -> dict[str, float]:
    """Train, then compare `num_draws` batches of 1, 2, 4, ... examples each with the gradient of the whole sample.

    Returns:
        noise/variance_slope, noise/exact, noise/two_batch, noise/largest_deviation of cosine² from its law,
        noise/cosine_squared_at_4 times the noise scale, and variance/<m> and cosine_squared/<m>.
    """
    found = profile_noise(Noise(num_examples, num_draws), replace(config, seed=seed))
    scale, count = found.exact.noise.scale.value, found.exact.num_examples
    cosines = {each.size: each.cosine_squared.value for each in found.batches}
    at_large = float(np.interp(np.log(LARGE * scale), np.log(list(cosines)), list(cosines.values())))
    return {
        "noise/variance_slope": found.slope.value,
        "noise/exact": scale,
        "noise/two_batch": found.two_batch.scale.value,
        "noise/largest_deviation": max(abs(value - float(cosine_law(m, scale, count))) for m, value in cosines.items()),
        "noise/cosine_squared_at_4": at_large,
        **{f"variance/{each.size}": float(each.distances.mean()) for each in found.batches},
        **{f"cosine_squared/{size}": value for size, value in cosines.items()},
    }
