"""Configurations of a search's jobs: composed once per structural choice, plain values set on a copy."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf, open_dict

from batchlab.search.settings import Settings
from batchlab.search.space import Dimension, Space
from batchlab.search.space_parser import make_space


def parse_space(settings: Settings, arguments: Sequence[str], loader: ConfigLoader) -> Space:
    """Parse the space of a search: hydra.sweeper.params, narrowed by the overrides of the command line.

    Raises:
        ConfigErrors: every line that has no distribution.
        OverrideParseException: a line that Hydra cannot read.
    """
    parser = OverridesParser.create(config_loader=loader)
    lines = [f"{key}={value}" for key, value in settings.params.items()]
    typed = parser.parse_overrides([line for line in arguments if not line.lstrip("+~").startswith("hydra")])

    def is_structural(override: Override) -> bool:
        return bool(loader.get_group_options(override.key_or_group)) or override.package is not None

    return make_space(parser.parse_overrides(lines), typed, is_structural)


class Composer:
    """Composes the jobs of a search from the configuration that Hydra composed for the sweep."""

    def __init__(self, loader: ConfigLoader, master: DictConfig, space: Space) -> None:
        self._loader, self._master, self.space = loader, master, space
        self._bases: dict[tuple[str, ...], DictConfig] = {}
        self._parser = OverridesParser.create(config_loader=loader)

    def base(self, structural: Sequence[str] = ()) -> DictConfig:
        """Compose the configuration under structural choices, with every plain setting as configured."""
        key = tuple(structural)
        if key not in self._bases:
            self._bases[key] = self._loader.load_sweep_config(self._master, [*self.space.fixed, *structural])
        return self._bases[key]

    def is_active(self, structural: Sequence[str], dimension: Dimension) -> bool:
        """Tell whether a plain dimension is asked under structural choices."""
        return is_active(self.base(structural), dimension)

    def job(self, structural: Sequence[str], plain: Sequence[str]) -> DictConfig:
        """Compose the configuration of one job, Hydra's node included."""
        config = deepcopy(self.base(structural))
        with open_dict(config):
            for line in plain:
                override = self._parser.parse_override(line)
                OmegaConf.update(config, override.key_or_group, override.value(), merge=True, force_add=True)
            config.hydra.overrides.task = [*self.space.fixed, *structural, *plain]
        return config


def is_active(base: DictConfig, dimension: Dimension) -> bool:
    """Tell whether a plain dimension has its key in a configuration; one of a file also needs a value there.

    So momentum is searched under SGD alone, and the epochs of conf/search/joint.yaml only with budget=epochs.
    """
    if dimension.key.startswith("+"):
        return True
    parent, _, name = dimension.key.rpartition(".")
    node = OmegaConf.select(base, parent) if parent else base
    if not isinstance(node, DictConfig) or name not in node:
        return False
    return dimension.is_typed or node[name] is not None


def plain_value(config: DictConfig, key: str) -> Any:
    """Look up the configured value of a key; None where there is none."""
    return OmegaConf.select(config, key.lstrip("+"), default=None, throw_on_missing=False)
