"""The files of torchvision's data sets: found, checked, unpacked, downloaded."""

import math
import os
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torchvision.datasets import CIFAR10, MNIST, SVHN
from torchvision.datasets.utils import calculate_md5, extract_archive

from batchlab.errors import ConfigErrors, config_error


@dataclass(frozen=True)
class Part:
    """One file of a data set."""

    path: str  # where it lies, relative to the root
    md5: str  # checksum of the file, from torchvision
    address: str  # where it can be downloaded, from torchvision
    # path and checksum (None: torchvision has none) of what is read from it; () where it is read as it is
    unpacked: tuple[tuple[str, str | None], ...]


@contextmanager
def readable_root(kind: Any, root: str | Path, download: bool) -> Iterator[Path]:
    """Yield a temporary folder from which torchvision's class can read: links into the root, and unpacked files.

    The root may be read-only; with `download` missing or damaged files are fetched into it.

    Raises:
        ConfigErrors: where files are missing or damaged, or the download fails.
    """
    folder = Path(root).expanduser().absolute()
    parts = parts_of(kind)
    if folder.is_file():
        raise config_error(
            "data.root", root, "a file, not the folder in which the files lie", f"data.root={folder.parent}"
        )
    faults = list(filter(None, (_fault(folder, part) for part in parts)))
    if faults and download:
        _download(kind, root, folder, parts)
        faults = list(filter(None, (_fault(folder, part) for part in parts)))
    if faults:
        raise _refusal(root, folder, parts, "; ".join(faults))
    with TemporaryDirectory(prefix="batchlab-") as temporary:
        for part in parts:
            is_packed = (folder / part.path).is_file() and not _is_unpacked(folder, part)
            for name in [part.path] if is_packed or not part.unpacked else [name for name, _ in part.unpacked]:
                link = Path(temporary) / name
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(folder / name)
                try:
                    if is_packed and part.unpacked:
                        extract_archive(link)
                except (OSError, EOFError, tarfile.TarError) as error:
                    raise _refusal(root, folder, parts, f"{name} cannot be unpacked ({error})") from None
        yield Path(temporary)


def parts_of(kind: Any) -> list[Part]:
    """Return the files that torchvision's class names, with its checksums and addresses."""
    if issubclass(kind, MNIST):
        raw = f"{kind.__name__}/raw"
        return [
            Part(f"{raw}/{name}", md5, kind.mirrors[0] + name, ((f"{raw}/{Path(name).stem}", None),))
            for name, md5 in kind.resources
        ]
    if issubclass(kind, CIFAR10):
        listed = [*kind.train_list, *kind.test_list, (kind.meta["filename"], kind.meta["md5"])]
        unpacked = tuple((f"{kind.base_folder}/{name}", md5) for name, md5 in listed)
        return [Part(kind.filename, kind.tgz_md5, kind.url, unpacked)]
    assert issubclass(kind, SVHN)
    used = [kind.split_list[split] for split in ("train", "test")]
    return [Part(name, md5, address, ()) for address, name, md5 in used]


def _fault(folder: Path, part: Part) -> str | None:
    if (folder / part.path).is_file() and not _is_unpacked(folder, part):
        return _checksum_fault(folder, part.path, part.md5)
    found = [name for name, _ in part.unpacked if (folder / name).is_file()]
    if not found:
        return f"{part.path} is missing"
    if len(found) < len(part.unpacked):
        missing = [name for name, _ in part.unpacked if name not in found]
        return f"{', '.join(missing)} is missing, and so is {part.path}"
    faults = [_checksum_fault(folder, name, md5) if md5 else _size_fault(folder, name) for name, md5 in part.unpacked]
    return "; ".join(fault for fault in faults if fault) or None


def _is_unpacked(folder: Path, part: Part) -> bool:
    # only where the unpacked files have checksums of their own are they better than the packed one
    return bool(part.unpacked) and all(md5 and (folder / name).is_file() for name, md5 in part.unpacked)


def _checksum_fault(folder: Path, name: str, expected: str) -> str | None:
    try:
        found = calculate_md5(folder / name)
    except OSError as error:
        return f"{name} cannot be read ({error.strerror})"
    if found == expected:
        return None
    size = (folder / name).stat().st_size
    return f"{name} ({size:,} bytes) is incomplete or changed: its md5 is {found}, expected {expected}"


def _size_fault(folder: Path, name: str) -> str | None:
    # The header of an unpacked file of the MNIST family says its size; torchvision has no checksum for it.
    path = folder / name
    with path.open("rb") as file:
        header = file.read(16)
    num_dimensions = header[3] if len(header) == 16 else 0
    if not 1 <= num_dimensions <= 3:
        return f"{name} is no file of the MNIST format"
    sizes = [int.from_bytes(header[4 * axis : 4 * axis + 4], "big") for axis in range(1, num_dimensions + 1)]
    expected = 4 + 4 * num_dimensions + math.prod(sizes)
    if path.stat().st_size == expected:
        return None
    return f"{name} is incomplete or changed: it has {path.stat().st_size:,} bytes, expected {expected:,}"


def _download(kind: Any, root: str | Path, folder: Path, parts: list[Part]) -> None:
    # Into a folder of its own first: two processes may download at once, a broken download leaves nothing.
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix="download-", dir=folder) as fresh:
            settings: list[dict[str, Any]] = [{"split": "train"}, {"split": "test"}] if issubclass(kind, SVHN) else [{}]
            for split in settings:
                kind(fresh, **split, download=True)
            for path in [file for file in Path(fresh).rglob("*") if file.is_file()]:
                target = folder / path.relative_to(fresh)
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(path, target)
    except Exception as error:  # torchvision passes on whatever its downloads and archives raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise _refusal(root, folder, parts, f"the download failed ({reason[:300]})", offer=False) from None


def _refusal(root: str | Path, folder: Path, parts: list[Part], what: str, offer: bool = True) -> ConfigErrors:
    by_hand = f"put these files into {(folder / parts[0].path).parent}: {' '.join(part.address for part in parts)}"
    sums = ", ".join(f"{Path(part.path).name} {part.md5}" for part in parts)
    fix = f"data.download=true, or {by_hand}" if offer else f"data.root=/folder/with/the/files, or {by_hand}"
    return config_error("data.root", root, f"in {folder}, {what}. Needed, with md5: {sums}", fix)
