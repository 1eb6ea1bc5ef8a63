import os
import struct
import subprocess
import sys
import zlib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageOps
from PIL.ExifTags import Base
from torchvision.transforms import functional

from batchlab.data import image_processes
from batchlab.data.image_decoding import Trait, decode, read_files


def png(width, height, mode="RGB"):
    pixels = np.random.default_rng(width * height).integers(0, 256, (height, width, 4), dtype=np.uint8)
    opened = BytesIO()
    Image.fromarray(pixels[..., :3]).convert(mode).save(opened, "png")
    return opened.getvalue()


@pytest.fixture
def paths(tmp_path):
    """Names of 40 images of several sizes and modes, the fifth of them cut off and the last no image."""
    for number in range(40):
        content = png(9 + number, 30, "I;16" if number == 20 else "L" if number < 12 else "RGB")
        (tmp_path / f"{number:02}.png").write_bytes(content[:60] if number == 5 else content)
    (tmp_path / "39.png").write_text("no image")
    return sorted(map(str, tmp_path.iterdir()))


@pytest.mark.parametrize("mode", ["RGB", "P", "L", "1"])
@pytest.mark.parametrize("image_size", [1, 7, 16])
def test_pixels_are_those_of_torchvision(mode, image_size):
    sizes = [(1, 1), (1, 40), (40, 1), (16, 16), (16, 33), (7, 8), (30, 47), (101, 7), (255, 256), (3, 2)]
    for width, height in sizes:
        content = png(width, height, mode)
        with Image.open(BytesIO(content)) as file:
            image = file.convert("L" if mode in ("L", "1") else "RGB")
        image = functional.center_crop(functional.resize(image, [image_size]), [image_size])
        assert np.array_equal(decode(content, image_size), functional.pil_to_tensor(image).numpy()), (width, height)


def encoded(image, suffix="png", **settings):
    opened = BytesIO()
    image.save(opened, suffix, **settings)
    return opened.getvalue()


@pytest.fixture
def read_one(tmp_path):
    """A function: content of a file -> pixels [C, 4, 4] and traits of it."""

    def read_one(content, value_range=None):
        (tmp_path / "one").write_bytes(content)
        found = read_files([str(tmp_path / "one")], 4, value_range)
        header = read_files([str(tmp_path / "one")], 0)
        assert (found.faults, header.traits.tolist()) == ({}, found.traits.tolist())
        return found.images[0], int(found.traits[0])

    return read_one


def pixel_of(read):
    """The one colour of an image, and its traits."""
    pixels, traits = read
    (colour,) = {tuple(each) for each in pixels.reshape(len(pixels), -1).T.tolist()}
    return colour, traits


def test_what_is_transparent_lies_on_white(read_one):
    half = round(0.6 * 255 + 0.4 * 10)
    for image, colour, traits in (
        (Image.new("RGBA", (4, 4), (10, 20, 30, 0)), (255, 255, 255), Trait.ALPHA),
        (Image.new("RGBA", (4, 4), (10, 20, 30, 255)), (10, 20, 30), Trait.ALPHA),
        (Image.new("LA", (4, 4), (10, 102)), (half,), Trait.ALPHA | Trait.GREY),
    ):
        assert pixel_of(read_one(encoded(image))) == (colour, traits)
    colour, traits = pixel_of(read_one(encoded(Image.new("RGB", (4, 4), (10, 20, 30)), transparency=(10, 20, 30))))
    assert (colour, traits) == ((255, 255, 255), Trait.ALPHA)


def test_a_palette_and_cmyk_become_their_colours(read_one):
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 200, 100, 50])
    assert pixel_of(read_one(encoded(palette))) == ((200, 100, 50), 0)
    assert pixel_of(read_one(encoded(palette, transparency=b"\xff\x00"))) == ((255, 255, 255), Trait.ALPHA)
    assert pixel_of(read_one(encoded(Image.new("CMYK", (4, 4), (0, 255, 255, 0)), "tiff"))) == ((255, 0, 0), 0)


@pytest.mark.parametrize("suffix", ["png", "jpeg", "webp", "tiff"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_turned_upright(suffix, orientation):
    pixels = np.random.default_rng(0).integers(0, 256, (9, 14, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[Base.Orientation] = orientation
    content = encoded(Image.fromarray(pixels), suffix, exif=exif)
    with Image.open(BytesIO(content)) as file:
        upright = ImageOps.exif_transpose(file).convert("RGB")
    assert np.array_equal(decode(content, 5), decode(encoded(upright), 5))


def test_an_orientation_is_a_trait_and_damaged_exif_data_are_no_fault(read_one):
    exif, image = Image.Exif(), Image.new("RGB", (4, 4), (10, 20, 30))
    exif[Base.Orientation] = 6
    assert pixel_of(read_one(encoded(image, exif=exif))) == ((10, 20, 30), Trait.TURNED)
    assert pixel_of(read_one(encoded(image, exif=b"Exif\0\0no such thing"))) == ((10, 20, 30), 0)


@pytest.mark.parametrize(
    ("dtype", "suffix"),
    [(np.uint16, "png"), (np.uint16, "tiff"), (">u2", "tiff"), (np.int32, "tiff"), (np.float32, "tiff")],
)
def test_wide_grey_values_are_spread_over_their_range(read_one, dtype, suffix):
    content = encoded(Image.fromarray(np.full((4, 4), 3000, dtype)), suffix)
    wide = Trait.WIDE | Trait.GREY
    assert pixel_of(read_one(content, (1000.0, 41_000.0))) == ((round(255 * 2000 / 40_000),), wide)
    assert pixel_of(read_one(content, (2000.0, 2500.0))) == ((255,), wide)
    assert pixel_of(read_one(content, (3000.0, 3000.0))) == ((0,), wide)


def test_the_range_of_a_wide_image_is_known_though_nothing_is_decoded(tmp_path):
    values = np.random.default_rng(0).integers(900, 5000, (9, 7)).astype(np.uint16)
    Image.fromarray(values).save(tmp_path / "one.png")
    found = read_files([str(tmp_path / "one.png")], 0)
    assert found.ranges.tolist() == [[values.min(), values.max()]]


def test_floats_that_are_no_numbers_are_a_fault(tmp_path):
    Image.fromarray(np.full((4, 4), np.nan, np.float32)).save(tmp_path / "one.tiff")
    assert read_files([str(tmp_path / "one.tiff")], 4).faults == {0: "it has pixels that are no finite numbers"}


def test_what_is_not_seen_of_an_image_is_a_trait(read_one):
    image = Image.new("RGB", (4, 4), (10, 20, 30))
    content = encoded(image, "tiff", save_all=True, append_images=[image])
    assert pixel_of(read_one(content)) == ((10, 20, 30), Trait.FRAMES)
    assert pixel_of(read_one(png_of_16_bits(10, 20, 30))) == ((10, 20, 30), Trait.UPPER_BITS)


def png_of_16_bits(*colour):
    """A PNG of 4x4 pixels, with these as the upper 8 of 16 bits."""
    rows = (b"\0" + b"".join(bytes([value, 7]) for value in colour) * 4) * 4
    parts = (b"IHDR", struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
    chunks = (
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def test_several_processes_read_what_one_reads(paths, monkeypatch, capfd):
    monkeypatch.setattr(image_processes, "SECONDS_ALONE", 0.0)
    monkeypatch.setattr(image_processes, "FILES_AT_ONCE", 3)
    monkeypatch.setattr(image_processes, "available_cores", lambda: [0, 1])
    one, several = read_files(paths, 8, (3.0, 200.0)), image_processes.read_all(paths, 8, (3.0, 200.0))
    assert np.array_equal(one.images, several.images)
    assert np.array_equal(one.sha256, several.sha256)
    assert np.array_equal(one.traits, several.traits)
    assert np.array_equal(one.ranges, several.ranges)
    assert one.faults == several.faults
    assert sorted(one.faults) == [5, 39]
    assert one.faults[39] == "no image in a format that Pillow knows"
    assert capfd.readouterr().out == ""


def test_few_files_start_no_process(paths, monkeypatch):
    monkeypatch.setattr(image_processes, "_read_in_processes", lambda *_: pytest.fail("a process"))
    assert len(image_processes.read_all(paths, 8).images) == 40


def test_a_process_that_reads_images_imports_no_torch():
    code = "import sys, batchlab.data.image_decoding; print({'torch', 'rich', 'sklearn'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "set()", done.stderr


def children_of(process_id):
    return os.popen(f"ps -o pid= --ppid {process_id}").read().split()


def test_a_reading_process_that_dies_ends_the_reading_with_its_file_and_leaves_none(paths, monkeypatch):
    monkeypatch.setattr(image_processes, "SECONDS_ALONE", 0.0)
    monkeypatch.setattr(
        image_processes, "module_command", lambda _: (["sh", "-c", "head -c 1 >/dev/null; kill -9 $$"], None)
    )
    before = children_of(os.getpid())
    with pytest.raises(RuntimeError, match=r"SIGKILL.*/(00|16)\.png"):
        image_processes.read_all(paths, 8)
    assert len(children_of(os.getpid())) == len(before)


INTERRUPTED = """
import os, signal, sys, threading
from batchlab.data import image_processes
image_processes.SECONDS_ALONE = 0.0
image_processes.module_command = lambda _: (["sleep", "60"], None)
threading.Timer(1, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    image_processes.read_all(sys.argv[1:], 8)
except KeyboardInterrupt:
    print("ended", os.popen(f"ps -o comm= --ppid {os.getpid()}").read().count("sleep"))
"""


def test_ctrl_c_ends_the_reading_at_once_and_leaves_no_process(paths):
    command = [sys.executable, "-c", INTERRUPTED, *paths]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50)
    assert done.stdout == "ended 0\n", done.stderr
