"""Data that is cut, foreign or without numbers: real processes, as a person meets it."""

import gzip
import io
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

pytestmark = pytest.mark.slow
TABLE = ("data=table", "data.target=y", "measure=none", "num_threads=1")


def rows(seed: int = 0, count: int = 300) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    return pd.DataFrame({"a": random.normal(size=count), "b": random.normal(size=count), "y": np.arange(count) % 3})


def as_csv(frame: pd.DataFrame) -> bytes:
    return frame.to_csv(index=False).encode()


def as_parquet(frame: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.to_parquet(buffer)
    return buffer.getvalue()


def as_png() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(buffer, "png")
    return buffer.getvalue()


CUT = as_csv(rows())[: as_csv(rows()).rindex(b",")]  # in the middle of the last row
FILES: dict[str, tuple[bytes, str]] = {
    "cut.csv": (CUT, "the file is truncated: row 300, the last, has 2 of 3 columns and no end of line"),
    "cut.csv.gz": (gzip.compress(as_csv(rows()))[:-40], "the file is truncated: its gzip stream ends early"),
    "cut.parquet": (as_parquet(rows())[:-20], "the file cannot be read as .parquet"),
    "image.csv": (as_png(), "the file cannot be read as .csv"),
    "page.csv": (b"<!DOCTYPE html>\n<html>404, not found</html>\n", "rows have 2 cells, the header has 1 name"),
    "page.parquet": (b"<!DOCTYPE html>\n", "the file cannot be read as .parquet"),
    "array.npz": (b"PK", "a name that ends in .csv, .tsv, .parquet"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_table_that_is_cut_or_foreign_is_refused_with_its_name(type_command, tmp_path, name):
    content, said = FILES[name]
    (tmp_path / name).write_bytes(content)
    done = type_command(*TABLE, f"data.path={name}")
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert f"={name}: " in done.stderr
    assert any(fix in done.stderr for fix in ("Type data.path=", "Type it again when "))
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    ("option", "name", "said"),
    [
        ("mnist", "MNIST/raw/train-images-idx3-ubyte.gz", "idx3-ubyte.gz (9 bytes) is incomplete or changed"),
        ("mnist", "MNIST/raw/train-images-idx3-ubyte", "train-images-idx3-ubyte is no file of the MNIST format"),
        ("cifar10", "cifar-10-python.tar.gz", "cifar-10-python.tar.gz (9 bytes) is incomplete or changed"),
        ("svhn", "train_32x32.mat", "train_32x32.mat (9 bytes) is incomplete or changed"),
    ],
)  # fmt: skip
def test_an_archive_that_is_cut_or_foreign_is_refused_before_anything_of_it_is_unpacked(
    type_command, tmp_path, option, name, said
):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_bytes(b"cos\nsyst\n")  # what a pickle begins with that runs a command
    done = type_command(f"data={option}", f"data.root={tmp_path}")
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Type data.download=true, or put these files into" in done.stderr
    assert not (tmp_path / "mlruns").exists()


def folder_of_images(tmp_path):
    """The words of a command about a folder of 40 images, which is made."""
    for name in ("cat", "dog"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for index in range(20):
            pixels = np.random.default_rng(index).integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{index}.png")
    return "data=folder", f"data.path={tmp_path / 'images'}", "data.image_size=8", "batch_size=8", "measure=none"


def test_a_broken_image_of_a_folder_is_named(type_command, tmp_path):
    words = folder_of_images(tmp_path)
    (tmp_path / "images" / "dog" / "7.png").write_bytes(as_png()[:-30])
    done = type_command(*words)
    assert done.returncode == 2
    assert f"data.path={tmp_path}/images/dog/7.png: this image cannot be decoded" in done.stderr
    assert "replace, remove or leave it out. Type data.skip_broken=true too" in done.stderr


def test_images_are_kept_when_a_command_goes_on_and_damage_to_what_is_kept_costs_nothing(type_command, tmp_path):
    words, kept = folder_of_images(tmp_path), tmp_path / "mlruns" / "images"
    refused = type_command(*words, "batch_size=1000")
    assert "nothing was run, nothing was written" in refused.stderr
    assert not (tmp_path / "mlruns").exists()
    assert type_command(*words, "epochs=1").returncode == 0
    (file,) = kept.iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[:-50])
    done = type_command(*words, "epochs=1")
    assert done.returncode == 0, done.stderr
    assert file.read_bytes() == whole


def test_missing_numbers_of_a_table_are_said_with_column_and_row_and_do_no_harm(type_command, tmp_path):
    frame = rows()
    frame.loc[16, "a"], frame.loc[[3, 5], "b"], frame.loc[40, "y"] = np.nan, np.inf, np.nan
    (tmp_path / "table.csv").write_bytes(as_csv(frame))
    done = type_command(*TABLE, "data.path=table.csv", "epochs=1")
    assert done.returncode == 0, done.stderr
    assert (
        "3 numbers missing or infinite, set to the median: a 1 (first in row 17), b 2 (first in row 4)" in done.stdout
    )
    assert "1 of 300 rows dropped: no target, y is missing" in done.stdout
    assert re.search(r"val accuracy 0\.\d{4}", done.stdout)


LOADER = """
import numpy, torch
from batchlab.data.dataset import Split, make_dataset

def load(inputs, targets):
    x = torch.arange(400.).reshape(100, 4) / 400
    y = x.sum(1)
    x[17, 3], y[20] = inputs, targets
    split = Split(x, y)
    return make_dataset("mine", (split, split, split), None, ())
"""


@pytest.mark.parametrize(
    ("inputs", "targets", "said"),
    [
        ("nan", "0", "inputs of train: nan in row 17, place [3]; 1 of 100 rows"),
        ("0", "inf", "targets of train: inf in row 20; 1 of 100 rows"),
    ],
)
def test_data_of_ones_own_without_numbers_is_refused_with_row_and_place(type_command, tmp_path, inputs, targets, said):
    (tmp_path / "mine.py").write_text(LOADER.replace("inputs, targets\n", f"float('{inputs}'), float('{targets}')\n"))
    typed = ["data._target_=mine.load", "+data.inputs=0", "+data.targets=0", "loss=squared_error"]
    typed += ["~data.val_fraction", "~data.test_fraction", "~data.split_seed"]
    done = type_command(*typed, PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert not (tmp_path / "mlruns").exists()
