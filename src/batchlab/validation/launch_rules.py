"""What is wrong with how a run is spread over processes."""

from collections.abc import Iterator

from batchlab.config.schema import Config
from batchlab.errors import ConfigError
from batchlab.validation.contrastive import is_contrastive

LAUNCHES = ("single", "ddp")
MOST_PROCESSES = 4096


def check_launch(config: Config) -> Iterator[ConfigError]:
    """Every wrong value of launch, num_processes and sync_batch_norm, and what does not go together with them."""
    num, launch = config.num_processes, config.launch
    if launch not in LAUNCHES:
        yield ConfigError("launch", launch, f"one of {', '.join(LAUNCHES)}", "launch=ddp num_processes=2")
    elif not 1 <= num <= MOST_PROCESSES:
        yield ConfigError("num_processes", num, f"an integer from 1 to {MOST_PROCESSES}", "num_processes=2")
    elif launch == "single" and num > 1:
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
