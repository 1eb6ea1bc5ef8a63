"""Read a folder's image files in several processes: for small files threads only wait for each other."""

import pickle
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from multiprocessing.connection import wait

import numpy as np
from rich.progress import MofNCompleteColumn, TimeElapsedColumn

from batchlab.data.image_decoding import FileContents, Range, num_channels, read_files
from batchlab.system.child_processes import Process, available_cores, describe_exit, module_command
from batchlab.system.progress import Bar, make_console

SECONDS_ALONE = 1.0
"""Files are read in this process for so long before others are started; most folders are done by then."""
MOST_PROCESSES = 16
FILES_AT_ONCE = 16
"""What a process is asked for: the larger, the less is said, and the longer the others wait at the end."""
SECONDS_BETWEEN_LINES = 10.0


def read_all(paths: Sequence[str], image_size: int, value_range: Range | None = None) -> FileContents:
    """Read, hash and decode files as `read_files` does, with a progress bar on stderr where it takes long."""
    count = len(paths)
    images, sha256 = np.empty((count, 3, image_size, image_size), np.uint8), np.empty((count, 32), np.uint8)
    traits, ranges = np.empty(count, np.uint8), np.empty((count, 2), np.float32)
    contents = FileContents(images, sha256, traits, ranges, {}, value_range)
    starts, until = iter(range(0, len(paths), FILES_AT_ONCE)), time.monotonic() + SECONDS_ALONE
    start = next(starts, None)
    while start is not None and time.monotonic() < until:
        _put(contents, start, read_files(paths[start : start + FILES_AT_ONCE], image_size, value_range))
        start = next(starts, None)
    if start is not None:
        _read_in_processes(contents, paths, range(start, len(paths), FILES_AT_ONCE))
    return replace(contents, images=images[:, : num_channels(traits, len(contents.faults))])


def _read_in_processes(contents: FileContents, paths: Sequence[str], starts: range) -> None:
    """Read what begins at each of `starts`, each process the next that no other has."""
    image_size, waiting, console = contents.images.shape[-1], iter(starts), make_console(is_stderr=True)
    columns = (MofNCompleteColumn(), TimeElapsedColumn())
    num_done = starts.start
    with (
        Bar(console, "reading images", len(paths), columns) as bar,
        _processes(min(len(available_cores()), MOST_PROCESSES, len(starts))) as processes,
    ):
        at_work = dict[object, tuple[Process, int]]()

        def hand_out(process: Process) -> None:
            if (start := next(waiting, None)) is not None:
                assert process.stdin is not None
                with suppress(BrokenPipeError):  # its answer will be missing
                    names = list(paths[start : start + FILES_AT_ONCE])
                    pickle.dump((names, image_size, contents.value_range), process.stdin)
                    process.stdin.flush()
                at_work[process.stdout] = process, start

        for process in processes:
            hand_out(process)
        while at_work:
            for stdout in wait(at_work):  # pyright: ignore[reportArgumentType], it takes whatever has a file number
                process, start = at_work.pop(stdout)
                try:
                    found = FileContents(*pickle.load(stdout))  # pyright: ignore[reportArgumentType]
                except (EOFError, pickle.UnpicklingError):
                    process.kill()
                    where = f"on the way from {paths[start]}"
                    raise RuntimeError(f"a process that reads images {describe_exit(process.wait())} {where}") from None
                hand_out(process)
                _put(contents, start, found)
                num_done += len(found.sha256)
                bar.update(completed=num_done)
            if bar.is_line_due(SECONDS_BETWEEN_LINES):
                console.print(f"reading images: {num_done:,} of {len(paths):,}")


@contextmanager
def _processes(count: int) -> Iterator[list[Process]]:
    """Start processes that read files, and leave none."""
    command, environment = module_command("batchlab.data.image_decoding")
    processes, pipe = list[Process](), subprocess.PIPE
    try:
        for _ in range(count):
            processes.append(subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environment))
        yield processes
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.communicate()


def _put(contents: FileContents, start: int, found: FileContents) -> None:
    rows = slice(start, start + len(found.sha256))
    contents.images[rows], contents.sha256[rows] = found.images, found.sha256  # a grey image in each channel
    contents.traits[rows], contents.ranges[rows] = found.traits, found.ranges
    contents.faults.update((start + row, why) for row, why in found.faults.items())
