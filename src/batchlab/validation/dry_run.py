"""Check a run by loading its data, building it and making one step; nothing is written."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from batchlab.config.identity import config_key
from batchlab.config.override_text import value_text
from batchlab.config.resolve import flat_params
from batchlab.config.schema import OPEN_GROUPS, Config
from batchlab.config.traits import LossTraits, LrScheduleTraits, OptimizerTraits, declared
from batchlab.data.dataset import Dataset
from batchlab.data.transforms import Prepare
from batchlab.errors import ConfigError, ConfigErrors, config_error, place_of, raised, reason
from batchlab.models.losses import Views
from batchlab.models.norm import GhostBatchNorm
from batchlab.system.torchrun_env import torchrun_env
from batchlab.training.build import build_model, load_dataset, pick_device, resolve
from batchlab.training.plan import Plan, ResolvedRun, num_examples_of
from batchlab.training.train_step import precise
from batchlab.validation.first_step import check_first_step
from batchlab.validation.launch_rules import is_contrastive
from batchlab.validation.signature import check_signature


def check_data(config: Config) -> list[ConfigError]:
    """Return the errors that show when the data is loaded and the run is built: files, sizes, shapes, signatures.

    Args:
        config: passed gate 1.

    Returns:
        Errors of the first stage that has any: signatures and device, data, sizes, model and optimizer.
    """
    try:
        if errors := list(_signatures_and_device(config)):
            return errors
        run = _resolved(config)
        for stage in (_data_and_sizes, _model, _optimizer):
            if errors := list(stage(run)):
                return errors
        return []
    except ConfigErrors as error:
        return list(error.errors)


def check_source(config: Config) -> list[ConfigError]:
    """Return the errors that show when the data is loaded, whatever is trained on it.

    Args:
        config: only its data node is looked at.
    """
    try:
        errors = list(check_signature("data", config.data))
        if not errors:
            load_dataset(config.data)
        return errors
    except ConfigErrors as error:
        return list(error.errors)


def check_grid(configs: list[Config]) -> list[ConfigError]:
    """Return an error for runs that stand twice in a grid: their spread would be counted as n.

    Args:
        configs: the jobs of a command, each passed both gates.

    Returns:
        An error for each configuration and seed that comes again.
    """
    first: dict[tuple[str, str, int], Config] = {}
    for config in configs:
        data = load_dataset(config.data)
        batch_size = num_examples_of(config.batch_size, len(data.train))
        key = config_key(replace(config, batch_size=batch_size))
        for seed in range(config.seed, config.seed + config.num_seeds):
            if (run := (key, data.digest, seed)) in first:
                allowed = f"the grid has this run twice (batch_size={batch_size}, seed={seed})"
                return [ConfigError("-m", "", allowed, _once(first[run], config, configs))]
            first[run] = config
    return []


def _once(first: Config, again: Config, configs: list[Config]) -> str:
    """Override of the first key by which two equal runs differ, without the value of the second."""
    settings = [flat_params(config) for config in (first, again)]
    key = next(key for key in settings[0] if settings[0][key] != settings[1].get(key))
    values = dict.fromkeys(value_text(flat_params(config)[key]) for config in configs)
    values.pop(value_text(settings[1][key]))
    return "-m " + shlex.quote(f"{key}={','.join(values)}")


def _signatures_and_device(config: Config) -> Iterator[ConfigError]:
    for group in OPEN_GROUPS:
        yield from check_signature(group, getattr(config, group))
    for name, node in config.measure.sharpness.items():
        yield from check_signature(f"measure.sharpness.{name}", node)
    if config.device.startswith("cuda"):
        index = int(config.device.partition(":")[2] or 0)
        if index >= torch.cuda.device_count():
            allowed = f"this machine has {torch.cuda.device_count()} CUDA devices"
            yield ConfigError("device", config.device, allowed, "device=auto")
    yield from _processes(config)
    if config.device == "mps" and not torch.backends.mps.is_available():
        yield ConfigError("device", config.device, "this machine has no MPS device", "device=auto")
    if config.precision == "float16":
        if config.device in ("cpu", "mps") or pick_device("auto").type != "cuda":
            yield ConfigError("precision", "float16", "needs a CUDA device", "precision=bfloat16")
        elif declared(OptimizerTraits, config.optimizer).multi_pass:
            allowed = "loss scaling does not go together with an optimizer that evaluates several times"
            yield ConfigError("precision", "float16", allowed, "precision=bfloat16")


def _processes(config: Config) -> Iterator[ConfigError]:
    """Check for more processes than this machine has GPUs; torchrun's may be on other machines."""
    num = config.num_processes
    if num > 1 and pick_device(config.device).type == "cuda" and torchrun_env() is None:
        if num > torch.cuda.device_count():
            allowed = f"at most the number of this machine's CUDA devices, {torch.cuda.device_count()}"
            yield ConfigError("num_processes", num, allowed, "device=cpu too")
    elif num > 1 and pick_device(config.device).type == "mps":
        yield ConfigError("num_processes", num, "processes share a CPU or CUDA devices", "device=cpu too")


def _resolved(config: Config) -> ResolvedRun:
    """Resolve a configuration; whatever its schedules raise is a configuration error."""
    try:
        return resolve(config)
    except ConfigErrors:
        raise
    except Exception as error:
        targets = f"{config.lr_schedule['_target_']}, {config.batch_schedule['_target_']}"
        fix = "other settings of lr_schedule.* or batch_schedule.*"
        raise config_error("lr_schedule, batch_schedule", targets, raised(error), fix) from None


def _data_and_sizes(run: ResolvedRun) -> Iterator[ConfigError]:
    config, dataset = run.config, run.dataset
    num_train, largest = run.plan.num_train, run.batch_sizes[-1]
    sizes = {
        "batch_size": config.batch_size,
        "batch_schedule.max_batch_size": config.batch_schedule.get("max_batch_size"),
    }
    for key, value in sizes.items():
        if isinstance(value, int) and value > num_train:
            allowed = f"at most {num_train}, the size of the training split"
            fix = "batch_size=full" if key == "batch_size" else f"{key}={num_train}"
            yield ConfigError(key, value, allowed, fix)
    every = config.eval.every_examples
    if every is not None and every < largest <= num_train:
        allowed = f"at least the largest batch, {largest}"
        yield ConfigError("eval.every_examples", every, allowed, f"eval.every_examples={largest}")
    yield from _task(config, dataset)
    if dataset.num_classes is None and config.budget.kind == "target":
        yield ConfigError(
            "budget", "target", f"needs an accuracy; {dataset.name} has numbers as targets", "budget=epochs"
        )


def _task(config: Config, dataset: Dataset) -> Iterator[ConfigError]:
    """A loss that is for other targets than those of the data."""
    loss, traits = config.loss["_target_"], declared(LossTraits, config.loss)
    if traits.only_data not in (None, dataset.name):
        fix = f"data={traits.only_data} model={traits.only_data}"
        yield ConfigError("loss", loss, f"says nothing of the targets of {dataset.name}", fix)
    elif dataset.num_classes is None and traits.task in ("classification", "contrastive"):
        allowed = f"is for {traits.task} and needs classes; {dataset.name} has numbers as targets"
        fix = "loss=mean_output" if dataset.name == "surface" else "loss=squared_error"
        yield ConfigError("loss", loss, allowed, f"{fix}, or loss=own for one of your own")
    elif dataset.num_classes is not None and traits.task == "regression":
        allowed = f"is for regression; {dataset.name} has {dataset.num_classes} classes as targets"
        yield ConfigError("loss", loss, allowed, "loss=cross_entropy")


def _model(run: ResolvedRun) -> Iterator[ConfigError]:
    config, dataset = run.config, run.dataset
    model = _built(config, dataset)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        yield ConfigError("model._target_", config.model["_target_"], "has no parameters to train", "model=mlp")
        return
    errors = list(_norms(run, model))
    yield from errors
    if not errors:
        yield from _forward(config, dataset, model)


def _built(config: Config, dataset: Dataset) -> nn.Module:
    """Build the model; whatever its constructor raises is a configuration error."""
    try:
        with torch.random.fork_rng():
            model = build_model(config, dataset)
    except ConfigErrors:
        raise
    except Exception as error:
        allowed = f"its constructor {raised(error)}"
        raise config_error("model._target_", config.model["_target_"], allowed, "other settings of model.*") from None
    if not isinstance(model, nn.Module):
        allowed = f"must make a torch.nn.Module, made {type(model).__name__}"
        raise config_error("model._target_", config.model["_target_"], allowed, "model=mlp, or a class of modules")
    return model


def _norms(run: ResolvedRun, model: nn.Module) -> Iterator[ConfigError]:
    """Check batch norm and ghost batch norm against every part of every batch that the run will see."""
    config, plan = run.config, run.plan
    sizes = {size for batch in run.batch_sizes for size in plan.forward_sizes(batch)}
    modules = list(model.modules())
    has_norm = any(isinstance(module, _BatchNorm | GhostBatchNorm) for module in modules)
    if has_norm and min(sizes) == 1:
        key = "batch_size" if plan.batch_size < 2 * plan.num_processes else "micro_batch_size"
        allowed = "batch norm needs at least 2 examples in each forward pass"
        value = config.batch_size if key == "batch_size" else config.micro_batch_size
        least = 2 * plan.num_processes if key == "batch_size" else _least_micro_batch(plan, run.batch_sizes)
        yield ConfigError(key, value, allowed, f"{key}={least}, or model.norm=layer, or model.norm=none")
    if config.sync_batch_norm and not any(isinstance(module, _BatchNorm) for module in modules):
        allowed = "has no effect: the model has no batch norm"
        yield ConfigError("sync_batch_norm", "true", allowed, "sync_batch_norm=false")
    for ghost_size in sorted({module.ghost_size for module in modules if isinstance(module, GhostBatchNorm)}):
        uneven = sorted(size for size in sizes if size % ghost_size)
        if uneven:
            allowed = f"must divide each forward pass; here they have {', '.join(map(str, uneven[:5]))} examples"
            fix = f"model.ghost_size={_divisor(uneven, ghost_size)}"
            yield ConfigError("model.ghost_size", ghost_size, allowed, fix)


def _least_micro_batch(plan: Plan, batches: Sequence[int]) -> int:
    """Smallest maximum of a micro-batch, from the plan's own up, with which no forward pass has a single example."""
    sizes = range(plan.micro_batch_size or 1, max(batches) + 1)
    with_it = (replace(plan, micro_batch_size=size) for size in sizes)
    return next(p.micro_batch_size or 1 for p in with_it if min(min(p.forward_sizes(batch)) for batch in batches) > 1)


def _divisor(sizes: list[int], at_most: int) -> int:
    fits = (size for size in range(min(at_most, *sizes), 1, -1) if not any(other % size for other in sizes))
    return next(fits, sizes[0])


def _forward(config: Config, dataset: Dataset, model: nn.Module) -> Iterator[ConfigError]:
    device = pick_device(config.device)
    model, key, name = model.to(device), "model._target_", config.model["_target_"]
    ghosts = [module.ghost_size for module in model.modules() if isinstance(module, GhostBatchNorm)]
    index = torch.arange(max([2, *ghosts]))
    inputs = Prepare(dataset, device)(dataset.train.inputs[index].to(device))
    forward, shape = precise(model, config.precision, device), list(inputs.shape[1:])
    for mode in ("train", "eval"):
        model.train(mode == "train")
        try:
            with torch.no_grad(), torch.random.fork_rng():
                output = forward(inputs)
        except Exception as error:
            allowed = f"refused examples of shape {shape} ({mode}, {place_of(error)}): {reason(error)}"
            yield ConfigError(
                key, name, allowed, "it again when the model is mended, or a model for this shape: model=mlp"
            )
            return
        errors = list(_output(config, output, [len(index), dataset.num_classes or 1], mode))
        yield from errors
        if errors:
            return


def _output(config: Config, output: object, wanted: list[int], mode: str) -> Iterator[ConfigError]:
    """Check what a model returned for a few examples; logits of shape `wanted` are right."""
    key, name = "model._target_", config.model["_target_"]
    if isinstance(output, Views) and not is_contrastive(config):
        yield ConfigError(
            key, name, "learns by comparing views, which no other loss does", "loss=contrastive measure=none"
        )
    elif mode == "train" and is_contrastive(config) and not isinstance(output, Views):
        yield ConfigError(
            "loss", "contrastive", f"needs projections of views, which {name} does not give", "model=simclr"
        )
    elif mode == "eval" or not isinstance(output, Views):
        got = list(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
        if got != wanted:
            yield ConfigError(key, name, f"must return logits of shape {wanted}, returned {got}", "model=mlp")


def _optimizer(run: ResolvedRun) -> Iterator[ConfigError]:
    config = run.config
    yield from check_first_step(run, _built(config, run.dataset).to(pick_device(config.device)))
    is_flat = declared(LrScheduleTraits, config.lr_schedule).independent_of_length and not config.lr_schedule.get(
        "warmup"
    )
    if declared(OptimizerTraits, config.optimizer).reads_lr_once and not is_flat:
        allowed = "has no effect: the optimizer reads lr once, as its first step size"
        yield ConfigError("lr_schedule", config.lr_schedule["_target_"], allowed, "lr_schedule=constant")
