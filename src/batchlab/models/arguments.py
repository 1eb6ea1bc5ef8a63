"""What a model refuses in its arguments."""

import math
from collections.abc import Sequence

from batchlab.errors import config_error


def require_at_least(key: str, value: int, least: int) -> None:
    """Refuse anything but a whole number of at least `least`.

    Args:
        key: configuration key, e.g. ``model.width``.
        value: what was typed.
        least: smallest allowed value.

    Raises:
        ConfigErrors: where the value is no whole number or too small.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise config_error(key, value, f"a whole number of at least {least}", f"{key}={least}")


def require_number(key: str, value: object, above: float | None, at_most: float | None, example: object) -> None:
    """Refuse anything but a finite number in a range.

    Args:
        key: configuration key, e.g. ``model.saddle``.
        value: what was typed.
        above: it must lie above this; None = no bound.
        at_most: and be at most this; None = no bound.
        example: a value to type instead.

    Raises:
        ConfigErrors: where the value is no finite number or lies outside.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if is_number and (above is None or value > above) and (at_most is None or value <= at_most):  # type: ignore[operator]
        return
    bounds = [f"above {above:g}"] if above is not None else []
    bounds += [f"at most {at_most:g}"] if at_most is not None else []
    raise config_error(key, value, " ".join(["a finite number", " and ".join(bounds)]).strip(), f"{key}={example}")


def require_image(model: str, input_shape: Sequence[int], min_size: int) -> tuple[int, int, int]:
    """The (channels, height, width) of an image input.

    Args:
        model: name of the model, for the message.
        input_shape: shape of one example, without batch.
        min_size: smallest height and width in pixels.

    Returns:
        Channels, height in pixels, width in pixels.

    Raises:
        ConfigErrors: where the input is no image, or one that is too small.
    """
    shape = tuple(input_shape)
    if len(shape) != 3:
        raise config_error(
            "model", model, f"it takes images [channels, height, width], the data is {shape}", "model=mlp"
        )
    channels, height, width = shape
    if min(height, width) < min_size:
        allowed = f"it takes images of {min_size}x{min_size} pixels and up, the data is {height}x{width}"
        raise config_error("model", model, allowed, "model=mlp")
    return channels, height, width
