"""The training clock: counts training steps only, on a device that has finished its work."""

import time

import torch


class Clock:
    """A stopwatch that waits for the device before it starts, stops or is read.

    CUDA and MPS run behind the program; without the wait, work would be counted to whatever follows it.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._counted = 0.0
        self._started: float | None = None

    def start(self) -> None:
        """Go on counting."""
        self._wait()
        self._started = time.perf_counter()

    def stop(self) -> None:
        """Stop counting; a stopped clock stays stopped."""
        if self._started is not None:
            self._wait()
            self._counted += time.perf_counter() - self._started
            self._started = None

    @property
    def seconds(self) -> float:
        """Seconds counted so far, in s; a running clock waits for the device."""
        if self._started is None:
            return self._counted
        self._wait()
        return self._counted + time.perf_counter() - self._started

    def state_dict(self) -> dict[str, float]:
        """The reading, as a checkpoint keeps it."""
        return {"seconds": self.seconds}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Show a reading, and stand."""
        self._counted, self._started = state["seconds"], None

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        elif self._device.type == "mps":
            torch.mps.synchronize()
