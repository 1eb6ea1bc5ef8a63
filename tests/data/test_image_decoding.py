import os
import subprocess
import sys
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms import functional

from batchlab.data import image_processes
from batchlab.data.image_decoding import decode, read_files


def png(width, height, mode="RGB"):
    pixels = np.random.default_rng(width * height).integers(0, 256, (height, width, 4), dtype=np.uint8)
    opened = BytesIO()
    Image.fromarray(pixels, "RGBA").convert(mode).save(opened, "png")
    return opened.getvalue()


@pytest.fixture
def paths(tmp_path):
    """Names of 40 images of several sizes, the fifth of them cut off and the last no image."""
    for number in range(40):
        content = png(9 + number, 30)
        (tmp_path / f"{number:02}.png").write_bytes(content[:60] if number == 5 else content)
    (tmp_path / "39.png").write_text("no image")
    return sorted(map(str, tmp_path.iterdir()))


@pytest.mark.filterwarnings("ignore:Palette images")
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "I;16"])
@pytest.mark.parametrize("image_size", [1, 7, 16])
def test_pixels_are_those_of_torchvision(mode, image_size):
    sizes = [(1, 1), (1, 40), (40, 1), (16, 16), (16, 33), (7, 8), (30, 47), (101, 7), (255, 256), (3, 2)]
    for width, height in sizes:
        content = png(width, height, mode)
        with Image.open(BytesIO(content)) as file:
            image = functional.center_crop(functional.resize(file.convert("RGB"), [image_size]), [image_size])
        assert np.array_equal(decode(content, image_size), functional.pil_to_tensor(image).numpy()), (width, height)


def test_several_processes_read_what_one_reads(paths, monkeypatch, capfd):
    monkeypatch.setattr(image_processes, "SECONDS_ALONE", 0.0)
    monkeypatch.setattr(image_processes, "FILES_AT_ONCE", 3)
    monkeypatch.setattr(image_processes, "available_cores", lambda: [0, 1])
    one, several = read_files(paths, 8), image_processes.read_all(paths, 8)
    assert np.array_equal(one.images, several.images)
    assert np.array_equal(one.sha256, several.sha256)
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
