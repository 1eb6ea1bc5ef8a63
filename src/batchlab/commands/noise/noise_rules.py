"""Every error of a command line of scripts/noise.py."""

from batchlab.config.schema import Config
from batchlab.errors import ConfigError
from batchlab.profiling.micro_batch import check_memory
from batchlab.profiling.noise_settings import Noise
from batchlab.validation.dry_run import check_data
from batchlab.validation.launch_rules import check_single_losses


def check(keys: Noise, configs: list[Config]) -> list[ConfigError]:
    """Mistakes of the script's keys, then those that show when the run is built, or tested against memory."""
    errors = list(check_single_losses(configs[0]))
    if len(configs) > 1:
        errors.append(ConfigError("the command line", "", "lists: one model is measured", "one value for each key"))
    if keys.num_examples < 64:
        errors.append(ConfigError("num_examples", keys.num_examples, "an integer from 64", "num_examples=2000"))
    if keys.num_draws < 16:
        errors.append(ConfigError("num_draws", keys.num_draws, "an integer from 16", "num_draws=512"))
    if keys.output not in ("text", "json"):
        errors.append(ConfigError("output", keys.output, "text or json", "output=text"))
    errors = errors or check_data(configs[0])
    if not errors and configs[0].micro_batch_size == "auto":
        import batchlab.commands.noise.noise_job  # noqa: F401  (the process of the run has it: what it takes counts)
    return errors or check_memory(configs)
