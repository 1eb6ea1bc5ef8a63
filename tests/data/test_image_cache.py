import hashlib
import os
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from batchlab.data import folder, image_cache, image_decoding, image_files
from batchlab.data.folder import load_folder
from batchlab.errors import ConfigErrors
from batchlab.system.deferred_writes import writes_wait


@pytest.fixture
def pets(tmp_path):
    random = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for number in range(10):
            pixels = random.integers(0, 256, (20, 30, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pets" / name / f"{number}.png")
    return tmp_path / "pets"


@pytest.fixture
def load(pets, tmp_path):
    """A function: settings -> the data set of pets, kept in tmp_path / kept."""

    def load(image_size=16, cache=str(tmp_path / "kept"), split_seed=0, skip_broken=False):
        return load_folder(str(pets), image_size, False, 0, 0.2, 0.2, split_seed, cache, skip_broken)

    return load


@pytest.fixture
def kept(tmp_path, load):
    """The file in which pets are kept."""
    load()
    (file,) = (tmp_path / "kept").iterdir()
    return file


@pytest.fixture
def reads(monkeypatch):
    """Numbers of files that were read, one a data set."""
    counts = []
    read_all = image_files.read_all
    monkeypatch.setattr(
        image_files, "read_all", lambda paths, *rest: counts.append(len(paths)) or read_all(paths, *rest)
    )
    return counts


def splits_of(data):
    return [(split.inputs, split.targets) for split in (data.train, data.val, data.test)]


def is_same(one, other):
    same = [torch.equal(a, b) for x, y in zip(splits_of(one), splits_of(other), strict=True) for a, b in zip(x, y)]  # noqa: B905
    return all(same) and one.digest == other.digest and torch.equal(one.mean, other.mean)


def test_what_was_kept_is_what_would_be_read_again_also_for_another_split(load, kept, reads):
    for split_seed in (0, 1):
        assert is_same(load(split_seed=split_seed), load(split_seed=split_seed, cache=None))
    assert reads == [20, 20]  # those without a cache


def test_the_digest_is_that_of_names_classes_contents_and_size(load, pets, kept):
    data, sha = load(), hashlib.sha256(b"16")
    names = sorted(f"{path.parent.name}/{path.name}" for path in pets.rglob("*.png"))
    targets = torch.tensor([int(name.startswith("dog")) for name in names])
    for part in folder.split_indices(targets, 0.2, 0.2, 0):
        sha.update(f"split {len(part)}".encode())
        for row in part:
            content = hashlib.sha256((pets / names[row]).read_bytes()).hexdigest()
            sha.update(f"{names[row]} {targets[row]} {content}".encode())
    assert data.digest == sha.hexdigest()


def test_a_folder_has_one_file_for_each_image_size(load, kept, pets):
    load(image_size=8)
    (pets / "cat" / "0.png").touch()
    load(image_size=8)
    load()
    assert len(list(kept.parent.iterdir())) == 2
    assert kept.exists()


@pytest.mark.parametrize("change", ["time", "size", "another file", "one less"])
def test_files_that_changed_are_read_again(load, kept, pets, reads, change):
    first = pets / "cat" / "0.png"
    facts = first.stat()
    if change == "one less":
        first.unlink()
    elif change == "another file":
        (pets / "cat" / "x.png").write_bytes(first.read_bytes())
    else:
        Image.new("RGB", (20, 30)).save(first)
        if change == "size":
            os.utime(first, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    changed = load()
    assert len(reads) == 1
    assert is_same(changed, load(cache=None))
    assert is_same(changed, load())
    assert len(reads) == 2


def test_a_file_that_was_damaged_since_is_named(load, kept, pets):
    broken = pets / "dog" / "3.png"
    broken.write_bytes(broken.read_bytes()[:100])
    with pytest.raises(ConfigErrors, match=r"dog/3\.png.*cannot be decoded"):
        load()


def flipped(content):
    return content[: len(content) // 2] + bytes([content[len(content) // 2] ^ 1]) + content[len(content) // 2 + 1 :]


@pytest.mark.parametrize("damage", [flipped, lambda content: content[:-100], lambda _: b"", lambda _: b"cos\nsystem\n"])
def test_kept_images_that_are_damaged_are_written_anew(load, kept, reads, damage):
    whole = kept.read_bytes()
    kept.write_bytes(damage(whole))
    assert is_same(load(), load(cache=None))
    load()
    assert reads == [20, 20]
    assert kept.read_bytes() == whole


def test_kept_images_of_another_version_are_written_anew(load, kept, reads, monkeypatch):
    monkeypatch.setattr(image_cache, "FORMAT", 0)
    load()
    load()
    assert reads == [20]


def test_of_images_that_are_decoded_on_demand_the_hashes_are_kept(load, tmp_path, reads, monkeypatch):
    digest = load(cache=None).digest
    monkeypatch.setattr(folder, "MAX_DECODED_BYTES", 1)
    assert [load().digest, load().digest] == [digest, digest]
    assert reads == [20, 20]
    (file,) = (tmp_path / "kept").iterdir()
    assert file.stat().st_size < 5_000


def test_where_nothing_can_be_kept_the_images_are_read_and_it_is_said(load, tmp_path, pets, monkeypatch):
    (tmp_path / "a file").touch()
    unkept, said = load(cache=str(tmp_path / "a file")), "decoded images are not kept for the next command: "
    assert is_same(unkept, load(cache=None))
    assert unkept.facts[-1] == f"{said}{tmp_path / 'a file'} is no folder that can be written to"
    monkeypatch.setattr(image_cache.shutil, "disk_usage", lambda _: SimpleNamespace(free=9))
    unkept = load()
    assert is_same(unkept, load(cache=None))
    assert unkept.facts[-1] == f"{said}the disk is nearly full"
    assert not (tmp_path / "kept").exists()


def test_wide_images_are_kept_in_the_range_of_a_split(load, pets, reads):
    random = np.random.default_rng(0)
    for number, file in enumerate(pets.rglob("*.png")):
        Image.fromarray((number * random.integers(0, 99, (20, 30))).astype(np.uint16)).save(file)
    first = load()
    assert reads == [20, 20]  # for their range, and in it
    assert is_same(load(), first)
    assert reads == [20, 20]
    others = [load(split_seed=split_seed) for split_seed in range(1, 9)]
    ranges = [next(fact for fact in each.facts if "8 bits" in fact) for each in (first, *others)]
    num_changes = sum(one != other for one, other in pairwise(ranges))
    assert num_changes > 0
    assert reads == [20] * (2 + num_changes)
    for split_seed, other in enumerate(others, 1):
        assert is_same(other, load(split_seed=split_seed, cache=None))


def test_which_images_are_broken_is_kept_unless_they_could_not_be_read(load, pets, reads, monkeypatch):
    (pets / "cat" / "0.png").write_text("no image")
    first = load(skip_broken=True)
    assert is_same(load(skip_broken=True), first)
    assert load(skip_broken=True).facts == first.facts
    assert reads == [20]
    with pytest.raises(ConfigErrors, match=r"cat/0\.png.*no image in a format that Pillow knows"):
        load()
    (pets / "cat" / "0.png").touch()

    def denied(path, mode):
        if path.endswith("cat/0.png"):
            raise PermissionError(f"denied: {path}")
        return Path(path).open(mode)

    monkeypatch.setattr(image_decoding, "open", denied, raising=False)
    assert "1 broken image skipped: cat/0.png (denied" in str(load(skip_broken=True).facts)
    monkeypatch.undo()
    assert "1 broken image skipped: cat/0.png (no image" in str(load(skip_broken=True).facts)


def test_entries_of_folders_that_are_gone_are_removed_with_the_next_that_is_written(load, kept, pets, tmp_path):
    shutil.copytree(pets, tmp_path / "other")
    load_folder(str(tmp_path / "other"), 16, False, 0, 0.2, 0.2, 0, str(kept.parent))
    np.savez(kept.parent / "0123456789abcdef.npz", state=np.zeros(32, np.uint8))  # as an earlier release wrote it
    np.savez(kept.parent / "mine.npz", state=np.zeros(32, np.uint8))
    (kept.parent / "fedcba9876543210.npz").write_text("damaged")
    assert len(list(kept.parent.iterdir())) == 5
    shutil.rmtree(tmp_path / "other")
    load(image_size=8)
    names = {path.name for path in kept.parent.iterdir()}
    assert {"mine.npz", "fedcba9876543210.npz", kept.name} < names
    assert len(names) == 4


LOCKED = """
import sys
from pathlib import Path
from batchlab.system.file_lock import only_one
lock = only_one(Path(sys.argv[1]), "")
print(flush=True)
input()
"""


def test_while_another_process_writes_them_the_images_are_not_written_again(load, kept):
    kept.unlink()
    command = [sys.executable, "-c", LOCKED, str(kept.with_suffix(".lock"))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        load()
        assert not kept.exists()
        other.communicate(b"\n")
    load()
    assert list(kept.parent.iterdir()) == [kept]


def test_a_write_that_is_cut_off_leaves_what_was_there(load, kept, pets, monkeypatch):
    whole = kept.read_bytes()
    (pets / "cat" / "0.png").touch()

    def cut(opened, **_):
        opened.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", cut)
    with pytest.raises(KeyboardInterrupt):
        load()
    assert [path.read_bytes() for path in kept.parent.iterdir()] == [whole]


def test_a_check_that_goes_on_keeps_the_images_and_one_that_refuses_does_not(load, tmp_path):
    @writes_wait()
    def check(code):
        load()
        assert not (tmp_path / "kept").exists()
        if code:
            raise SystemExit(code)

    with pytest.raises(SystemExit):
        check(2)
    assert not (tmp_path / "kept").exists()
    check(0)
    assert len(list((tmp_path / "kept").iterdir())) == 1
