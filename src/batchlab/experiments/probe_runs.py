"""Probes: arms that are measured by a function instead of a training."""

from collections.abc import Mapping
from typing import Any

from batchlab.config.identity import by_name, config_key, hash_of
from batchlab.config.schema import Config
from batchlab.tracking.finished_runs import record_probe
from batchlab.training.build import bound, load_dataset


def probe_key(config: Config, probe: Mapping[str, Any]) -> str:
    """Hash what a probe measures of a configuration: 12 hexadecimal digits."""
    return hash_of([config_key(config), {key: by_name(key, value) for key, value in probe.items()}])


def probe_seed(config: Config, probe: Mapping[str, Any], seed: int, sweep_id: str) -> dict[str, float]:
    """Measure once and record it.

    Args:
        config: passed both gates.
        probe: node of a function (config, seed, **settings) -> metric -> value.
        seed: of it.
        sweep_id: names the command.
    """
    finals = bound(dict(probe))(config, seed)
    tags = {"config_key": probe_key(config, probe), "data_digest": load_dataset(config.data).digest}
    record_probe(config, seed, tags, finals, sweep_id)
    return finals


def probe_seeds(config: Config, probe: Mapping[str, Any], sweep_id: str) -> None:
    """Measure a configuration with each of its seeds."""
    for index in range(config.num_seeds):
        probe_seed(config, probe, config.seed + index, sweep_id)
