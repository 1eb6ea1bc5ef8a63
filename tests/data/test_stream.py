from dataclasses import replace

import pytest
import torch

from batchlab.data.dataset import Augment
from batchlab.data.order import Order
from batchlab.data.splits import placed
from batchlab.data.stream import BatchStream
from batchlab.data.transforms import augmented
from batchlab.training.data_loading import load_dataset

CPU = torch.device("cpu")


def take_all(stream, cuts):
    start, parts = 0, []
    for count in cuts:
        parts.append([tensor.clone() for tensor in stream.take(start, count)])
        start += count
    return torch.cat([x for x, _ in parts]), torch.cat([y for _, y in parts])


@pytest.fixture
def digits(config_of):
    return load_dataset(config_of().data)


def test_each_pass_is_a_permutation_and_passes_differ():
    order = Order(100, seed=3)
    first, second = order.indices(0, 100), order.indices(100, 100)
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(100))
    assert first.tolist() != second.tolist()
    assert Order(100, seed=4).indices(0, 100).tolist() != first.tolist()


def test_a_batch_across_the_border_of_two_passes_is_exact():
    order = Order(10, seed=0)
    whole = order.indices(0, 30)
    assert order.indices(7, 6).tolist() == whole[7:13].tolist()
    assert len(order.indices(5, 25)) == 25


@pytest.mark.parametrize("augment", [None, Augment(flip=True, crop_padding=2)])
def test_the_stream_is_the_same_however_it_is_cut_and_wherever_it_lies(digits, augment):
    digits = replace(digits, augment=augment)
    total = 3000
    resident = BatchStream(placed(digits, CPU), 0, CPU, resident=True)
    reference = take_all(resident, [total])
    for cuts in ([1] * 300 + [2700], [512] * 5 + [440], [7, 1250, 1743], [1257, 1257, 486]):
        for stream in (
            BatchStream(placed(digits, CPU), 0, CPU, resident=True),
            BatchStream(digits, 0, CPU, resident=False),
            BatchStream(digits, 0, CPU, resident=False, num_workers=2),
        ):
            inputs, targets = take_all(stream, cuts)
            assert torch.equal(inputs, reference[0])
            assert torch.equal(targets, reference[1])


def test_a_batch_can_be_taken_again_after_later_ones(digits):
    for stream in (BatchStream(placed(digits, CPU), 0, CPU, True), BatchStream(digits, 0, CPU, False)):
        first = stream.take(0, 700)[0].clone()
        stream.take(700, 700)
        assert torch.equal(stream.take(0, 700)[0], first)


def test_inputs_are_normalised_by_the_training_split(digits):
    inputs, _ = BatchStream(placed(digits, CPU), 0, CPU, True).take(0, len(digits.train))
    assert inputs.mean().abs() < 1e-4
    assert (inputs.std() - 1).abs() < 1e-3


def test_augmentation_equals_flip_and_shift_image_by_image():
    images = torch.randint(0, 256, (50, 3, 8, 6), dtype=torch.uint8)
    draws = torch.rand(50, 3)
    changed = augmented(images, draws, Augment(flip=True, crop_padding=2))
    for image, draw, result in zip(images, draws, changed, strict=True):
        flipped = image.flip(2) if draw[0] < 0.5 else image
        padded = torch.zeros(3, 12, 10, dtype=torch.uint8)
        padded[:, 2:10, 2:8] = flipped
        top, left = int(draw[1] * 5), int(draw[2] * 5)
        assert torch.equal(result, padded[:, top : top + 8, left : left + 6])
