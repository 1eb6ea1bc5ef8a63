"""Muon for hidden weight matrices, AdamW for everything else, as one optimizer."""

from collections.abc import Sequence

from torch import nn
from torch.optim import Optimizer

from batchlab.errors import config_error


def hidden_matrices(model: nn.Module) -> list[nn.Parameter]:
    """Return the weights Muon is made for: those of layers between the first and the last.

    A weight counts where it has two dimensions or more, bears a name that ends with ``weight`` and is no embedding;
    first and last are meant in the order in which the model registers its layers.

    A model of fewer than three layers has none.

    Source: Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks".
    """
    matrices = [
        parameter
        for module in model.modules()
        if not isinstance(module, (nn.Embedding, nn.EmbeddingBag))
        for name, parameter in module.named_parameters(recurse=False)
        if parameter.ndim >= 2 and name.endswith("weight")
    ]
    return [parameter for parameter in matrices[1:-1] if parameter.requires_grad]


def muon_with_adamw(
    model: nn.Module,
    lr: float,
    adamw_lr_ratio: float = 0.1,
    momentum: float = 0.95,
    ns_steps: int = 5,
    betas: Sequence[float] = (0.9, 0.95),
    weight_decay: float = 0.0,
) -> Optimizer:
    """Build Muon on hidden matrices and AdamW on the rest, in two parameter groups with their own learning rates.

    Muon's update is the momentum matrix, orthogonalised by a Newton-Schulz iteration and scaled by
    ``lr * sqrt(max(1, rows / columns))``; convolutions count as matrices [out, in * height * width].

    Args:
        model: the network.
        lr: learning rate of the hidden matrices.
        adamw_lr_ratio: learning rate of everything else, as a multiple of lr.
        momentum: Nesterov momentum of the hidden matrices, in [0, 1).
        ns_steps: Newton-Schulz iterations.
        betas: AdamW's decay rates of the first and second moment.
        weight_decay: decoupled weight decay of both groups.

    Returns:
        One optimizer; ``param_groups[0]`` is Muon's, ``param_groups[1]`` AdamW's.

    Raises:
        ConfigErrors: where the model has no hidden matrix.

    Source: Jordan et al. 2024; convolutions as in KellerJordan/cifar10-airbench, airbench94_muon.py.
    """
    # Imported here: half a second that other optimizers need not pay.
    from pytorch_optimizer import Muon

    hidden = hidden_matrices(model)
    if not hidden:
        allowed = "muon needs a hidden weight matrix between the first and the last layer, this model has none"
        raise config_error("optimizer", "muon", allowed, "optimizer=adamw")
    identities = {id(parameter) for parameter in hidden}
    rest = [p for p in model.parameters() if p.requires_grad and id(p) not in identities]
    muon = {"params": hidden, "lr": lr, "use_muon": True, "momentum": momentum, "ns_steps": ns_steps}
    adamw = {"params": rest, "lr": lr * adamw_lr_ratio, "use_muon": False, "betas": tuple(betas)}
    return Muon([{**group, "weight_decay": weight_decay} for group in (muon, adamw)], foreach=None)
