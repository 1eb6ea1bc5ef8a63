"""How the learning rate, and what moves with it, follows the batch size.

Each rule maps the optimizer's settings at `base_batch_size` B0 to those at batch size B, kappa = B / B0.
"""

import math
from collections.abc import Mapping
from typing import Any

from batchlab.errors import config_error

Settings = dict[str, Any]
"""Optimizer arguments by name: lr, and where the optimizer has them weight_decay, betas, alpha, eps."""


def none(settings: Mapping[str, Any], batch_size: int) -> Settings:
    """Return the settings as they are: the same learning rate at every batch size."""
    del batch_size
    return dict(settings)


def linear(settings: Mapping[str, Any], batch_size: int, *, base_batch_size: int, scale_weight_decay: bool) -> Settings:
    """Scale lr in proportion to the batch size: lr * kappa.

    Args:
        settings: at base_batch_size.
        batch_size: B, examples per optimizer step.
        base_batch_size: B0, examples per step at which the settings hold.
        scale_weight_decay: multiply weight_decay by the same factor.

    Source: Goyal et al. 2017 (1706.02677), section 2.1.
    """
    return _scaled(settings, batch_size / base_batch_size, scale_weight_decay)


def sqrt(settings: Mapping[str, Any], batch_size: int, *, base_batch_size: int, scale_weight_decay: bool) -> Settings:
    """Scale lr with the square root of the batch size; arguments as in `linear`.

    Source: Krizhevsky 2014 (1404.5997), section 5; Hoffer et al. 2017 (1705.08741), equation 7.
    """
    return _scaled(settings, math.sqrt(batch_size / base_batch_size), scale_weight_decay)


def noise(
    settings: Mapping[str, Any],
    batch_size: int,
    *,
    base_batch_size: int,
    noise_scale: float,
    exponent: float,
    scale_weight_decay: bool,
) -> Settings:
    """Scale lr linearly far below the noise scale Bn, and not at all far above.

    ``lr * ((1 + Bn/B0) / (1 + Bn/B))^exponent``.

    Arguments as in `linear`; noise_scale is Bn, in examples, and the exponent 1 for SGD, .5 to 1 for Adam.

    Raises:
        ConfigErrors: where noise_scale is not above 0.

    Source: McCandlish et al. 2018 (1812.06162), equation 2.6 and appendix E.2.
    """
    if not isinstance(noise_scale, int | float) or not 0 < noise_scale < math.inf:
        allowed = "a number above 0, the gradient noise scale in examples"
        raise config_error("lr_scaling.noise_scale", noise_scale, allowed, "lr_scaling.noise_scale=1000")
    ratio = (1 + noise_scale / base_batch_size) / (1 + noise_scale / batch_size)
    return _scaled(settings, ratio**exponent, scale_weight_decay)


def adam_sqrt(
    settings: Mapping[str, Any], batch_size: int, *, base_batch_size: int, scale_weight_decay: bool
) -> Settings:
    """Scale Adam's settings: lr * sqrt(kappa), 1 - beta -> kappa * (1 - beta) for both betas, eps / sqrt(kappa).

    RMSprop's one decay rate, alpha, moves like a beta. Arguments as in `linear`.

    Raises:
        ConfigErrors: where the optimizer has neither betas nor alpha, or kappa * (1 - beta1) > .5, where the
            average no longer averages.

    Source: Malladi et al. 2022 (2205.10287), definitions 2.2 and 2.3.
    """
    kappa = batch_size / base_batch_size
    decays = settings.get("betas") or ([settings["alpha"]] if "alpha" in settings else None)
    if decays is None:
        allowed = "for optimizers with betas or alpha: adam, adamw, lamb, rmsprop"
        raise config_error("lr_scaling", "adam_sqrt", allowed, "optimizer=adam, or lr_scaling=linear for SGD")
    if kappa * (1 - decays[0]) > 0.5 + 1e-9:
        largest = math.floor(0.5 / (1 - decays[0]) * base_batch_size + 1e-6)
        allowed = (
            f"lr_scaling=adam_sqrt needs kappa*(1-beta1) <= .5, here {kappa:g}*{1 - decays[0]:.3g}; "
            f"the largest batch size that works is {largest}"
        )
        fix = f"batch_size={largest}, or lr_scaling.base_batch_size={math.ceil(batch_size * (1 - decays[0]) * 2)}"
        raise config_error("batch_size", batch_size, allowed, fix)
    scaled = _scaled(settings, math.sqrt(kappa), scale_weight_decay)
    moved = [1 - kappa * (1 - decay) for decay in decays]
    scaled |= {"betas": tuple(moved)} if "betas" in settings else {"alpha": moved[0]}
    if "eps" in settings:
        scaled["eps"] = settings["eps"] / math.sqrt(kappa)
    return scaled


def _scaled(settings: Mapping[str, Any], factor: float, scale_weight_decay: bool) -> Settings:
    scaled = dict(settings) | {"lr": settings["lr"] * factor}
    if scale_weight_decay:
        if not settings.get("weight_decay"):
            allowed = "has no effect here: the optimizer's weight_decay is 0 or missing"
            raise config_error("lr_scaling.scale_weight_decay", True, allowed, "optimizer.weight_decay=5e-4 too")
        scaled["weight_decay"] = settings["weight_decay"] * factor
    return scaled
