"""A loss surface of known poor minima, saddles and good minima."""

from collections.abc import Sequence

import torch
from annotated_types import Interval
from torch import Tensor, nn

from batchlab.data.argument_checks import number, refuse
from batchlab.errors import ConfigError, config_error


class Surface(nn.Module):
    """Copies of two wells side by side: the output for an example x is its loss, sum over copies f(u, v) + x . w.

        f(u, v) = g(u) + k(u) v^2 / 2,  g'(u) = c (u^2 - 1) (u - s),  g(1) = 0,
        k(u) = good + (poor - good) ((1 - u) / 2)^2

    with s = `saddle`, c = `scale` and the two `curvatures` across. Stationary points, all on v = 0:

        point            f                           curvature along u    across
        (-1, 0) poor     4 |s| c / 3                 2 c (1 + s)          poor
        (s, 0) saddle    c (1 - s)^3 (3 + s) / 12    -c (1 - s^2)         k(s)
        (1, 0) good      0, the least of all         2 c (1 - s)          good

    The barrier out of the poor minimum is c (1 + s)^3 (3 - s) / 12. For s = 0 the wells are mirror images; the
    nearer s is to -1, the shallower the poor one; `curvatures` that differ make the poor one sharp across.
    The mean over the examples of `batchlab.data.surface_noise` is the sum of f. The copies have nothing to do with each
    other: a run is one start of each, and its loss tells the share of them that is in the poor well.

    Args:
        input_shape: shape of one example; (2 * copies,).
        num_classes: outputs; 1.
        saddle: s, where the saddle lies between the minima, above -1 and at most 0.
        scale: c, of the loss along u; above 0.
        curvatures: across, at the poor and at the good minimum; both above 0.
        start: (u, v) that each copy starts from.

    Raises:
        ConfigErrors: where the data is another, or a setting is not allowed.

    Source: own construction. SGD in a well has the temperature lr noise^2 / (2 B) (Jastrzebski et al. 2017, arXiv
    1711.04623, section 2) and leaves it at Kramers' rate (Kramers 1940, section 3, overdamped limit).
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        num_classes: int,
        saddle: float = -0.5,
        scale: float = 0.75,
        curvatures: Sequence[float] = (1.0, 1.0),
        start: Sequence[float] = (-1.0, 0.0),
    ) -> None:
        super().__init__()
        if len(input_shape) != 1 or input_shape[0] % 2 or num_classes != 1:
            allowed = "it takes the noise of data=surface only"
            raise config_error("model", "surface", allowed, "data=surface loss=mean_output")
        found = number("model.saddle", saddle, Interval(gt=-1, le=0), -0.5)
        found += number("model.scale", scale, Interval(gt=0), 0.75)
        for key, pair, numbers, allowed in (
            ("model.curvatures", curvatures, Interval(gt=0), "two numbers above 0"),
            ("model.start", start, Interval(), "two numbers"),
        ):
            is_pair = isinstance(pair, Sequence) and len(pair) == 2
            if not is_pair or any(number(key, value, numbers, 1) for value in pair):
                found.append(ConfigError(key, pair, allowed, f"{key}=[1,1]"))
        refuse(found)
        self.saddle, self.scale, self.curvatures = saddle, scale, tuple(curvatures)
        self.weights = nn.Parameter(torch.tensor([[float(value)] for value in start]).repeat(1, input_shape[0] // 2))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return each example's loss [B, 1] from [B, 2 * copies], its own gradients: of all u, then of all v."""
        (u, v), (poor, good), s = self.weights, self.curvatures, self.saddle
        # by Horner's rule, in whole multiples: where weights and settings have few binary digits nothing is rounded
        along = ((((3 * u - 4 * s) * u - 6) * u + 12 * s) * u + (3 - 8 * s)) * (self.scale / 12)
        across = v * v * ((1 - u).square() * ((poor - good) / 8) + good / 2)
        return inputs @ self.weights.flatten().unsqueeze(1) + (along + across).sum()
