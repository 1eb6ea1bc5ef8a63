"""Composition of one command's configurations: each command line once, and one kind of error whatever was typed."""

from collections.abc import Sequence
from functools import lru_cache

import hydra
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import ConfigCompositionException, HydraException
from omegaconf import DictConfig, open_dict
from omegaconf.errors import OmegaConfBaseException

COMPOSE_ERRORS = (HydraException, OmegaConfBaseException)


def compose(config_name: str, lines: Sequence[str]) -> DictConfig:
    """Compose the configuration of some overrides, with Hydra's node; equal lines share one object, not to be changed.

    Raises:
        HydraException, OmegaConfBaseException: `COMPOSE_ERRORS`, whatever Hydra cannot read.
    """
    return _composed(GlobalHydra.instance().config_loader(), config_name, tuple(lines))


@lru_cache(maxsize=4)
def _composed(_loader: ConfigLoader, config_name: str, lines: tuple[str, ...]) -> DictConfig:
    try:
        return hydra.compose(config_name, list(lines), return_hydra_config=True)
    except COMPOSE_ERRORS:
        raise
    except Exception as error:  # e.g. ValueError for a group that is a number, KeyError for a variable in env_copy
        said = str(error) if isinstance(error, ValueError) else f"Hydra raised {type(error).__name__}: {error}"
        raise ConfigCompositionException(said) from None


def without_hydra(base: DictConfig) -> DictConfig:
    """Copy a composed configuration without Hydra's node, which is most of it."""
    config = base.copy()
    with open_dict(config):
        del config["hydra"]
    return config
