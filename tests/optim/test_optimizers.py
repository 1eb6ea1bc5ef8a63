import inspect
import statistics
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf
from sklearn.datasets import load_digits
from torch import nn

from batchlab.config.traits import without_traits
from batchlab.errors import ConfigErrors
from batchlab.models.convnet import convnet
from batchlab.models.mlp import mlp
from batchlab.models.vit import ViT
from batchlab.optim.muon import hidden_matrices, muon_with_adamw

CONF = Path(__file__).parents[2] / "conf"
OPTIMIZERS = sorted(path.stem for path in (CONF / "optimizer").glob("*.yaml") if path.stem != "own")
NUM_TRAIN = 1257


@pytest.fixture(scope="module")
def digits() -> tuple[torch.Tensor, torch.Tensor]:
    inputs, targets = load_digits(return_X_y=True)
    order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(0))[:NUM_TRAIN]
    train = torch.tensor(inputs / 16, dtype=torch.float32)[order]
    return (train - train.mean()) / train.std(), torch.tensor(targets)[order]


def build(name: str, model: nn.Module, **changes: float) -> torch.optim.Optimizer:
    settings = OmegaConf.load(CONF / f"optimizer/{name}.yaml")
    factory = instantiate({**without_traits(settings.optimizer), **changes}, _convert_="all")
    takes_model = next(iter(inspect.signature(factory.func).parameters)) == "model"
    return factory(model if takes_model else model.parameters(), lr=settings.lr)


def take_steps(optimizer, model, digits, batch_size: int, num_steps: int, seed: int = 0) -> list[float]:
    """The losses that the optimizer's steps return."""
    inputs, targets = digits
    generator = torch.Generator().manual_seed(seed)
    losses = []
    for _ in range(num_steps):
        batch = torch.randperm(NUM_TRAIN, generator=generator)[:batch_size]

        def closure(batch=batch):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[batch]), targets[batch])
            loss.backward()
            return loss

        losses.append(optimizer.step(closure).item())
    return losses


@pytest.mark.parametrize("batch_size", [1, NUM_TRAIN])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_loss_falls_within_30_steps(digits, name, batch_size):
    """On average over seeds: 30 single examples can mislead any optimizer (plain SGD: 2 of 60 seeds)."""
    inputs, targets = digits
    changes = []
    for seed in range(5):
        torch.manual_seed(seed)
        model = mlp((64,), 10, width=64)
        before = nn.functional.cross_entropy(model(inputs), targets).item()
        losses = take_steps(build(name, model), model, digits, batch_size, 30, seed)
        assert torch.tensor(losses).isfinite().all()
        changes.append(nn.functional.cross_entropy(model(inputs), targets).item() - before)
    assert statistics.fmean(changes) < 0
    assert statistics.median(changes) < 0


def test_lbfgs_evaluates_its_closure_several_times_and_stays_finite_at_batch_size_1(digits):
    torch.manual_seed(0)
    model = mlp((64,), 10, width=64)
    optimizer = build("lbfgs", model)
    losses = take_steps(optimizer, model, digits, 1, 30)
    assert torch.tensor(losses).isfinite().all()
    assert optimizer.state[optimizer.param_groups[0]["params"][0]]["func_evals"] > 1.5 * 30


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_yaml_sets_the_learning_rate_at_the_top_level(name):
    with initialize_config_dir(str(CONF), version_base=None):
        settings = compose(overrides=[f"+optimizer={name}"])
    assert list(settings) == ["lr", "optimizer"]
    assert settings.lr > 0
    assert settings.optimizer._partial_ is True


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_state_survives_a_checkpoint(digits, tmp_path, name):
    torch.manual_seed(0)
    model = mlp((64,), 10, width=16)
    optimizer = build(name, model)
    take_steps(optimizer, model, digits, 32, 3)
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "checkpoint.pt")
    take_steps(optimizer, model, digits, 32, 3, seed=1)
    again = mlp((64,), 10, width=16)
    restored = build(name, again)
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    again.load_state_dict(saved["model"])
    restored.load_state_dict(saved["optimizer"])
    take_steps(restored, again, digits, 32, 3, seed=1)
    torch.testing.assert_close(again.state_dict(), model.state_dict(), rtol=0, atol=0)


# Rprop reads lr in its first step only; the strong Wolfe search divides by lr.
@pytest.mark.parametrize("name", sorted(set(OPTIMIZERS) - {"rprop", "lbfgs"}))
def test_groups_follow_a_schedule_down_to_0(digits, name):
    torch.manual_seed(0)
    model = mlp((64,), 10, width=16)
    optimizer = build(name, model)
    take_steps(optimizer, model, digits, 32, 2)
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    before = [weight.clone() for weight in model.parameters()]
    take_steps(optimizer, model, digits, 32, 3)
    torch.testing.assert_close(list(model.parameters()), before, rtol=0, atol=0)


def test_muon_takes_hidden_matrices_and_adamw_the_rest():
    model = mlp((64,), 10, width=16, depth=3, norm="batch")
    muon, adamw = muon_with_adamw(model, lr=0.02, adamw_lr_ratio=0.25).param_groups
    assert [tuple(weight.shape) for weight in muon["params"]] == [(16, 16), (16, 16)]
    assert len(muon["params"]) + len(adamw["params"]) == len(list(model.parameters()))
    assert (muon["lr"], adamw["lr"]) == (0.02, 0.005)


def test_hidden_matrices_leave_out_embeddings_positions_and_frozen_weights():
    vit = ViT((1, 8, 8), 10, depth=1)
    block = vit.blocks[0]
    linears = [module.weight for module in block.modules() if isinstance(module, nn.Linear)]
    assert [id(weight) for weight in hidden_matrices(vit)] == [id(weight) for weight in linears]
    linears[0].requires_grad_(False)
    assert len(hidden_matrices(vit)) == len(linears) - 1


def test_muons_first_step_is_orthogonal_up_to_the_newton_schulz_error():
    torch.manual_seed(0)
    model = mlp((64,), 10, width=32)
    hidden = model[3].weight
    before = hidden.detach().clone()
    optimizer = muon_with_adamw(model, lr=1.0)
    model(torch.randn(256, 64)).square().sum().backward()
    optimizer.step()
    # Jordan et al. 2024: five iterations bring singular values to about [0.7, 1.2]; tiny ones stay below.
    singular = torch.linalg.svdvals(before - hidden.detach())
    assert singular[:16].min() > 0.6
    assert singular.max() < 1.3


def test_muon_steps_convolutions():
    model = convnet((1, 8, 8), 10, width=4)
    optimizer = muon_with_adamw(model, lr=0.02)
    assert [weight.ndim for weight in optimizer.param_groups[0]["params"]] == [4, 4]
    before = model[4].weight.detach().clone()
    nn.functional.cross_entropy(model(torch.randn(8, 1, 8, 8)), torch.arange(8)).backward()
    optimizer.step()
    assert not torch.equal(model[4].weight, before)


def test_muon_refuses_a_model_without_hidden_matrices():
    with pytest.raises(ConfigErrors, match=r"optimizer=muon: .*hidden weight matrix.*Type optimizer=adamw"):
        muon_with_adamw(mlp((64,), 10, depth=1), lr=0.02)
