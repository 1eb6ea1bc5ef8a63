import pytest
import torch

from batchlab.data.digits import load_digits
from batchlab.errors import ConfigErrors


def test_digits_are_uint8_images_with_three_stratified_splits():
    data = load_digits(0.15, 0.15, 0)
    assert data.input_shape == (1, 8, 8)
    assert data.train.inputs.dtype == torch.uint8
    assert data.train.inputs.max() == 255
    assert len(data.train) + len(data.val) + len(data.test) == 1797
    shares = [split.targets.bincount(minlength=10) / len(split) for split in (data.train, data.val, data.test)]
    # a split of 270 cannot hold a share of 1/10 more exactly than one example
    torch.testing.assert_close(shares[0], shares[1], atol=1 / 270, rtol=0)
    torch.testing.assert_close(shares[0], shares[2], atol=1 / 270, rtol=0)


def test_statistics_are_those_of_the_training_split():
    data = load_digits(0.15, 0.15, 0)
    pixels = data.train.inputs[:].double()
    assert data.mean.item() == pytest.approx(pixels.mean().item(), rel=1e-6)
    assert data.std.item() == pytest.approx(pixels.std(correction=0).item(), rel=1e-6)


def test_the_split_depends_on_the_seed_alone():
    assert load_digits(0.15, 0.15, 0).digest == load_digits(0.15, 0.15, 0).digest
    assert load_digits(0.15, 0.15, 0).digest != load_digits(0.15, 0.15, 1).digest


def test_every_wrong_setting_is_reported():
    with pytest.raises(ConfigErrors) as error:
        load_digits(1.5, -0.1, -1)
    keys = {item.key for item in error.value.errors}
    assert keys == {"data.val_fraction", "data.test_fraction", "data.split_seed"}


def test_fractions_that_leave_nothing_to_train_are_refused():
    with pytest.raises(ConfigErrors, match="nothing is left to train"):
        load_digits(0.5, 0.5, 0)
