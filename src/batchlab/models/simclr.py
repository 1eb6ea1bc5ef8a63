"""SimCLR: an encoder that learns without labels, and the linear classifier that says how well."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from batchlab.data.argument_checks import image_shape, refuse, whole_number
from batchlab.models.convnet import convnet
from batchlab.models.losses import Views
from batchlab.models.views import Distortion, random_view

SHRINKAGE = 1e-3
"""Share of the mean variance that is added to every feature's: features may be constant, or sums of others."""


class SimCLR(nn.Module):
    """The body of `convnet` with a projection head for training, and with a linear classifier for evaluation.

    In training each image is seen as two random views, whose projections (linear, ReLU, linear) are for
    `losses.Contrastive`. In evaluation a linear classifier of the body's features answers. It has no weights
    to train: it is fitted in closed form whenever the run evaluates (`fit_classifier`). A classifier trained along
    with the body would lag behind it by a number of steps, and look worse at larger batches whatever the body learned.

    Args:
        input_shape: (channels, height, width) of one image, at least 8x8 pixels.
        num_classes: outputs of the classifier.
        width: channels of the body's first block; its output has four times as many.
        projection_width: numbers in a projection.
        norm: of the body: ``batch``, ``ghost_batch``, ``layer`` or ``none``.
        ghost_size: examples per group of ``ghost_batch``; None with every other norm.
        shift: of the views, with the next four; see `batchlab.models.views.Distortion`.
        zoom: see there.
        rotation_degrees: see there.
        contrast: see there.
        noise: see there.

    Raises:
        ConfigErrors: where the input is no image of 8x8 and up, or an argument does not fit.

    Source: Chen et al. 2020 (2002.05709), section 2.1; section 2.3 for linear evaluation, there by gradient descent.
    """

    weight: Tensor
    bias: Tensor

    def __init__(
        self,
        input_shape: Sequence[int],
        num_classes: int,
        width: int = 16,
        projection_width: int = 32,
        norm: str = "batch",
        ghost_size: int | None = None,
        shift: float = 0.15,
        zoom: float = 0.25,
        rotation_degrees: float = 15.0,
        contrast: float = 0.3,
        noise: float = 0.3,
    ) -> None:
        super().__init__()
        image_shape("simclr", input_shape, 8)
        refuse(whole_number("model.projection_width", projection_width, 1, 1))
        self.distortion = Distortion(shift, zoom, rotation_degrees, contrast, noise)
        self.encoder = convnet(input_shape, num_classes, width, norm, ghost_size)[:-1]
        num_features = 4 * width
        self.projection = nn.Sequential(
            nn.Linear(num_features, num_features), nn.ReLU(), nn.Linear(num_features, projection_width)
        )
        self.register_buffer("weight", torch.zeros(num_classes, num_features))
        self.register_buffer("bias", torch.zeros(num_classes))

    def forward(self, inputs: Tensor) -> Views | Tensor:
        """Map [B, *input_shape] to `Views` [2B, projection_width] in training, to logits [B, num_classes] else."""
        if self.training:
            return Views(self.projection(self.encoder(random_view(torch.cat([inputs, inputs]), self.distortion))))
        return self.encoder(inputs) @ self.weight.T + self.bias

    @torch.no_grad()
    def fit_classifier(self, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Fit the classifier to features in evaluation of parts: inputs [n, *input_shape] and class numbers [n]."""
        was_training = self.training
        self.eval()
        features, targets = zip(*((self.encoder(inputs), targets) for inputs, targets in batches), strict=True)
        self.train(was_training)
        weight, bias = linear_discriminant(torch.cat(features), torch.cat(targets), len(self.bias))
        self.weight.copy_(weight)
        self.bias.copy_(bias)


def linear_discriminant(features: Tensor, targets: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """Return weights and biases of linear discriminant analysis: log posteriors of Gaussians of one covariance.

    ``weight_c = S^-1 mean_c`` and ``bias_c = log prior_c - mean_c S^-1 mean_c / 2``, S the covariance within
    classes with a thousandth of its mean variance added to the diagonal, prior_c = (n_c + 1) / (N + C).

    Args:
        features: [N, F].
        targets: [N] class numbers, int64.
        num_classes: C; a class without examples gets the mean of all.

    Returns:
        weight [C, F] and bias [C], float64 on the host.

    Source: Hastie, Tibshirani and Friedman 2009, The Elements of Statistical Learning, equation 4.10.
    """
    features, targets = features.cpu().double(), targets.cpu()
    counts = targets.bincount(minlength=num_classes).double()
    sums = torch.zeros(num_classes, features.shape[1], dtype=torch.float64).index_add_(0, targets, features)
    means = torch.where(counts[:, None] > 0, sums / counts[:, None], features.mean(0))
    within = features - means[targets]
    covariance = within.T @ within / len(features)
    # a positive floor: features that never differ within a class
    ridge = (SHRINKAGE * covariance.diagonal().mean()).clamp(min=1e-12)
    weight = torch.linalg.solve(covariance + ridge * torch.eye(len(covariance), dtype=torch.float64), means.T).T
    priors = (counts + 1) / (len(features) + num_classes)
    return weight, priors.log() - (means * weight).sum(1) / 2
