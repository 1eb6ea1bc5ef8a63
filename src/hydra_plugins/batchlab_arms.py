"""The Hydra sweeper `hydra/sweeper=_arms`: every arm of an experiment, through any Hydra launcher.

Hydra imports this module before every command, `--help` too: nothing heavy is imported at its top.
"""

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from batchlab.experiments.arms import arm_jobs


class ArmsSweeper(Sweeper):
    """Runs each arm: the command line's overrides, the preset's and its own; keys: `ArmsSweeperConf`."""

    def __init__(self, **settings: Any) -> None:
        self._launcher: Launcher | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what a sweep needs, handed over by Hydra."""
        self._config = config
        self._launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Run the jobs of every arm; what was typed is in `arguments`."""
        assert self._launcher is not None
        jobs = arm_jobs(self._config.hydra.sweeper, arguments)
        results = self._launcher.launch(jobs, initial_job_idx=0)
        for result in results:
            _ = result.return_value  # raises what a job raised
        return results


@dataclass
class ArmsSweeperConf:
    """Keys of hydra.sweeper in conf/experiment/*.yaml."""

    _target_: str = "hydra_plugins.batchlab_arms.ArmsSweeper"
    _recursive_: bool = False
    claim: dict[str, Any] = field(default_factory=dict)
    """number, says, source, cost and leaves_out of the claim."""
    arms: dict[str, list[str]] = field(default_factory=dict)
    """Name -> overrides of what is compared; a list of values makes several runs of one arm."""
    preset: str = "small"
    """small, or a name of presets."""
    presets: dict[str, list[str]] = field(default_factory=dict)
    """Name -> overrides for another scale."""
    arm: str | None = None
    """The only arm that is run; null = all of them. Each job has its own here."""
    probe: Any = None
    """Node of a function (config, seed, **settings) -> numbers that measures an arm; null = each is trained.

    Its key by_arm has settings of single arms; where an arm is called clock, only that one is probed.
    """
    is_alone: bool = False
    """Tell whether it is measured while nothing else runs: it is about seconds."""
    max_seeds: int = 24
    """No look is taken at more."""
    checks: list[Any] = field(default_factory=list)
    """What is asked of the numbers, stated before they are measured."""
    figure: dict[str, Any] = field(default_factory=dict)
    """Which metric of which arms is drawn, over what."""


ConfigStore.instance().store(group="hydra/sweeper", name="_arms", node=ArmsSweeperConf, provider="batchlab")
