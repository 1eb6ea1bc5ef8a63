"""Passes recorded for each batch size; what a GPU records is played here, where a replay does the work once more."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from batchlab.training.build import build, can_be_graphed, resolve
from batchlab.training.cuda_graph import graphed, unrecordable
from batchlab.training.loop import fit
from batchlab.validation.dry_run import check_recording


class PlayedRecorder:
    """Replays into the tensors that it recorded, as a graph does."""

    def __init__(self, model, share=1.0, factor=1.0):
        self.parameters, self.share, self.factor, self.recorded = list(model.parameters()), share, factor, 0

    def launch_share(self, work):
        work()
        return self.share

    def record(self, work):
        loss = work()
        gradients = [each.grad for each in self.parameters]
        self.recorded += 1

        def replay():
            loss.copy_(work() * self.factor)
            for gradient, parameter in zip(gradients, self.parameters, strict=True):
                gradient.copy_(parameter.grad)

        return loss, replay

    def random_numbers_kept(self):
        return torch.random.fork_rng([])


def trained(built):
    points = list(fit(built.train_step, built.stream, built.plan, built.schedule, built.clock))
    return [point.train_loss for point in points if point.is_due], built.train_step.model.state_dict()


def with_graphs(built, **played):
    recorder = PlayedRecorder(built.train_step.model, **played)
    return replace(built, train_step=graphed(built.train_step, recorder, only_if_launch_bound=True)), recorder


@pytest.mark.parametrize("extra", [["model=mlp6x64"], ["optimizer=lbfgs"], ["batch_schedule=grow", "lr_schedule=step"]])
def test_a_run_of_graphs_is_the_eager_one_to_the_last_bit(config_of, extra):
    config = config_of("epochs=2", "compile=auto", *extra)
    losses, weights = trained(build(config, seed=0))
    built, recorder = with_graphs(build(config, seed=0))
    graphed_losses, graphed_weights = trained(built)
    assert graphed_losses == losses
    assert all(torch.equal(weights[name], graphed_weights[name]) for name in weights)
    assert recorder.recorded == len(built.batch_sizes)


def test_a_size_that_keeps_the_device_busy_stays_eager(config_of):
    config = config_of("epochs=1")
    built, recorder = with_graphs(build(config, seed=0), share=0.3)
    assert trained(built)[0] == trained(build(config, seed=0))[0]
    assert recorder.recorded == 0


def test_outside_of_training_nothing_is_replayed(config_of):
    built, recorder = with_graphs(build(config_of("model=mlp6x64"), seed=0))
    inputs, targets = built.stream.take(0, 32)
    with torch.no_grad():
        built.train_step.compute_loss(inputs, targets)
    built.train_step.model.eval()
    built.train_step.backward(built.train_step.compute_loss(inputs, targets))
    assert recorder.recorded == 0
    assert all(each.grad is not None for each in recorder.parameters)


def test_a_graph_that_computes_something_else_is_an_error_or_with_auto_not_used(config_of):
    built = build(config_of("epochs=1"), seed=0)
    recorder = PlayedRecorder(built.train_step.model, factor=1.01)
    insisting = graphed(built.train_step, recorder)
    with pytest.raises(RuntimeError, match="Type compile=false"):
        insisting.compute_loss(*built.stream.take(0, 32))
    auto, _ = with_graphs(built, factor=1.01)
    assert trained(auto)[0] == trained(build(config_of("epochs=1"), seed=0))[0]


def test_a_weight_that_lies_elsewhere_is_not_replayed(config_of):
    built = build(config_of(), seed=0)
    insisting = graphed(built.train_step, PlayedRecorder(built.train_step.model))
    examples = built.stream.take(0, 32)
    insisting.compute_loss(*examples)
    weight = next(built.train_step.model.parameters())
    weight.data = weight.data.clone()
    with pytest.raises(RuntimeError, match="lies elsewhere"):
        insisting.compute_loss(*examples)


class Asking(nn.Module):
    def __init__(self, ask):
        super().__init__()
        self.layer, self.ask = nn.Linear(4, 3), ask

    def forward(self, inputs):
        return self.ask(self.layer(inputs))


@pytest.mark.parametrize(
    "ask",
    [
        lambda x: x * x.sum().item(),
        lambda x: x if x.sum() > 0 else -x,
        lambda x: x[x.sum(1) > 0],
        lambda x: torch.from_numpy(x.detach().numpy()),
    ],
)
def test_a_model_that_asks_for_a_value_cannot_be_recorded(ask):
    assert "test_cuda_graph.py line" in unrecordable(Asking(ask), torch.randn(5, 4))


@pytest.mark.parametrize("model", ["mlp", "mlp6x64", "convnet", "resnet20", "vit", "simclr"])
def test_models_of_batchlab_can_be_recorded(config_of, model):
    more = ["loss=contrastive", "measure=none"] if model == "simclr" else []
    assert list(check_recording(resolve(config_of(f"model={model}", *more)))) == []


@pytest.mark.parametrize(
    ("extra", "is_possible"),
    [
        (["compile=auto"], True),
        (["compile=true"], False),
        (["compile=auto", "micro_batch_size=16"], False),
        (["compile=auto", "launch=ddp", "num_processes=2"], False),
    ],
)
def test_graphs_are_of_steps_of_one_part_in_one_process(config_of, extra, is_possible):
    assert can_be_graphed(config_of(*extra)) == is_possible
