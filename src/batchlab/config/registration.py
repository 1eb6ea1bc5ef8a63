"""The schema and its resolvers as Hydra knows them, and what a command's sweeper says of it."""

import os
import textwrap
from dataclasses import fields, make_dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from batchlab.config.command_keys import KEYS
from batchlab.config.hydra_internals import is_basic
from batchlab.config.installation import REPOSITORY, program, usage
from batchlab.config.keys import keys_of
from batchlab.config.objectives import CALIBRATED, MEASURED
from batchlab.config.override_text import value_text
from batchlab.config.schema import OPEN_GROUPS, Config


def register_schema(more: type | None = None) -> None:
    """Register the schema as `schema`, and our resolvers; `more` declares a command's keys beside those of a run."""
    kinds = [Config, *([more] if more else [])]
    all_keys = [(each.name, each.type, each) for kind in kinds for each in fields(kind)]
    node = OmegaConf.structured(make_dataclass("Config", all_keys) if more else Config)
    for group in OPEN_GROUPS:
        OmegaConf.set_struct(node[group], False)
    OmegaConf.set_struct(node.measure.sharpness, False)
    ConfigStore.instance().store(name="schema", node=node)
    OmegaConf.register_new_resolver("repository", lambda: str(REPOSITORY), replace=True)
    OmegaConf.register_new_resolver("process_id", os.getpid, replace=True)
    for resolver in (program, usage, default_study, help_of_keys, launch_of, time_objective):
        OmegaConf.register_new_resolver(resolver.__name__, resolver, replace=True)


def help_of_keys(command: str = "") -> str:
    """Return the keys of a run, or a command's own with their defaults, with what they mean and may be, for --help."""
    keys = [each for each in keys_of(KEYS.get(command, Config)) if each.kind is not dict]
    keys.sort(key=lambda each: "." in each.name)
    margin = 2 + max(len(each.name) for each in keys)
    texts = []
    for each in keys:
        text = f"{each.name:<{margin}}{each.help}"
        text += f" [{each.allowed.removeprefix('null or ')}]" if each.is_limited else ""
        text += f" ({value_text(each.default)})" if command and each.default not in (None, []) else ""
        texts.append(textwrap.fill(text, 118, subsequent_indent=" " * margin))
    return "\n".join(texts)


def launch_of(num_processes: Any) -> str:
    """Choose how a run is spread where it is not typed: ddp with several processes."""
    return "ddp" if isinstance(num_processes, int) and num_processes > 1 else "single"


def default_study() -> str:
    """Name a study: ``experiment-<name>``, hydra.sweeper.study_name or ``<search or runs>-<data>-<model>``."""
    hydra = HydraConfig.get()
    if experiment := hydra.runtime.choices.get("experiment"):
        return f"experiment-{experiment}"
    choices, is_search = hydra.runtime.choices, is_search_sweeper(hydra.sweeper)
    if is_search and hydra.sweeper.study_name:
        return str(hydra.sweeper.study_name)
    search = choices.get("search", "none")
    first = (search if search != "none" else "search") if is_search else "runs"
    return f"{first}-{choices.get('data')}-{choices.get('model')}"


def time_objective() -> str:
    """Choose the seconds of an objective: measured; of trials side by side, as if each had the host alone."""
    return CALIBRATED if shares_host() else MEASURED


def shares_host() -> bool:
    """Tell whether trials of this command's search train side by side on a host."""
    if not HydraConfig.initialized():
        return False
    hydra = HydraConfig.get()
    if not is_search_sweeper(hydra.sweeper):
        return False
    return (hydra.sweeper.num_workers if is_basic(hydra.launcher._target_) else hydra.sweeper.n_jobs) > 1


def is_search_sweeper(sweeper: DictConfig) -> bool:
    """Tell whether the node hydra.sweeper is that of our own sweeper."""
    return str(sweeper._target_).startswith("hydra_plugins.batchlab_sweeper.")


def is_arms_sweeper(sweeper: DictConfig) -> bool:
    """Tell whether the node hydra.sweeper is that of an experiment."""
    return str(sweeper._target_).startswith("hydra_plugins.batchlab_arms.")
