"""Hydra's own node, of which Hydra says nothing until it is used, and then in a traceback."""

import inspect
from collections.abc import Iterator, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from batchlab.config.hydra_internals import locate
from batchlab.errors import ConfigError, reason


def check_hydra(composed: DictConfig) -> Iterator[ConfigError]:
    """Targets of sweeper, launcher and callbacks that cannot be imported, and settings that Hydra would stumble over.

    Args:
        composed: with Hydra's node; every file of it is trusted.
    """
    hydra = OmegaConf.to_container(composed.hydra, resolve=False)
    assert isinstance(hydra, dict)
    callbacks = hydra.get("callbacks") or {}
    nodes = {f"callbacks.{name}": node for name, node in callbacks.items()} if isinstance(callbacks, dict) else {}
    nodes |= {name: hydra.get(name) for name in ("sweeper", "launcher")}
    for name, node in nodes.items():
        yield from _target(f"hydra.{name}", node)
    most = (hydra.get("sweeper") or {}).get("max_batch_size")
    if isinstance(most, int) and most < 1:
        yield ConfigError(
            "hydra.sweeper.max_batch_size", most, "null or an integer from 1", "hydra.sweeper.max_batch_size=1"
        )
    verbose = hydra.get("verbose")
    if not isinstance(verbose, bool | str) and not (isinstance(verbose, list) and all(map(_is_text, verbose))):
        yield ConfigError("hydra.verbose", verbose, "true, false, or names of loggers", "hydra.verbose=true")


def params_of(composed: DictConfig, overrides: Sequence[str]) -> list[str]:
    """Overrides of a multirun that stand in hydra.sweeper.params, as Hydra's own sweeper reads them.

    Args:
        composed: with Hydra's node.
        overrides: that were typed; they count above those of their key.
    """
    params = composed.hydra.sweeper.get("params") or {}
    typed = {line.lstrip("+~").partition("=")[0] for line in overrides}
    return [f"{key}={value}" for key, value in params.items() if key not in typed]


def _target(key: str, node: Any) -> Iterator[ConfigError]:
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


def _is_text(value: object) -> bool:
    return isinstance(value, str)
