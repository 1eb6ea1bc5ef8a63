"""From raw examples to what the model sees, in batches, on the device."""

import torch
from torch import Tensor
from torch.nn.functional import pad

from batchlab.data.dataset import Augment, Dataset


class Prepare:
    """Raw inputs to what the model sees: augmented as uint8, then float32, normalised; all on the device."""

    def __init__(self, dataset: Dataset, device: torch.device, augment: Augment | None = None) -> None:
        self.augment = augment
        self._mean, self._std = dataset.mean.to(device), dataset.std.to(device)
        self._neutral = bool((dataset.mean == 0).all() and (dataset.std == 1).all())
        self._buffer = torch.empty(0, device=device)

    def __call__(self, raw: Tensor, draws: Tensor | None = None) -> Tensor:
        """Normalise [n, *input_shape] to float32, augmented by uniform draws [n, 3]; overwritten by the next call."""
        if draws is not None and self.augment is not None:
            raw = augmented(raw, draws, self.augment)
        if self._neutral and raw.dtype == torch.float32:
            return raw
        if self._buffer.shape != raw.shape:
            # new pages cost as much as the copy into them: keep one buffer
            self._buffer = torch.empty(raw.shape, device=raw.device)
        return self._buffer.copy_(raw).sub_(self._mean).div_(self._std)


def augmented(images: Tensor, draws: Tensor, augment: Augment) -> Tensor:
    """Flip and shift each image by its own draws; what comes in from outside is 0.

    Args:
        images: [n, C, H, W], any dtype, any device.
        draws: [n, 3] uniform in [0, 1): flip, vertical shift, horizontal shift.
        augment: whether to flip, and by how many pixels to shift at most.
    """
    draws = draws.to(images.device)
    margin, height, width = augment.crop_padding, images.shape[2], images.shape[3]
    shifts = (draws[:, 1:] * (2 * margin + 1)).long()
    rows = torch.arange(height, device=images.device) + shifts[:, :1]
    columns = torch.arange(width, device=images.device) + shifts[:, 1:]
    if augment.flip:
        mirrored = width + 2 * margin - 1 - columns
        columns = torch.where(draws[:, :1] < 0.5, mirrored, columns)
    padded = pad(images, [margin] * 4)
    picked = padded.gather(2, rows[:, None, :, None].expand(-1, images.shape[1], -1, padded.shape[3]))
    return picked.gather(3, columns[:, None, None, :].expand(-1, images.shape[1], height, -1))
