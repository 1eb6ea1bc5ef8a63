"""Join model, loss and optimizer to a train step under the run's precision."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from batchlab.training.gradient import TrainStep

DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def precise(model: Callable[[Tensor], Tensor], precision: str, device: torch.device) -> Callable[[Tensor], Tensor]:
    """Return the model under autocast; as it is for float32."""
    if precision == "float32":
        return model

    def forward(inputs: Tensor) -> Tensor:
        with torch.autocast(device.type, DTYPES[precision]):
            return model(inputs)

    return forward


def make_train_step(
    model: nn.Module,
    forward: Callable[[Tensor], Tensor],
    loss_function: Callable[[Tensor, Tensor], Tensor],
    optimizer: torch.optim.Optimizer,
    precision: str,
) -> TrainStep:
    """Join model, loss and optimizer; in float16 with a gradient scaler.

    Args:
        model: whose parameters are trained.
        forward: inputs -> logits, under its precision; `loss.Views` in training where the model makes them.
        loss_function: (logits, targets) -> scalar mean; gets float32 logits.
        optimizer: steps with a closure.
        precision: float32, bfloat16 or float16.
    """

    def compute_loss(inputs: Tensor, targets: Tensor) -> Tensor:
        return loss_function(forward(inputs).float(), targets)

    if precision != "float16":
        # torch's own stub says float; every optimizer hands on what the closure returned
        return TrainStep(model, compute_loss, Tensor.backward, optimizer.step, optimizer)  # pyright: ignore
    scaler = torch.amp.GradScaler()  # pyright: ignore[reportPrivateImportUsage]

    def step(gradient: Callable[[], Tensor]) -> Tensor:
        loss = gradient()
        scaler.step(optimizer)
        scaler.update()
        return loss

    def backward(loss: Tensor) -> None:
        scaler.scale(loss).backward()  # pyright: ignore[reportUnknownMemberType], torch leaves its arguments untyped

    return TrainStep(model, compute_loss, backward, step, optimizer, scaler=scaler)
