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
from PIL.ExifTags import Base
from PIL.Image import Transpose

from batchlab.system.child_processes import end_with_parent, leave_interrupts_to_parent

UPRIGHT = {
    **{2: Transpose.FLIP_LEFT_RIGHT, 3: Transpose.ROTATE_180, 4: Transpose.FLIP_TOP_BOTTOM, 5: Transpose.TRANSPOSE},
    **{6: Transpose.ROTATE_270, 7: Transpose.TRANSVERSE, 8: Transpose.ROTATE_90},
}
"""What undoes each orientation of EXIF but the first, which is upright."""


class Trait:
    """What of an image is unlike a single upright opaque picture in 8-bit colour; its traits are a sum of these."""

    GREY = 1  # one channel
    WIDE = 2  # grey of more than 8 bits, or of floats
    ALPHA = 4  # may be transparent
    TURNED = 8  # has an orientation in its EXIF data
    UPPER_BITS = 16  # has 16 bits a channel, of which Pillow reads the upper 8
    FRAMES = 32  # has more than one frame, or page


Range = tuple[float, float]
"""The values of wide images that become 0 and 255."""


@dataclass(frozen=True)
class FileContents:
    """What was read of N files."""

    images: np.ndarray  # [N, C, size, size] uint8; size is 0 where nothing is decoded
    sha256: np.ndarray  # [N, 32] uint8, of the bytes of each file
    traits: np.ndarray  # [N] uint8, of `Trait`
    ranges: np.ndarray  # [N, 2] float32, the lowest and highest value of each wide image
    faults: dict[int, str]  # row -> why this file cannot be read or decoded
    value_range: Range | None = None  # of the wide images; without it they are not decoded, but 0


def decode(content: bytes, image_size: int, value_range: Range | None = None) -> np.ndarray:
    """Decode an image, resized (short side) and cropped at the centre: uint8 [1 or 3, image_size, image_size].

    Rounds as torchvision's `resize` and `center_crop` do, so the pixels are theirs.

    Args:
        content: of the file.
        image_size: in pixels.
        value_range: of a wide image.

    Raises:
        Exception: of many kinds; each of Pillow's readers has its own way to fail on a damaged file.
    """
    return _cut_out(_read_image(content)[0], image_size, value_range)


def read_files(paths: Sequence[str], image_size: int, value_range: Range | None = None) -> FileContents:
    """Read each file once, to hash it and to decode it; with an `image_size` of 0 only its header, unless it is wide.

    The images have one channel where all are grey, else three.
    """
    images = np.zeros((len(paths), 3, image_size, image_size), np.uint8)
    sha256, ranges = np.zeros((len(paths), 32), np.uint8), np.zeros((len(paths), 2), np.float32)
    traits, faults = np.zeros(len(paths), np.uint8), dict[int, str]()
    for row, path in enumerate(paths):
        try:
            with open(path, "rb") as file:
                content = file.read()
            sha256[row] = np.frombuffer(hashlib.sha256(content).digest(), np.uint8)
            found = 0 if image_size else _traits_of_header(content)
            if image_size or found & Trait.WIDE:
                image, found = _read_image(content)
                if found & Trait.WIDE:
                    ranges[row] = image.getextrema()
                if image_size and (value_range or not found & Trait.WIDE):
                    images[row] = _cut_out(image, image_size, value_range)
            traits[row] = found
        except Exception as error:  # see `decode`
            faults[row] = reason_of(error)
    return FileContents(images[:, : num_channels(traits, len(faults))], sha256, traits, ranges, faults, value_range)


def num_channels(traits: np.ndarray, num_faults: int = 0) -> int:
    """Return 1 where all images [N] but those with a fault are grey, else 3."""
    return 1 if np.count_nonzero(traits & Trait.GREY) + num_faults == len(traits) else 3


def reason_of(error: Exception) -> str:
    """Say why a file cannot be read or decoded."""
    is_unknown = isinstance(error, UnidentifiedImageError)  # Pillow would name the buffer that it was given
    return "no image in a format that Pillow knows" if is_unknown else str(error)


def _traits_of_header(content: bytes) -> int:
    with Image.open(BytesIO(content)) as file:
        return _traits_of(file) | (0 if _turn_of(file) is None else Trait.TURNED)


def _traits_of(file: Image.Image) -> int:
    """Return the traits of an image that was opened and not yet loaded, except for its orientation."""
    is_wide, found = file.mode[0] in "IF", 0
    if is_wide or file.mode in ("1", "L", "LA"):
        found |= Trait.GREY
    if is_wide:
        found |= Trait.WIDE
    elif file.has_transparency_data:
        found |= Trait.ALPHA
    if not is_wide and any(";16" in str(tile[3]) for tile in getattr(file, "tile", [])[:1]):  # name of the raw mode
        found |= Trait.UPPER_BITS
    if file.format != "MPO" and getattr(file, "n_frames", 1) > 1:  # the others of a phone's MPO are its previews
        found |= Trait.FRAMES
    return found


def _turn_of(file: Image.Image) -> Transpose | None:
    if not file.info or file.format == "TIFF":  # which Pillow turns itself
        return None
    try:
        return UPRIGHT.get(Image.Image.getexif(file).get(Base.Orientation, 1))
    except Exception:  # of data that are damaged, whatever their reader raises; the image is not
        return None


def _read_image(content: bytes) -> tuple[Image.Image, int]:
    """Return an image upright and opaque, of mode L, RGB or, if it is wide, F; and what had to be done for that."""
    with Image.open(BytesIO(content)) as file:
        traits, image = _traits_of(file), file
        file.load()
        if (turn := _turn_of(file)) is not None:  # PNG has it at its end
            traits, image = traits | Trait.TURNED, file.transpose(turn)
        mode = "L" if traits & Trait.GREY else "RGB"
        if traits & Trait.WIDE:
            values = np.asarray(image, np.float32)
            if not np.isfinite(values).all():
                raise ValueError("it has pixels that are no finite numbers")
            return Image.fromarray(values), traits
        if traits & Trait.ALPHA:
            image = image.convert(f"{mode}A")
            opaque = Image.new(mode, image.size, "white")
            opaque.paste(image.convert(mode), mask=image.getchannel("A"))
            return opaque, traits
        return image.convert(mode), traits


def _cut_out(image: Image.Image, image_size: int, value_range: Range | None) -> np.ndarray:
    """Return the centre of an image of mode L, RGB or F as uint8 [1 or 3, image_size, image_size]."""
    if image.mode == "F":
        assert value_range is not None
        low, high = value_range
        scaled = (np.asarray(image, np.float64) - low) * (255 / (high - low or 1.0))
        image = Image.fromarray(scaled.round().clip(0, 255).astype(np.uint8))
    width, height = (image_size * side // min(image.size) for side in image.size)
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((width - image_size) / 2), round((height - image_size) / 2)
    pixels = np.asarray(image.crop((left, top, left + image_size, top + image_size)))
    return np.atleast_3d(pixels).transpose(2, 0, 1)


def main() -> None:
    """Read the files that stdin names, one pickled tuple of arguments after the other, until it is closed."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    leave_interrupts_to_parent()
    end_with_parent(signal.SIGKILL)
    with suppress(EOFError):
        while True:
            found = read_files(*pickle.load(sys.stdin.buffer))
            pickle.dump(tuple(vars(found).values()), answers, protocol=5)
            answers.flush()


if __name__ == "__main__":
    main()
