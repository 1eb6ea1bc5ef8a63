"""Step times measured alone, once for what moves them, and kept in a table; timings are made up."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from batchlab.config.identity import environment
from batchlab.config.objectives import CALIBRATED
from batchlab.config.schema import Budget, Eval, Measure
from batchlab.laws.estimate import Estimate
from batchlab.profiling import calibration, step_table
from batchlab.profiling.calibration import sizes_to_time
from batchlab.profiling.step_table import NAME, read_entry, structure, untimed, write_entry
from batchlab.profiling.timing import Timings
from batchlab.run.training_run import run, run_to_end
from batchlab.system.host_lock import host_shared
from batchlab.training.build import resolve
from batchlab.training.plan import part_sizes

ALPHA, BETA = 1e-3, 1e-5


@pytest.fixture
def timer(monkeypatch):
    """Takes the place of the timing: steps follow the law, what was timed is noted."""
    asked = []

    def time_cells(cells, num_blocks, budget_seconds, min_steps=1):
        counts = [len(part_sizes(cell.batch_size, cell.micro_batch_size)) for cell in cells]
        asked.append([cell.batch_size for cell in cells])
        seconds = [ALPHA * count + BETA * cell.batch_size for cell, count in zip(cells, counts, strict=True)]
        nothing = Estimate(math.nan, math.nan, math.nan)
        return Timings(np.array([seconds] * 5), np.zeros(len(cells)), nothing, (0.0, 0.0), {"cpu": "wall"}, 1)

    monkeypatch.setattr(calibration, "time_cells", time_cells)
    return asked


def seconds_alone(config):
    return calibration.step_seconds(resolve(config))


def empty_entry(config):
    return untimed(resolve(config))


def key(config):
    return empty_entry(config).key


def test_only_what_moves_the_time_of_a_step_is_measured_anew(like):
    base = key(like())
    same = [{"lr": 0.5}, {"batch_size": 7}, {"epochs": 3}, {"seed": 4}, {"study": "other"}, {"objectives": []}]
    same += [{"optimizer": {"momentum": 0.8}}, {"budget": Budget("steps", num_steps=9)}, {"eval": Eval(2000)}]
    same += [{"lr_schedule": {"_target_": "batchlab.optim.lr_schedule.cosine", "final": 0.0}}]
    for changes in same:
        assert key(like(**changes)) == base, changes
    other = [{"model": {"width": 64}}, {"optimizer": {"nesterov": True}}, {"optimizer": {"momentum": 0.0}}]
    other += [{"precision": "bfloat16"}, {"micro_batch_size": 32}, {"num_threads": 3}, {"compile": True}]
    other += [{"measure": Measure(gradient_noise=True)}, {"data": {"resident": False}}]
    keys = [key(like(**changes)) for changes in other]
    assert len({base, *keys}) == 1 + len(keys)


def test_a_model_is_known_by_its_shape_and_not_by_its_rates():
    shapes = [structure(nn.Sequential(nn.Linear(4, width), nn.Dropout(rate))) for width, rate in ((4, 0.1), (4, 0.5))]
    assert shapes[0] == shapes[1]
    assert structure(nn.Sequential(nn.Linear(4, 5), nn.Dropout(0.1))) != shapes[0]
    assert structure(nn.Sequential(nn.Linear(4, 4), nn.ReLU())) != shapes[0]


def test_another_kind_of_host_has_its_own_times(like, timer, monkeypatch):
    seconds_alone(like())
    monkeypatch.setattr(step_table, "environment", lambda: environment() | {"cpu": "another"})
    seconds_alone(like())
    assert len(timer) == 2


@pytest.mark.parametrize(
    ("largest", "num_train", "micro", "expected"),
    [
        (16, 1257, None, [8, 16, 32, 64]),
        (64, 1257, None, [8, 16, 32, 64]),
        (65, 1257, None, [8, 16, 32, 64, 128]),
        (1257, 1257, None, [8, 16, 32, 64, 128, 256, 512, 1024, 1257]),
        (20, 20, None, [8, 16, 20]),
        (5, 5, None, [5]),
        (32, 1257, 32, [8, 16, 32]),
        (1024, 1257, 32, [8, 16, 32, 33, 64, 128]),
        (40, 1257, 32, [8, 16, 32, 33, 40]),
    ],
)
def test_sizes_are_powers_of_two_up_to_the_runs_batch_and_few_numbers_of_parts(largest, num_train, micro, expected):
    assert sizes_to_time(largest, num_train, micro) == expected


def test_a_step_is_measured_once_and_a_larger_batch_adds_to_it(like, timer):
    small, said = seconds_alone(like(batch_size=64))
    assert small(48) == pytest.approx(ALPHA + 48 * BETA)
    assert "1 ms + 10 us per example" in said
    again, _ = seconds_alone(like(batch_size=32, lr=0.5))
    assert again(32) == small(32)
    large, _ = seconds_alone(like(batch_size=256))
    assert large(256) == pytest.approx(ALPHA + 256 * BETA)
    assert timer == [[8, 16, 32, 64], [64, 128, 256]]


def test_steps_in_parts_are_timed_in_parts(like, timer):
    seconds, _ = seconds_alone(like(batch_size=1024, micro_batch_size=32))
    assert timer == [[8, 16, 32, 33, 64, 128]]
    assert seconds(1024) == pytest.approx(32 * ALPHA + 1024 * BETA)
    assert seconds(20) == pytest.approx(ALPHA + 20 * BETA)


def test_a_norm_is_not_given_a_batch_that_it_refuses(like, timer):
    config = like(batch_size=64, model={"norm": "ghost_batch", "ghost_size": 32})
    seconds_alone(config)
    assert timer == [[32, 64]]
    seconds_alone(config)
    assert len(timer) == 1


def test_the_table_says_what_was_measured_where_and_when(like, timer):
    config = like()
    seconds_alone(config)
    (entry,) = json.loads((Path(config.mlruns) / NAME).read_text()).values()
    assert entry["cost"]["alpha_seconds"]["value"] == pytest.approx(ALPHA)
    assert entry["cost"]["beta_seconds"]["low"] <= BETA * (1 + 1e-9)
    assert [each["batch_size"] for each in entry["timed"]] == [8, 16, 32, 64, 128]
    assert {"date", "commit", "load_average", "is_alone"} <= set(entry["measured"])
    assert entry["facts"]["device"] == "cpu"
    assert {"cpu", "cores", "torch", "model.width", "input_shape", "num_threads"} <= set(entry["facts"])


def test_an_entry_is_read_as_it_was_written_and_leaves_the_others(like, timer):
    first, second = like(), like(model={"width": 64})
    seconds_alone(first)
    entry = read_entry(first.mlruns, empty_entry(first))
    write_entry(first.mlruns, entry)
    assert read_entry(first.mlruns, empty_entry(first)) == entry
    seconds_alone(second)
    assert read_entry(first.mlruns, empty_entry(first)) == entry


@pytest.mark.parametrize("text", ["", "{", "[]", "null"])
def test_a_table_that_is_cut_off_or_another_file_is_measured_anew(like, timer, text):
    config = like()
    Path(config.mlruns).mkdir()
    (Path(config.mlruns) / NAME).write_text(text)
    seconds_alone(config)
    assert timer == [[8, 16, 32, 64, 128]]
    assert read_entry(config.mlruns, empty_entry(config)).cost is not None


def test_what_another_process_measured_while_this_one_waited_is_taken(like, timer, monkeypatch):
    config, whole = like(), calibration.host_alone

    def after_another(device):
        if not timer:
            monkeypatch.setattr(calibration, "host_alone", whole)
            seconds_alone(config)
        return whole(device)

    monkeypatch.setattr(calibration, "host_alone", after_another)
    seconds, _ = seconds_alone(config)
    assert len(timer) == 1
    assert seconds(128) == pytest.approx(ALPHA + 128 * BETA)


def test_where_nothing_can_be_timed_there_are_no_seconds(like, monkeypatch):
    def time_cells(cells, num_blocks, budget_seconds, min_steps=1):
        nothing, failed = Estimate(math.nan, math.nan, math.nan), dict.fromkeys(range(len(cells)), "out of memory")
        return Timings(np.empty((0, len(cells))), np.zeros(len(cells)), nothing, (0.0, 0.0), {}, 1, failed)

    monkeypatch.setattr(calibration, "time_cells", time_cells)
    seconds, said = seconds_alone(like())
    assert seconds is None
    assert "nothing could be timed: out of memory" in said


def test_real_steps_give_a_law_of_seconds(like):
    seconds, _ = seconds_alone(like(batch_size=32))
    assert 0 < seconds(8) <= seconds(64) < 1


def test_measuring_waits_for_no_training_of_its_own_process(like, timer):
    """The lock of a training is not held while step times are asked for: a run gets its clock before it begins."""
    from batchlab.commands.train.job import build_prepared, prepare

    ready = prepare(resolve(like(objectives=[CALIBRATED], epochs=1)))
    built, tags = build_prepared(ready, seed=0), ready.tags
    assert built.clock.is_calibrated
    assert tags["step_times"].startswith(NAME)
    with host_shared():
        run_to_end(run(built))
