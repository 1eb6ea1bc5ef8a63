"""The digits that ship inside scikit-learn: the default data, there without a download."""

import torch
from sklearn.datasets import load_digits as read_digits

from batchlab.data.argument_checks import refuse, split_settings
from batchlab.data.dataset import Dataset, Split, make_dataset, split_indices


def load_digits(val_fraction: float, test_fraction: float, split_seed: int) -> Dataset:
    """Load 1,797 handwritten digits of 8x8 pixels; values 0 to 16 are stretched to 0 to 255.

    Returns:
        Inputs [N, 1, 8, 8] uint8, targets in 0 to 9.

    Raises:
        ConfigErrors: where a fraction or the seed is not allowed.
    """
    refuse(split_settings(val_fraction, test_fraction, split_seed))
    raw = read_digits()
    pixels = torch.from_numpy(raw.images).long() * 255 // 16  # type: ignore[attr-defined]
    images = pixels.to(torch.uint8).unsqueeze(1)
    targets = torch.from_numpy(raw.target).long()  # type: ignore[attr-defined]
    parts = split_indices(targets, val_fraction, test_fraction, split_seed)
    splits = (Split(images[part], targets[part]) for part in parts)
    return make_dataset("digits", splits, 10, (f"{len(targets):,} images of 8x8 pixels from scikit-learn",))
