"""The noise of a constructed loss surface: pushes, one for each example, that sum to nothing."""

import torch
from annotated_types import Interval
from torch import Tensor

from batchlab.data.argument_checks import number, refuse, whole_number
from batchlab.data.dataset import Dataset, Split, make_dataset
from batchlab.errors import ConfigError


def load_surface(num_examples: int, num_features: int, noise: float) -> Dataset:
    """Return gradient noise as a data set: example i adds x_i . w to the loss of `batchlab.models.surface.Surface`.

    x_ij = noise * `signs`_ij. So over the training split x has mean 0 and covariance noise^2 I, exactly, and
    the gradient of B examples drawn without replacement has in each weight the variance

        noise^2 / B * (N - B) / (N - 1)

    around the gradient of the surface, which is that of `batch_size=full`: to the last bit where noise has few
    binary digits, because N is a power of two. Val and test are one pair of opposite examples each, whose mean
    loss is the surface itself.

    Args:
        num_examples: N, the training split; a power of two, at least 4.
        num_features: weights of the surface, d; even and below N.
        noise: standard deviation of one example's gradient, in each weight; at least 0.

    Returns:
        Inputs [N, d] float32, targets [N] all 0, the least loss of the surface; num_classes None.

    Raises:
        ConfigErrors: where a number is not allowed.

    Source: own construction; the variance is that of a mean under simple random sampling.
    """
    refuse(_sizes(num_examples, num_features), number("data.noise", noise, Interval(ge=0), 1))
    train = Split(noise * signs(num_examples, num_features), torch.zeros(num_examples))
    push = torch.full((1, num_features), float(noise))
    pair = Split(torch.cat([push, -push]), torch.zeros(2))
    facts = (f"each example's gradient is the surface's and noise of standard deviation {noise:g} in each weight",)
    return make_dataset("surface", (train, pair, pair), None, facts)


def signs(num_rows: int, num_columns: int) -> Tensor:
    """Return columns of +-1 that sum to 0 and are orthogonal: the Walsh functions 1 to `num_columns`.

    s_ij = (-1)^(number of ones that i and j + 1 have in common in binary), [num_rows, num_columns] float32;
    `num_rows` is a power of two above `num_columns`.

    Source: Sylvester 1867, the Hadamard matrix of order 2^k, without its first column.
    """
    common = torch.arange(num_rows).unsqueeze(1) & torch.arange(1, num_columns + 1)
    for shift in (32, 16, 8, 4, 2, 1):
        common = common ^ (common >> shift)  # the lowest bit becomes the parity of all
    return 1.0 - 2.0 * (common & 1)


def _sizes(num_examples: int, num_features: int) -> list[ConfigError]:
    found = whole_number("data.num_examples", num_examples, 4, 8192)
    found += whole_number("data.num_features", num_features, 2, 64)
    if found:
        return found
    if num_examples & (num_examples - 1):
        allowed, example = "a power of two is allowed: the pushes sum to nothing", 2 ** (num_examples.bit_length() - 1)
        return [ConfigError("data.num_examples", num_examples, allowed, f"data.num_examples={example}")]
    if num_features % 2 or num_features >= num_examples:
        allowed = f"an even number below data.num_examples={num_examples} is allowed"
        why = "two weights for each pair of wells"
        return [ConfigError("data.num_features", num_features, f"{allowed}: {why}", "data.num_features=2")]
    return []
