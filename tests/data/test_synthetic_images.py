"""Images made on the spot: their shape, their classes, and that equal arguments make equal images."""

import pytest
import torch

from batchlab.data.synthetic_images import load_synthetic_images
from batchlab.errors import ConfigErrors


def _images(size=8, seed=0, num_examples=600):
    return load_synthetic_images(num_examples, size, 3, 4, seed, 0.15, 0.15, 0)


def test_images_have_the_size_that_was_asked_for_and_depend_on_the_seed_alone():
    data = _images(size=12)
    assert (data.input_shape, data.train.inputs.dtype) == ((3, 12, 12), torch.uint8)
    assert len(data.train) + len(data.val) + len(data.test) == 600
    assert _images().digest == _images().digest != _images(seed=1).digest


def test_the_nearest_mean_image_tells_the_class():
    data = _images()
    images, targets = data.train.inputs.float(), data.train.targets
    means = torch.stack([images[targets == each].mean(dim=0) for each in range(4)])
    guessed = torch.cdist(data.val.inputs.float().flatten(1), means.flatten(1)).argmin(dim=1)
    assert (guessed == data.val.targets).float().mean() > 0.95


def test_every_wrong_number_is_named():
    with pytest.raises(ConfigErrors) as error:
        load_synthetic_images(0, 3, 0, 1, -1, 0.15, 0.15, 0)
    assert len(error.value.errors) == 5
