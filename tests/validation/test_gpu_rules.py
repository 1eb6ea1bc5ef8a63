"""What a GPU has is checked before a run; that its memory is full is an outcome of the run and no error before."""

import pytest
import torch

from batchlab.validation import dry_run, model_checks
from batchlab.validation.dry_run import check_data


@pytest.mark.parametrize("place", ["pass", "step"])
def test_a_full_device_is_no_error_before_the_run(config_of, monkeypatch, place):
    def fail(*_args, **_given):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    if place == "pass":
        monkeypatch.setattr(model_checks, "precise", lambda *_: fail)
    else:
        monkeypatch.setattr(torch.optim.SGD, "step", fail)
    assert check_data(config_of()) == []


@pytest.mark.parametrize(
    ("precision", "capability", "fix"),
    [
        ("bfloat16", (7, 5), "precision=float16"),
        ("tf32", (7, 5), "precision=float32"),
        ("bfloat16", (8, 0), ""),
        ("float16", (7, 5), ""),
    ],
)
def test_numbers_that_an_old_gpu_lacks_are_refused(config_of, monkeypatch, precision, capability, fix):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    config = config_of(f"precision={precision}")
    config.device = "cuda"
    assert [error.fix for error in dry_run._precision(config)] == ([fix] if fix else [])


def test_tf32_needs_a_gpu(config_of):
    [error] = check_data(config_of("precision=tf32"))
    assert (error.key, error.fix) == ("precision", "precision=float32")


def test_an_unknown_gpu_is_one_error_whatever_the_precision(config_of, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: pytest.fail("asked of a GPU that is not there"))
    config = config_of("precision=bfloat16")
    config.device = "cuda:7"
    [error] = check_data(config)
    assert (error.key, error.fix) == ("device", "device=auto")


def test_a_schedule_of_many_batch_sizes_is_not_compiled(config_of):
    typed = ["compile=true", "batch_schedule=grow", "lr_schedule=cosine", "batch_size=8"]
    assert [(error.key, error.fix) for error in check_data(config_of(*typed))] == [("compile", "compile=false")]
    assert check_data(config_of(*typed[:2], "lr_schedule=step", "batch_size=8")) == []
