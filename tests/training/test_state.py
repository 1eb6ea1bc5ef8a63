"""A run that is taken up from its checkpoint is the one that was never interrupted, to the last bit."""

import io
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from batchlab.config.schema import REPOSITORY
from batchlab.data.dataset import Augment
from batchlab.data.stream import BatchStream
from batchlab.training.build import Built
from batchlab.training.checkpoint import folder_of
from batchlab.training.evaluation import Evaluation
from batchlab.training.state import plain

EVERY_STEP = "checkpoint.every_seconds=1e-9"
SHORT = ("batch_size=128", "budget=steps", "budget.num_steps=12", "measure=none")
OPTIMIZERS = sorted(path.stem for path in (REPOSITORY / "conf" / "optimizer").glob("*.yaml") if path.stem != "own")


class Dropping(nn.Sequential):
    """Draws random numbers in every step, and counts its steps in a buffer that no state_dict has."""

    def __init__(self, input_shape, num_classes):
        num_inputs = int(np.prod(input_shape))
        layers = (nn.Flatten(), nn.Linear(num_inputs, 32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, num_classes))
        super().__init__(*layers)
        self.register_buffer("num_passes", torch.zeros(()), persistent=False)

    def forward(self, inputs):
        if self.training:
            self.num_passes += 1
        return super().forward(inputs) * (1 + 0.1 * self.num_passes.sin())


@pytest.fixture
def check_resumes(config_of, train_resumable, facts_of, monkeypatch):
    """A function: cuts a run off at some steps and compares it with the same one in one piece."""
    monkeypatch.setitem(sys.modules, "own_models", sys.modules[__name__])

    def check(*overrides: str, stops: tuple[int, ...] = (8,), change=lambda built: built) -> None:
        points, result, _ = train_resumable(config_of(*overrides), change=change)
        whole, config = facts_of(points, result), config_of(*overrides, EVERY_STEP)
        for place, stop_at in enumerate(stops):
            _, ended, said = train_resumable(config, stop_at, change)
            assert ended is None
            assert said[0].startswith("resumed" if place else "its checkpoint, at step")
        points, result, said = train_resumable(config, change=change)
        assert said[0].startswith(f"resumed at step {stops[-1] - 1} (")
        assert facts_of(points, result) == whole
        assert list(folder_of(config.mlruns).iterdir()) == []

    return check


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_resumed_run_is_the_whole_one_with_every_optimizer(check_resumes, optimizer):
    check_resumes(*SHORT, f"optimizer={optimizer}")


CASES = {
    "batch norm, across passes": ["model.norm=batch", "stops"],
    "a schedule of the lr with its warm-up": ["lr_schedule=cosine", "lr_schedule.warmup=0.5"],
    "a batch that grows": ["batch_schedule=grow", "lr_schedule=step", "lr_schedule.milestones=[0.4,0.7]"],
    "batches in parts": ["micro_batch_size=30", "measure.gradient_noise=true", "eval.every_examples=300"],
    "measured along the run": ["measure=brief", "measure.every_evals=1", "eval.every_examples=300"],
    "examples from a DataLoader": ["data.resident=false"],
    "half precision": ["precision=bfloat16"],
    "evaluations within a pass": ["eval.every_examples=300"],
    "random numbers, buffers of no state": ["model=own", "model._target_=own_models.Dropping"],
    "random views, a fitted classifier": ["model=simclr", "loss=contrastive", "batch_size=64"],
    "L-BFGS with a history": ["optimizer=lbfgs", "optimizer.max_iter=4", "optimizer.history_size=10"],
    "Rprop on all examples": ["optimizer=rprop", "batch_size=full"],
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_resumed_run_is_the_whole_one(check_resumes, case):
    overrides = [each for each in CASES[case] if each != "stops"]
    check_resumes(*SHORT, *overrides, stops=(3, 7, 11) if "stops" in CASES[case] else (8,))


def test_a_resumed_run_is_the_whole_one_with_augmentation(check_resumes):
    def augmented(built: Built) -> Built:
        dataset = replace(built.dataset, augment=Augment(flip=True, crop_padding=1))
        return replace(built, dataset=dataset, stream=BatchStream(dataset, built.seed, built.device, resident=True))

    check_resumes(*SHORT, "model=convnet", "model.width=4", change=augmented)


@pytest.mark.parametrize(
    "budget",
    [
        ["budget=epochs", "epochs=1.5"],
        ["budget=examples", "budget.num_examples=1500", "optimizer=lbfgs", "batch_size=64"],
        ["budget=target", "budget.score=0.6", "budget.max_epochs=10", "eval.every_examples=200"],
    ],
)
def test_a_resumed_run_ends_where_the_whole_one_does(check_resumes, budget):
    check_resumes("measure=none", "batch_size=100", *budget, stops=(5,))


def test_a_budget_of_seconds_goes_on_from_the_clocks_reading(config_of, train_resumable):
    typed = ("budget=seconds", "budget.seconds=1", "measure=none")
    before, _, _ = train_resumable(config_of(*typed, EVERY_STEP), stop_at=20)
    after, result, said = train_resumable(config_of(*typed, "checkpoint.every_seconds=1000"))
    assert said[0].startswith("resumed at step 19 (")
    first = next(point for each in after if (point := getattr(each, "point", each)).counts.steps == 20)
    assert getattr(before[-2], "point", before[-2]).counts.seconds < first.counts.seconds
    assert 1 <= result.finals["cost/train_seconds"] == after[-1].point.counts.seconds


def test_what_a_run_has_cost_is_counted_over_both_processes(config_of, train_resumable):
    config = config_of(*SHORT, "eval.every_examples=128", EVERY_STEP)
    before, _, _ = train_resumable(config, stop_at=9)
    after, result, _ = train_resumable(config)
    assert [each.point.counts.steps for each in after if isinstance(each, Evaluation)] == list(range(1, 13))
    again = [each for each in after if getattr(each, "point", each).counts.steps <= 8]
    assert again == [each for each in before if isinstance(each, Evaluation) and each.point.counts.steps <= 8]
    assert result.finals["cost/train_seconds"] > getattr(before[7], "point", before[7]).counts.seconds
    assert (
        result.finals["cost/total_seconds"] > result.finals["cost/train_seconds"] + result.finals["cost/eval_seconds"]
    )


def test_numbers_of_numpy_are_written_as_pythons():
    value = plain({"a": np.float64(0.1), "b": [np.int64(2), (np.bool_(True), None, "x")], 3: torch.ones(2)})
    buffer = io.BytesIO()
    torch.save(value, buffer)
    buffer.seek(0)
    assert repr(torch.load(buffer, weights_only=True)) == repr(value)
    assert type(value["a"]) is float
