"""Gather and broadcast the state of a run that several processes share; the first one writes and reads it.

Weights and optimizer are the same everywhere and are the leader's; random numbers, and the examples that a process has
gathered, are its own.
"""

from collections.abc import Mapping
from io import BytesIO
from typing import Any

import torch
import torch.distributed as dist

from batchlab.training.build import Built
from batchlab.training.state import RandomNumbers, Stateful, load, parts_of, plain

SAME = ("weights", "optimizer", "scaler")
"""Parts that are equal in all processes after every step."""


def gather_states(built: Built) -> list[dict[str, Any]]:
    """Return what every process but the leader has for itself, by rank from 1; all of them call it at the same time."""
    rank, others = dist.get_rank(), range(1, dist.get_world_size())
    own = _packed(_states(_own_parts(built))) if rank else b""
    return [_unpacked(broadcast_bytes(own if rank == other else b"", other)) for other in others]


def broadcast_state(built: Built, own: list[dict[str, Any]]) -> None:
    """Send the leader's state, taken up from a checkpoint, to the others, which call `load_broadcast_state`.

    With it goes what `gather_states` returned when the checkpoint was written.
    """
    broadcast_bytes(_packed({"same": _states(_same_parts(built)), "own": own}))


def load_broadcast_state(built: Built) -> None:
    """Load the state that the leader sends."""
    states = _unpacked(broadcast_bytes())
    load(_same_parts(built), states["same"])
    load(_own_parts(built), states["own"][dist.get_rank() - 1])


def broadcast_bytes(content: bytes = b"", src: int = 0) -> bytes:
    """Send one process's content to every other, which calls it without; returns it in all of them."""
    length = torch.tensor([len(content)])
    dist.broadcast(length, src)
    buffer = torch.frombuffer(bytearray(content or int(length.item())), dtype=torch.uint8)
    dist.broadcast(buffer, src)
    return buffer.numpy().tobytes()


def _own_parts(built: Built) -> dict[str, Stateful]:
    """Return the parts that a process has for itself; random numbers last, see `parts_of`."""
    return {"stream": built.stream, "random": RandomNumbers(built.device)}


def _same_parts(built: Built) -> dict[str, Stateful]:
    return {name: part for name, part in parts_of(built).items() if name in SAME}


def _states(parts: Mapping[str, Stateful]) -> dict[str, Any]:
    return {name: plain(part.state_dict()) for name, part in parts.items()}


def _packed(states: dict[str, Any]) -> bytes:
    buffer = BytesIO()
    torch.save(states, buffer)
    return buffer.getvalue()


def _unpacked(packed: bytes) -> dict[str, Any]:
    return torch.load(BytesIO(packed), map_location="cpu", weights_only=True)
