"""Read and write the table of step times measured alone: <mlruns>/step_times.json, one entry per kind of step."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from batchlab.config.identity import environment, hash_of, settings_affecting
from batchlab.config.keys import Affects
from batchlab.laws.estimate import Estimate
from batchlab.laws.step_cost import StepCost, Timed
from batchlab.tracking.stores import locked
from batchlab.training.build import DEFAULT_THREADS, build_model, pick_device
from batchlab.training.plan import ResolvedRun

NAME = "step_times.json"


@dataclass(frozen=True)
class StepTimes:
    """One kind of step on one kind of host."""

    facts: Mapping[str, Any]  # what they are of: settings, shape of the data, host class
    timed: tuple[Timed, ...] = ()  # steps by size
    failed: Mapping[int, str] = field(default_factory=dict)  # batch size -> why it could not be timed
    cost: StepCost | None = None  # the laws through them; None where nothing could be timed
    # when, by which commit, at which load average, and whether no training of ours ran meanwhile
    measured: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Return the entry's key in the table: a hash of the facts."""
        return hash_of(self.facts)

    def missing(self, batch_sizes: list[int]) -> list[int]:
        """Return the sizes that nobody has tried to time."""
        known = {each.batch_size for each in self.timed} | set(self.failed)
        return [size for size in batch_sizes if size not in known]


def untimed(run: ResolvedRun) -> StepTimes:
    """Return the entry of a run's steps before anything is measured; micro_batch_size=auto is settled."""
    config, dataset, device = run.config, run.dataset, pick_device(run.config.device)
    facts = settings_affecting(config, Affects.STEP_TIME)
    facts |= {"input_shape": list(dataset.input_shape), "num_classes": dataset.num_classes}
    facts |= {"num_train": len(dataset.train), "num_threads": config.num_threads or DEFAULT_THREADS}
    facts["structure"] = structure(build_model(config, dataset))
    facts |= {"cpu": environment()["cpu"], "cores": os.cpu_count(), "torch": torch.__version__, "device": device.type}
    return StepTimes(facts | ({"gpu": torch.cuda.get_device_name(device)} if device.type == "cuda" else {}))


def structure(model: nn.Module) -> str:
    """Return a hash of a model's modules and of the shapes of its parameters, in their order."""
    parts = [*(type(module).__name__ for module in model.modules()), *(list(each.shape) for each in model.parameters())]
    return hash_of(parts)


def read_entry(mlruns: str, entry: StepTimes) -> StepTimes:
    """Return the entry as the table has it; itself where the table does not."""
    row = _table(mlruns).get(entry.key)
    if row is None:
        return entry
    cost = row["cost"]
    return StepTimes(
        entry.facts,
        tuple(Timed(**each) for each in row["timed"]),
        {int(size): why for size, why in row["failed"].items()},
        _cost(cost) if cost is not None else None,
        row["measured"],
    )


def write_entry(mlruns: str, entry: StepTimes) -> None:
    """Write an entry into the table, in the place of an earlier one; a reader finds the old table or the new one."""
    path = Path(mlruns) / NAME
    with locked(mlruns):
        table = _table(mlruns) | {entry.key: asdict(entry)}
        written = path.with_suffix(f".{os.getpid()}")
        written.write_text(json.dumps(table, indent=1) + "\n")
        written.replace(path)


def _table(mlruns: str) -> dict[str, Any]:
    """Read every entry; none where the file is not one of ours: what it had is measured anew."""
    try:
        table = json.loads((Path(mlruns) / NAME).read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return table if isinstance(table, dict) else {}


def _cost(row: dict[str, Any]) -> StepCost:
    values: dict[str, Any] = {
        name: Estimate(**value) if isinstance(value, dict) else value for name, value in row.items()
    }
    values["beyond"] = tuple((size, seconds) for size, seconds in row["beyond"])
    return StepCost(**values)
