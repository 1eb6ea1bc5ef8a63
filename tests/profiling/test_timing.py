"""Blocks of timings: every cell once per block, warm-up thrown away, budgets kept, and what is timed is a real step."""

import math

import numpy as np
import pytest
import torch

from batchlab.profiling import timing
from batchlab.profiling.flops import flops_per_example, matmul_peak
from batchlab.profiling.timing import Cell, drift_of, stepper, time_cells
from batchlab.training.build import build


@pytest.fixture
def built(config_of):
    return build(config_of("batch_size=64"), seed=0)


def resident(built, size=64):
    inputs, targets = built.stream.take(0, size)
    return inputs.clone(), targets.clone()


def test_every_block_times_every_cell_once(built, monkeypatch):
    visits = []
    monkeypatch.setattr(timing, "_visit", lambda cell, _steps, _clock: visits.append(cell.batch_size) or 1e-3)
    cells = [Cell(built, size, batch=resident(built)) for size in (8, 16, 64)]
    timings = time_cells(cells, num_blocks=7, budget_seconds=60)
    assert timings.seconds.shape == (7, 3)
    blocks = [tuple(visits[start : start + 3]) for start in range(0, 21, 3)]
    assert all(sorted(block) == [8, 16, 64] for block in blocks)
    assert len(set(blocks)) > 1  # the order is shuffled


def test_a_budget_ends_the_blocks_and_leaves_out_what_cannot_be_warmed_up(built, monkeypatch):
    cells = [Cell(built, size, batch=resident(built)) for size in (8, 64)]
    few = time_cells(cells, num_blocks=1000, budget_seconds=1.0)
    assert 1 <= len(few.seconds) < 1000
    monkeypatch.setattr(timing, "_warm_up", lambda cell, clock: (timing.time.sleep(0.2), 1e-3)[::-1])
    late = time_cells(cells, num_blocks=5, budget_seconds=0.3)
    assert late.failed == {1: "not in budget_seconds"}


def test_a_cell_without_memory_is_named_and_the_others_are_timed(built, monkeypatch):
    whole = timing._warm_up

    def short_of_memory(cell, clock):
        if cell.batch_size == 64:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return whole(cell, clock)

    monkeypatch.setattr(timing, "_warm_up", short_of_memory)
    timings = time_cells([Cell(built, size, batch=resident(built)) for size in (8, 64)], 5, 10.0)
    assert timings.failed == {1: "out of memory"}
    assert np.isfinite(timings.seconds[:, 0]).all()
    assert np.isnan(timings.seconds[:, 1]).all()


@pytest.mark.parametrize("is_resident", [True, False])
def test_a_timed_step_trains(built, is_resident):
    before = [parameter.detach().clone() for parameter in built.train_step.model.parameters()]
    stepper(Cell(built, 32, batch=resident(built) if is_resident else None))(2)
    after = list(built.train_step.model.parameters())
    assert all(not torch.equal(old, new) for old, new in zip(before, after, strict=True))


def test_inference_changes_nothing(built):
    before = [parameter.detach().clone() for parameter in built.train_step.model.parameters()]
    stepper(Cell(built, 32, mode="inference"))(3)
    assert all(torch.equal(old, new) for old, new in zip(before, built.train_step.model.parameters(), strict=True))


def test_drift_is_the_change_of_the_log_time_over_the_blocks():
    ends = np.arange(1.0, 31.0)
    noise = 1e-3 * np.random.default_rng(0).standard_normal((30, 4))
    drift = drift_of(np.exp(0.1 * ends[:, None] / 29 + noise), ends)
    assert drift.low < 0.1 < drift.high
    assert drift.value == pytest.approx(0.1, abs=0.005)
    assert math.isnan(drift_of(np.ones((4, 2)), np.arange(4.0)).value)


def test_flops_of_an_mlp_are_two_per_weight_forward_and_six_for_training(built):
    """Backward has two products per layer, of which the first layer needs one: its input has no gradient."""
    weights = [module.weight for module in built.train_step.model.modules() if isinstance(module, torch.nn.Linear)]
    forward = 2 * sum(weight.numel() for weight in weights)
    assert flops_per_example(built, "inference") == forward
    assert flops_per_example(built, "train") == 3 * forward - 2 * weights[0].numel()


def test_the_peak_of_a_matrix_product_is_a_speed_of_this_machine():
    peak = matmul_peak(torch.device("cpu"), "float32")
    assert 1e8 < peak < 1e15
    assert matmul_peak(torch.device("cpu"), "float32") == peak  # measured once: another time would be another number
