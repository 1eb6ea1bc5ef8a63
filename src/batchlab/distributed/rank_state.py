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


def own_parts(built: Built) -> dict[str, Stateful]:
    """Return the parts that a process has for itself; random numbers last, see `parts_of`."""
    return {"stream": built.stream, "random": RandomNumbers(built.device)}


def states_of(parts: Mapping[str, Stateful]) -> dict[str, Any]:
    """Return the parts' states, on the host."""
    return {name: plain(part.state_dict()) for name, part in parts.items()}


def send_own_state(built: Built) -> None:
    """Send the leader what this process has for itself; the leader calls `gather_states`."""
    packed = torch.frombuffer(bytearray(_packed(states_of(own_parts(built)))), dtype=torch.uint8)
    dist.send(torch.tensor([len(packed)]), dst=0)
    dist.send(packed, dst=0)


def gather_states() -> list[dict[str, Any]]:
    """Return what every other process has for itself, by rank from 1."""
    found = []
    for rank in range(1, dist.get_world_size()):
        length = torch.zeros(1, dtype=torch.int64)
        dist.recv(length, src=rank)
        packed = torch.zeros(int(length.item()), dtype=torch.uint8)
        dist.recv(packed, src=rank)
        found.append(_unpacked(packed.numpy().tobytes()))
    return found


def broadcast_state(built: Built, own: list[dict[str, Any]]) -> None:
    """Send the leader's state to every other process; each of them calls `load_broadcast_state`.

    Args:
        built: the leader's, taken up from a checkpoint.
        own: what `gather_states` found when that was written.
    """
    same = states_of({name: part for name, part in parts_of(built).items() if name in SAME})
    broadcast_bytes(_packed({"same": same, "own": own}))


def load_broadcast_state(built: Built) -> None:
    """Load the state that the leader sends."""
    states = _unpacked(broadcast_bytes())
    load({name: part for name, part in parts_of(built).items() if name in SAME}, states["same"])
    load(own_parts(built), states["own"][dist.get_rank() - 1])


def broadcast_bytes(content: bytes = b"") -> bytes:
    """Send the leader's content to every other process, which calls it without; returns it in all of them."""
    length = torch.tensor([len(content)])
    dist.broadcast(length, src=0)
    buffer = torch.zeros(int(length.item()), dtype=torch.uint8)
    if content:
        buffer = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    dist.broadcast(buffer, src=0)
    return buffer.numpy().tobytes()


def _packed(states: dict[str, Any]) -> bytes:
    buffer = BytesIO()
    torch.save(states, buffer)
    return buffer.getvalue()


def _unpacked(packed: bytes) -> dict[str, Any]:
    return torch.load(BytesIO(packed), map_location="cpu", weights_only=True)
