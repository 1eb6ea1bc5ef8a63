"""How a run ends for which the memory does not even do for its model."""

import math
from types import SimpleNamespace

import pytest
import torch

from batchlab.commands.train import job
from batchlab.training.build import resolve


@pytest.fixture
def full_device(monkeypatch):
    def build_run(_run, _seed):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(job, "build_run", build_run)


@pytest.mark.usefixtures("full_device")
def test_a_run_fails_with_one_sentence(config_of, capsys):
    with pytest.raises(SystemExit) as stop:
        job.train(config_of(), "sweep")
    assert stop.value.code == 1
    assert (
        capsys.readouterr().err
        == "out of memory before the first step: CUDA out of memory. Tried to allocate 2.00 GiB\n"
    )


@pytest.mark.usefixtures("full_device")
def test_a_trial_ends_as_out_of_memory(config_of):
    ended = []
    trial = SimpleNamespace(check_data=lambda _: None, known=lambda _: None, finish=lambda *how: ended.append(how))
    values = job.train_trial(resolve(config_of()), "sweep", trial)
    assert all(map(math.isnan, values))
    [(outcome, cause, *_)] = ended
    assert outcome == "out_of_memory"
    assert cause.startswith("out of memory before the first step")
