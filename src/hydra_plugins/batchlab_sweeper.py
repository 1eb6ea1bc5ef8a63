"""The Hydra sweeper `hydra/sweeper=batchlab`: a thin class; keys and search are in batchlab.search.

Hydra imports this module before every command, `--help` too: nothing heavy is imported at its top.
"""

import sys
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from batchlab.search.sweeper_keys import SAMPLERS, BatchlabSweeperConf, quarter_of_train, times


class BatchlabSweeper(Sweeper):
    """Asks Optuna for trials, has Hydra run them, tells Optuna how they ended; keys: `BatchlabSweeperConf`."""

    def __init__(self, **settings: Any) -> None:
        self._launcher: Launcher | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what a sweep needs, handed over by Hydra."""
        self._context, self._task, self._config = hydra_context, task_function, config
        self._launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Search; what was typed is in `arguments`."""
        from batchlab.commands.command_line import stop
        from batchlab.errors import ConfigErrors
        from batchlab.search.retry import StorageUnavailable
        from batchlab.search.study import TooManyFailures
        from batchlab.search.sweep import search
        from batchlab.search.workers import WorkersFailed

        assert self._launcher is not None
        show = None
        if OmegaConf.select(self._config, "mlruns") is None:  # another application; batchlab train has its own end
            from batchlab.report.search_summary import print_search as show
        try:
            search(self._context, self._task, self._launcher, self._config, arguments, show)
        except ConfigErrors as error:
            stop(error.errors)
        except (TooManyFailures, WorkersFailed, StorageUnavailable) as error:
            print(error, file=sys.stderr)  # Hydra would put a traceback around it
            raise SystemExit(getattr(error, "code", 1)) from None


ConfigStore.instance().store(group="hydra/sweeper", name="batchlab", node=BatchlabSweeperConf, provider="batchlab")
for name, node in SAMPLERS.items():
    open_node = OmegaConf.create(node, flags={"struct": False})  # `read_settings` refuses unknown keys, with a fix
    ConfigStore.instance().store(group="hydra/sweeper/sampler", name=name, node=open_node, provider="batchlab")
OmegaConf.register_new_resolver("times", times, replace=True)
OmegaConf.register_new_resolver("quarter_of_train", quarter_of_train, replace=True)
