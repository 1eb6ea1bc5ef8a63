"""Views against transformations that can be written down: shifts by whole pixels, quarter turns, sizes."""

import math

import pytest
import torch

from batchlab.errors import ConfigErrors
from batchlab.models.views import Distortion, moved, random_view

NOTHING = Distortion(shift=0, zoom=0, rotation_degrees=0, contrast=0, noise=0)
ZEROS = {"shifts": torch.zeros(1, 2), "sizes": torch.ones(1), "angles": torch.zeros(1)}
TOLERANCE = {"atol": 1e-5, "rtol": 0}
"""Float32 places pixels to 1e-7 of a side; a pixel's neighbour differs by about 1."""


def image(height: int = 6, width: int = 6) -> torch.Tensor:
    return torch.rand(1, 2, height, width, generator=torch.Generator().manual_seed(0))


def test_a_view_without_distortion_is_the_image():
    torch.testing.assert_close(random_view(image(), NOTHING), image(), **TOLERANCE)


def test_a_shift_by_whole_pixels_moves_right_and_down_and_repeats_the_border():
    before = image(4, 6)
    after = moved(before, **ZEROS | {"shifts": torch.tensor([[2 / 6, 1 / 4]])})
    torch.testing.assert_close(after[..., 1:, 2:], before[..., :-1, :-2], **TOLERANCE)
    torch.testing.assert_close(after[..., 0, 2:], before[..., 0, :-2], **TOLERANCE)


def test_a_shift_is_one_of_the_view_whatever_the_angle():
    before, turned = image(), torch.tensor([math.pi / 2])
    after = moved(before, **ZEROS | {"angles": turned, "shifts": torch.tensor([[1 / 6, 0.0]])})
    torch.testing.assert_close(after[..., 1:], before.rot90(1, (2, 3))[..., :-1], **TOLERANCE)


@pytest.mark.parametrize("turns", [1, 2, -1])
def test_quarter_turns_are_counter_clockwise(turns):
    after = moved(image(), **ZEROS | {"angles": torch.tensor([turns * math.pi / 2])})
    torch.testing.assert_close(after, image().rot90(turns, (2, 3)), **TOLERANCE)


def test_a_turn_of_an_oblong_image_keeps_right_angles_and_lengths():
    # a ramp along x, turned by 30 degrees, has slope (cos, sin) in pixels: nothing is sheared or stretched
    ramp = torch.arange(40.0).expand(1, 1, 20, 40)
    inner = moved(ramp, **ZEROS | {"angles": torch.tensor([math.pi / 6])})[0, 0, 8:12, 16:24]
    assert inner.diff(dim=1).mean().item() == pytest.approx(math.cos(math.pi / 6), abs=1e-4)
    assert inner.diff(dim=0).mean().item() == pytest.approx(-math.sin(math.pi / 6), abs=1e-4)


def test_a_size_above_1_shows_less_of_the_image():
    ramp = torch.arange(16.0).expand(1, 1, 16, 16)
    inner = moved(ramp, **ZEROS | {"sizes": torch.tensor([2.0])})[..., 2:-2]
    torch.testing.assert_close(inner.diff(dim=3), torch.full_like(inner[..., 1:], 0.5), **TOLERANCE)


def test_every_image_has_its_own_view_and_the_seed_repeats_them():
    images = image().repeat(3, 1, 1, 1)
    distortion = Distortion(shift=0.2, zoom=0.2, rotation_degrees=20, contrast=0.2, noise=0)
    torch.manual_seed(3)
    first, second = random_view(images, distortion), random_view(images, distortion)
    torch.manual_seed(3)
    assert torch.equal(random_view(images, distortion), first)
    assert len({tuple(view.flatten().tolist()) for view in (*first, *second)}) == 6


def test_contrast_and_noise_have_the_size_that_was_asked_for():
    torch.manual_seed(0)
    flat = torch.ones(4000, 1, 4, 4)
    noisy = random_view(flat, Distortion(0, 0, 0, 0, noise=0.5))
    assert noisy.std().item() == pytest.approx(0.5, rel=0.02)  # 64,000 numbers: 0.3 % standard error
    factors = random_view(flat, Distortion(0, 0, 0, contrast=0.4, noise=0)).amax(dim=(1, 2, 3))
    assert (factors.min().item(), factors.max().item()) == pytest.approx((0.6, 1.4), abs=0.01)


@pytest.mark.parametrize(
    ("name", "value"),
    [("shift", 1.1), ("shift", -0.1), ("zoom", 1.0), ("rotation_degrees", 200), ("contrast", 1), ("noise", math.inf),
     ("noise", math.nan), ("shift", "far")],
)  # fmt: skip
def test_a_distortion_out_of_range_is_refused(name, value):
    with pytest.raises(ConfigErrors, match=rf"model\.{name}={value}"):
        Distortion(**vars(NOTHING) | {name: value})
