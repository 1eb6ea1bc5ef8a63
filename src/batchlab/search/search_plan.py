"""What a search is to do, as the pre-flight found it, and the configuration of any of its trials."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from optuna.trial import FrozenTrial

from batchlab.config.compose import without_hydra
from batchlab.config.installation import CONF
from batchlab.config.resolve import resolved
from batchlab.config.schema import Config
from batchlab.search.settings import Settings
from batchlab.search.space import Space


@dataclass(frozen=True)
class SearchPlan:
    """A checked search.

    Attributes:
        settings: of the sweeper.
        space: what is searched.
        fingerprint: what the study is about.
        config_name: primary configuration.
        extra: overrides of our own, e.g. the search path.
    """

    settings: Settings
    space: Space
    fingerprint: dict[str, Any]
    config_name: str
    extra: Sequence[str]

    def composed(self, trial: FrozenTrial) -> tuple[Config, dict[str, str]]:
        """The typed configuration of a trial, and the option that was chosen in each group."""
        overrides = [*self.space.fixed, *self.space.lines(trial.params)]
        with initialize_config_dir(str(CONF), version_base="1.3", job_name="train"):
            config = compose(self.config_name, [*self.extra, *overrides], return_hydra_config=True)
        HydraConfig.instance().set_config(config)
        choices = {key: value for key, value in config.hydra.runtime.choices.items() if not key.startswith("hydra/")}
        return typed_config(config), choices


def typed_config(composed: DictConfig) -> Config:
    """A composed configuration without Hydra's node, typed."""
    return resolved(without_hydra(composed))
