"""Points to try first: the default configuration, and the line of an lr-scaling rule through it."""

from typing import Any

from omegaconf import DictConfig

from batchlab.config.traits import LrScalingTraits, declared
from batchlab.errors import ConfigError
from batchlab.search.settings import Settings
from batchlab.search.space import Dimension, Space
from batchlab.search.trial_configs import plain_value

EXPONENTS = {"linear": 1.0, "sqrt": 0.5}
POINTS_ON_A_LINE = 5


def check_first_points(settings: Settings, space: Space, base: DictConfig) -> list[ConfigError]:
    """Find lines that cannot be drawn: no batch size or lr to move, or an lr that a rule moves already."""
    errors = []
    keys, scaling = {each.key for each in space.plain}, plain_value(base, "lr_scaling")
    for rule in (name for name in settings.first_points if name in EXPONENTS):
        key, typed = "hydra.sweeper.first_points", "hydra.sweeper.first_points=[default]"
        if not {"batch_size", "lr"} <= keys:
            errors.append(ConfigError(key, rule, "needs batch_size and lr in the search", typed))
        elif not isinstance(plain_value(base, "batch_size"), int):
            errors.append(
                ConfigError(key, rule, "needs a number as configured batch_size", "batch_size=128 in its yaml")
            )
        elif isinstance(scaling, DictConfig) and declared(LrScalingTraits, scaling).moves_lr:
            errors.append(ConfigError(key, rule, "lr_scaling moves the lr with the batch size already", typed))
    return errors


def first_points(settings: Settings, space: Space, base: DictConfig) -> list[dict[str, Any]]:
    """List parameters of the first trials; a dimension that is left out is drawn by the sampler.

    `base` is the configuration without any choice.
    """
    default = default_point(space, base)
    points = [default] if "default" in settings.first_points else []
    by_key = {each.key: each for each in space.plain}
    for rule in (name for name in settings.first_points if name in EXPONENTS):
        batch, lr = by_key["batch_size"], by_key["lr"]
        base_size, base_lr = plain_value(base, "batch_size"), plain_value(base, "lr")
        for size in _spread(batch):
            moved = float(base_lr) * (size / float(base_size)) ** EXPONENTS[rule]
            points.append(default | {batch.name: batch.suggested(size), lr.name: lr.suggested(moved)})
    return [point for place, point in enumerate(points) if point not in points[:place]]


def default_point(space: Space, base: DictConfig) -> dict[str, Any]:
    """Convert the configured values to Optuna's parameters, each moved into its dimension; text is left out."""
    point = {}
    for each in space.plain:
        value = plain_value(base, each.key)
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and value > 0
        if is_number and (suggested := each.suggested(value)) is not None:
            point[each.name] = suggested
    choices = base.hydra.runtime.choices
    for each in space.structural:
        if choices.get(each.key) in each.items:
            point[each.name] = choices[each.key]
    return point


def _spread(batch: Dimension) -> list[float]:
    """Batch sizes from one end of the dimension to the other, evenly in Optuna's numbers."""
    if batch.items:
        places = {round(k * (len(batch.items) - 1) / (POINTS_ON_A_LINE - 1)) for k in range(POINTS_ON_A_LINE)}
        return [float(batch.items[place]) for place in sorted(places)]
    low, high = (float(end) for end in batch.probes)
    return [low * (high / low) ** (k / (POINTS_ON_A_LINE - 1)) for k in range(POINTS_ON_A_LINE)]
