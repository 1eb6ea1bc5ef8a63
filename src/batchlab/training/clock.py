"""Time training steps only, on a device that has finished its work."""

import time
from collections.abc import Callable

import torch


class Clock:
    """A stopwatch that waits for the device before it starts, stops or is read.

    CUDA and MPS run behind the program; without the wait, work would be counted to whatever follows it.

    Beside other trainings on its host a run is stretched by them. Given what a step takes when it has the host alone,
    the clock counts that for each step (`step_seconds` of its batch size); the stopwatch runs on as `measured`.
    """

    def __init__(self, device: torch.device, step_seconds: Callable[[int], float] | None = None) -> None:
        self._device, self._step_seconds = device, step_seconds
        self._counted, self._alone = 0.0, 0.0
        self._started: float | None = None

    def start(self) -> None:
        """Start counting, again after a stop."""
        wait_for(self._device)
        self._started = time.perf_counter()

    def stop(self) -> None:
        """Stop counting; a stopped clock stays stopped."""
        if self._started is not None:
            wait_for(self._device)
            self._counted += time.perf_counter() - self._started
            self._started = None

    def step(self, batch_size: int) -> None:
        """Count one step of so many examples."""
        if self._step_seconds is not None:
            self._alone += self._step_seconds(batch_size)

    @property
    def is_calibrated(self) -> bool:
        """Tell whether steps are counted as they were measured alone."""
        return self._step_seconds is not None

    @property
    def seconds(self) -> float:
        """Return seconds counted so far, in s: those of the stopwatch, or of the steps as measured alone."""
        return self.measured if self._step_seconds is None else self._alone

    @property
    def measured(self) -> float:
        """Return seconds of the stopwatch so far, in s; a running one waits for the device."""
        if self._started is None:
            return self._counted
        wait_for(self._device)
        return self._counted + time.perf_counter() - self._started

    @property
    def running(self) -> float:
        """Return seconds so far without waiting for the device, whose queued work is not in them."""
        if self._step_seconds is not None:
            return self._alone
        return self._counted + (0.0 if self._started is None else time.perf_counter() - self._started)

    def state_dict(self) -> dict[str, float]:
        """Return both readings."""
        return {"measured": self.measured, "alone": self._alone}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Show a reading, and stand."""
        self._counted, self._alone, self._started = state["measured"], state["alone"], None


def wait_for(device: torch.device) -> None:
    """Wait until a device has done all that it was asked to; a CPU always has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
