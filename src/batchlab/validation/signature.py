"""Keys of an open group against the signature of its `_target_`."""

import importlib
import inspect
from collections.abc import Iterator
from typing import Any

from omegaconf import OmegaConf

from batchlab.config.hydra_internals import locate
from batchlab.config.schema import REPOSITORY
from batchlab.errors import ConfigError, nearest

GIVEN = {
    "data": {"resident"},
    "model": {"input_shape", "num_classes"},
    "loss": {"traits"},
    "optimizer": {"params", "model", "lr", "traits"},
    "lr_scaling": {"settings", "batch_size", "traits"},
    "lr_schedule": {"progress", "warmup", "warmup_from", "traits"},
    "batch_schedule": {"batch_size", "decay", "num_train", "traits"},
    "measure": {"landscape"},
}
"""Arguments that build.py gives, and keys that it reads itself, by group."""


def check_signature(group: str, node: dict[str, Any]) -> Iterator[ConfigError]:
    """Keys of an open group that its `_target_` does not take, and arguments that it misses.

    Args:
        group: name of the group, e.g. ``optimizer``.
        node: its settings; `_target_` among them.

    Yields:
        An error for each wrong or missing key, or one for a target that cannot be imported.
    """
    target = node.get("_target_", "")
    try:
        parameters = inspect.signature(locate(target)).parameters
    except Exception as error:
        yield _not_importable(f"{group}._target_", target, error)
        return
    given = GIVEN.get(group.partition(".")[0], set())
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    takes = [
        name
        for name, parameter in parameters.items()
        if name not in given and parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
    ]
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
        reason = f"cannot be imported: {type(broken).__name__}: {broken}"
        return ConfigError(key, target, reason, "it again when the module can be imported")
    if name in names:
        return ConfigError(key, target, f"cannot be used: {' '.join(str(error).split())}", f"{key}=package.module.Name")
    close = nearest(name, [found for found in names if not found.startswith("_")])
    return ConfigError(key, target, f"module {module} has no {name}", f"{key}={module}.{close or 'Name'}")


def without(group: str, key: str) -> str:
    """What to type where no setting has nearly the name: another option of the group that has it, or nothing."""
    having = []
    for file in sorted((REPOSITORY / "conf" / group).glob("*.yaml")):
        node = OmegaConf.to_container(OmegaConf.load(file))
        assert isinstance(node, dict)
        having += [file.stem] if key in node.get(group, node) else []
    choice = f", or {group}={' or '.join(having)} with it" if having else ""
    return f"the command without {group}.{key}{choice}"
