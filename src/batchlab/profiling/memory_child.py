"""Measure the memory that training steps of given sizes take, in a process of its own.

`python -m batchlab.profiling.memory_child` reads a pickled `ProbeRequest`, then lines ``size num_parts``; it answers
the request and each line with one line of JSON. When this process has ended, nothing stays allocated in the one that
asked.
"""

import json
import os
import pickle
import signal
import sys
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from batchlab.config.schema import Config
from batchlab.data.stream import BatchStream
from batchlab.models.norm import pass_sizes
from batchlab.system.child_processes import end_with_parent
from batchlab.system.device_memory import free_bytes, peak_bytes, release_memory, status_bytes
from batchlab.training.build import Built, build
from batchlab.training.data_loading import count_workers, load_placed
from batchlab.training.gradient import accumulate

STEPS_OF_STATE = {"float16": 20}
"""Small steps until the optimizer has its state; float16 leaves out the first ones, until its loss scale fits."""
GUARD = 1.25
"""Beyond so many times the limit the system refuses memory, before the machine itself runs out of it."""
MOST_STEPS, STANDS = 4, 1.001
"""At most so many steps of a size, and the growth of the peak from one to the next from which it counts as none."""


@dataclass(frozen=True)
class ProbeRequest:
    """What the process is to build."""

    config: Config  # of the run, with micro_batch_size=none
    limit_bytes: int  # that the run may take
    asking_bytes: int  # resident set of the process that asked, and will run; it counts where it is the larger one
    free_bytes: int  # free on the device before this process came; what it needs to be there at all counts as well


class Tester:
    """Trains steps of any size, and reads the peak of this process; a DataLoader's workers are beside it."""

    def __init__(self, task: ProbeRequest) -> None:
        self._built: Built = build(task.config, task.config.seed)
        self._device = self._built.device
        if self._device.type == "cuda":
            self._beside = max(0, task.free_bytes - free_bytes(self._device) - torch.cuda.memory_reserved(self._device))
        else:
            self._beside = max(0.0, task.asking_bytes - status_bytes("VmRSS"))
        self._first, self._unit = pass_sizes(self._built.train_step.model)
        release_memory(self._device)
        if self._peak() < task.limit_bytes:  # else the baseline says it all
            self._guard(task.limit_bytes)
            stream = self._stream()
            for _ in range(STEPS_OF_STATE.get(task.config.precision, 5)):
                self._step(stream, self._first, 1)

    def facts(self) -> dict[str, Any]:
        """Return what is the same for all sizes, see `MemoryFacts`."""
        release_memory(self._device)
        num_train = len(self._built.dataset.train)
        return {"baseline_bytes": self._peak(), "num_train": num_train, "first": self._first, "unit": self._unit}

    def test(self, size: int, num_parts: int) -> dict[str, Any]:
        """Measure the peak of full steps of a size, and what is left of it between steps.

        A step's memory lies in fragments that the next one fills differently: steps go on until the peak stands.
        """
        release_memory(self._device)
        stream, peak, num_steps, is_growing = self._stream(), 0.0, 0, True
        while num_steps < 2 or (is_growing and num_steps < MOST_STEPS):
            self._step(stream, size, num_parts)
            before, peak, num_steps = peak, self._peak(), num_steps + 1
            is_growing = peak > STANDS * before
        del stream
        release_memory(self._device)
        return {"bytes": peak, "left_bytes": self._peak()}

    def _stream(self) -> BatchStream:
        """Open the run's stream again, with buffers that hold nothing of other sizes."""
        config = self._built.config
        dataset, resident = load_placed(config.data, self._device)
        num_workers = count_workers(config.data, dataset, config.num_processes)
        return BatchStream(dataset, self._built.seed, self._device, resident, num_workers)

    def _step(self, stream: BatchStream, size: int, num_parts: int) -> None:
        train_step = self._built.train_step

        def gradient() -> Tensor:
            train_step.optimizer.zero_grad()
            return accumulate(train_step, stream, 0, [size] * num_parts)

        train_step.model.train()
        train_step.step(gradient).item()

    def _peak(self) -> float:
        if self._device.type == "cuda":  # what the allocator holds, fragments included, is what others cannot have
            return self._beside + torch.cuda.max_memory_reserved(self._device)
        return self._beside + peak_bytes(self._device)

    def _guard(self, limit: float) -> None:
        mine = GUARD * limit - self._beside
        if self._device.type == "cuda":
            total = torch.cuda.get_device_properties(self._device).total_memory
            index = torch.cuda.current_device() if self._device.index is None else self._device.index
            torch.cuda.set_per_process_memory_fraction(min(1.0, max(0.0, mine / total)), index)
        else:
            import resource

            # what is mapped is more than what is resident: the guard stands above both
            most = int(status_bytes("VmData") + max(0.0, mine - status_bytes("VmRSS")))
            resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def main() -> None:
    """Answer until the other side closes the pipe."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a model prints is no answer
    end_with_parent(signal.SIGKILL)
    task: ProbeRequest = pickle.load(sys.stdin.buffer)
    try:
        tester = Tester(task)
        print(json.dumps(tester.facts()), file=answers)
        for line in sys.stdin.buffer:
            size, num_parts = map(int, line.split())
            print(json.dumps(tester.test(size, num_parts)), file=answers)
    except Exception as error:  # any error says that this size does not run, and why
        words = str(error).strip().splitlines() or [""]
        print(json.dumps({"cause": f"{type(error).__name__}: {words[0]}"}), file=answers)


if __name__ == "__main__":
    main()
