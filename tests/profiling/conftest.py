from dataclasses import replace

import pytest
from hydra import compose, initialize_config_dir

from batchlab.config.registration import register_schema
from batchlab.config.resolve import resolved
from batchlab.config.schema import REPOSITORY


@pytest.fixture(scope="module")
def composed():
    """Composed once: half a second."""
    register_schema()
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        return resolved(compose("train", ["study=test", "mlruns=none", "device=cpu", "measure=none"]))


@pytest.fixture
def like(composed, tmp_path):
    """A function: changed settings -> the configuration; model, optimizer and data with some of theirs changed."""

    def make(**changes):
        groups = {name: getattr(composed, name) | value for name, value in changes.items() if isinstance(value, dict)}
        return replace(composed, mlruns=str(tmp_path / "mlruns"), **changes | groups)

    return make
