"""What `micro_batch_size=auto` comes to, given what fits: no size is trained here."""

from dataclasses import asdict, replace

import pytest

from batchlab.profiling import largest_batch as memory
from batchlab.profiling import micro_batch
from batchlab.profiling.memory_process import MemoryFacts
from batchlab.profiling.micro_batch import KNOWN, allowed_maximum, memory_key, resolve_micro_batch
from batchlab.training.build import resolve
from batchlab.training.plan import part_sizes


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch):
    monkeypatch.setenv(KNOWN, "null")  # set, so that what a test adds is undone


def test_a_batch_that_needs_no_settling_is_left_alone(config_of):
    config = config_of("micro_batch_size=32")
    assert resolve_micro_batch(resolve(config)).run.config is config


@pytest.mark.parametrize(
    ("at_most", "batches", "first", "unit", "expected"),
    [
        (100, [128], 1, 1, 100),
        (2, [3], 2, 1, None),  # 2 + 1: batch norm does not take 1
        (3, [4], 2, 1, 3),  # 2 + 2
        (2, [5], 2, 1, None),  # 2 + 2 + 1
        (96, [128], 32, 32, 64 + 31),  # 2 parts of 64; ghosts of 32 do not divide 43
        (96, [96 * 7], 32, 32, 96 + 0),
        (64, [32 * 7], 32, 32, 32 + 4),  # 7 is prime: 7 parts of 32, until 37 makes them 6
    ],
)
def test_parts_are_sizes_that_the_norm_takes(at_most, batches, first, unit, expected):
    found = allowed_maximum(at_most, batches, MemoryFacts(0.0, 1000, first, unit))
    assert (found is None) == (expected is None)
    if found is not None and expected is not None:
        assert part_sizes(batches[0], found) == part_sizes(batches[0], expected)


def test_only_what_moves_memory_is_probed_anew(config_of):
    base = config_of("micro_batch_size=auto", "optimizer=momentum")
    key = memory_key(base)
    for same in (["lr=0.5"], ["batch_size=7"], ["epochs=3"], ["optimizer.momentum=0.8"], ["lr_schedule=cosine"]):
        assert memory_key(config_of("micro_batch_size=auto", *same)) == key, same
    for other in (["optimizer.momentum=0.0"], ["model.width=64"], ["optimizer=adam"], ["precision=bfloat16"]):
        assert memory_key(config_of("micro_batch_size=auto", *other)) != key, other


def test_workers_side_by_side_share_what_is_free_and_a_command_measures_it_once(config_of, monkeypatch):
    monkeypatch.setattr(micro_batch, "free_bytes", lambda _: 12_000)
    assert micro_batch.free_for_runs(config_of("micro_batch_size=auto"), 3) == 4000
    assert micro_batch.free_for_runs(config_of("micro_batch_size=auto")) == 4000
    assert micro_batch.free_for_runs(config_of("micro_batch_size=auto", "memory.limit_bytes=77")) == 77


def test_memory_is_remembered_for_a_handful_of_models(config_of, monkeypatch):
    def fake(config, whole, limit, known):
        tested = known.tested if known else (memory.SizeTest(512, 2, 1.0, True, "", 0.0),)
        return memory.MemoryProbe(512, tested, limit, 0.1, MemoryFacts(1.0, 1257, 1, 1), "batch")

    monkeypatch.setattr(micro_batch, "largest_batch", fake)
    config = config_of("micro_batch_size=auto", "memory.limit_bytes=1000000000")
    for width in range(1, 40):
        resolve_micro_batch(resolve(replace(config, model=asdict(config)["model"] | {"width": width})))
    assert len(micro_batch._known()["models"]) == micro_batch.MOST_KNOWN


def test_workers_share_what_is_not_dealt_out_among_them(config_of, monkeypatch):
    config = config_of("micro_batch_size=auto", "device=cpu")
    monkeypatch.setattr(micro_batch, "free_bytes", lambda device: 12_000)
    monkeypatch.setattr(micro_batch, "release_memory", lambda device: None)
    monkeypatch.setattr(micro_batch.torch.cuda, "device_count", lambda: 4)
    assert micro_batch.free_for_runs(config, num_workers=4) == 3000
    assert micro_batch.free_for_runs(replace(config, device="cuda"), num_workers=4) == 12_000
    monkeypatch.setenv(KNOWN, "null")
    assert micro_batch.free_for_runs(replace(config, device="cuda"), num_workers=6) == 6000
    assert micro_batch.free_for_runs(replace(config, device="cuda:1"), num_workers=4) == 3000


def test_sizes_are_probed_uncompiled(config_of, monkeypatch):
    asked = []

    class Tester:
        def __init__(self, task, *_):
            asked.append(task.config.compile)
            raise memory.NothingFits("far enough")

    monkeypatch.setattr(memory, "SizeTester", Tester)
    with pytest.raises(memory.NothingFits):
        memory.largest_batch(config_of("compile=true"))
    assert asked == [False]
