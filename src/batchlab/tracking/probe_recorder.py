"""What a probe measured of a configuration, as one run of its study in MLflow."""

from collections.abc import Mapping

from batchlab.config.identity import environment, load_average
from batchlab.config.resolve import flat_params
from batchlab.config.schema import Config
from batchlab.tracking.recorder import record_finished


def record_probe(
    config: Config, seed: int, tags: Mapping[str, str], finals: Mapping[str, float], sweep_id: str
) -> None:
    """Record a probe's numbers.

    Args:
        config: what was probed.
        seed: of it.
        tags: its identity.
        finals: metric -> value; those that are not finite are left out.
        sweep_id: names the command.
    """
    own = {"batchlab.role": "probe", "sweep_id": sweep_id, "load_average": load_average(), "outcome": "done"}
    settings = {key: value for key, value in flat_params(config).items() if value is not None} | {"seed": seed}
    values = [(key, value, 0) for key, value in finals.items()]
    record_finished(config, f"probe-s{seed}", environment() | own | dict(tags), settings, values)
