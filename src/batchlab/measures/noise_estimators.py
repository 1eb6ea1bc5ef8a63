"""Gradient noise of a model on its training examples: exactly, by parts, and as it falls with the batch size.

Everything is measured on the plain model in float32 and evaluation mode: an example's own gradient is not defined
where batch norm mixes examples, and dropout would add noise that is not the data's. Examples are not augmented. The
model is left as it was.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from batchlab.laws.estimate import Estimate, of_draws, resampled
from batchlab.laws.gradient_noise import NoiseScale, of_parts
from batchlab.measures.gradients import Loss, Sample, example_gradients, gradient, num_parameters, undisturbed
from batchlab.models.norm import norms_of

MAX_FLOATS = 2**25
"""Numbers that gradients held at the same time may have: 128 MiB."""
MAX_CHUNK = 256
"""Examples whose gradients are computed at once; more are no faster, and their activations take memory too."""
GROUPS = 32
"""Groups of examples behind the interval of the exact scale."""


@dataclass(frozen=True)
class ExactNoise:
    """The noise scale from the gradient of every single example of a sample."""

    noise: NoiseScale  # scale, S and |G|^2 of the split that the sample was drawn from
    num_examples: int  # in the sample
    method: str  # ``torch.func``, or ``one by one`` where the model refuses that
    notes: tuple[str, ...]  # what else a reader must know, a sentence each


@dataclass(frozen=True)
class BatchNoise:
    """Gradients of batches of one size against the gradient of the whole sample."""

    size: int  # examples in a batch, m
    distances: np.ndarray  # [num_draws] squared distances; their mean estimates S (1/m - 1/n)
    cosine_squared: Estimate  # mean squared cosine; NaN where a gradient is 0


def parts_noise(model: nn.Module, loss: Loss, parts: Iterable[tuple[Tensor, Tensor]], population: int) -> NoiseScale:
    """Estimate the noise scale of a split of N = `population` examples: one pass forward and backward over a sample.

    The near-equal parts of inputs and targets are drawn without replacement; their gradients are held at the same time.
    """
    rows, sizes = [], []
    with undisturbed(model):
        for inputs, targets in parts:
            rows.append(gradient(model, loss, inputs, targets))
            sizes.append(len(targets))
    return of_parts(products(torch.stack(rows)), sizes, population)


def exact_noise(model: nn.Module, loss: Loss, sample: Sample, num_groups: int = GROUPS) -> ExactNoise:
    """Compute the noise scale of a split from every single example's gradient; exact where the sample is the split.

    The sample, at least two examples, is in random order; the mean gradients of `num_groups` groups of it (fewer of a
    large model) are kept, for the interval.
    """
    num = num_parameters(model)
    num_groups = min(num_groups, len(sample), max(3, MAX_FLOATS // num))
    chunk_size = max(1, min(MAX_CHUNK, MAX_FLOATS // num))
    parts = zip(sample.inputs.tensor_split(num_groups), sample.targets.tensor_split(num_groups), strict=True)
    means, norms, sizes, methods = [], [], [], set()
    with undisturbed(model):
        for inputs, targets in parts:
            total, squares = torch.zeros(num, dtype=inputs.dtype, device=inputs.device), 0.0
            for chunk in zip(inputs.split(chunk_size), targets.split(chunk_size), strict=True):
                rows, method = example_gradients(model, loss, *chunk)
                total, squares = total + rows.sum(dim=0), squares + rows.square().sum().item()
                methods.add(method)
            means.append(total / len(targets))
            norms.append(squares / len(targets))
            sizes.append(len(targets))
    noise = of_parts(products(torch.stack(means)), sizes, sample.population, np.array(norms))
    return ExactNoise(noise, len(sample), " and ".join(sorted(methods)), notes_on(model, sample))


def notes_on(model: nn.Module, sample: Sample) -> tuple[str, ...]:
    """Return what a reader of a per-example measurement must know of it."""
    notes = []
    if norms_of(model):
        notes.append(
            "Batch norm normalises by its running statistics here: in training an example has no own gradient."
        )
    if len(sample) < sample.population:
        notes.append(f"Measured on {len(sample):,} of the {sample.population:,} training examples.")
    return tuple(notes)


def products(rows: Tensor) -> np.ndarray:
    """Return the scalar products of the rows of [K, P], summed in float64: [K, K]."""
    blocks = rows.split(2**16, dim=1)
    if rows.device.type == "mps":  # has no float64
        return (rows @ rows.T).cpu().double().numpy()
    return torch.stack([block.double() @ block.double().T for block in blocks]).sum(dim=0).cpu().numpy()


def batch_noise(
    model: nn.Module, loss: Loss, sample: Sample, sizes: Sequence[int], num_draws: int = 512, seed: int = 0
) -> list[BatchNoise]:
    """Measure gradients of batches of several sizes against that of the whole sample, the population of n examples.

    A batch of m examples, m from 1 to n, is a slice of a shuffled pass, so it is drawn without replacement; m = 1 with
    a draw for each example is every example once. Of each size there are `num_draws` batches, at least 2.
    """
    with undisturbed(model):
        whole = torch.zeros(num_parameters(model), dtype=sample.inputs.dtype, device=sample.inputs.device)
        for chunk in zip(sample.inputs.split(MAX_CHUNK), sample.targets.split(MAX_CHUNK), strict=True):
            whole += gradient(model, loss, *chunk) * (len(chunk[1]) / len(sample))
        return [_batches(model, loss, sample, size, whole, num_draws, seed) for size in sizes]


def _batches(
    model: nn.Module, loss: Loss, sample: Sample, size: int, whole: Tensor, num_draws: int, seed: int
) -> BatchNoise:
    generator, distances, cosines = torch.Generator().manual_seed(seed), [], []
    while len(distances) < num_draws:
        order = torch.randperm(len(sample), generator=generator)
        for part in order.split(size)[: min(len(sample) // size, num_draws - len(distances))]:
            index = part.to(sample.targets.device)
            drawn = gradient(model, loss, sample.inputs[index], sample.targets[index])
            distances.append((drawn - whole).square().sum())
            cosines.append((drawn @ whole).square() / (drawn.square().sum() * whole.square().sum()))
    squares, cosine = (torch.stack(each).cpu().double().numpy() for each in (distances, cosines))
    interval = of_draws(float(cosine.mean()), cosine[resampled(num_draws, seed, 500)].mean(axis=1))
    return BatchNoise(size, squares, interval)
