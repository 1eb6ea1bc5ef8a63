import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from batchlab.data import folder
from batchlab.data.folder import load_folder
from batchlab.data.image_decoding import FileContents, Trait
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


def _load(path, image_size=16, augment_flip=False, augment_crop=0, split_seed=0, skip_broken=False):
    return load_folder(str(path), image_size, augment_flip, augment_crop, 0.2, 0.2, split_seed, skip_broken=skip_broken)


def _fill(folder, arrays):
    """Write an image of each array into a folder, which is made."""
    folder.mkdir(parents=True)
    for number, array in enumerate(arrays):
        Image.fromarray(array).save(folder / f"{number}.png")


def test_grey_among_colour_images_becomes_rgb_of_one_size(pets):
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
    assert "10 of 20 images are grey: shown as colour, like the others" in data.facts


@pytest.mark.parametrize("mode", ["1", "L", "LA"])
def test_where_all_images_are_grey_they_have_one_channel(tmp_path, mode, monkeypatch):
    random = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for number in range(10):
            pixels = Image.fromarray(random.integers(0, 256, (20, 30), dtype=np.uint8))
            pixels.convert(mode).save(tmp_path / name / f"{number}.png")
    data = _load(tmp_path)
    assert data.input_shape == data.train.inputs[:1].shape[1:] == (1, 16, 16)
    assert "all images are grey: they have one channel" in data.facts
    monkeypatch.setattr(folder, "MAX_DECODED_BYTES", 1)
    on_demand = _load(tmp_path)
    everything = torch.arange(len(data.train))
    assert torch.equal(on_demand.train.inputs[everything], data.train.inputs)
    assert on_demand.digest == data.digest


@pytest.mark.parametrize(("cat", "dog"), [(1000, 40_000), (3, 4095), (60_000, 60_100)])
def test_grey_values_of_16_bits_are_told_apart_by_the_range_of_all(tmp_path, monkeypatch, cat, dog):
    for name, value in (("cat", cat), ("dog", dog)):
        _fill(tmp_path / name, [np.full((8, 8), value, np.uint16)] * 10)
    data = _load(tmp_path)
    for split in (data.train, data.val, data.test):
        assert torch.equal(split.inputs, (255 * split.targets).to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 16, 16))
    assert any(
        f"20 of 20 images have grey values of more than 8 bits: {cat:,} to {dog:,}" in fact for fact in data.facts
    )
    monkeypatch.setattr(folder, "MAX_DECODED_BYTES", 1)
    on_demand = _load(tmp_path)
    assert torch.equal(on_demand.val.inputs[torch.arange(len(data.val))], data.val.inputs)
    assert on_demand.digest == data.digest


def test_the_range_is_that_of_the_images_to_train_with(tmp_path):
    random = np.random.default_rng(0)
    for split, high in (("train", 2000), ("val", 4000), ("test", 1000)):
        for name in ("cat", "dog"):
            _fill(tmp_path / split / name, random.integers(0, high, (4, 8, 8)).astype(np.uint16))
    data = load_folder(str(tmp_path), 8, False, 0, 0.2, 0.2, 0)
    largest = [int(split.inputs.max()) for split in (data.train, data.val, data.test)]
    assert largest[:2] == [255, 255]
    assert 120 < largest[2] < 130
    assert (data.val.inputs == 255).float().mean() > 0.4


def test_other_ranges_and_turns_are_other_digests(tmp_path):
    def digest(traits, value_range=None):
        none = np.zeros((1, 0), np.uint8)
        contents = FileContents(none, none, np.array([traits], np.uint8), none, {}, value_range)
        return folder._digest(tmp_path, 8, contents, [])

    plain, seen = digest(0), [Trait.GREY, Trait.ALPHA, Trait.TURNED, Trait.ALPHA | Trait.TURNED]
    others = [digest(each) for each in seen] + [digest(Trait.GREY, (0.0, high)) for high in (1.0, 2.0)]
    assert len({plain, *others}) == 7
    assert digest(Trait.FRAMES | Trait.UPPER_BITS) == plain  # decoded as ever


def test_how_images_were_decoded_is_said(tmp_path):
    random = np.random.default_rng(0)
    for name in ("cat", "dog"):
        _fill(tmp_path / name, random.integers(0, 256, (5, 8, 8, 4), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(tmp_path / "cat" / "5.jpg", exif=exif)
    said = _load(tmp_path).facts
    assert "10 of 11 images have an alpha channel, or a transparent colour: they are put on white" in said
    assert "1 of 11 images are turned upright, as their EXIF orientation says" in said


@pytest.mark.parametrize("on_demand", [False, True])
def test_broken_images_are_refused_and_left_out_with_the_key_that_is_offered(pets, monkeypatch, on_demand):
    broken = [pets / "dog" / "3.png", pets / "cat" / "7.png"]
    for path in broken:
        path.write_bytes(path.read_bytes()[:100])
    if on_demand:
        monkeypatch.setattr(folder, "MAX_DECODED_BYTES", 1)
    else:
        with pytest.raises(ConfigErrors) as raised:
            _load(pets)
        assert [error.fix for error in raised.value.errors] == ["data.skip_broken=true too"] * 2
    data = _load(pets, skip_broken=True)
    (said,) = (fact for fact in data.facts if "broken image" in fact)
    assert said.startswith("2 broken images skipped: cat/7.png (")
    assert "dog/3.png (" in said
    for path in broken:
        path.unlink()
    without = _load(pets)
    assert data.digest == without.digest
    rows = torch.arange(len(data.train))
    assert torch.equal(data.train.inputs[rows], without.train.inputs[rows])


def test_of_many_broken_images_the_rest_is_counted(pets):
    for path in pets.rglob("*.png"):
        path.write_text("no image")
    with pytest.raises(ConfigErrors) as raised:
        _load(pets)
    assert len(raised.value.errors) == 8
    assert "like 12 more files" in raised.value.errors[-1].allowed
    with pytest.raises(ConfigErrors, match=r"too rare: cat \(0\), dog \(0\)"):
        _load(pets, skip_broken=True)


@pytest.mark.parametrize("on_demand", [False, True])
def test_a_split_of_one_constant_is_refused(tmp_path, monkeypatch, on_demand):
    random = np.random.default_rng(0)
    for name in ("cat", "dog"):
        _fill(tmp_path / "train" / name, random.integers(0, 256, (4, 8, 8, 3), dtype=np.uint8))
        _fill(tmp_path / "val" / name, np.full((3, 8, 8, 3), (9, 8, 7), np.uint8))
        _fill(tmp_path / "test" / name, random.integers(0, 256, (4, 8, 8, 3), dtype=np.uint8))
    if on_demand:
        monkeypatch.setattr(folder, "MAX_DECODED_BYTES", 1)
    with pytest.raises(ConfigErrors) as raised:
        _load(tmp_path)
    (error,) = raised.value.errors
    assert error.key == "data.path"
    assert error.allowed.endswith("every pixel of the 6 images of val is [9, 8, 7]")


def test_plain_images_of_two_greys_are_no_constant(tmp_path):
    for name, value in (("cat", 7), ("dog", 8)):
        _fill(tmp_path / name, [np.full((8, 8), value, np.uint8)] * 10)
    assert _load(tmp_path).train.inputs.unique().tolist() == [7, 8]


def test_copies_across_splits_and_classes_are_counted(tmp_path):
    random = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        for name in ("cat", "dog"):
            _fill(tmp_path / split / name, random.integers(0, 256, (4, 8, 8, 3), dtype=np.uint8))
    facts = _load(tmp_path).facts
    assert not any("equal" in fact for fact in facts)
    for copy in ("val/cat/0.png", "test/cat/1.png", "train/cat/2.png"):
        shutil.copy(tmp_path / "train/cat/0.png", tmp_path / copy)
    shutil.copy(tmp_path / "train/cat/3.png", tmp_path / "train/dog/3.png")
    facts = _load(tmp_path).facts
    assert "4 images are equal to one in another split: val and test look better than they are" in facts
    assert "2 images are equal to one in another class: no model can tell these apart" in facts


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
        _load(pets, image_size=0, augment_flip="no", augment_crop=-1, skip_broken=1)
    assert [item.key for item in error.value.errors] == [
        "data.image_size",
        "data.augment_flip",
        "data.augment_crop",
        "data.skip_broken",
    ]
