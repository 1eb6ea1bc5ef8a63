"""A trial as a file that runs it: `batchlab train -cd mlruns/reports/<study> +best=<name>`."""

import shlex
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from batchlab.config.installation import CONF, program
from batchlab.config.schema import Config, declared_key
from batchlab.config.trusted_targets import packages_to_trust


def write_best(folder: Path, name: str, about: str, config: Config, choices: Mapping[str, str]) -> Path:
    """Write ``<folder>/best/<name>.yaml``: every option that was chosen, every setting as it was resolved.

    Args:
        folder: the study's folder of reports.
        name: of the file, without suffix.
        about: one line on what it is.
        config: resolved.
        choices: option of each group.

    Returns:
        The file.
    """
    settings = {key: value for key, value in asdict(config).items() if declared_key(key).affects}
    if settings["data"].get("root") == config.data_root:
        del settings["data"]["root"]
    groups = {group: option for group, option in choices.items() if group not in ("search",) and "/" not in group}
    own = {  # an option from elsewhere is not found again without its folder; all that it says stands below
        group: option if (CONF / group / f"{option}.yaml").exists() else None
        for group, option in groups.items()
        if option
    }
    defaults: list[Any] = [{f"override /{group}": option} for group, option in own.items()]
    path = folder / "best" / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump({"defaults": defaults} | settings, sort_keys=False)
    path.write_text(f"# @package _global_\n# {about}\n{text}")
    return path


def best_command(folder: Path, name: str, config: Config) -> str:
    """What to type to run such a file, quoted for a shell; with trust=[...] where its targets need it.

    Args:
        folder: the study's folder of reports.
        name: of the file.
        config: what stands in it.
    """
    packages = packages_to_trust(config)
    trust = [f"trust=[{','.join(packages)}]"] if packages else []
    return shlex.join([*program().split(), "-cd", str(folder), f"+best={name}", *trust])
