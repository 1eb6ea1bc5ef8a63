"""Gate 1 of a loss that compares the examples of a batch with each other."""

from collections.abc import Iterator

from batchlab.config.schema import Config
from batchlab.config.traits import LossTraits, declared
from batchlab.errors import ConfigError


def is_contrastive(config: Config) -> bool:
    """Whether the loss is one of views, which takes a model that makes them."""
    return declared(LossTraits, config.loss).task == "contrastive"


def check_contrastive(config: Config) -> Iterator[ConfigError]:
    """Settings that take a batch's loss for the mean of its examples' losses, where it is not."""
    if not is_contrastive(config):
        return
    if config.batch_size == 1:
        yield ConfigError("batch_size", 1, "loss=contrastive needs other examples to compare with", "batch_size=128")
    if config.micro_batch_size != "none":
        allowed = "with loss=contrastive a part would have its own examples as negatives, not those of the batch"
        yield ConfigError("micro_batch_size", config.micro_batch_size, allowed, "micro_batch_size=none")
    if config.measure.gradient_noise or config.measure.sharpness:
        allowed = "with loss=contrastive an example has no loss of its own that these could be measured on"
        yield ConfigError("measure", "", allowed, "measure=none")


def check_single_losses(config: Config) -> Iterator[ConfigError]:
    """The same for scripts that measure the gradient noise of single examples, whatever else is typed."""
    if is_contrastive(config):
        allowed = "an example has no loss of its own, so its gradient noise cannot be measured"
        yield ConfigError("loss", "contrastive", allowed, "loss=cross_entropy, and a model for it")
