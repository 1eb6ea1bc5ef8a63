"""Gate 1 of what a whole batch is needed for: a run that is spread over processes, a loss of pairs of examples."""

from collections.abc import Iterator

from batchlab.config.schema import Config
from batchlab.config.traits import LossTraits, declared
from batchlab.errors import ConfigError


def check_launch(config: Config) -> Iterator[ConfigError]:
    """Find what does not go together with launch, num_processes and sync_batch_norm."""
    num, launch = config.num_processes, config.launch
    if launch == "single" and num > 1:
        yield ConfigError("num_processes", num, "has no effect with launch=single", "launch=ddp too")
    elif launch == "ddp" and num == 1:
        yield ConfigError("launch", "ddp", "has no effect with num_processes=1", "num_processes=2 too")
    elif launch == "ddp":
        yield from _shared(config)
    elif config.sync_batch_norm:
        allowed = "has no effect in a single process: the whole batch is there"
        yield ConfigError("sync_batch_norm", "true", allowed, "num_processes=2 too")


def _shared(config: Config) -> Iterator[ConfigError]:
    num, batch_size = config.num_processes, config.batch_size
    if isinstance(batch_size, int) and 0 < batch_size < num:
        allowed = f"at least num_processes={num}: every process takes a share"
        yield ConfigError("batch_size", batch_size, allowed, f"batch_size={num}")
    if config.device.startswith("cuda:"):
        yield ConfigError("device", config.device, "each process takes a GPU of its own", "device=cuda")
    elif config.device == "mps":
        yield ConfigError("device", "mps", "processes share a CPU or CUDA devices", "device=cpu")
    if is_contrastive(config):
        allowed = "compares the examples of a whole batch, which no process has"
        yield ConfigError("loss", "contrastive", allowed, "num_processes=1")
    if config.micro_batch_size == "auto":
        allowed = "none or an integer where processes share a batch: it is the most of one process's pass"
        yield ConfigError("micro_batch_size", "auto", allowed, "micro_batch_size=32")
    elif config.sync_batch_norm and config.micro_batch_size != "none":
        allowed = "needs every process's share in one part"
        yield ConfigError("sync_batch_norm", "true", allowed, "micro_batch_size=none")


def is_contrastive(config: Config) -> bool:
    """Tell whether the loss compares views, which takes a model that makes them."""
    return declared(LossTraits, config.loss).task == "contrastive"


def check_contrastive(config: Config) -> Iterator[ConfigError]:
    """Find settings that take a batch's loss for the mean of its examples' losses, where it is not."""
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
    """Find a loss of which single examples have no gradient noise; for scripts that measure nothing else."""
    if is_contrastive(config):
        allowed = "an example has no loss of its own, so its gradient noise cannot be measured"
        yield ConfigError("loss", "contrastive", allowed, "loss=cross_entropy, and a model for it")
