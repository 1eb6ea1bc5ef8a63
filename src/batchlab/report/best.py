"""A trial as a file that runs it: `python train.py -cd mlruns/reports/<study> +best=<name>`."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from batchlab.config import Config

NOT_OF_THE_TRIAL = ("study", "mlruns", "data_root", "objectives")


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
    settings = {key: value for key, value in asdict(config).items() if key not in NOT_OF_THE_TRIAL}
    if settings["data"].get("root") == config.data_root:
        del settings["data"]["root"]
    groups = {group: option for group, option in choices.items() if group not in ("search",) and "/" not in group}
    defaults: list[Any] = [{f"override /{group}": option} for group, option in groups.items() if option]
    path = folder / "best" / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump({"defaults": defaults} | settings, sort_keys=False)
    path.write_text(f"# @package _global_\n# {about}\n{text}")
    return path
