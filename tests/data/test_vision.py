import gzip
import hashlib
import pickle
import tarfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import scipy.io
import torch
from torchvision import datasets

from batchlab.data.vision import load_vision
from batchlab.errors import ConfigErrors

NUM_TRAIN, NUM_TEST = 40, 20


def _load(name, root, download=False, augment_flip=False, augment_crop=0):
    return load_vision(name, str(root), download, augment_flip, augment_crop, 0.25, 0)


def _md5(content):
    return hashlib.md5(content).hexdigest()


def _idx(values):
    header = bytes([0, 0, 8, values.ndim]) + b"".join(size.to_bytes(4, "big") for size in values.shape)
    return header + values.astype(np.uint8).tobytes()


@pytest.fixture
def mnist(tmp_path, monkeypatch):
    random = np.random.default_rng(0)
    raw = tmp_path / "MNIST/raw"
    raw.mkdir(parents=True)
    resources = []
    for split, size in (("train", NUM_TRAIN), ("t10k", NUM_TEST)):
        images = _idx(random.integers(0, 256, (size, 28, 28)))
        for name, content in (("images-idx3", images), ("labels-idx1", _idx(np.arange(size) % 10))):
            packed = gzip.compress(content, mtime=0)
            (raw / f"{split}-{name}-ubyte.gz").write_bytes(packed)
            resources.append((f"{split}-{name}-ubyte.gz", _md5(packed)))
    monkeypatch.setattr(datasets.MNIST, "resources", resources)
    monkeypatch.setattr(datasets.MNIST, "mirrors", ["http://127.0.0.1:9/"])
    return tmp_path


@pytest.fixture
def cifar(tmp_path, monkeypatch):
    random = np.random.default_rng(0)
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    contents = {"batches.meta": pickle.dumps({"label_names": list("abcdefghij")})}
    for name, size in (("data_batch_1", NUM_TRAIN), ("test_batch", NUM_TEST)):
        pixels = random.integers(0, 256, (size, 3072), dtype=np.uint8)
        contents[name] = pickle.dumps({"data": pixels, "labels": [number % 10 for number in range(size)]})
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    with tarfile.open(tmp_path / "cifar-10-python.tar.gz", "w:gz") as archive:
        archive.add(folder, folder.name)
    kind = datasets.CIFAR10
    sums = {name: _md5(content) for name, content in contents.items()}
    monkeypatch.setattr(kind, "train_list", [["data_batch_1", sums["data_batch_1"]]])
    monkeypatch.setattr(kind, "test_list", [["test_batch", sums["test_batch"]]])
    meta = {"filename": "batches.meta", "key": "label_names", "md5": sums["batches.meta"]}
    monkeypatch.setattr(kind, "meta", meta)
    monkeypatch.setattr(kind, "tgz_md5", _md5((tmp_path / "cifar-10-python.tar.gz").read_bytes()))
    return tmp_path


def test_packed_files_are_read_and_left_alone(mnist):
    before = {path: path.read_bytes() for path in mnist.rglob("*.gz")}
    data = _load("MNIST", mnist)
    assert [len(split) for split in (data.train, data.val, data.test)] == [30, 10, NUM_TEST]
    assert data.train.targets.bincount().tolist() == [3] * 10
    assert {path: path.read_bytes() for path in mnist.rglob("*") if path.is_file()} == before


def test_packed_and_unpacked_files_give_the_same_data(mnist):
    packed = _load("MNIST", mnist)
    for path in (mnist / "MNIST/raw").iterdir():
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    assert _load("MNIST", mnist).digest == packed.digest
    assert packed.train.inputs.shape == (30, 1, 28, 28)


def test_statistics_are_those_of_the_training_split(mnist):
    data = _load("MNIST", mnist)
    assert data.mean.item() == pytest.approx(data.train.inputs[:].double().mean().item(), rel=1e-6)


def test_damaged_and_missing_files_are_all_named_with_checksum_address_and_folder(mnist):
    raw = mnist / "MNIST/raw"
    cut = raw / "train-images-idx3-ubyte.gz"
    cut.write_bytes(cut.read_bytes()[:1000])
    (raw / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(ConfigErrors) as error:
        _load("MNIST", mnist)
    (item,) = error.value.errors
    assert item.key == "data.root"
    assert "train-images-idx3-ubyte.gz (1,000 bytes) is incomplete or changed" in item.allowed
    assert "t10k-labels-idx1-ubyte.gz is missing" in item.allowed
    assert datasets.MNIST.resources[0][1] in item.allowed
    assert item.fix.startswith("data.download=true")
    assert f"{raw}: http://127.0.0.1:9/train-images-idx3-ubyte.gz" in item.fix


def test_a_cut_unpacked_file_is_named(mnist):
    for path in (mnist / "MNIST/raw").iterdir():
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    labels = mnist / "MNIST/raw/t10k-labels-idx1-ubyte"
    labels.write_bytes(labels.read_bytes()[:-5])
    with pytest.raises(ConfigErrors, match=r"t10k-labels-idx1-ubyte is incomplete.*23 bytes, expected 28"):
        _load("MNIST", mnist)


def test_a_download_without_network_says_where_to_put_the_files(mnist):
    for path in (mnist / "MNIST/raw").iterdir():
        path.unlink()
    with pytest.raises(ConfigErrors, match=r"the download failed.*put these files into .*MNIST/raw") as error:
        _load("MNIST", mnist, download=True)
    assert "data.download=true" not in str(error.value)
    assert not list(mnist.glob("download-*")), "a broken download leaves nothing behind"


@pytest.fixture
def address(mnist):
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(mnist / "MNIST/raw"))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_a_download_fills_the_root_and_replaces_what_is_damaged(mnist, address, monkeypatch, tmp_path_factory):
    monkeypatch.setattr(datasets.MNIST, "mirrors", [address])
    root = tmp_path_factory.mktemp("fresh") / "data"
    (root / "MNIST/raw").mkdir(parents=True)
    (root / "MNIST/raw/train-images-idx3-ubyte.gz").write_bytes(b"damaged")
    assert _load("MNIST", root, download=True).digest == _load("MNIST", mnist).digest
    assert _load("MNIST", root).digest == _load("MNIST", mnist).digest


def test_cifar_is_read_from_its_archive_or_its_folder(cifar):
    unpacked = _load("CIFAR10", cifar, augment_flip=True, augment_crop=4)
    assert unpacked.train.inputs.shape == (30, 3, 32, 32)
    assert unpacked.augment is not None
    assert (unpacked.augment.flip, unpacked.augment.crop_padding) == (True, 4)
    for path in (cifar / "cifar-10-batches-py").iterdir():
        path.unlink()
    assert _load("CIFAR10", cifar).digest == unpacked.digest
    (cifar / "cifar-10-python.tar.gz").write_bytes(b"short")
    with pytest.raises(ConfigErrors, match=r"cifar-10-python\.tar\.gz \(5 bytes\) is incomplete"):
        _load("CIFAR10", cifar)


def test_svhn_is_read_with_its_zero_as_class_zero(tmp_path, monkeypatch):
    split_list = {}
    for split, size in (("train", NUM_TRAIN), ("test", NUM_TEST)):
        pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3, size), dtype=np.uint8)
        name = f"{split}_32x32.mat"
        scipy.io.savemat(tmp_path / name, {"X": pixels, "y": np.arange(size)[:, None] % 10 + 1})
        split_list[split] = [f"http://127.0.0.1:9/{name}", name, _md5((tmp_path / name).read_bytes())]
    monkeypatch.setattr(datasets.SVHN, "split_list", split_list)
    data = _load("SVHN", tmp_path)
    assert data.train.inputs.shape == (30, 3, 32, 32)
    assert data.test.targets.tolist() == [(number + 1) % 10 for number in range(NUM_TEST)]
    expected = torch.from_numpy(pixels.transpose(3, 2, 0, 1).copy())
    assert torch.equal(data.test.inputs[:], expected)


def test_wrong_settings_are_all_reported(tmp_path):
    with pytest.raises(ConfigErrors) as error:
        load_vision("FashionMnist", "", "no", False, -1, 0.0, 0)
    assert [item.key for item in error.value.errors] == [
        "data.name",
        "data.root",
        "data.download",
        "data.augment_crop",
        "data.val_fraction",
    ]
    assert error.value.errors[0].fix == "data.name=FashionMNIST"


def test_a_part_of_the_training_split_is_stratified_and_leaves_val_and_test_alone(mnist):
    whole = _load("MNIST", mnist)
    part = load_vision("MNIST", str(mnist), False, False, 0, 0.25, 0, num_train=20)
    assert part.train.targets.bincount().tolist() == [2] * 10
    assert torch.equal(part.val.inputs[:], whole.val.inputs[:])
    assert torch.equal(part.test.inputs[:], whole.test.inputs[:])
    assert part.mean.item() == pytest.approx(part.train.inputs[:].double().mean().item(), rel=1e-6)
    rows = {tuple(image.flatten().tolist()) for image in whole.train.inputs[:]}
    assert all(tuple(image.flatten().tolist()) in rows for image in part.train.inputs[:])
    assert part.digest != whole.digest
    assert len(load_vision("MNIST", str(mnist), False, False, 0, 0.25, 0, num_train=30).train) == 30
    assert len(load_vision("MNIST", str(mnist), False, False, 0, 0.25, 0, num_train=29).train) == 29


@pytest.mark.parametrize(("num_train", "allowed"), [(0, "an integer from 1"), (9, "at least 10"), (31, "at most 30")])
def test_a_part_of_no_possible_size_is_refused(mnist, num_train, allowed):
    with pytest.raises(ConfigErrors, match=allowed) as error:
        load_vision("MNIST", str(mnist), False, False, 0, 0.25, 0, num_train=num_train)
    assert error.value.errors[0].key == "data.num_train"
