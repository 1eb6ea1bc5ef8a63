"""Save and load the state of a run while it trains, part by part.

Whatever has a `state_dict` is such a part: weights, optimizer, clock, place in the stream, random numbers, the loop's
counters, what was measured so far.
"""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from batchlab.training.build import Built


class Stateful(Protocol):
    """A part of a run whose state can be saved and loaded."""

    def state_dict(self) -> dict[str, Any]:
        """Return tensors, numbers, text, and lists and dicts of them."""
        ...

    def load_state_dict(self, state: dict[str, Any], /) -> object:
        """Set the state of another part."""
        ...


class _Weights:
    """Parameters and buffers of a model, those too that its own state leaves out."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model

    def state_dict(self) -> dict[str, Any]:
        own = self._model.state_dict()
        return {"own": own, "others": {name: each for name, each in self._model.named_buffers() if name not in own}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._model.load_state_dict(state["own"])
        buffers = dict(self._model.named_buffers())
        for name, value in state["others"].items():
            buffers[name].copy_(value)


class _Steps:
    """An optimizer but for its learning rates: `fit` begins with the run's own, and puts the schedule's factor on."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self._optimizer = optimizer

    def state_dict(self) -> dict[str, Any]:
        return self._optimizer.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        lrs = [group["lr"] for group in self._optimizer.param_groups]
        self._optimizer.load_state_dict(state)
        for group, lr in zip(self._optimizer.param_groups, lrs, strict=True):
            group["lr"] = lr


class RandomNumbers:
    """Torch's random numbers, on the host and on the run's device; nothing else that draws is seeded."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def state_dict(self) -> dict[str, Any]:
        """Return the generators' states."""
        states = {"cpu": torch.get_rng_state()}
        if self._device.type == "cuda":
            states["cuda"] = torch.cuda.get_rng_state(self._device)
        elif self._device.type == "mps":
            states["mps"] = torch.mps.get_rng_state()
        return states

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Set the generators' states."""
        torch.set_rng_state(state["cpu"])
        if "cuda" in state:
            torch.cuda.set_rng_state(state["cuda"], self._device)
        elif "mps" in state:
            torch.mps.set_rng_state(state["mps"])


def parts_of(built: Built) -> dict[str, Stateful]:
    """Return the parts that a run trains with, by name, in the order in which they are to be loaded."""
    train_step = built.train_step
    parts: dict[str, Stateful] = {"weights": _Weights(train_step.model), "optimizer": _Steps(train_step.optimizer)}
    parts |= {name: part for name in ("scaler", "grad_norms") if (part := getattr(train_step, name)) is not None}
    # random numbers last: a DataLoader draws some when it starts
    return parts | {"clock": built.clock, "stream": built.stream, "random": RandomNumbers(built.device)}


def load(parts: Mapping[str, Stateful], states: Mapping[str, Any]) -> None:
    """Load every part's state."""
    for name, part in parts.items():
        part.load_state_dict(states[name])


# pyright: reportUnknownVariableType=false
# what a state holds is of any kind until it was looked at
def plain(value: Any) -> Any:
    """Return the value made of what torch.load accepts with `weights_only`.

    Raises:
        TypeError: where it holds anything else.
    """
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, Tensor) or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, OrderedDict):  # a model's: knows versions of its modules beside the tensors
        for each in value.values():
            plain(each)
        return value
    if isinstance(value, dict):
        return {plain(key): plain(each) for key, each in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(plain, value))
    raise TypeError(f"a state holds a {type(value).__name__}")
