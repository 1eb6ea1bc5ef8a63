"""Which errors say that memory ran out."""

import pytest
import torch

from batchlab.system.device_memory import is_out_of_memory, release_memory, reset_peak


@pytest.mark.parametrize(
    "words",
    [
        "CUDA out of memory. Tried to allocate 2.00 GiB",
        "CUDA error: out of memory",
        "CUDA driver error: out of memory",
        "MPS backend out of memory (MPS allocated: 1.00 GB)",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to",
    ],
)
def test_every_form_of_running_out_of_memory_is_recognised(words):
    assert is_out_of_memory(RuntimeError(words))


def test_other_errors_are_none_of_it():
    assert is_out_of_memory(torch.OutOfMemoryError("full"))
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)"))
    assert not is_out_of_memory(ValueError("out of memory"))


@pytest.mark.parametrize(("free", "is_it"), [(5, True), (50, False)])
def test_a_missing_engine_is_a_lack_of_memory_only_where_little_is_free(monkeypatch, free, is_it):
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (free, 100))
    assert is_out_of_memory(RuntimeError("GET was unable to find an engine to execute this computation")) is is_it


def test_only_probes_of_memory_empty_the_allocators_cache(monkeypatch):
    calls, device = [], torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: calls.append("empty"))
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda _: calls.append("reset"))
    reset_peak(device)
    assert calls == ["reset"]
    release_memory(device)
    assert calls == ["reset", "empty", "reset"]
