"""Decode image files, in this process or, run as a program, in one that a command starts beside it.

Such a process has to start fast: nothing here imports torch.
"""

import hashlib
import os
import pickle
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from batchlab.system.child_processes import end_with_parent, leave_interrupts_to_parent


@dataclass(frozen=True)
class FileContents:
    """What was read of N files."""

    images: np.ndarray  # [N, 3, size, size] uint8; size is 0 where nothing is decoded
    sha256: np.ndarray  # [N, 32] uint8, of the bytes of each file
    faults: dict[int, str]  # row -> why this file cannot be read or decoded


def decode(content: bytes, image_size: int) -> np.ndarray:
    """Decode an image as RGB, resized (short side) and cropped at the centre: uint8 [3, image_size, image_size].

    Rounds as torchvision's `resize` and `center_crop` do, so the pixels are theirs.

    Raises:
        Exception: of many kinds; each of Pillow's readers has its own way to fail on a damaged file.
    """
    with Image.open(BytesIO(content)) as file:
        image = file.convert("RGB")
    width, height = (image_size * side // min(image.size) for side in image.size)
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((width - image_size) / 2), round((height - image_size) / 2)
    return np.asarray(image.crop((left, top, left + image_size, top + image_size))).transpose(2, 0, 1)


def read_files(paths: Sequence[str], image_size: int) -> FileContents:
    """Read each file once, to hash it and, unless `image_size` is 0, to decode it."""
    images = np.zeros((len(paths), 3, image_size, image_size), np.uint8)
    sha256, faults = np.zeros((len(paths), 32), np.uint8), dict[int, str]()
    for row, path in enumerate(paths):
        try:
            with open(path, "rb") as file:
                content = file.read()
            sha256[row] = np.frombuffer(hashlib.sha256(content).digest(), np.uint8)
            if image_size:
                images[row] = decode(content, image_size)
        except Exception as error:  # see `decode`
            faults[row] = reason_of(error)
    return FileContents(images, sha256, faults)


def reason_of(error: Exception) -> str:
    """Say why a file cannot be read or decoded."""
    is_unknown = isinstance(error, UnidentifiedImageError)  # Pillow would name the buffer that it was given
    return "no image in a format that Pillow knows" if is_unknown else str(error)


def main() -> None:
    """Read the files that stdin names, one pickled list and size after the other, until it is closed."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    leave_interrupts_to_parent()
    end_with_parent(signal.SIGKILL)
    with suppress(EOFError):
        while True:
            paths, image_size = pickle.load(sys.stdin.buffer)
            found = read_files(paths, image_size)
            pickle.dump((found.images, found.sha256, found.faults), answers, protocol=5)
            answers.flush()


if __name__ == "__main__":
    main()
