"""Settings of a node against the signature of its `_target_`: open groups, and Hydra's own node."""

import importlib
import inspect
from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf

from batchlab.config.hydra_internals import locate
from batchlab.config.installation import CONF
from batchlab.errors import ConfigError, nearest, reason

GIVEN = {
    "data": {"resident", "num_workers"},
    "model": {"input_shape", "num_classes"},
    "loss": {"traits"},
    "optimizer": {"params", "model", "lr", "traits"},
    "lr_scaling": {"settings", "batch_size", "traits"},
    "lr_schedule": {"progress", "warmup", "warmup_from", "traits"},
    "batch_schedule": {"batch_size", "decay", "num_train", "traits"},
    "measure": {"landscape"},
}
"""Arguments that build.py gives, and keys that it reads itself, by group."""

VARIADIC = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)


def check_signature(group: str, node: dict[str, Any]) -> Iterator[ConfigError]:
    """Find keys of an open group that its `_target_` does not take, and arguments that it misses.

    One error where the target cannot be imported.
    """
    target = node.get("_target_", "")
    try:
        parameters = inspect.signature(locate(target)).parameters
    except Exception as error:
        yield _not_importable(f"{group}._target_", target, error)
        return
    given = GIVEN.get(group.partition(".")[0], set())
    takes_any = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
    takes = [name for name, each in parameters.items() if name not in given and each.kind not in VARIADIC]
    for key, value in node.items():
        if not key.startswith("_") and key not in takes and key not in given and not takes_any:
            close = nearest(key, takes)
            fix = f"{group}.{close}={value}" if close else without(group, key)
            allowed = f"has no effect: {target} takes {', '.join(takes) or 'no settings'}"
            yield ConfigError(f"{group}.{key}", value, allowed, fix)
    for name in takes:
        if parameters[name].default is inspect.Parameter.empty and name not in node:
            yield ConfigError(f"{group}.{name}", "(nothing)", f"{target} needs it", f"+{group}.{name}=...")


def _not_importable(key: str, target: str, error: Exception) -> ConfigError:
    module, _, name = target.rpartition(".")
    try:
        names = dir(importlib.import_module(module))
    except ModuleNotFoundError as missing:
        fix = f"PYTHONPATH=. in front of python where {target.partition('.')[0]}.py lies in this folder"
        return ConfigError(key, target, f"cannot be imported: {missing}", fix)
    except Exception as broken:
        why = f"cannot be imported: {type(broken).__name__}: {broken}"
        return ConfigError(key, target, why, "it again when the module can be imported")
    if name in names:
        return ConfigError(key, target, f"cannot be used: {' '.join(str(error).split())}", f"{key}=package.module.Name")
    close = nearest(name, [found for found in names if not found.startswith("_")])
    return ConfigError(key, target, f"module {module} has no {name}", f"{key}={module}.{close or 'Name'}")


def check_hydra(composed: DictConfig) -> Iterator[ConfigError]:
    """Find targets of sweeper, launcher and callbacks that cannot be imported, and settings that Hydra cannot use.

    Every file of what was composed is trusted.
    """
    hydra = OmegaConf.to_container(composed.hydra, resolve=False)
    assert isinstance(hydra, dict)
    callbacks = hydra.get("callbacks") or {}
    nodes = {f"callbacks.{name}": node for name, node in callbacks.items()} if isinstance(callbacks, dict) else {}
    nodes |= {name: hydra.get(name) for name in ("sweeper", "launcher")}
    for name, node in nodes.items():
        yield from _hydra_target(f"hydra.{name}", node)
    most = (hydra.get("sweeper") or {}).get("max_batch_size")
    if isinstance(most, int) and most < 1:
        key = "hydra.sweeper.max_batch_size"
        yield ConfigError(key, most, "null or an integer from 1", f"{key}=1")
    verbose = hydra.get("verbose")
    names = verbose if isinstance(verbose, list) else [verbose]
    if not isinstance(verbose, bool) and not all(isinstance(each, str) for each in names):
        yield ConfigError("hydra.verbose", verbose, "true, false, or names of loggers", "hydra.verbose=true")


def _hydra_target(key: str, node: Any) -> Iterator[ConfigError]:
    target = node.get("_target_") if isinstance(node, dict) else node
    if not isinstance(target, str) or not isinstance(node, dict):
        yield ConfigError(key, node, "a node with a _target_", f"the command without {key}")
        return
    try:
        found = locate(target)
    except Exception as error:
        allowed = f"cannot be imported: {reason(error)}"
        yield ConfigError(f"{key}._target_", target, allowed, f"the command without {key}._target_")
        return
    if not callable(found):
        yield ConfigError(f"{key}._target_", target, "is no class or function", f"the command without {key}._target_")
        return
    takes = inspect.signature(found).parameters
    if not any(each.kind is each.VAR_KEYWORD for each in takes.values()):
        for name in (name for name in node if name not in takes and not name.startswith("_")):
            allowed = f"{target} does not take it"
            yield ConfigError(f"{key}.{name}", node[name], allowed, f"the command without {key}._target_")


def without(group: str, key: str) -> str:
    """Say what to type where no setting has nearly the name: the command without it, or an option that has it."""
    having = []
    for file in sorted((CONF / group).glob("*.yaml")):
        node = OmegaConf.to_container(OmegaConf.load(file))
        assert isinstance(node, dict)
        having += [file.stem] if key in node.get(group, node) else []
    choice = f", or {group}={' or '.join(having)} with it" if having else ""
    return f"the command without {group}.{key}{choice}"
