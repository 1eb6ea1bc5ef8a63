"""Check the model of a run: its constructor, its norms against the batches, and what it returns for a few examples."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from batchlab.config.schema import Config
from batchlab.data.dataset import Dataset
from batchlab.data.transforms import Prepare
from batchlab.errors import ConfigError, ConfigErrors, config_error, place_of, raised, reason
from batchlab.models.losses import Views
from batchlab.models.norm import GhostBatchNorm, norms_of, pass_sizes
from batchlab.system.device_memory import is_out_of_memory
from batchlab.training.build import build_model, pick_device, random_numbers_kept
from batchlab.training.gradient import precise
from batchlab.training.plan import Plan, ResolvedRun
from batchlab.validation.launch_rules import is_contrastive


def check_model(run: ResolvedRun) -> Iterator[ConfigError]:
    """Check that a run's model has parameters, fits its batches, and makes outputs of the right shape."""
    config, dataset = run.config, run.dataset
    model = model_of(config, dataset)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        yield ConfigError("model._target_", config.model["_target_"], "has no parameters to train", "model=mlp")
        return
    errors = list(_norms(run, model))
    yield from errors
    if not errors:
        yield from _forward(config, dataset, model)


def model_of(config: Config, dataset: Dataset) -> nn.Module:
    """Build the model; whatever its constructor raises is a configuration error.

    Raises:
        ConfigErrors: where there is no model.
    """
    try:
        with random_numbers_kept(torch.device("cpu")):
            model = build_model(config, dataset)
    except ConfigErrors:
        raise
    except Exception as error:
        target, fix = config.model["_target_"], "other settings of model.*"
        raise config_error("model._target_", target, raised(error), fix) from None
    if not isinstance(model, nn.Module):
        allowed = f"must make a torch.nn.Module, made {type(model).__name__}"
        raise config_error("model._target_", config.model["_target_"], allowed, "model=mlp, or a class of modules")
    return model


def _norms(run: ResolvedRun, model: nn.Module) -> Iterator[ConfigError]:
    """Check batch norm and ghost batch norm against every part of every batch that the run will see."""
    config, plan = run.config, run.plan
    sizes = {size for batch in run.batch_sizes for size in plan.forward_sizes(batch)}
    norms = norms_of(model)
    if norms and min(sizes) == 1:
        key = "batch_size" if plan.batch_size < 2 * plan.num_processes else "micro_batch_size"
        allowed = "batch norm needs at least 2 examples in each forward pass"
        value = config.batch_size if key == "batch_size" else config.micro_batch_size
        least = 2 * plan.num_processes if key == "batch_size" else _least_micro_batch(plan, run.batch_sizes)
        yield ConfigError(key, value, allowed, f"{key}={least}, or model.norm=layer, or model.norm=none")
    if config.sync_batch_norm and not any(isinstance(norm, _BatchNorm) for norm in norms):
        allowed = "has no effect: the model has no batch norm"
        yield ConfigError("sync_batch_norm", "true", allowed, "sync_batch_norm=false")
    for ghost_size in sorted({norm.ghost_size for norm in norms if isinstance(norm, GhostBatchNorm)}):
        uneven = sorted(size for size in sizes if size % ghost_size)
        if uneven:
            allowed = f"must divide each forward pass; here they have {', '.join(map(str, uneven[:5]))} examples"
            at_most = min(ghost_size, *uneven)
            divisors = (size for size in range(at_most, 1, -1) if not any(other % size for other in uneven))
            fix = f"model.ghost_size={next(divisors, uneven[0])}"
            yield ConfigError("model.ghost_size", ghost_size, allowed, fix)


def _least_micro_batch(plan: Plan, batches: Sequence[int]) -> int:
    """Return the smallest micro_batch_size, from the plan's own up, with which no forward pass has a single example."""
    sizes = range(plan.micro_batch_size or 1, max(batches) + 1)
    with_it = (replace(plan, micro_batch_size=size) for size in sizes)
    return next(p.micro_batch_size or 1 for p in with_it if min(min(p.forward_sizes(batch)) for batch in batches) > 1)


def _forward(config: Config, dataset: Dataset, model: nn.Module) -> Iterator[ConfigError]:
    device = pick_device(config.device)
    model, key, name = model.to(device), "model._target_", config.model["_target_"]
    index = torch.arange(max(2, pass_sizes(model)[1]))
    inputs = Prepare(dataset, device)(dataset.train.inputs[index].to(device))
    forward, shape = precise(model, config.precision, device), list(inputs.shape[1:])
    for mode in ("train", "eval"):
        model.train(mode == "train")
        try:
            with torch.no_grad(), random_numbers_kept(device):
                output = forward(inputs)
        except Exception as error:
            if is_out_of_memory(error):
                raise
            allowed = f"refused examples of shape {shape} ({mode}, {place_of(error)}): {reason(error)}"
            yield ConfigError(key, name, allowed, "model=mlp, or a model for this shape")
            return
        errors = list(_output(config, output, [len(index), dataset.num_classes or 1], mode))
        yield from errors
        if errors:
            return


def _output(config: Config, output: object, wanted: list[int], mode: str) -> Iterator[ConfigError]:
    """Check what a model returned for a few examples; logits of shape `wanted` are right."""
    key, name = "model._target_", config.model["_target_"]
    if isinstance(output, Views) and not is_contrastive(config):
        allowed = "learns by comparing views, which no other loss does"
        yield ConfigError(key, name, allowed, "loss=contrastive measure=none")
    elif mode == "train" and is_contrastive(config) and not isinstance(output, Views):
        allowed = f"needs projections of views, which {name} does not give"
        yield ConfigError("loss", "contrastive", allowed, "model=simclr")
    elif mode == "eval" or not isinstance(output, Views):
        got = list(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
        if got != wanted:
            yield ConfigError(key, name, f"must return logits of shape {wanted}, returned {got}", "model=mlp")
