"""Every mistake of a command line of scripts/noise.py."""

from batchlab.config.schema import Config
from batchlab.errors import Mistake
from batchlab.profiling.micro_batch import check_memory
from batchlab.profiling.noise_settings import Noise
from batchlab.validation.contrastive import check_single_losses
from batchlab.validation.dry_run import check_data


def check(keys: Noise, configs: list[Config]) -> list[Mistake]:
    """Mistakes of the script's keys, then those that show when the run is built, or tested against memory."""
    mistakes = list(check_single_losses(configs[0]))
    if len(configs) > 1:
        mistakes.append(Mistake("the command line", "", "lists: one model is measured", "one value for each key"))
    if keys.num_examples < 64:
        mistakes.append(Mistake("num_examples", keys.num_examples, "an integer from 64", "num_examples=2000"))
    if keys.num_draws < 16:
        mistakes.append(Mistake("num_draws", keys.num_draws, "an integer from 16", "num_draws=512"))
    if keys.output not in ("text", "json"):
        mistakes.append(Mistake("output", keys.output, "text or json", "output=text"))
    mistakes = mistakes or check_data(configs[0])
    if not mistakes and configs[0].micro_batch_size == "auto":
        import batchlab.commands.noise.noise_job  # noqa: F401  (the process of the run has it: what it takes counts)
    return mistakes or check_memory(configs)
