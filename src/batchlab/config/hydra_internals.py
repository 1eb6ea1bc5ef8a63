"""The private parts of Hydra that batchlab relies on; tests/config/test_hydra_internals.py says what of them."""

from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.defaults_list import create_defaults_list
from hydra._internal.utils import _locate, get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf

BASIC_LAUNCHER = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"


@dataclass(frozen=True)
class ConfigFile:
    """A file of a composition."""

    provider: str  # who added its folder, e.g. ``main``, ``command-line``.
    folder: str  # address of the folder, ``file://...``
    name: str  # in the folder, ``<group>/<option>`` or that of the primary configuration
    settings: dict[str, Any]  # at the place where the composition has them; nothing is resolved


def args_parser() -> ArgumentParser:
    """Return the parser of Hydra's own flags (-m, --cfg, -cd ...); what is no flag comes as `overrides`."""
    return get_args_parser()


def locate(target: str) -> Any:
    """Import the object of a dotted name; unlike `hydra.utils.get_object` nothing is logged where there is none.

    Raises:
        Exception: whatever the import raises, wrapped in ImportError.
    """
    return _locate(target)


def chosen_files(config_name: str, lines: Sequence[str]) -> Iterator[ConfigFile]:
    """List the files of which a configuration is composed, Hydra's own among them; nothing is instantiated."""
    loader = GlobalHydra.instance().config_loader()
    assert isinstance(loader, ConfigLoaderImpl)
    parsed, repository = loader._parse_overrides_and_create_caching_repo(config_name, list(lines))
    chosen = create_defaults_list(repository, config_name, parsed, prepend_hydra=True, skip_missing=False)
    for name, package in dict.fromkeys((each.config_path, each.package) for each in chosen.defaults):
        loaded = repository.load_config(name) if name else None
        if name and loaded is not None:
            settings = OmegaConf.to_container(loader._embed_result_config(loaded, package).config, resolve=False)
            assert isinstance(settings, dict)
            yield ConfigFile(loaded.provider, loaded.path, name, {str(key): each for key, each in settings.items()})


def is_basic(target: str) -> bool:
    """Tell whether the `_target_` of a launcher is that of Hydra's own, which runs jobs in this process."""
    return target == BASIC_LAUNCHER


def is_in_process(launcher: Launcher) -> bool:
    """Tell whether a launcher runs jobs one after the other in this process."""
    kind = type(launcher)  # Hydra imports its plugins anew when it looks for them, so that there are two of this class
    return is_basic(f"{kind.__module__}.{kind.__name__}")


def job_error(returned: JobReturn) -> BaseException:
    """Return what a failed job raised; `JobReturn.return_value` would print and raise it."""
    return returned._return_value


def keys_of(node: DictConfig, prefix: str = "") -> list[str]:
    """List every dotted key below a node without resolving an interpolation."""
    keys = []
    for name in node:
        keys.append(f"{prefix}{name}")
        child = node._get_node(name)
        if isinstance(child, DictConfig) and not child._is_none() and not child._is_missing():
            keys += keys_of(child, f"{prefix}{name}.")
    return keys
