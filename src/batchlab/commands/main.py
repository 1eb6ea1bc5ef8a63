"""The console script `batchlab COMMAND ...`; train.py and scripts/*.py run the same commands from a clone.

Nothing heavy is imported before a signal is noted.
"""

import gc
import os
import sys
from typing import NoReturn

from batchlab.system.signals import ignore_signals, note_signals

COMMANDS = {
    "train": "one training run, several compared (-m batch_size=32,128,512), or a search (search=joint)",
    "advise": "a recommended batch size and learning rate, from a minute of measurements",
    "benchmark": "seconds per step by batch size, and the law fitted to them",
    "noise": "the gradient noise of a trained model",
    "report": "a study's page, from what was recorded",
    "claims": "published claims about batch size: measured, judged",
    "ui": "MLflow UI and Optuna dashboard on 127.0.0.1",
    "proxy": "Optuna's gRPC proxy, between PostgreSQL and many workers",
}


def main() -> NoReturn:
    """Run the command that stands first on the command line."""
    note_signals()
    from batchlab.config.installation import CONSOLE_SCRIPT

    os.environ[CONSOLE_SCRIPT] = "1"
    sys.path.append(os.getcwd())  # where a model of one's own stands
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name in ("-sc", "--shell-completion"):
        name = _completed()
    elif name in COMMANDS:
        sys.argv[:2] = [f"{sys.argv[0]} {name}"]  # what stands behind it is Hydra's
    else:
        sys.exit(_show(name))
    run_command(name)


def run_command(name: str) -> NoReturn:
    """Run a command with what stands behind its name, and end this process with its exit code."""
    note_signals()  # what follows takes a second to import, and is not to be cut off in the middle
    gc.set_threshold(10_000)  # looking for garbage among what is imported took a tenth of a start
    from batchlab.system.exit_codes import exit_code

    code = exit_code(lambda: _run(name))
    ignore_signals()
    sys.exit(code)


def _run(name: str) -> int:
    """Import what does a command's work, do it and return its exit code."""
    if name == "train":
        from batchlab.commands.train.train_command import begin

        return begin()
    if name in ("ui", "proxy"):
        from batchlab.commands import servers

        return servers.serve_ui() if name == "ui" else servers.serve_proxy()
    from batchlab.commands.command_line import run_script

    return run_script(name)


def _completed() -> str:
    """Complete the name of a command, or leave it to train's own completion; the shell's line loses the name."""
    typed, _, rest = os.environ.get("COMP_LINE", "").partition(" ")
    name, space, rest = rest.lstrip().partition(" ")
    if name != "train" or not space:
        print(*(each for each in COMMANDS if each.startswith(name) and not space))
        sys.exit(0)
    os.environ["COMP_LINE"] = f"{typed} {rest}"
    return name


def _show(name: str) -> int:
    """Print the commands or the version; exit code 2 where something else was typed."""
    if name in ("--version", "-V"):
        from importlib.metadata import version

        print(f"batchlab {version('batchlab')}")
        return 0
    lines = ["batchlab: which batch size, with which learning rate, for how long, and why?", ""]
    lines += [f"  batchlab {each:<10} {what}" for each, what in COMMANDS.items()]
    lines += ["", "batchlab COMMAND --help explains a command and its keys."]
    if name in ("--help", "-h", "help"):
        print(*lines, sep="\n")
        return 0
    if name:
        from batchlab.errors import ConfigError, nearest

        close = nearest(name, COMMANDS) or "train"
        lines = [str(ConfigError(name, "", f"no such command; there are {', '.join(COMMANDS)}", f"batchlab {close}"))]
    print(*lines, sep="\n", file=sys.stderr)
    return 2


if __name__ == "__main__":
    main()
