"""What a built run sets and compiles; what a GPU has is played here, where it only decides what is asked of torch."""

import pytest
import torch
from torch import nn

from batchlab.run.training_run import warm_up
from batchlab.training import build as module
from batchlab.training.build import build, build_optimizer, num_programs, random_numbers_kept
from batchlab.training.clock import Clock


@pytest.mark.parametrize(("precision", "is_tf32"), [("float32", False), ("tf32", True)])
def test_float32_is_float32_in_products_and_convolutions(config_of, precision, is_tf32):
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = not is_tf32
    build(config_of(f"precision={precision}"), seed=0)
    assert (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) == (is_tf32, is_tf32)


def test_keeping_random_numbers_starts_no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: pytest.fail("asked for GPUs"))
    torch.manual_seed(0)
    with random_numbers_kept(torch.device("cpu")):
        first = torch.rand(3)
    assert torch.equal(first, torch.rand(3))


def test_a_typed_gpu_becomes_the_current_one(config_of, monkeypatch):
    chosen = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(module, "load_placed", lambda *_: pytest.fail("far enough"))
    for name in ("cuda:1", "cuda"):
        with pytest.raises(pytest.fail.Exception):
            build(config_of(f"device={name}"), seed=0)
    assert chosen == [1, 0]


def test_a_budget_of_seconds_is_read_without_waiting_for_the_device(monkeypatch):
    waits = []
    monkeypatch.setattr(torch.cuda, "synchronize", waits.append)
    clock = Clock(torch.device("cuda"))
    clock.start()
    waits.clear()
    first, second = clock.running, clock.running
    assert 0 <= first <= second
    assert waits == []
    assert clock.seconds >= second
    assert len(waits) == 1


def test_torchs_own_optimizers_are_fused_on_cuda_alone(config_of, monkeypatch):
    config = config_of("optimizer=sgd")
    model = nn.Linear(2, 1)
    assert build_optimizer(config, model, {"lr": 0.1}).defaults["fused"] is None
    monkeypatch.setattr(nn.Parameter, "is_cuda", True, raising=False)

    def sgd(params, lr, fused=None):
        return {"lr": lr, "fused": fused}

    monkeypatch.setattr(module, "get_object", lambda _: sgd)
    assert build_optimizer(config, model, {"lr": 0.1}) == {"lr": 0.1, "fused": None}  # not torch's own
    sgd.__module__ = "torch.optim.sgd"
    assert build_optimizer(config, model, {"lr": 0.1}) == {"lr": 0.1, "fused": True}
    assert build_optimizer(config, model, {"lr": 0.1, "fused": False}) == {"lr": 0.1, "fused": False}
    sparse = nn.Sequential(nn.Embedding(3, 2, sparse=True))
    assert build_optimizer(config, sparse, {"lr": 0.1}) == {"lr": 0.1, "fused": None}


def test_the_largest_batch_of_a_schedule_is_warmed_up_with_the_optimizer(config_of):
    """A model that counts what goes through it; the optimizer's state is empty again afterwards."""
    built = build(config_of("batch_schedule=grow", "lr_schedule=step", "batch_size=32", "epochs=4"), seed=0)
    sizes, steps = [], []
    built.train_step.model.register_forward_hook(lambda _, inputs, __: sizes.append(len(inputs[0])))
    built.train_step.optimizer.register_step_post_hook(lambda *_: steps.append(1))
    before = [each.clone() for each in built.train_step.model.parameters()]
    warm_up(built)
    assert sizes == [built.batch_sizes[-1], 32]
    assert built.batch_sizes[-1] > 32
    assert len(steps) == 2
    assert not built.train_step.optimizer.state
    assert all(map(torch.equal, before, built.train_step.model.parameters()))


@pytest.mark.slow
def test_each_batch_size_has_a_program_of_its_own_and_evaluation_none(config_of):
    before = num_programs()
    built = build(config_of("compile=true", "model=mlp", "model.width=16"), seed=0)
    inputs, targets = built.stream.take(0, 256)
    for size in range(8, 20):
        built.train_step.compute_loss(inputs[:size], targets[:size])
    compiled = num_programs() - before
    for size in range(8, 20):
        built.train_step.compute_loss(inputs[:size], targets[:size])
    built.forward(inputs[:77])
    assert (compiled, num_programs() - before) == (12, 12)
    assert torch.allclose(built.forward(inputs), built.train_step.forward(inputs), atol=1e-5)
