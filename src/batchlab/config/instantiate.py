"""Objects of a node's `_target_`: the only module that calls Hydra's `instantiate`."""

from collections.abc import Callable
from functools import partial
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import get_object, instantiate

from batchlab.config.traits import without_traits
from batchlab.errors import ConfigErrors, config_error


def made(node: dict[str, Any], **given: Any) -> Any:
    """Return what a node's `_target_` makes of its settings; wrong input is raised as such, not wrapped by Hydra.

    Raises:
        ConfigErrors: from the target, or for text that Hydra would read as an interpolation, a second time.
    """
    if "${" in str(node):
        allowed = "has ${ in one of its settings, which would be read as a setting once more"
        raise config_error("_target_", node.get("_target_"), allowed, "the value itself")
    try:
        return instantiate(without_traits(node), **given, _convert_="all")
    except InstantiationException as error:
        if isinstance(error.__cause__, ConfigErrors):
            raise error.__cause__ from None
        raise


def bound(node: dict[str, Any]) -> Callable[..., Any]:
    """Return a node's `_target_` with its settings as a plain partial, cheap to call at every step."""
    return partial(get_object(node["_target_"]), **arguments(node))


def arguments(node: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a node that are arguments of its `_target_`."""
    return {key: value for key, value in without_traits(node).items() if not key.startswith("_")}
