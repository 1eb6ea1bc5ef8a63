import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder

from batchlab.data.class_folders import find_images
from batchlab.data.folder import load_folder
from batchlab.errors import ConfigErrors


@pytest.fixture
def make(tmp_path):
    """A function: folder, number of images -> so many colour images in it, each another."""
    random = np.random.default_rng(0)

    def make(folder, count):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            pixels = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / folder / f"{number}.png")

    return make


@pytest.fixture
def load(tmp_path):
    """A function: settings -> the data set of tmp_path."""

    def load(path=tmp_path, val_fraction=0.2, test_fraction=0.2):
        return load_folder(str(path), 8, False, 0, val_fraction, test_fraction, 0)

    return load


def sizes(data):
    return [split.targets.bincount(minlength=2).tolist() for split in (data.train, data.val, data.test)]


def pixels_of(folder):
    return {bytes(np.asarray(Image.open(path))) for path in folder.rglob("*.png")}


def loaded_pixels(split):
    return {bytes(image.permute(1, 2, 0).contiguous().numpy()) for image in split.inputs}


@pytest.mark.parametrize(
    "names", [("train", "val", "test"), ("Train", "Valid", "Testing"), ("training", "validation", "TEST")]
)
def test_folders_of_splits_are_the_splits_as_they_are(make, load, tmp_path, names):
    for name, count in zip(names, (6, 3, 2), strict=True):
        make(f"{name}/cat", count)
        make(f"{name}/dog", count)
    data = load()
    assert (data.num_classes, sizes(data)) == (2, [[6, 6], [3, 3], [2, 2]])
    for split, name in zip((data.train, data.val, data.test), names, strict=True):
        assert loaded_pixels(split) == pixels_of(tmp_path / name)
    said = ", ".join(f"{name} ({count})" for name, count in zip(names, (12, 6, 4), strict=True))
    assert f"splits are those of its folders: {said}, data.*_fraction is not used" in data.facts


@pytest.mark.parametrize(
    ("given", "expected", "said"),
    [
        (("train", "test"), [[8, 8], [2, 2], [4, 4]], "train (16), test (8); val (4) cut from train"),
        (("train", "val"), [[8, 8], [4, 4], [2, 2]], "train (16), val (8); test (4) cut from train"),
        (("train",), [[6, 6], [2, 2], [2, 2]], "train (12); val (4) and test (4) cut from train"),
    ],
)
def test_a_split_without_a_folder_is_cut_from_train(make, load, tmp_path, given, expected, said):
    for name in given:
        for animal in ("cat", "dog"):
            make(f"{name}/{animal}", 10 if name == "train" else 4)
    data = load()
    assert sizes(data) == expected
    assert f"splits are those of its folders: {said}" in data.facts
    assert loaded_pixels(data.val) <= pixels_of(tmp_path / ("val" if "val" in given else "train"))


def test_a_cut_that_takes_too_few_names_its_own_fraction_and_the_fix_mends_it(make, load):
    for name in ("train/cat", "train/dog", "val/cat", "val/dog"):
        make(name, 4)
    with pytest.raises(ConfigErrors) as raised:
        load(test_fraction=0.01)
    (error,) = raised.value.errors
    assert (error.key, error.fix) == ("data.test_fraction", "data.test_fraction=0.5")
    assert sizes(load(test_fraction=0.5)) == [[2, 2], [4, 4], [2, 2]]


@pytest.mark.parametrize("sub_folder", ["", "/1"])
def test_classes_may_have_the_names_of_splits(make, load, sub_folder):
    make("train", 10)
    make(f"plane{sub_folder}", 10)
    make("test", 10)
    data = load()
    assert data.num_classes == 3
    assert not any("splits" in fact for fact in data.facts)


def test_a_class_in_sub_folders_named_train_beside_another_is_no_split(make, load):
    make("train/steam", 10)
    make("plane/jet", 10)
    assert load().num_classes == 2


def test_a_class_that_a_split_lacks_is_refused_and_train_alone_can_be_loaded(make, load, tmp_path):
    for name in ("train/cat", "train/dog", "val/cat", "val/dog", "val/bird", "test/dog"):
        make(name, 10)
    with pytest.raises(ConfigErrors) as raised:
        load()
    (error,) = raised.value.errors
    assert "without any: train/bird, test/bird, test/cat" in error.allowed
    assert sizes(load(error.fix.partition(", or ")[0].removeprefix("data.path="))) == [[6, 6], [2, 2], [2, 2]]


def test_a_test_folder_without_classes_is_refused_and_train_alone_can_be_loaded(make, load):
    for name in ("train/cat", "train/dog", "test"):
        make(name, 10)
    with pytest.raises(ConfigErrors, match="test only images: whose class is not known") as raised:
        load()
    assert load(raised.value.errors[0].fix.removeprefix("data.path=")).num_classes == 2


def test_two_folders_of_one_split_are_refused(make, load):
    for name in ("train/cat", "train/dog", "val/cat", "val/dog", "valid/cat", "valid/dog"):
        make(name, 10)
    with pytest.raises(ConfigErrors, match="train, val, valid hold a folder a class: two are of the same split"):
        load()


def test_splits_without_train_are_refused(make, load):
    for name in ("val/cat", "val/dog", "test/cat", "test/dog"):
        make(name, 10)
    with pytest.raises(ConfigErrors, match="none of them is train") as raised:
        load()
    assert load(raised.value.errors[0].fix.removeprefix("data.path=")).num_classes == 2


def test_what_is_skipped_is_counted(make, load, tmp_path):
    make("cat", 10)
    make("dog/young", 10)
    make(".trash", 3)
    make(".", 2)
    for name in ("cat/a.txt", "cat/b.TXT", "dog/young/.DS_Store", "dog/README", "labels.csv"):
        (tmp_path / name).touch()
    data = load()
    assert sizes(data) == [[6, 6], [2, 2], [2, 2]]
    assert "5 files skipped: .txt 2, .DS_Store 1, .csv 1, without suffix 1" in data.facts
    assert "2 images skipped: in no class's folder" in data.facts
    assert "folders left out: .trash" in data.facts


def test_what_lies_beside_splits_is_said(make, load, tmp_path):
    for name in ("train/cat", "train/dog", "val/cat", "val/dog", "unlabelled", "train/.cache"):
        make(name, 10)
    make("train", 1)
    (tmp_path / "notes.txt").touch()
    (tmp_path / "test").mkdir()
    facts = load().facts
    assert "1 file skipped: .txt 1" in facts
    assert "1 image skipped: in no class's folder" in facts
    assert "folders left out: test, unlabelled, train/.cache" in facts


def test_images_stay_in_the_order_of_torchvision(make, tmp_path):
    for name in ("b/2/x", "b/10", "b", "a", "C"):
        make(name, 12)
    samples = ImageFolder(tmp_path).samples
    found = find_images(tmp_path)
    assert list(zip(found.paths.tolist(), found.targets.tolist(), strict=True)) == samples
    assert found.targets.dtype == torch.int64
