"""Data parallelism in real processes: what several compute together is what one computes alone."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from batchlab.config.identity import config_key
from batchlab.config.schema import REPOSITORY
from batchlab.distributed import leader
from batchlab.laws.gradient_noise import noise_scale, two_batch
from batchlab.training.build import build
from batchlab.training.gradient import whole_gradient
from batchlab.training.plan import share_of
from tests.distributed.two_processes import TWO, curve


def gradient(config, batch_size, micro=None, start=300):
    """The gradient of a batch of the stream, in float64; and the norms that were accumulated."""
    with leader.shared(build(config, seed=0)) as built:
        train_step = built.train_step
        train_step.model.train()
        for _ in range(2):  # the second starts where a buffer is in use already
            if train_step.ranks is not None:
                train_step.ranks.announce(start, batch_size, 1.0)
                train_step.step(lambda: whole_gradient(train_step, built.stream, start, batch_size, micro))
            else:
                whole_gradient(train_step, built.stream, start, batch_size, micro)
        flat = torch.cat([parameter.grad.flatten().double() for parameter in train_step.model.parameters()])
        return flat, train_step.grad_norms.read(len(built.dataset.train)) if train_step.grad_norms else None


@pytest.mark.parametrize("num", [1, 2, 3, 7])
def test_shares_are_a_batch_cut_into_near_equal_parts(num):
    for batch_size in (7, 8, 128, 1257):
        shares = [share_of(batch_size, rank, num) for rank in range(num)]
        places = [place for first, size in shares for place in range(first, first + size)]
        assert places == list(range(batch_size))
        assert max(size for _, size in shares) - min(size for _, size in shares) <= 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("batch_size", "overrides"),
    [
        (128, []),
        (127, []),
        (3, []),
        (127, ["micro_batch_size=20"]),
        (256, ["model=convnet"]),
        (100, ["data.resident=false"]),
    ],
)
def test_two_processes_give_the_gradient_of_one(config_of, batch_size, overrides):
    fixed = ["model.norm=layer", f"batch_size={batch_size}", "lr=1e-9", "measure=none", *overrides]
    alone, _ = gradient(config_of(*fixed), batch_size)
    micro = 20 if "micro_batch_size=20" in overrides else None
    together, _ = gradient(config_of(*fixed, TWO), batch_size, micro)
    assert (alone - together).norm() / alone.norm() < 1e-6  # float32 rounding of the sums


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        ["optimizer=adam", "lr_schedule.warmup=0.1"],
        ["batch_size=101", "data.resident=false"],
        ["batch_schedule=grow", "lr_schedule=step", "batch_size=32"],
        ["optimizer=lbfgs", "batch_size=full", "budget=steps", "budget.num_steps=2"],
        ["model.norm=batch", "sync_batch_norm=true"],
    ],
)
def test_two_processes_give_the_curve_of_one(config_of, overrides):
    base = ["model.norm=layer", "measure=none", *overrides]
    base += [] if "budget=steps" in overrides else ["epochs=2"]
    alone, result = curve(config_of(*[each for each in base if "sync" not in each]))
    together, shared_result = curve(config_of(*base, TWO))
    assert [drawn for drawn, *_ in alone] == [drawn for drawn, *_ in together]
    for (_, *one), (_, *two) in zip(alone, together, strict=True):
        assert two == pytest.approx(one, rel=2e-3)  # rounding, grown over some twenty steps
    assert result.weights.keys() == shared_result.weights.keys()
    assert result.finals["cost/num_examples"] == shared_result.finals["cost/num_examples"]


@pytest.mark.slow
def test_without_synchronising_each_share_has_its_own_statistics(config_of):
    fixed = ["model.norm=batch", "lr=1e-9", "measure=none"]
    alone, _ = gradient(config_of(*fixed), 128)
    apart, _ = gradient(config_of(*fixed, TWO), 128)
    together, _ = gradient(config_of(*fixed, TWO, "sync_batch_norm=true"), 128)
    assert (alone - apart).norm() / alone.norm() > 1e-2
    assert (alone - together).norm() / alone.norm() < 1e-5  # the shares' moments are rounded once more


@pytest.mark.slow
def test_the_noise_scale_comes_from_before_and_after_the_sum(config_of):
    fixed = ["model.norm=layer", "batch_size=127", "lr=1e-9"]
    _, found = gradient(config_of(*fixed, TWO), 127)
    built = build(config_of(*fixed), seed=0)
    parameters, norms = list(built.train_step.model.parameters()), {}
    for first, size in ((300, 64), (364, 63), (300, 127)):
        loss = built.train_step.compute_loss(*built.stream.take(first, size))
        norms[size] = sum(part.double().square().sum().item() for part in torch.autograd.grad(loss, parameters))
    small_size = 2 / (1 / 64 + 1 / 63)
    slow = noise_scale(*two_batch([(norms[64] + norms[63]) / 2] * 2, [norms[127]] * 2, small_size, 127, 1257))
    assert found is not None
    assert (found.noise, found.signal) == pytest.approx((slow.noise, slow.signal), rel=1e-3)


def runs_of(type_command, tmp_path, *arguments):
    """Params, finals and tags of every run below tmp_path, read back by the command's own page data."""
    import sqlite3

    with sqlite3.connect(tmp_path / "mlruns" / "mlflow.db") as connection:
        return connection.execute(
            "select r.run_uuid, r.status, m.value from runs r join tags t on t.run_uuid = r.run_uuid "
            "join latest_metrics m on m.run_uuid = r.run_uuid "
            "where t.key = 'batchlab.role' and t.value = 'run' and m.key = 'final/val_loss' order by r.start_time"
        ).fetchall()


@pytest.mark.slow
def test_torchrun_num_processes_and_one_process_record_the_same_run_once_each(type_command, tmp_path):
    fixed = ["epochs=2", "num_threads=1", "model.norm=layer", "measure=none"]
    assert type_command(*fixed).returncode == 0
    assert type_command(*fixed, "launch=ddp", TWO).returncode == 0
    environment = os.environ | {"BATCHLAB_MLRUNS": str(tmp_path / "mlruns")}
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*torchrun, str(REPOSITORY / "train.py"), *fixed]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    found = runs_of(type_command, tmp_path)
    assert [status for _, status, _ in found] == ["FINISHED"] * 3
    losses = [value for *_, value in found]
    assert losses[1] == losses[2]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


@pytest.mark.slow
def test_a_search_prunes_and_completes_trials_of_two_processes(type_command, tmp_path):
    search = ["search=joint", "hydra.sweeper.n_trials=3", "epochs=1", "num_threads=1", "measure=none", TWO]
    done = type_command(*search)
    assert done.returncode == 0, done.stderr
    assert len(runs_of(type_command, tmp_path)) >= 3


def test_a_spread_run_is_another_one_and_a_single_one_keeps_its_key(config_of):
    single, spread = config_of(), config_of(TWO)
    assert spread.launch == "ddp"
    assert config_key(single) != config_key(spread)
    assert json.dumps(config_key(single)) == json.dumps(config_key(replace(single, num_processes=1)))
