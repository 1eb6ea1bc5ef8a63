"""Trusted `_target_`s: one in a configuration runs code, so that files from elsewhere need trust=[package].

Trusted are the targets that are typed and those that stand in conf/ or in the options of installed plugins: exactly
these, and not their packages, because torch.load runs what its file says. Files from elsewhere (-cd, hydra.searchpath,
saved picks) may use the same ones; for any other, and for the keys by which Hydra itself runs commands, a person types
whom to trust. Everything is read as it stands there: nothing is resolved or imported before it is trusted.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

from batchlab.config.hydra_internals import chosen_files
from batchlab.config.installation import CONF
from batchlab.config.schema import Config
from batchlab.errors import ConfigError

TARGET, SUGGEST = "_target_", "hydra.sweeper.custom_search_space"
"""Keys whose value names a function or class that is called."""
HARMLESS = ("hydra.sweeper.", "hydra.callbacks.", "hydra.mode", "hydra.help.")
"""Keys of Hydra that run nothing beside the targets in them; launchers, logging and the environment do."""
STORE = "hydra.sweeper.storage"
"""Optuna's CMA-ES reads a pickle from its store."""
PARAMS, ARMS = "hydra.sweeper.params.", ("hydra.sweeper.arms.", "hydra.sweeper.presets.")
"""Where overrides of jobs stand: as keys, and as lines."""
RESOLVERS = "oc[.]env:|oc[.]select:|now:|hydra:(?:runtime|job)[.]|times:|repository:|default_study:|process_id:"
RESOLVERS += "|time_objective:|launch_of:"
PLAIN = re.compile(rf"\$\{{(?:{RESOLVERS}|[\w.@\[\]-]*\}})")
"""An interpolation that gives a value that stands elsewhere: it makes no node out of text, and loads no data."""
LOADS_DATA = "${quarter_of_train:}"
"""Allowed in the ranges of a search alone, which are read when the targets have been."""


@dataclass(frozen=True)
class Foreign:
    """A configuration file from elsewhere that was chosen."""

    path: str  # of it
    settings: dict[str, Any]  # by dotted key, as they stand there


def check_trust(config: Config) -> Iterator[ConfigError]:
    """Find names in `trust` that are no packages."""
    for name in config.trust:
        if not all(part.isidentifier() for part in name.split(".")):
            yield ConfigError("trust", name, "packages or modules, as they are imported", "trust=[mypackage]")


def untrusted(
    composed: DictConfig, config_name: str, lines: Sequence[str], overrides: Sequence[str]
) -> list[ConfigError]:
    """Find what files from elsewhere would run without being trusted: targets, and keys by which Hydra runs commands.

    Args:
        composed: with Hydra's node.
        config_name: its primary configuration.
        lines: overrides that it was composed from.
        overrides: those of them that were typed.
    """
    files = list(_foreign_files(config_name, lines)) if has_folders_from_elsewhere(composed) else []
    if not files:
        return []
    errors = [error for file in files for error in _forbidden(file)]
    trust = [] if errors else list(composed.trust)
    if not _is_trusted("hydra", trust):
        errors += [error for file in files for error in _commands(file)]
    node = OmegaConf.to_container(composed, resolve=False)
    found = [(key, str(target)) for key, target in _leaves(node) if _is_target(key) and target is not None]
    return errors + _strangers(found, trust, overrides, files)


def untrusted_jobs(configs: Iterable[Config], overrides: Sequence[str]) -> list[ConfigError]:
    """Find targets without trust that ranges, lists and arms of files from elsewhere put into jobs."""
    errors = []
    for config in configs:
        found = [(key, str(target)) for key, target in _leaves(asdict(config)) if _is_target(key)]
        errors += _strangers(found, config.trust, overrides, [])
    return errors


def packages_to_trust(config: Config) -> list[str]:
    """List the packages that a configuration needs to be trusted where it is a file from elsewhere."""
    targets = [str(target) for key, target in _leaves(asdict(config)) if _is_target(key)]
    return sorted({target.partition(".")[0] for target in targets if target not in _own_targets()})


def has_folders_from_elsewhere(composed: DictConfig) -> bool:
    """Tell whether files of other folders than conf/ can be chosen; `composed` has Hydra's node."""
    sources = composed.hydra.runtime.config_sources
    return any(_is_foreign(each.provider, f"{each.schema}://{each.path}") for each in sources)


def _is_foreign(provider: str, address: str) -> bool:
    is_added = provider == "command-line" or provider.startswith("hydra.searchpath")
    is_own = address.startswith("file://") and Path(address.removeprefix("file://")).resolve().is_relative_to(CONF)
    return is_added and not is_own


def _foreign_files(config_name: str, lines: Sequence[str]) -> Iterator[Foreign]:
    for file in chosen_files(config_name, lines):
        if _is_foreign(file.provider, file.folder):
            name = f"{file.folder.removeprefix('file://')}/{file.name}"
            yield Foreign(name if name.endswith(".yaml") else f"{name}.yaml", dict(_leaves(file.settings)))


def _leaves(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """List every value below a node that is no dict or list, with its dotted key."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else None
    if items is None:
        yield key, node
    for name, value in items or ():
        yield from _leaves(value, f"{key}.{name}" if key else str(name))


def _is_target(key: str) -> bool:
    is_range = key.startswith(PARAMS)  # its values are looked at in the jobs
    return (key.rpartition(".")[2] == TARGET and not is_range) or key == SUGGEST


def _forbidden(file: Foreign) -> Iterator[ConfigError]:
    """Find what no file from elsewhere may do, trusted or not: trust itself, or make settings out of text."""
    for key, value in file.settings.items():
        if key.partition(".")[0] == "trust":
            fix = f"'trust=[{value}]' on the command line"
            yield ConfigError("trust", value, f"a file cannot trust itself: {file.path}", fix)
        text = value if isinstance(value, str) else ""
        text = text.replace(LOADS_DATA, "") if key.startswith(PARAMS) else text
        if text.count("${") > len(PLAIN.findall(text)) or "\\$" in text or (_is_target(key) and "${" in text):
            allowed = f"text that becomes a setting is not read in a file from elsewhere: {file.path}"
            yield ConfigError(key, text, allowed, f"{key}=... on the command line, and nothing there")


def _commands(file: Foreign) -> Iterator[ConfigError]:
    for key, value in file.settings.items():
        if _is_command(key, value):
            allowed = f"has Hydra run commands or write files, and stands in a file from elsewhere: {file.path}"
            yield ConfigError(key, value, allowed, f"'trust=[hydra]' where you trust that file, or {key}=... yourself")


def _is_command(key: str, value: Any) -> bool:
    """Tell whether Hydra itself runs a command, writes a file or sets the environment as a setting says."""
    if key.startswith((PARAMS, *ARMS)):
        line = key.removeprefix(PARAMS) if key.startswith(PARAMS) else str(value)
        return line.lstrip("+~").startswith("hydra")
    return f"{key}.".startswith(f"{STORE}.") or (key.startswith("hydra.") and not key.startswith(HARMLESS))


def _strangers(
    found: list[tuple[str, str]], trust: Sequence[str], overrides: Sequence[str], files: Sequence[Foreign]
) -> list[ConfigError]:
    lines = [line for line in overrides if not line.startswith("hydra.searchpath=")]
    typed = [line for line in lines if TARGET in line or SUGGEST in line]
    strange = {
        key: target
        for key, target in found
        if target not in _own_targets() and not _is_trusted(target, trust) and not _is_in(target, typed)
    }
    packages = sorted({*trust, *(target.partition(".")[0] for target in strange.values())})
    errors = []
    for key, target in strange.items():
        where = [file.path for file in files if key in file.settings] or [file.path for file in files]
        allowed = f"runs code, and stands in a file from elsewhere{': ' if where else ''}{', '.join(where)}"
        errors.append(ConfigError(key, target, allowed, f"'trust=[{','.join(packages)}]' too, where you trust it"))
    return errors


def _is_trusted(target: str, trust: Sequence[str]) -> bool:
    return any(target == name or target.startswith(f"{name}.") for name in trust)


def _is_in(target: str, lines: Sequence[str]) -> bool:
    """Tell whether a target stands in one of the lines as a whole."""
    return any(re.search(rf"(?<![\w.]){re.escape(target)}(?![\w.])", line) for line in lines)


@lru_cache(maxsize=1)
def _own_targets() -> frozenset[str]:
    """List every target that stands in conf/, or in an option that an installed plugin registered."""
    nodes = [yaml.safe_load(path.read_text()) for path in sorted(CONF.rglob("*.yaml"))]
    nodes += [OmegaConf.to_container(node, resolve=False) for node in _registered(ConfigStore.instance().repo)]
    targets = {str(value) for node in nodes for key, value in _leaves(node) if _is_target(key)}
    return frozenset(targets - {"???", "None"})


def _registered(folder: dict[str, Any]) -> Iterator[DictConfig]:
    for entry in folder.values():
        if isinstance(entry, dict):
            yield from _registered(entry)
        elif isinstance(entry.node, DictConfig):
            yield entry.node
