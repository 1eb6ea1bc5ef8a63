"""Where batchlab stands, in a clone of its repository or installed as a package, and how it is called there."""

import os
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
IS_CLONE = all((PACKAGE.parents[1] / each).is_file() for each in ("pyproject.toml", "train.py", "conf/train.yaml"))
REPOSITORY = PACKAGE.parents[1] if IS_CLONE else Path.cwd()
"""The clone; of an installed package the folder in which a command is typed. mlruns/ and data/ lie there by default."""
CONF = REPOSITORY / "conf" if IS_CLONE else PACKAGE / "conf"
"""The folder of configurations; the wheel has it inside the package."""
CONSOLE_SCRIPT = "BATCHLAB_CONSOLE_SCRIPT"
"""Environment variable of a command that `batchlab` has started, and of every process of it."""


def program(command: str = "train") -> str:
    """Return what a person types to start a command: ``batchlab train``; from a clone ``python train.py``."""
    if not IS_CLONE or CONSOLE_SCRIPT in os.environ:
        return f"batchlab {command}"
    by_name = {"train": "python train.py", "ui": "make ui"}
    return by_name.get(command, f"python scripts/{command}.py")


def usage(command: str, arguments: str = "") -> str:
    """Return a command line padded to the column of its explanation in a help text."""
    return f"{program(command)} {arguments}".ljust(48 if command == "train" else 58) + "  "
