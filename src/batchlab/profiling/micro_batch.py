"""Replace `micro_batch_size=auto` by a number, probed once per model and command."""

import json
import math
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from batchlab.config.identity import hash_of, settings_affecting
from batchlab.config.keys import Affects
from batchlab.config.schema import Config
from batchlab.errors import ConfigError
from batchlab.profiling.largest_batch import EarlierTests, MemoryProbe, headroom_of, largest_batch, needs, sentence
from batchlab.profiling.memory_process import MemoryFacts, NothingFits
from batchlab.profiling.size_search import SizeTest
from batchlab.system.device_memory import free_bytes, peak_bytes, release_memory
from batchlab.training.build import pick_device, resolve
from batchlab.training.plan import ResolvedRun, part_sizes

KNOWN = "BATCHLAB_MEMORY"
"""Environment variable of what a command knows of memory: its worker processes, and the jobs of a grid, inherit it."""
MOST_KNOWN = 16
"""Models that are remembered: an environment variable has to stay short."""


@dataclass(frozen=True)
class MicroBatchChoice:
    """A run whose micro_batch_size is not auto."""

    run: ResolvedRun  # with micro_batch_size ``none``, or the largest part of any batch
    found: str = ""  # the largest size that fits, in words; empty where nothing was asked for
    record: str = ""  # the whole probe, to be kept with the run; empty likewise


def resolve_micro_batch(run: ResolvedRun) -> MicroBatchChoice:
    """Replace micro_batch_size=auto by a number, from a probe or from what the command knows already.

    The effective batch stays what was asked for. The number is the size of the largest of the near-equal parts into
    which the found maximum cuts the batches of the run, so that it says what the run does: ``none`` where every batch
    goes through whole. What comes out is the configuration in which that number had been typed; the same run where its
    micro_batch_size is not auto.

    Raises:
        NothingFits: with the reason.
    """
    if run.config.micro_batch_size != "auto":
        return MicroBatchChoice(run)
    batches = run.batch_sizes
    probe = _probe(run.config, max(batches))
    micro = allowed_maximum(min(probe.size, max(batches)), batches, probe.facts)
    if micro is None:
        raise NothingFits(
            f"{probe.size} at a time fit, which the model's norm does not take as parts of {max(batches)}"
        )
    largest_part = max(part_sizes(batch, micro)[0] for batch in batches)
    is_whole = largest_part == max(batches)
    parts = f"{max(batches)} in {math.ceil(max(batches) / micro)} parts of at most {largest_part}"
    found = f"the whole batch in one part ({needs(probe)})" if is_whole else f"{sentence(probe)}: {parts}"
    tested = [[each.size, each.num_parts, each.bytes, each.cause] for each in probe.tested]  # short: it is a tag
    facts = asdict(probe.facts) | {"limit_bytes": probe.limit_bytes, "headroom": probe.headroom}
    record = {"size": probe.size, "capped_by": probe.capped_by, "seconds": round(probe.seconds, 3), **facts}
    chosen = run.with_micro_batch_size(None if is_whole else largest_part)
    return MicroBatchChoice(chosen, found, json.dumps(record | {"tested": tested}))


def check_memory(configs: list[Config], num_workers: int = 1) -> list[ConfigError]:
    """Return an error for each configuration with micro_batch_size=auto of which not the smallest size fits.

    What is free is shared by `num_workers` processes, which will train side by side.
    """
    asking = [config for config in configs if config.micro_batch_size == "auto"]
    if asking:
        if sys.stderr.isatty():
            print("micro_batch_size=auto: sizes are tested in a process of their own.", file=sys.stderr)
        free_for_runs(asking[0], num_workers)
    # what fits the largest batch says enough of smaller ones
    runs = sorted(map(resolve, asking), key=lambda run: run.batch_sizes[-1], reverse=True)
    return [error for run in runs for error in _memory_errors(run)]


def _memory_errors(run: ResolvedRun) -> Iterator[ConfigError]:
    config, device = run.config, pick_device(run.config.device)
    if math.isnan(peak_bytes(device)):
        allowed = f"this system does not say how much memory is taken on {device.type}"
        yield ConfigError("micro_batch_size", "auto", allowed, "micro_batch_size=32")
        return
    try:
        resolve_micro_batch(run)
    except NothingFits as error:
        limit, headroom = config.memory.limit_bytes, headroom_of(config)
        if limit is None:
            yield ConfigError("micro_batch_size", "auto", str(error), "a smaller model, or micro_batch_size=none")
            return
        needed = 2 * limit if math.isnan(error.needed_bytes) else error.needed_bytes
        enough = math.ceil(1.03 * needed / (1 - headroom) / 1e8) * 10**8  # no two processes take the same
        yield ConfigError("memory.limit_bytes", limit, str(error), f"memory.limit_bytes={enough}")


def allowed_maximum(at_most: int, batches: Sequence[int], facts: MemoryFacts) -> int | None:
    """Return the largest maximum m <= at_most of which every part of every batch is a size that the model takes.

    None where there is none, e.g. parts of 2 of a batch of 3 with batch norm, whose smallest size is 2.
    """

    def is_allowed(size: int) -> bool:
        num_parts = [(batch, math.ceil(batch / size)) for batch in batches]
        parts = {part for batch, num in num_parts for part in (batch // num, math.ceil(batch / num))}
        return all(part >= facts.first and part % facts.unit == 0 for part in parts)

    return next((size for size in range(at_most, 0, -1) if is_allowed(size)), None)


def free_for_runs(config: Config, num_workers: int = 1) -> int:
    """Return the bytes that one run may take: memory.limit_bytes, else an equal share of what was free at first.

    `num_workers` that share it count where nothing is known yet; GPUs are dealt out among them.
    """
    if config.memory.limit_bytes is not None:
        return config.memory.limit_bytes
    known, name = _known(), pick_device(config.device)
    if str(name) not in known["limits"]:
        release_memory(name)
        each_has_its_own = name.type == "cuda" and name.index is None  # as `search.workers` deals them
        num_sharing = math.ceil(num_workers / (torch.cuda.device_count() if each_has_its_own else 1))
        known["limits"][str(name)] = free_bytes(name) // max(1, num_sharing)
        os.environ[KNOWN] = json.dumps(known)
    return known["limits"][str(name)]


def _probe(config: Config, whole: int) -> MemoryProbe:
    """Probe, starting from the earlier probes of this command."""
    key, limit = memory_key(config), free_for_runs(config)
    known, earlier = _known(), None
    if key in known["models"]:
        entry = known["models"].pop(key)
        earlier = EarlierTests(MemoryFacts(**entry["facts"]), tuple(SizeTest(**each) for each in entry["tested"]))
    probe = largest_batch(config, whole, limit, earlier)
    tested = {(each.size, each.num_parts): each for each in [*(earlier.tested if earlier else ()), *probe.tested]}
    known["models"][key] = asdict(EarlierTests(probe.facts, tuple(tested.values())))
    known["models"] = dict(list(known["models"].items())[-MOST_KNOWN:])
    os.environ[KNOWN] = json.dumps(known)
    return probe


def _known() -> dict[str, Any]:
    return json.loads(os.environ.get(KNOWN, "null")) or {"limits": {}, "models": {}}


def memory_key(config: Config) -> str:
    """Return a hash of the settings that decide how much memory a size takes, and how much may be taken."""
    return hash_of(settings_affecting(config, Affects.MEMORY))
