"""Build a run from its configuration: model, optimizer, schedules and stream around its data."""

import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from hydra.utils import get_object
from torch import Tensor, nn

from batchlab.config.identity import environment
from batchlab.config.instantiate import arguments, bound, made
from batchlab.config.schema import Config
from batchlab.data.dataset import Dataset
from batchlab.data.stream import BatchStream
from batchlab.errors import config_error
from batchlab.models.losses import RegressionLoss
from batchlab.optim.lr_schedule import warm_up
from batchlab.system.torchrun_env import torchrun_env
from batchlab.tasks.metric import Metric
from batchlab.tasks.task import Task
from batchlab.training.clock import Clock
from batchlab.training.cuda_graph import CudaRecorder, graphed, unrecordable
from batchlab.training.data_loading import count_workers, load_dataset, load_placed
from batchlab.training.grad_norm_accumulator import GradNormAccumulator
from batchlab.training.gradient import DTYPES, TrainStep, make_train_step, precise
from batchlab.training.plan import Plan, ResolvedRun, Schedule, make_plan

WARMUP_FROM = 0.1
"""Where warm-up starts unless lr_schedule.warmup_from says so, as a share of the lr."""
DEFAULT_THREADS = torch.get_num_threads()
MOST_PROGRAMS = 1024
"""Compiled programs of one model, one a batch size; torch's own limit is 8, beyond which it runs uncompiled."""


@dataclass(frozen=True)
class Built:
    """Everything that `run` drives."""

    config: Config
    seed: int
    device: torch.device
    dataset: Dataset  # placed on the device where resident
    plan: Plan
    train_step: TrainStep
    # inputs -> logits under the run's precision, never compiled: evaluation has batches of its own size
    forward: Callable[[Tensor], Tensor]
    loss_function: Callable[[Tensor, Tensor], Tensor]  # (logits, targets) -> scalar mean
    stream: BatchStream
    schedule: Schedule
    batch_sizes: tuple[int, ...]  # of the schedule, rising
    clock: Clock
    settings: dict[str, Any]  # the optimizer's arguments after lr scaling
    task: Task
    score: Metric  # by which the run is judged


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
    if device.type == "cuda":
        torch.cuda.set_device(device.index or 0)  # events, seeds and streams are those of the current device
    use_settings(config)
    dataset, resident = load_placed(config.data, device)
    torch.manual_seed(seed)  # pyright: ignore[reportUnknownMemberType], torch leaves its argument untyped
    model = build_model(config, dataset).to(device)
    model.to(memory_format=memory_format(config, dataset, device))  # pyright: ignore[reportCallIssue, reportUnknownMemberType]
    settings = scaled_settings(config, plan.batch_size)
    optimizer = build_optimizer(config, model, settings)
    loss_function = build_loss(config, dataset)
    forward = precise(model, config.precision, device)
    trained = precise(compiled(model), config.precision, device) if config.compile is True else forward
    train_step = make_train_step(model, trained, loss_function, optimizer, config.precision)
    if config.measure.gradient_noise and config.precision != "float16":  # there gradients carry the scaler's factor
        train_step = replace(train_step, grad_norms=GradNormAccumulator(model.parameters()))
    stream = BatchStream(dataset, seed, device, resident, count_workers(config.data, dataset, config.num_processes))
    if is_graphed(config, device):
        is_auto = config.compile == "auto"
        if not (is_auto and unrecordable(model, stream.take(0, plan.batch_size)[0])):
            train_step = graphed(train_step, CudaRecorder(device), only_if_launch_bound=is_auto)
    parts = (train_step, forward, loss_function, stream, run.schedule, run.batch_sizes, Clock(device))
    return Built(config, seed, device, dataset, plan, *parts, settings, run.task, run.score)


def can_be_graphed(config: Config) -> bool:
    """Tell whether a run asks for CUDA graphs and its steps are one part in one process, which is what they record."""
    is_asked = config.compile in ("cuda_graph", "auto")
    return is_asked and config.micro_batch_size == "none" and config.num_processes == 1


def is_graphed(config: Config, device: torch.device) -> bool:
    """Tell whether steps are recorded, so that the warm-up has the memory that they use later."""
    return device.type == "cuda" and can_be_graphed(config)


def has_programs(config: Config, device: torch.device) -> bool:
    """Tell whether each batch size has a program or a graph of its own."""
    return config.compile is True or is_graphed(config, device)


def compiled(model: nn.Module) -> Callable[[Tensor], Tensor]:
    """Compile a model, a program for each size of its inputs; those of earlier models are dropped."""
    torch.compiler.reset()
    limits = torch._dynamo.config  # pyright: ignore[reportPrivateUsage], torch documents its settings under this name
    limits.recompile_limit = limits.accumulated_recompile_limit = MOST_PROGRAMS
    limits.fail_on_recompile_limit_hit = True
    return torch.compile(model, dynamic=False)


def num_programs() -> int:
    """Count the programs that torch.compile made in this process: one for each batch size, more with graph breaks."""
    from torch._dynamo.utils import counters  # pyright: ignore[reportPrivateUsage], torch's own tests count by it

    return counters["stats"]["unique_graphs"]


def use_settings(config: Config) -> None:
    """Set what torch keeps for a whole process: threads, how cuDNN picks kernels, whether float32 products are TF32's.

    Threads are num_threads, else an equal share of the cores for each process of a run; torchrun has set each its own.
    float32 means float32 in convolutions as well, for which torch's default is TF32.
    """
    share = DEFAULT_THREADS if torchrun_env() else max(1, DEFAULT_THREADS // config.num_processes)
    torch.set_num_threads(config.num_threads or share)
    is_tf32 = config.precision == "tf32"
    torch.backends.cudnn.benchmark = config.cudnn_benchmark
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = is_tf32


def pick_device(name: str) -> torch.device:
    """Return the device of a name: auto is CUDA where there is one, then MPS, then the CPU."""
    if name != "auto":
        return torch.device(name)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def device_name(device: torch.device) -> str:
    """Return type and model of a device, e.g. ``cuda: NVIDIA H100 80GB HBM3``."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else environment()["cpu"]
    return f"{device.type}: {name}"


def lock_names(device: torch.device, num_processes: int = 1) -> list[str]:
    """Return the names of the locks of a run's GPUs, the same in every process that sees them; empty for the CPUs."""
    if device.type != "cuda":
        return [""]
    several = [torch.device("cuda", index) for index in range(min(num_processes, torch.cuda.device_count()))]
    properties = cast("Callable[[torch.device], Any]", torch.cuda.get_device_properties)  # pyright: ignore
    return [f"gpu-{properties(each).uuid}" for each in ([device] if num_processes == 1 else several)]


def memory_format(config: Config, dataset: Dataset, device: torch.device) -> torch.memory_format:
    """Return how convolutions' weights lie: channels last for images in half precision, else as they were made."""
    is_for_tensor_cores = device.type == "cuda" and config.precision in DTYPES and len(dataset.input_shape) == 3
    return torch.channels_last if is_for_tensor_cores else torch.preserve_format


def random_numbers_kept(device: torch.device) -> AbstractContextManager[None]:
    """Put torch's random numbers back at the end of a block, the host's and the device's; starts no other device."""
    devices = [device] if device.type == "cuda" else []
    return torch.random.fork_rng(devices)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


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
    """Build the optimizer over the model's parameters; a factory whose first parameter is `model` gets the model.

    On CUDA torch's own are fused where they can be: one launch instead of several, and no wait for a loss scale.
    """
    factory = get_object(config.optimizer["_target_"])
    asked = inspect.signature(factory).parameters
    is_torchs = factory.__module__.startswith("torch.optim") and "fused" in asked
    is_chosen = {"fused", "foreach", "differentiable"} & set(settings)
    is_sparse = any(getattr(module, "sparse", False) for module in model.modules())
    can_be = all(each.is_cuda and each.is_floating_point() for each in model.parameters())
    if is_torchs and not is_chosen and not is_sparse and can_be:
        settings = settings | {"fused": True}
    return factory(model if next(iter(asked)) == "model" else model.parameters(), **settings)


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
