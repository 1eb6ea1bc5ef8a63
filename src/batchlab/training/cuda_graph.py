"""A step's forward and backward pass as one CUDA graph for each batch size: one launch instead of some hundreds."""

import math
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor, nn

from batchlab.errors import place_of, reason
from batchlab.system.device_memory import is_out_of_memory
from batchlab.training.gradient import TrainStep

WARM_UPS = 3
"""Passes before a graph is recorded, in which libraries choose their kernels."""
LAUNCH_BOUND = 0.8
"""A pass whose launches take more than this share of its time waits for the host."""
TOLERANCE = 1e-3
"""Relative difference between the losses, and the gradients' norms, of a graph and of the pass that it records."""

MOVED = "a weight or a buffer of the model lies elsewhere than where its CUDA graph reads it"


class Recorder(Protocol):
    """What records and times the work of a device; a GPU's is `CudaRecorder`."""

    def launch_share(self, work: Callable[[], Tensor]) -> float:
        """Do the work a few times; return which share of the last one's seconds the host took to launch it."""
        ...

    def record(self, work: Callable[[], Tensor]) -> tuple[Tensor, Callable[[], None]]:
        """Record the work; return the tensor that it returned, and what does it again, into that tensor."""
        ...

    def random_numbers_kept(self) -> AbstractContextManager[None]:
        """Put the device's random numbers back at the end of a block."""
        ...


class CudaRecorder:
    """Records graphs that share one pool of memory: what one leaves is not read after another was replayed."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._pool = device, torch.cuda.graph_pool_handle()

    def launch_share(self, work: Callable[[], Tensor]) -> float:
        """See `Recorder`; on a stream of its own, as graphs ask for."""
        side, current = torch.cuda.Stream(self._device), torch.cuda.current_stream(self._device)
        side.wait_stream(current)
        with torch.cuda.stream(side):
            for _ in range(WARM_UPS):
                work()
            side.synchronize()
            started = time.perf_counter()
            work()
            launched = time.perf_counter() - started
            side.synchronize()
        current.wait_stream(side)
        return launched / (time.perf_counter() - started)

    def record(self, work: Callable[[], Tensor]) -> tuple[Tensor, Callable[[], None]]:
        """See `Recorder`."""
        graph = torch.cuda.CUDAGraph()
        # thread_local: a DataLoader's thread may pin memory meanwhile
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            result = work()
        return result, graph.replay

    def random_numbers_kept(self) -> AbstractContextManager[None]:
        """See `Recorder`."""
        return torch.random.fork_rng([self._device])  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


@dataclass(frozen=True)
class Recorded:
    """The passes of one batch size."""

    inputs: Tensor  # what a replay reads
    targets: Tensor
    loss: Tensor  # what a replay writes
    gradients: list[Tensor | None]  # of the parameters, in their order
    replay: Callable[[], None]
    addresses: list[int]  # of the parameters and buffers that it reads


class GraphedPasses:
    """Passes of a train step, recorded when a batch size is first seen and replayed from then on.

    Args:
        train_step: whose steps have one part.
        recorder: of the device on which the model lies.
        only_if_launch_bound: leave a batch size alone whose pass keeps the device busy.
    """

    def __init__(self, train_step: TrainStep, recorder: Recorder, only_if_launch_bound: bool) -> None:
        self._eager, self._recorder, self._only_if_launch_bound = train_step, recorder, only_if_launch_bound
        self._parameters = [each for each in train_step.model.parameters() if each.requires_grad]
        self._passes = dict[int, Recorded | None]()

    def compute_loss(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss, as `TrainStep` has it; a replay has set the gradients with it."""
        if not (self._eager.model.training and torch.is_grad_enabled()):
            return self._eager.compute_loss(inputs, targets)
        if len(inputs) not in self._passes:
            self._passes[len(inputs)] = self._recorded_if_possible(inputs.clone(), targets.clone())
        recorded = self._passes[len(inputs)]
        if recorded is not None and recorded.addresses != self._addresses():
            if not self._only_if_launch_bound:
                raise RuntimeError(f"{MOVED}. Type compile=false")
            recorded = self._passes[len(inputs)] = None
        if recorded is None:
            return self._eager.compute_loss(inputs, targets)
        recorded.inputs.copy_(inputs)
        recorded.targets.copy_(targets)
        recorded.replay()
        for parameter, gradient in zip(self._parameters, recorded.gradients, strict=True):
            parameter.grad = gradient
        return recorded.loss.clone()  # an optimizer of several passes keeps the first one's

    def backward(self, loss: Tensor) -> None:
        """Set the gradients of a loss that no replay has computed."""
        if loss.requires_grad:
            self._eager.backward(loss)

    def _recorded_if_possible(self, inputs: Tensor, targets: Tensor) -> Recorded | None:
        """Record the passes; None where it would gain nothing or, if nobody insists, cannot be. Leaves no gradient."""
        try:
            return self._recorded(inputs, targets)
        except RuntimeError as error:
            if not self._only_if_launch_bound or is_out_of_memory(error):
                raise
            return None
        finally:
            self._clear()

    def _clear(self) -> None:
        for parameter in self._parameters:
            parameter.grad = None

    def _recorded(self, inputs: Tensor, targets: Tensor) -> Recorded | None:
        """Record the passes over examples of these shapes; None where it would gain nothing.

        Raises:
            RuntimeError: where the pass cannot be recorded, or a replay computes something else.
        """

        def once() -> Tensor:
            self._clear()
            loss = self._eager.compute_loss(inputs, targets)
            self._eager.backward(loss)
            return loss.detach()

        with buffers_kept(self._eager.model), self._recorder.random_numbers_kept():
            share = self._recorder.launch_share(once)
        if self._only_if_launch_bound and share < LAUNCH_BOUND:
            return None
        with buffers_kept(self._eager.model), self._recorder.random_numbers_kept():
            expected = float(once()), self._norm()
        with buffers_kept(self._eager.model), self._recorder.random_numbers_kept():
            loss, replay = self._recorder.record(once)
        gradients = [parameter.grad for parameter in self._parameters]
        with buffers_kept(self._eager.model), self._recorder.random_numbers_kept():
            replay()
            replayed = float(loss), self._norm()
        if not all(map(_is_close, expected, replayed)):
            raise RuntimeError(
                f"the CUDA graph of batch size {len(inputs)} computes loss {replayed[0]} and a gradient of norm "
                f"{replayed[1]}, the pass itself {expected[0]} and {expected[1]}. Type compile=false"
            )
        return Recorded(inputs, targets, loss, gradients, replay, self._addresses())

    def _addresses(self) -> list[int]:
        model = self._eager.model
        return [each.data_ptr() for each in (*model.parameters(), *model.buffers())]

    def _norm(self) -> float:
        gradients = [each.grad for each in self._parameters if each.grad is not None]
        return float(torch.nn.utils.get_total_norm(gradients))


def _is_close(expected: float, value: float) -> bool:
    return math.isclose(value, expected, rel_tol=TOLERANCE, abs_tol=TOLERANCE**2) or (
        math.isnan(value) and math.isnan(expected)
    )


@contextmanager
def buffers_kept(model: nn.Module) -> Generator[None]:
    """Put a model's buffers back at the end of a block, e.g. the running statistics of batch norm."""
    before = [(each, each.clone()) for each in model.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for each, value in before:
                each.copy_(value)


def graphed(train_step: TrainStep, recorder: Recorder, only_if_launch_bound: bool = False) -> TrainStep:
    """Return the train step with passes that are recorded for each batch size."""
    passes = GraphedPasses(train_step, recorder, only_if_launch_bound)
    return replace(train_step, compute_loss=passes.compute_loss, backward=passes.backward)


def unrecordable(model: nn.Module, inputs: Tensor) -> str:
    """Say why a model's forward pass cannot be recorded: it asks for values, e.g. by `.item()`; empty if it does not.

    A copy of the model makes the pass without numbers, on any device. What it does besides in Python is not seen.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode  # pyright: ignore[reportPrivateImportUsage]

    try:
        copied = deepcopy(model).train()
        with FakeTensorMode(allow_non_fake_inputs=True) as mode, torch.no_grad():
            copied(mode.from_tensor(inputs))
    except Exception as error:  # a model may fail in any way
        return f"{place_of(error)}: {reason(error)}"
    return ""
