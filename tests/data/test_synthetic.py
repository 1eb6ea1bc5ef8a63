import numpy as np
import pytest
import torch

from batchlab.data.synthetic import load_quadratic, load_synthetic, optimal_weights, power_law_spectrum
from batchlab.errors import ConfigErrors


def _synthetic(noise=0.0, seed=0, split_seed=0, num_examples=4000):
    return load_synthetic(num_examples, 16, 5, 32, noise, seed, 0.15, 0.15, split_seed)


def _quadratic(noise=0.5, seed=0):
    return load_quadratic(20000, 32, 100.0, noise, seed, 0.15, 0.15, 0)


def test_the_teacher_uses_every_class_and_the_seed_alone_decides():
    data = _synthetic()
    assert (data.input_shape, data.num_classes) == ((16,), 5)
    assert (data.train.targets.bincount(minlength=5) > 0.05 * len(data.train)).all()
    assert _synthetic().digest == data.digest
    assert _synthetic(seed=1).digest != data.digest
    assert _synthetic(split_seed=1).digest != data.digest


def test_noise_replaces_its_share_of_labels():
    # the seed gives the same inputs with and without noise; only labels may differ
    clean, noisy = _synthetic(0.0, num_examples=50000), _synthetic(0.4, num_examples=50000)
    labels = [dict(zip(_keys(data), _labels(data), strict=True)) for data in (clean, noisy)]
    changed = np.mean([labels[0][key] != labels[1][key] for key in labels[0]])
    # .4 drawn anew, of which 1/5 get the class they had: .32; the standard error at 50,000 is .002
    assert changed == pytest.approx(0.32, abs=0.01)
    assert "0.6800" in noisy.facts[0]


def _keys(data):
    return [x for split in (data.train, data.val, data.test) for x in split.inputs[:, 0].tolist()]


def _labels(data):
    return [y for split in (data.train, data.val, data.test) for y in split.targets.tolist()]


def test_the_spectrum_is_a_power_law_with_the_condition_number():
    spectrum = power_law_spectrum(64, 1000.0).double()
    assert (spectrum[0] / spectrum[-1]).item() == pytest.approx(1000, rel=1e-5)
    slopes = spectrum.log().diff() / torch.arange(1, 65).double().log().diff()
    torch.testing.assert_close(slopes, slopes[:1].expand(63), rtol=1e-3, atol=0)


def test_least_squares_finds_the_stated_optimum_and_its_loss():
    data = _quadratic()
    x, y = data.train.inputs[:].double(), data.train.targets.double()
    found = torch.linalg.lstsq(x, y.unsqueeze(1)).solution.squeeze(1)
    # the standard error of weight i is noise / sqrt(N lambda_i): .5 / sqrt(14000 / 100) = .042; five of them
    assert (found - optimal_weights(32, 0)).abs().max() < 0.21
    loss = (x @ optimal_weights(32, 0).double() - y).square().mean().item()
    assert loss == pytest.approx(0.25, rel=0.06)  # five standard errors sqrt(2 / 14000)
    assert data.num_classes is None
    assert y.shape == (14000,)
    assert data.train.targets.dtype == torch.float32


def test_without_noise_the_targets_are_linear():
    data = _quadratic(noise=0.0)
    torch.testing.assert_close(data.val.inputs[:] @ optimal_weights(32, 0), data.val.targets)


def test_numbers_that_make_no_sense_are_all_reported():
    with pytest.raises(ConfigErrors) as error:
        load_synthetic(0, -1, 1, 0, 2.0, 0, 0.15, 0.15, 0)
    assert len(error.value.errors) == 5
    with pytest.raises(ConfigErrors, match=r"data\.condition"):
        load_quadratic(100, 8, 0.5, 0.1, 0, 0.15, 0.15, 0)
