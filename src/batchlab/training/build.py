"""Build a run from its configuration: model, optimizer, schedules and stream around its data."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from hydra.utils import get_object
from torch import Tensor, nn

from batchlab.config.instantiate import arguments, bound, made
from batchlab.config.schema import Config
from batchlab.data.dataset import Dataset
from batchlab.data.stream import BatchStream
from batchlab.errors import config_error
from batchlab.models.losses import RegressionLoss
from batchlab.optim.lr_schedule import warm_up
from batchlab.system.torchrun_env import torchrun_env
from batchlab.training.clock import Clock
from batchlab.training.data_loading import load_dataset, load_placed
from batchlab.training.grad_norm_accumulator import GradNormAccumulator
from batchlab.training.gradient import TrainStep, make_train_step, precise
from batchlab.training.plan import Plan, ResolvedRun, Schedule, make_plan

WARMUP_FROM = 0.1
"""Where warm-up starts unless lr_schedule.warmup_from says so, as a share of the lr."""
DEFAULT_THREADS = torch.get_num_threads()


@dataclass(frozen=True)
class Built:
    """Everything that `run` drives."""

    config: Config
    seed: int
    device: torch.device
    dataset: Dataset  # placed on the device where resident
    plan: Plan
    train_step: TrainStep
    # inputs -> logits under the run's precision; `loss.Views` in training where the model makes them
    forward: Callable[[Tensor], Tensor]
    loss_function: Callable[[Tensor, Tensor], Tensor]  # (logits, targets) -> scalar mean
    stream: BatchStream
    schedule: Schedule
    clock: Clock
    settings: dict[str, Any]  # the optimizer's arguments after lr scaling


def resolve(config: Config) -> ResolvedRun:
    """Join a configuration with its data, which is loaded, and evaluate its schedules at 1,000 places of its progress.

    Raises:
        ConfigErrors: what the loader found wrong.
    """
    dataset = load_dataset(config.data)
    plan = make_plan(config, len(dataset.train))
    schedule = make_schedule(config, plan)
    batch_sizes = {schedule(place / 1000)[0] for place in range(1001)}
    return ResolvedRun(config, dataset, plan, schedule, tuple(sorted(batch_sizes)))


def build(config: Config, seed: int) -> Built:
    """Resolve a configuration and build its run; see `build_run`."""
    return build_run(resolve(config), seed)


def build_run(run: ResolvedRun, seed: int) -> Built:
    """Build data, model, scaled lr, optimizer and stream of a run whose micro_batch_size is settled, in that order.

    The global torch generator is seeded with `seed`.
    """
    config, plan = run.config, run.plan
    assert config.micro_batch_size != "auto"
    device = pick_device(config.device)
    use_threads(config)
    dataset, resident = load_placed(config.data, device)
    torch.manual_seed(seed)  # pyright: ignore[reportUnknownMemberType], torch leaves its argument untyped
    model = build_model(config, dataset).to(device)
    settings = scaled_settings(config, plan.batch_size)
    optimizer = build_optimizer(config, model, settings)
    loss_function = build_loss(config, dataset)
    forward = precise(torch.compile(model) if config.compile else model, config.precision, device)
    train_step = make_train_step(model, forward, loss_function, optimizer, config.precision)
    if config.measure.gradient_noise and config.precision != "float16":  # there gradients carry the scaler's factor
        train_step = replace(train_step, grad_norms=GradNormAccumulator(model.parameters()))
    stream = BatchStream(dataset, seed, device, resident)
    parts = (train_step, forward, loss_function, stream, run.schedule, Clock(device))
    return Built(config, seed, device, dataset, plan, *parts, settings)


def use_threads(config: Config) -> None:
    """Have this process use as many threads as a run: num_threads, else an equal share of the cores for each process.

    torchrun has set each process's own.
    """
    share = DEFAULT_THREADS if torchrun_env() else max(1, DEFAULT_THREADS // config.num_processes)
    torch.set_num_threads(config.num_threads or share)


def pick_device(name: str) -> torch.device:
    """Return the device of a name: auto is CUDA where there is one, then MPS, then the CPU."""
    if name != "auto":
        return torch.device(name)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def build_model(config: Config, dataset: Dataset) -> nn.Module:
    """Build the model, given `input_shape` and `num_classes` (1 for regression) where it asks for them."""
    offered = {"input_shape": dataset.input_shape, "num_classes": dataset.num_classes or 1}
    asked = inspect.signature(get_object(config.model["_target_"])).parameters
    return made(config.model, **{name: value for name, value in offered.items() if name in asked})


def build_loss(config: Config, dataset: Dataset) -> Callable[[Tensor, Tensor], Tensor]:
    """Build the loss, (logits, targets) -> scalar mean; where targets are numbers it gets outputs of their shape.

    Raises:
        ConfigErrors: where its `_target_` makes no function.
    """
    loss = made(config.loss)
    if not callable(loss):
        allowed = "must make a function of logits and targets"
        raise config_error("loss._target_", config.loss["_target_"], allowed, "loss=cross_entropy")
    loss = cast("Callable[[Tensor, Tensor], Tensor]", loss)
    return RegressionLoss(loss) if dataset.num_classes is None else loss


def scaled_settings(config: Config, batch_size: int) -> dict[str, Any]:
    """Return the optimizer's arguments, lr among them, after the lr-scaling rule.

    Raises:
        ConfigErrors: where the rule does not hold at this batch size or for this optimizer.
    """
    return bound(config.lr_scaling)(arguments(config.optimizer) | {"lr": config.lr}, batch_size)


def build_optimizer(config: Config, model: nn.Module, settings: dict[str, Any]) -> torch.optim.Optimizer:
    """Build the optimizer over the model's parameters; a factory whose first parameter is `model` gets the model."""
    factory = get_object(config.optimizer["_target_"])
    first = next(iter(inspect.signature(factory).parameters))
    return factory(model if first == "model" else model.parameters(), **settings)


def make_schedule(config: Config, plan: Plan) -> Schedule:
    """Return progress -> batch size and lr factor, from lr schedule, warm-up and batch schedule."""
    node = dict(config.lr_schedule)
    warmup, warmup_from = node.pop("warmup", 0.0), node.pop("warmup_from", None)
    warmup_from = WARMUP_FROM if warmup_from is None else warmup_from
    decay, batch = bound(node), bound(config.batch_schedule)

    def schedule(progress: float) -> tuple[int, float]:
        batch_size, factor = batch(plan.batch_size, decay(progress), plan.num_train)
        return batch_size, factor * warm_up(progress, warmup, warmup_from)

    return schedule
