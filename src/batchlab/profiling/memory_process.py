"""Test sizes in a child process, which is replaced when a size did not fit."""

import json
import math
import pickle
import select
import subprocess
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from batchlab.profiling.memory_child import ProbeRequest
from batchlab.profiling.size_search import SizeTest
from batchlab.system.child_processes import describe_exit, module_command

SECONDS_TO_START = 60.0
"""What a process has for starting Python, its libraries and a GPU, beside the time for building."""
LEFT_OVER = 0.01
"""Share of the limit that may be left of a size that did not fit; where it is more, the next gets a new process."""


class NothingFits(MemoryError):
    """No size fits, or the run cannot even be built; the text says why.

    `needed_bytes` are those that the smallest size took; NaN where it did not get that far.
    """

    def __init__(self, text: str, needed_bytes: float = float("nan")) -> None:
        super().__init__(text)
        self.needed_bytes = needed_bytes


@dataclass(frozen=True)
class MemoryFacts:
    """What is the same for all sizes of one run."""

    baseline_bytes: float  # taken between steps: Python, libraries, data, model, gradients, optimizer state
    num_train: int  # examples in the training split
    first: int  # the smallest size that the model takes
    unit: int  # every size is a multiple of it


class SizeTester:
    """Tests sizes in a process of its own; a context manager that leaves none behind.

    A size that takes more than `free_share` of the limit does not fit; `timeout` is for building, and for each size.
    """

    def __init__(self, task: ProbeRequest, free_share: float, timeout: float) -> None:
        self._task, self._most, self._timeout = task, task.limit_bytes * free_share, timeout
        self._process: subprocess.Popen[bytes] | None = None
        self._clean_bytes = 0.0

    def __enter__(self) -> "SizeTester":
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._end()

    def facts(self) -> MemoryFacts:
        """Start a process, and have it build.

        Raises:
            NothingFits: where it cannot.
        """
        self._end()
        command, environment = module_command("batchlab.profiling.memory_child")
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, env=environment, bufsize=0
        )
        answer = self._ask(pickle.dumps(self._task), self._timeout + SECONDS_TO_START)
        if cause := answer.get("cause"):
            raise NothingFits(cause)
        self._clean_bytes = answer["baseline_bytes"] + LEFT_OVER * self._task.limit_bytes
        return MemoryFacts(**answer)

    def test(self, size: int, num_parts: int) -> SizeTest:
        """Test one size in 1 or 2 passes whose gradients add up; whatever ends the process, the size does not fit."""
        if self._process is None:
            self.facts()
        started = time.perf_counter()
        answer = self._ask(f"{size} {num_parts}\n".encode(), self._timeout)
        seconds, cause = time.perf_counter() - started, answer.get("cause", "")
        taken = answer.get("bytes", float("nan"))
        if not cause and taken > self._most:
            cause = f"needed {taken / 1e9:.2f} GB"
        if cause and not answer.get("left_bytes", math.inf) <= self._clean_bytes:
            self._end()  # what a failed try leaves behind decides nothing about the next
        return SizeTest(size, num_parts, taken, not cause, cause, seconds)

    def _ask(self, words: bytes, timeout: float) -> dict[str, Any]:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(words)
        except BrokenPipeError:
            return {"cause": f"its process {describe_exit(process.wait())}"}
        ready, _, _ = select.select([process.stdout], [], [], timeout)
        if not ready:
            return {"cause": f"took longer than {timeout:g} s"}
        line = process.stdout.readline()
        return json.loads(line) if line else {"cause": f"its process {describe_exit(process.wait())}"}

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None
