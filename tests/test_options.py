"""Every option of every group composes and runs two steps on a tiny data set."""

import math
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

from batchlab.config.schema import REPOSITORY
from batchlab.config.traits import LossTraits, declared
from batchlab.data.dataset import Dataset, Split, make_dataset
from batchlab.run.training_run import run, run_to_end
from batchlab.training.build import build
from batchlab.validation.dry_run import check_data
from batchlab.validation.rules import check_config

GROUPS = (
    "data",
    "model",
    "loss",
    "optimizer",
    "lr_scaling",
    "lr_schedule",
    "batch_schedule",
    "budget",
    "measure",
    "search",
)
OPTIONS = [(group, path.stem) for group in GROUPS for path in sorted((REPOSITORY / "conf" / group).glob("*.yaml"))]
FILES = ("fashion_mnist", "mnist", "kmnist", "cifar10", "cifar100", "svhn")
SURFACE = ["data=surface", "model=surface", "loss=mean_output"]  # the three go together
NUMBERS = ["data=quadratic", "data.num_examples=500", "lr=0.001"]
NEEDED = {
    ("model", "torchvision"): ["batch_size=8"],
    ("model", "simclr"): ["loss=contrastive", "measure=none"],
    ("loss", "contrastive"): ["model=simclr", "measure=none"],
    ("lr_scaling", "noise"): ["lr_scaling.noise_scale=500"],
    ("lr_scaling", "adam_sqrt"): ["optimizer=adam"],
    ("batch_schedule", "grow"): ["lr_schedule=step", "batch_size=16"],
    ("data", "quadratic"): ["loss=squared_error", *NUMBERS[1:]],
    ("data", "surface"): SURFACE[1:],
    ("model", "surface"): SURFACE,
    ("loss", "mean_output"): SURFACE,
    ("loss", "own"): ["loss._target_=torch.nn.CrossEntropyLoss", "+loss.label_smoothing=0.2"],
    ("optimizer", "own"): ["optimizer._target_=torch.optim.Adamax", "lr=0.002"],
    ("data", "own"): ["data._target_=own_models.plane", "batch_size=10"],
    ("model", "own"): ["model._target_=own_models.Own"],
    ("data", "synthetic"): ["data.num_examples=500"],
    ("budget", "target"): ["budget.max_epochs=0.2"],
    ("budget", "seconds"): ["budget.seconds=0.2"],
    ("budget", "examples"): ["budget.num_examples=256"],
    ("budget", "steps"): ["budget.num_steps=2"],
}


class Own(nn.Module):
    def __init__(self, input_shape: tuple[int, ...], num_classes: int) -> None:
        super().__init__()
        self.layer = nn.Linear(math.prod(input_shape), num_classes)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.layer(inputs.flatten(1))


def table_of(folder: Path) -> list[str]:
    rows = "\n".join(f"{i % 7},{'ab'[i % 2]},{i % 3}" for i in range(300))
    (folder / "table.csv").write_text(f"x,letter,y\n{rows}\n")
    return [f"data.path={folder / 'table.csv'}", "data.target=y"]


def folder_of(folder: Path) -> list[str]:
    for name in ("cat", "dog"):
        (folder / "images" / name).mkdir(parents=True)
        for index in range(20):
            pixels = torch.randint(0, 256, (20, 24, 3), dtype=torch.uint8).numpy()
            Image.fromarray(pixels).save(folder / "images" / name / f"{index}.png")
    return [f"data.path={folder / 'images'}", "data.image_size=16", "batch_size=8"]


@pytest.mark.parametrize(("group", "option"), OPTIONS, ids=[f"{group}={option}" for group, option in OPTIONS])
def test_every_option_composes_and_runs(config_of, tmp_path, monkeypatch, group, option):
    monkeypatch.setitem(sys.modules, "own_models", sys.modules[__name__])
    overrides = [f"{group}={option}", *NEEDED.get((group, option), [])]
    if group == "loss" and declared(LossTraits, config_of(*overrides).loss).task == "regression":
        overrides += [] if "data=surface" in overrides else NUMBERS
    if group == "data" and option in FILES:
        overrides += [f"data.root={tmp_path}"]  # its files are in tests/data/test_vision.py; here that it is asked for
        [error] = check_data(config_of(*overrides))
        assert error.key == "data.root"
        return
    overrides += table_of(tmp_path) if option == "table" else folder_of(tmp_path) if option == "folder" else []
    if group not in ("budget", "batch_schedule"):
        overrides += ["budget=steps", "budget.num_steps=2"]
    if "measure=none" not in overrides:
        overrides += ["measure.num_examples=8"]
    config = config_of(*overrides)
    assert check_config(config) == []
    assert check_data(config) == []
    result = run_to_end(run(build(config, seed=0)))
    assert result.outcome == "done"
    # the gradient noise scale of two steps may have no signal above the noise
    assert not [name for name in result.missing if not name.startswith("noise/")]
    assert result.finals["cost/num_steps"] >= 1
    assert result.finals["final/val_loss"] == result.finals["final/val_loss"]


def plane() -> Dataset:
    points = torch.randn(300, 2, generator=torch.Generator().manual_seed(0))
    splits = [Split(part, (part[:, 0] > 0).long()) for part in points.split(100)]
    return make_dataset("plane", splits, 2, ())


def test_regression_trains_to_the_noise_floor(config_of):
    config = config_of("data=quadratic", "loss=squared_error", "model=mlp", "model.depth=0", "model.norm=none",
                       "data.num_examples=4000", "data.noise=0.1", "data.condition=4", "lr=0.02", "optimizer=sgd",
                       "epochs=20", "batch_size=32")  # fmt: skip
    finals = run_to_end(run(build(config, seed=0))).finals
    assert finals["final/val_loss"] == pytest.approx(0.01, rel=0.25)  # noise^2, and the excess of lr .02
    assert finals["final/val_rmse"] == pytest.approx(0.1, rel=0.12)
    assert "final/val_accuracy" not in finals
