import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from batchlab.data import folder
from batchlab.data.folder import load_folder
from batchlab.data.stream import BatchStream
from batchlab.errors import ConfigErrors


@pytest.fixture
def pets(tmp_path):
    random = np.random.default_rng(0)
    for name, mode in (("cat", "RGB"), ("dog", "L")):
        (tmp_path / name).mkdir()
        for number in range(10):
            shape = (20, 30, 3) if mode == "RGB" else (20, 30)
            pixels = random.integers(0, 256, shape, dtype=np.uint8)
            Image.fromarray(pixels, mode=mode).save(tmp_path / name / f"{number}.png")
    return tmp_path


def _load(path, image_size=16, augment_flip=False, augment_crop=0):
    return load_folder(str(path), image_size, augment_flip, augment_crop, 0.2, 0.2, 0)


def test_grey_and_colour_images_become_rgb_of_one_size(pets):
    data = _load(pets, augment_flip=True)
    assert (data.input_shape, data.num_classes) == ((3, 16, 16), 2)
    assert data.train.inputs.dtype == torch.uint8
    assert [split.targets.bincount().tolist() for split in (data.train, data.val, data.test)] == [
        [6, 6],
        [2, 2],
        [2, 2],
    ]
    assert data.augment is not None
    assert data.augment.flip


def test_images_decoded_on_demand_are_those_decoded_at_once(pets, monkeypatch):
    at_once = _load(pets)
    monkeypatch.setattr(folder, "MAX_DECODED_BYTES", 1)
    on_demand = _load(pets)
    assert isinstance(on_demand.train.inputs, folder.ImageFiles)
    picked = torch.tensor([5, 0, 5])
    assert torch.equal(on_demand.train.inputs[picked], at_once.train.inputs[picked])
    assert on_demand.train.inputs.shape == at_once.train.inputs.shape
    torch.testing.assert_close(on_demand.mean, at_once.mean)
    assert on_demand.digest == at_once.digest


def test_a_worker_names_the_image_that_cannot_be_decoded(pets, monkeypatch):
    monkeypatch.setattr(folder, "MAX_DECODED_BYTES", 1)
    on_demand = _load(pets)
    for broken in pets.rglob("*.png"):
        broken.write_bytes(broken.read_bytes()[:100])
    stream = BatchStream(on_demand, 0, torch.device("cpu"), resident=False, num_workers=1)
    with pytest.raises(ConfigErrors) as raised:
        stream.take(0, 4)
    assert raised.value.errors[0].key == "data.path"


def test_the_digest_follows_content_and_names_not_time(pets):
    before = _load(pets).digest
    first = pets / "cat" / "0.png"
    first.touch()
    assert _load(pets).digest == before
    Image.new("RGB", (20, 30)).save(first)
    assert _load(pets).digest != before


def test_a_truncated_image_is_named(pets):
    broken = pets / "dog" / "3.png"
    broken.write_bytes(broken.read_bytes()[:100])
    with pytest.raises(ConfigErrors, match=r"dog/3\.png.*cannot be decoded"):
        _load(pets)


def test_folders_that_cannot_be_learned_from_are_refused(pets, tmp_path):
    with pytest.raises(ConfigErrors, match="does not exist"):
        _load(tmp_path / "nowhere")
    shutil.rmtree(pets / "dog")
    with pytest.raises(ConfigErrors, match="two classes"):
        _load(pets)
    (pets / "empty").mkdir()
    with pytest.raises(ConfigErrors, match=r"too rare: empty \(0\)"):
        _load(pets)
    (tmp_path / "other" / "a").mkdir(parents=True)
    with pytest.raises(ConfigErrors, match="no images"):
        _load(tmp_path / "other")
    with pytest.raises(ConfigErrors, match="no class folders"):
        _load(tmp_path / "other" / "a")


def test_wrong_settings_are_all_reported(pets):
    with pytest.raises(ConfigErrors) as error:
        _load(pets, image_size=0, augment_flip="no", augment_crop=-1)
    assert [item.key for item in error.value.errors] == [
        "data.image_size",
        "data.augment_flip",
        "data.augment_crop",
    ]
