"""Find the largest batch that fits in memory, by training steps of it in a process of its own."""

import math
from dataclasses import dataclass, replace

import psutil

from batchlab.config.schema import Config, Memory
from batchlab.profiling.memory_child import ProbeRequest
from batchlab.profiling.memory_process import MemoryFacts, NothingFits, SizeTester
from batchlab.profiling.size_search import Sizes, SizeTest, largest_fitting, search_sizes, smallest_failing
from batchlab.system.device_memory import free_bytes, release_memory
from batchlab.training.build import pick_device

HEADROOM = 0.1
"""Share of the limit that stays free unless memory.headroom says otherwise.

On a CPU it also covers the fragments of a long run: glibc serves arrays below 32 MiB from a heap with gaps, which
was seen to take up to 100 MB more at a size than at twice that size.
"""
TIMEOUT_SECONDS = 600.0
"""A size whose steps take longer counts as one that does not fit; its cause says so."""
BESIDE_BYTES = 64 * 2**20
"""What a run takes on a CPU beside building and training: MLflow's store once it is open, measured as 42 MB."""


@dataclass(frozen=True)
class MemoryProbe:
    """What fits."""

    size: int  # the largest tested size that fits
    tested: tuple[SizeTest, ...]  # every test, by size
    # that the process of a run may take; on CUDA its context and what its allocator holds, on a CPU its resident set,
    # Python and libraries included
    limit_bytes: int
    headroom: float  # share of the limit that had to stay free
    facts: MemoryFacts  # baseline, smallest size and unit of sizes
    # what the size could not grow beyond: ``memory``, ``data`` (the training split), ``maximum`` (the user's) or
    # ``batch`` (nothing larger was asked for)
    capped_by: str

    @property
    def baseline_bytes(self) -> float:
        """Return the bytes between steps: Python, libraries, data, model, gradients and the optimizer's state."""
        return self.facts.baseline_bytes

    @property
    def seconds(self) -> float:
        """Return the seconds of all tests together, without the starts of processes."""
        return sum(each.seconds for each in self.tested)


@dataclass(frozen=True)
class EarlierTests:
    """What earlier probes found: what is the same for all sizes, and every test."""

    facts: MemoryFacts
    tested: tuple[SizeTest, ...]


def largest_batch(
    config: Config,
    whole: int | None = None,
    limit_bytes: int | None = None,
    known: EarlierTests | None = None,
    timeout: float = TIMEOUT_SECONDS,
) -> MemoryProbe:
    """Find the largest size of which the configuration's full training steps fit in memory.

    Each test is forward, backward and optimizer step, with the optimizer's state there, on the run's own device, data,
    loss and precision. Sizes double from the smallest, and are bisected between the largest that fits and the
    smallest that does not; what is returned was tested. memory.headroom and memory.max_micro_batch_size are kept to.

    Args:
        config: of the run.
        whole: the effective batch that is to be cut into parts: nothing larger is tested, and smaller sizes are tested
            as two parts whose gradients add up, which takes more; None = each size is a batch of its own.
        limit_bytes: None = memory.limit_bytes, or what the device has free now.
        known: of a configuration that takes the same, under the same limit.
        timeout: seconds for building, and for each size.

    Raises:
        NothingFits: with the reason.
    """
    headroom, device = headroom_of(config), pick_device(config.device)
    release_memory(device)  # what this process can give back, the other may have
    free = free_bytes(device)
    limit = limit_bytes or config.memory.limit_bytes or free
    # a compiled pass takes no more than the same pass uncompiled, and compiling for every size would take minutes
    bare = replace(config, micro_batch_size="none", memory=Memory(), compile=False)
    task = ProbeRequest(bare, limit, psutil.Process().memory_info().rss + BESIDE_BYTES, free)
    with SizeTester(task, 1 - headroom, timeout) as tester:
        facts = known.facts if known else tester.facts()
        caps = {"data": facts.num_train, "maximum": config.memory.max_micro_batch_size, "batch": whole}
        sizes, capped_by = _sizes(facts, {name: cap for name, cap in caps.items() if cap is not None})

        def parts(size: int) -> int:
            return 1 if whole is None or size >= whole else 2

        most = caps["maximum"] or math.inf
        earlier = [each for each in known.tested if each.size <= most] if known else []
        earlier = [each for each in earlier if says(each, parts(each.size))]
        tested = search_sizes(lambda size: tester.test(size, parts(size)), sizes, earlier)
    best = largest_fitting(tested)
    if best is None:
        raise _nothing_fits(tested, facts, limit, headroom)
    if best.size < sizes.maximum:
        capped_by = "memory"
    return MemoryProbe(best.size, tuple(tested), limit, headroom, facts, capped_by)


def headroom_of(config: Config) -> float:
    """Return the share of the limit that has to stay free."""
    return HEADROOM if config.memory.headroom is None else config.memory.headroom


def _sizes(facts: MemoryFacts, caps: dict[str, int]) -> tuple[Sizes, str]:
    """Return the sizes to test, and which of the caps is the lowest; ties go to the last."""
    lowest = min(reversed(caps), key=lambda name: caps[name])
    return Sizes(facts.first, caps[lowest] // facts.unit * facts.unit, facts.unit), lowest


def says(tested: SizeTest, num_parts: int) -> bool:
    """Tell whether a test says something of its size in so many parts: two parts take at least what one does."""
    return tested.num_parts >= num_parts if tested.fits else tested.num_parts <= num_parts


def _nothing_fits(tested: list[SizeTest], facts: MemoryFacts, limit: int, headroom: float) -> NothingFits:
    failing = smallest_failing(tested)
    if failing is None:
        return NothingFits(f"the model takes no fewer than {facts.first} at a time, and so many are not allowed")
    return NothingFits(
        f"not even {failing.size} at a time: {failing.cause}, where {limit * (1 - headroom) / 1e9:.2f} of "
        f"{limit / 1e9:.2f} GB may be used; {facts.baseline_bytes / 1e9:.2f} GB are taken by Python, libraries, data, "
        "model and optimizer before the first example",
        failing.bytes,
    )


def sentence(probe: MemoryProbe) -> str:
    """Return what was found and why not more, on one line."""
    failing = smallest_failing(probe.tested)
    if probe.capped_by == "memory" and failing is not None:
        limit, usable = probe.limit_bytes / 1e9, probe.limit_bytes * (1 - probe.headroom) / 1e9
        tests = f"largest of {len(probe.tested)} tested sizes within {usable:.2f} of {limit:.2f} GB"
        return f"{probe.size} ({tests}; the next tested, {failing.size}, {failing.cause})"
    reasons = {"data": "the whole training split", "maximum": "the maximum", "batch": "the whole batch"}
    return f"{probe.size} ({reasons.get(probe.capped_by, 'no larger size is allowed')}; {needs(probe)})"


def needs(probe: MemoryProbe) -> str:
    """Return what the largest size that fits takes, and what it may take."""
    best, limit = largest_fitting(probe.tested), probe.limit_bytes / 1e9
    assert best is not None
    usable = limit * (1 - probe.headroom)
    return f"{best.size} at a time needed {best.bytes / 1e9:.2f} GB, and {usable:.2f} of {limit:.2f} GB may be used"
