"""Sizes that are really trained, in processes of their own, against a limit in bytes."""

import json
from dataclasses import replace

import psutil
import pytest
import torch
from mlflow import MlflowClient
from scipy.stats import linregress

from batchlab.config.identity import config_key
from batchlab.config.schema import Memory
from batchlab.profiling import largest_batch as memory
from batchlab.profiling.largest_batch import largest_batch
from batchlab.profiling.memory_process import NothingFits, SizeTester
from batchlab.profiling.micro_batch import KNOWN, check_memory, resolve_micro_batch
from batchlab.run.training_run import run, run_to_end
from batchlab.system.device_memory import reset_peak
from batchlab.tracking.stores import tracking_uri
from batchlab.training.build import build, resolve
from batchlab.training.evaluation import Evaluation

MODELS = """
import os, signal, time
import torch
from torch import nn
from batchlab.models.norm import GhostBatchNorm


class Wide(nn.Module):
    '''Keeps 8 bytes times its width of each example for the backward pass: 2 MiB.'''
    def __init__(self, width=2**18):
        super().__init__()
        self.layer, self.scale = nn.Linear(64, 10), nn.Parameter(torch.ones(width))

    def forward(self, inputs):
        wide = inputs.flatten(1).mean(1, keepdim=True) * self.scale
        return self.layer(inputs.flatten(1)) + (wide * wide).mean(1, keepdim=True)


class Ends(nn.Module):
    '''Its process is killed, or sleeps, at more than 64 examples; takes multiples of 32.'''
    how = 'kill'

    def __init__(self):
        super().__init__()
        self.norm, self.layer = GhostBatchNorm(64, 32), nn.Linear(64, 10)

    def forward(self, inputs):
        if len(inputs) > 64:
            print('what a model prints is no answer', flush=True)
            os.kill(os.getpid(), signal.SIGKILL) if self.how == 'kill' else time.sleep(600)
        return self.layer(self.norm(inputs.flatten(1)))


class Sleeps(Ends):
    how = 'sleep'
"""


@pytest.fixture(autouse=True)
def own_models(tmp_path, monkeypatch):
    monkeypatch.setenv(KNOWN, "null")  # set, so that what a test adds is undone
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (tmp_path / "sized.py").write_text(MODELS)
    monkeypatch.syspath_prepend(tmp_path)


def wide(config_of, *overrides):
    return config_of("model=own", "model._target_=sized.Wide", "micro_batch_size=auto", *overrides)


def limit_for(num_bytes: float) -> str:
    """A limit that leaves so many bytes, less the headroom, beside this process and the one that tests."""
    return f"memory.limit_bytes={int((max(asking_bytes(), 950e6) + num_bytes) / 0.9)}"


def asking_bytes() -> int:
    reset_peak(torch.device("cpu"))
    return psutil.Process().memory_info().rss + memory.BESIDE_BYTES


@pytest.mark.slow
def test_the_found_size_fits_a_clearly_larger_one_does_not_and_nothing_stays_allocated(config_of):
    before, others = psutil.Process().memory_info().rss, psutil.Process().children()
    config = wide(config_of, limit_for(500e6))
    probe = largest_batch(config)
    assert psutil.Process().memory_info().rss - before < 100e6  # the tests took 500 MB and more
    assert psutil.Process().children() == others  # what earlier tests left is not the probe's
    assert probe.capped_by == "memory"
    assert probe.size in {each.size for each in probe.tested if each.fits}
    assert all(each.fits == (each.bytes <= 0.9 * probe.limit_bytes) for each in probe.tested if not each.cause)
    law = linregress(*zip(*((each.size, each.bytes) for each in probe.tested if not each.cause), strict=True))
    assert 2**21 < law.slope < 2**23  # 2 MiB kept, and what forward and backward pass in between
    assert law.rvalue**2 > 0.9
    task = memory.ProbeRequest(
        replace(config, micro_batch_size="none", memory=Memory()), probe.limit_bytes, asking_bytes(), 0
    )
    with SizeTester(task, 0.9, 60) as tester:
        assert not tester.test(2 * probe.size, 1).fits
        assert tester.test(probe.size // 2, 1).fits


@pytest.mark.slow
def test_a_killed_process_is_a_size_that_does_not_fit(config_of, capfd):
    config = config_of("model=own", "model._target_=sized.Ends", "micro_batch_size=auto")
    probe = largest_batch(config)
    assert [(each.size, each.fits) for each in probe.tested] == [(32, True), (64, True), (96, False), (128, False)]
    assert probe.tested[-1].cause == "its process was ended by SIGKILL (out of memory?)"
    assert (probe.size, probe.facts.unit) == (64, 32)
    assert capfd.readouterr().out == ""


@pytest.mark.slow
def test_a_size_that_takes_too_long_does_not_fit_and_says_so(config_of):
    config = config_of("model=own", "model._target_=sized.Sleeps")
    with SizeTester(memory.ProbeRequest(config, 10**10, 0, 0), 0.9, 300) as tester:
        tester.facts()
        tester._timeout = 2.0
        tested = tester.test(96, 1)
    assert (tested.fits, tested.cause) == (False, "took longer than 2 s")


@pytest.mark.long
@pytest.mark.slow
def test_the_effective_batch_stays_and_the_run_is_that_of_the_typed_number(config_of):
    run_of = ["batch_size=200", "budget=steps", "budget.num_steps=3", "+model.width=65536"]
    config = wide(config_of, *run_of, limit_for(60e6))
    settled = resolve_micro_batch(resolve(config))
    size = settled.run.config.micro_batch_size
    assert isinstance(size, int)
    assert 200 % size == 0 or size < 200
    record = json.loads(settled.record)
    assert size <= record["size"]
    assert f"200 in {-(-200 // record['size'])} parts of at most {size}" in settled.found
    typed = config_of("model=own", "model._target_=sized.Wide", *run_of, f"micro_batch_size={size}")
    assert config_key(settled.run.config) == config_key(typed)
    whole = replace(typed, micro_batch_size="none")
    weights, sizes = zip(*(trained(each) for each in (settled.run.config, typed, whole)), strict=True)
    assert sizes == ([200], [200], [200])
    for name, value in weights[0].items():
        assert torch.equal(value, weights[1][name])
        assert torch.allclose(value, weights[2][name], rtol=1e-4, atol=1e-6)  # float32, sums in another order
    smaller = replace(config, batch_size=size)  # is known now: two parts of it fit
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SizeTester, "facts", lambda _: pytest.fail("a process was started for what is known"))
        assert resolve_micro_batch(resolve(smaller)).run.config.micro_batch_size == "none"
        assert resolve_micro_batch(resolve(replace(config, lr=0.5, seed=3))).run.config.micro_batch_size == size


def trained(config):
    points = []
    weights = run_to_end(run(build(config, 0)), points.append).weights
    return weights, sorted({each.point.batch_size for each in points if isinstance(each, Evaluation)})


@pytest.mark.slow
def test_no_size_above_the_maximum_is_tested_and_the_headroom_stays_free(config_of):
    config = wide(config_of, "memory.max_micro_batch_size=48", "memory.headroom=0.5")
    probe = largest_batch(config)
    assert (probe.size, probe.capped_by) == (48, "maximum")
    assert max(each.size for each in probe.tested) == 48
    taken = next(each.bytes for each in probe.tested if each.size == 48)
    limit, middle = int(taken * 1.05), (probe.baseline_bytes + taken) / 2
    assert largest_batch(replace(config, memory=Memory(limit, 0.0, 48))).size == 48
    less = largest_batch(replace(config, memory=Memory(limit, 1 - middle / limit, 48)))
    assert (less.capped_by, less.size < 48) == ("memory", True)
    assert all(each.bytes <= middle for each in less.tested if each.fits)


@pytest.mark.slow
def test_a_limit_below_the_process_itself_is_a_mistake_with_both_numbers(config_of):
    [error] = check_memory([wide(config_of, "memory.limit_bytes=300000000")])
    assert error.key == "memory.limit_bytes"
    assert "0.27 of 0.30 GB may be used" in error.allowed
    assert " GB are taken by Python" in error.allowed
    mended = wide(config_of, error.fix, "memory.max_micro_batch_size=1")
    assert check_memory([mended]) == []


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["adam", "lbfgs", "muon"])
def test_the_real_run_stays_below_the_limit(config_of, optimizer):
    """In the process that trains, which has more to hold than the one that tested: the headroom is for that."""
    overrides = ["batch_size=400", "model=convnet", "model.width=64", f"optimizer={optimizer}", "epochs=1"]
    config = config_of(*overrides, "micro_batch_size=auto", limit_for(150e6))
    settled = resolve_micro_batch(resolve(config))
    result = run_to_end(run(build(settled.run.config, 0)))
    assert result.finals["cost/peak_memory_bytes"] < config.memory.limit_bytes


@pytest.mark.slow
def test_the_command_says_what_it_found_and_records_it(type_command, tmp_path):
    done = type_command("-m", "batch_size=8,64", "epochs=1", "micro_batch_size=auto", "memory.limit_bytes=4000000000")
    assert done.returncode == 0, done.stderr
    assert "micro_batch_size=auto: the whole batch in one part (64 at a time needed " in done.stdout
    client = MlflowClient(tracking_uri(str(tmp_path / "mlruns")))
    found = client.get_experiment_by_name("runs-digits-mlp")
    assert found is not None
    runs = client.search_runs([found.experiment_id], "tags.`batchlab.role` = 'run'")
    assert {run.data.params["micro_batch_size"] for run in runs} == {"none"}
    assert {json.loads(run.data.tags["memory_probe"])["size"] for run in runs} == {64}


@pytest.mark.slow
def test_a_build_that_fails_is_nothing_that_fits(config_of):
    with pytest.raises(NothingFits, match="no_such_module"):
        largest_batch(config_of("model=own", "model._target_=no_such_module.Net"))
