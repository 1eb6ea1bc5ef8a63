"""Check the loss and one step of the optimizer, with a model that is thrown away."""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from batchlab.config.schema import Config
from batchlab.data.dataset import Dataset
from batchlab.data.transforms import Prepare
from batchlab.errors import ConfigError, ConfigErrors, config_error, raised, reason
from batchlab.models.norm import pass_sizes
from batchlab.system.device_memory import is_out_of_memory
from batchlab.tasks.evaluate import Tally
from batchlab.training.build import build_loss, build_optimizer, pick_device, random_numbers_kept, scaled_settings
from batchlab.training.gradient import make_train_step, precise
from batchlab.training.loop import TrainStep
from batchlab.training.plan import ResolvedRun

EXAMPLES = 32


def check_first_step(run: ResolvedRun, model: nn.Module) -> Iterator[ConfigError]:
    """Check the settings of which a loss or an optimizer complains only when it works.

    The model's weights change.

    Raises:
        ConfigErrors: of the learning rate's rule.
        RuntimeError: where memory ran out, see `is_out_of_memory`.
    """
    config, dataset = run.config, run.dataset
    optimizer, loss, device = _optimizer(run, model), _loss(config, dataset), pick_device(config.device)
    train_step = make_train_step(model, precise(model, config.precision, device), loss, optimizer, config.precision)
    inputs, targets = _examples(dataset, model, device)
    failed: list[Exception] = []

    def gradient() -> Tensor:
        try:
            return _gradient(train_step, inputs, targets)
        except Exception as error:
            failed.append(error)
            raise

    try:
        with random_numbers_kept(device):
            train_step.step(gradient)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        key = "loss" if failed else "optimizer"
        allowed = f"refused {f'logits and targets of {len(targets)} examples' if failed else 'its first step'}"
        target = getattr(config, key)["_target_"]
        yield ConfigError(f"{key}._target_", target, f"{allowed}: {raised(error)}", f"other settings of {key}.*")
        return
    yield from _metrics(run, model, inputs, targets)


def _metrics(run: ResolvedRun, model: nn.Module, inputs: Tensor, targets: Tensor) -> Iterator[ConfigError]:
    """Find an output that the metrics of the task cannot be computed of."""
    if hasattr(model, "fit_classifier"):
        return
    dataset = run.dataset
    with torch.no_grad():
        output = precise(model.eval(), run.config.precision, inputs.device)(inputs).float()
    try:
        tally = Tally(run.task.metrics, dataset.num_classes, dataset.target_std)
        tally.update(output, targets)
        tally.compute()
    except Exception as error:
        shapes = f"of an output {list(output.shape)} for targets {list(targets.shape)}"
        allowed = f"no metrics of {run.task.name} can be computed {shapes}: {raised(error)}"
        yield ConfigError("model._target_", run.config.model["_target_"], allowed, "+loss.traits.task=minimization")


def _examples(dataset: Dataset, model: nn.Module, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return about `EXAMPLES` of the training split, from all over it; a multiple of the ghost sizes."""
    unit = math.lcm(2, pass_sizes(model)[1])
    index = torch.linspace(0, len(dataset.train) - 1, unit * math.ceil(EXAMPLES / unit)).long()
    return Prepare(dataset, device)(dataset.train.inputs[index].to(device)), dataset.train.targets[index].to(device)


def _gradient(train_step: TrainStep, inputs: Tensor, targets: Tensor) -> Tensor:
    train_step.model.train()
    train_step.optimizer.zero_grad()
    loss = train_step.compute_loss(inputs, targets)
    if loss.shape != ():
        raise ValueError(f"one number is needed, it returned a tensor of shape {list(loss.shape)}")
    train_step.backward(loss)
    return loss.detach()


def _loss(config: Config, dataset: Dataset) -> Callable[[Tensor, Tensor], Tensor]:
    name, fix = config.loss["_target_"], "other settings of loss.*, or loss=cross_entropy"
    try:
        return build_loss(config, dataset)
    except ConfigErrors:
        raise
    except Exception as error:
        raise config_error("loss._target_", name, raised(error), fix) from None


def _optimizer(run: ResolvedRun, model: nn.Module) -> torch.optim.Optimizer:
    config = run.config
    name, fix = config.optimizer["_target_"], "other settings of optimizer.* or lr"
    try:
        settings = scaled_settings(config, run.plan.batch_size)
    except ConfigErrors:
        raise
    except Exception as error:
        rule = config.lr_scaling["_target_"]
        raise config_error("lr_scaling", rule, raised(error), "other settings of lr_scaling.* or optimizer.*") from None
    try:
        optimizer = build_optimizer(config, model, settings)
    except ConfigErrors:
        raise
    except Exception as error:
        raise config_error("optimizer", name, f"refused its settings: {reason(error)}", fix) from None
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise config_error("optimizer", name, f"makes no torch.optim.Optimizer, but {type(optimizer).__name__}", fix)
    return optimizer
