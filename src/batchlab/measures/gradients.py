"""Gradients as vectors: of a batch, and of every single example of it; on the model as it is in evaluation mode."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from batchlab.data.transforms import Prepare
from batchlab.system.device_memory import is_out_of_memory
from batchlab.training.build import Built, random_numbers_kept

Loss = Callable[[Tensor, Tensor], Tensor]
"""(logits, targets) -> scalar mean."""


@dataclass(frozen=True)
class Sample:
    """Training examples as the model sees them, drawn without replacement."""

    inputs: Tensor  # [n, *input_shape] on the device
    targets: Tensor  # [n] on the device
    population: int  # N, examples of the split that they were drawn from

    def __len__(self) -> int:
        return len(self.targets)


def training_sample(built: Built, count: int) -> Sample:
    """Draw training examples by the run's seed, normalised, not augmented, in random order; all where it has fewer."""
    raw, targets = drawn(built, count)
    inputs = Prepare(built.dataset, built.device)(raw.to(built.device))
    return Sample(inputs, targets.to(built.device), len(built.dataset.train))


def drawn(built: Built, count: int) -> tuple[Tensor, Tensor]:
    """Draw the same examples as they lie in the data set: inputs and targets."""
    train = built.dataset.train
    index = torch.randperm(len(train), generator=torch.Generator().manual_seed(built.seed))[:count]
    index = index.to(train.targets.device)
    return train.inputs[index], train.targets[index]


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Hold evaluation mode inside; afterwards modes, buffers and random numbers are what they were.

    Attention is computed step by step: torch's fused kernels have no second derivative, and none of each example.
    """
    modes = {module: module.training for module in model.modules()}
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    with random_numbers_kept(device), sdpa_kernel(SDPBackend.MATH):
        model.eval()
        try:
            yield
        finally:
            for module, mode in modes.items():
                module.training = mode
            for buffer, value in buffers:
                buffer.copy_(value)


def gradient(model: nn.Module, loss: Loss, inputs: Tensor, targets: Tensor) -> Tensor:
    """Return the gradient of the mean loss as one vector [P]; 0 for parameters that the loss does not reach."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    with torch.enable_grad():
        value = loss(model(inputs), targets)
    parts = torch.autograd.grad(value, parameters, allow_unused=True, materialize_grads=True)
    return torch.cat([part.flatten() for part in parts])


def example_gradients(model: nn.Module, loss: Loss, inputs: Tensor, targets: Tensor) -> tuple[Tensor, str]:
    """Return every example's own gradient of a model in evaluation mode, for inputs [n, *input_shape] and targets [n].

    Returns:
        [n, P], and how: ``torch.func``, or ``one by one`` where the model does what that refuses.
    """
    trained = {name: each.detach() for name, each in model.named_parameters() if each.requires_grad}

    def one_loss(parameters: dict[str, Tensor], one: Tensor, target: Tensor) -> Tensor:
        return loss(functional_call(model, parameters, (one.unsqueeze(0),)), target.unsqueeze(0))

    try:
        parts = vmap(grad(one_loss), in_dims=(None, 0, 0))(trained, inputs, targets)
        return torch.cat([part.flatten(1) for part in parts.values()], dim=1), "torch.func"
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        # control flow by values, operations without a batching rule: nothing that a plain pass could not do
        ones = zip(inputs.split(1), targets.split(1), strict=True)
        return torch.stack([gradient(model, loss, *one) for one in ones]), "one by one"


def num_parameters(model: nn.Module) -> int:
    """Count the numbers that are trained, P."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
