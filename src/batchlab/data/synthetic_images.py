"""Images made on the spot, of any size: for timing image networks without a download."""

import torch
from torch.nn import functional as F

from batchlab.data.argument_checks import refuse, split_settings, whole_number
from batchlab.data.dataset import Dataset, Split, make_dataset, split_indices

PATTERN = 4
"""Each class is a random pattern of so many squares on a side, blown up to the image's size, under noise."""


def load_synthetic_images(
    num_examples: int,
    image_size: int,
    num_channels: int,
    num_classes: int,
    seed: int,
    val_fraction: float,
    test_fraction: float,
    split_seed: int,
) -> Dataset:
    """Draw images of a pattern per class under as much noise: learnable, and with pixels that cost what any do.

    Args:
        num_examples: N, over all splits.
        image_size: height and width, in pixels, at least 4.
        num_channels: 1 or 3.
        num_classes: number of classes.
        seed: of patterns, labels and noise.
        val_fraction: of the split, with the next two; see `dataset.split_indices`.
        test_fraction: see there.
        split_seed: see there.

    Returns:
        Inputs [N, num_channels, image_size, image_size] uint8, targets in 0 to num_classes - 1.

    Raises:
        ConfigErrors: where a number is not allowed.
    """
    refuse(
        whole_number("data.num_examples", num_examples, 1, 1024),
        whole_number("data.image_size", image_size, PATTERN, 32),
        whole_number("data.num_channels", num_channels, 1, 3),
        whole_number("data.num_classes", num_classes, 2, 10),
        whole_number("data.seed", seed, 0, 0),
        split_settings(val_fraction, test_fraction, split_seed),
    )
    source = torch.Generator().manual_seed(seed)
    patterns = torch.randint(64, 192, (num_classes, num_channels, PATTERN, PATTERN), generator=source).float()
    targets = torch.randint(num_classes, (num_examples,), generator=source)
    images = torch.empty(num_examples, num_channels, image_size, image_size, dtype=torch.uint8)
    large = F.interpolate(patterns, size=(image_size, image_size))
    for index in torch.arange(num_examples).split(256):
        noise = torch.randint(-64, 64, images[index].shape, generator=source, dtype=torch.int16)
        images[index] = (large[targets[index]] + noise).to(torch.uint8)
    parts = split_indices(targets, val_fraction, test_fraction, split_seed)
    splits = (Split(images[part], targets[part]) for part in parts)
    fact = f"{num_classes} random patterns under noise, {image_size} pixels"
    return make_dataset("synthetic_images", splits, num_classes, (fact,))
