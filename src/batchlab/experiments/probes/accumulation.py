"""How far the gradient of a batch in parts is from that of the whole batch."""

import torch

from batchlab.config.schema import Config
from batchlab.training.build import build
from batchlab.training.gradient import accumulate
from batchlab.training.plan import part_sizes


def accumulation(config: Config, seed: int, *, micro_batch_size: int) -> dict[str, float]:
    """Compare the two gradients of the first batch of a fresh model, in training mode.

    Returns:
        gradient/relative_difference: largest difference of any entry over the largest entry of the whole gradient.
    """
    whole, parts = (_gradient(config, seed, size) for size in (None, micro_batch_size))
    return {"gradient/relative_difference": float((whole - parts).abs().max() / whole.abs().max())}


def _gradient(config: Config, seed: int, micro_batch_size: int | None) -> torch.Tensor:
    built = build(config, seed)
    built.train_step.model.train()
    accumulate(built.train_step, built.stream, 0, part_sizes(built.plan.batch_size, micro_batch_size))
    gradients = [each.grad.flatten() for each in built.train_step.model.parameters() if each.grad is not None]
    return torch.cat(gradients).double()
