"""Hydra's own flags on a command line: those that batchlab follows, and why not the others."""

import shlex
from argparse import Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from batchlab.config.hydra_internals import args_parser
from batchlab.config.installation import CONF, program
from batchlab.config.override_text import swept_values
from batchlab.errors import ConfigError
from batchlab.validation.unreadable import not_a_setting

SEARCHPATH = "hydra.searchpath="
OF_COMMAND = ("hydra.", "hydra/", "mlruns=", "search=")
"""Settings that are one for all jobs of a command begin so."""


def read_flags(arguments: Sequence[str]) -> tuple[Namespace, list[ConfigError]]:
    """Read Hydra's flags of a command line, and find those that cannot be followed."""
    args, unknown = args_parser().parse_known_args(list(arguments))
    unreadable = [word for word in arguments if any(0xD800 <= ord(letter) < 0xE000 for letter in word)]
    fixes = [f"the command without {ascii(word.partition('=')[0])[1:-1]}" for word in unreadable]
    allowed = "is no UTF-8, so that no file could hold it"
    errors = [ConfigError(ascii(word), "", allowed, fix) for word, fix in zip(unreadable, fixes, strict=True)]
    scattered = [word for word in unknown if "=" in word and not word.startswith("-")]
    if scattered:
        settings = [*args.overrides, *scattered]
        fix = shlex.join([*settings, *(word for word in arguments if word not in settings)])
        errors.append(ConfigError(scattered[0], "", "settings stand together, before or behind all flags", fix))
    errors += [not_a_setting(word) for word in unknown if word not in scattered]
    return args, [*errors, *_swept_settings_of_hydra(args.overrides), *_not_followed(args)]


def _swept_settings_of_hydra(overrides: Sequence[str]) -> Iterator[ConfigError]:
    """Find lists and ranges for keys of Hydra's own node and others that are one for all jobs of a command."""
    for line in (line for line in overrides if line.lstrip("+").startswith(OF_COMMAND)):
        try:
            override = OverridesParser.create().parse_override(line)
        except HydraException:
            continue  # said with every other line that cannot be read
        if override.is_sweep_override():
            key, _, value = line.partition("=")
            values = swept_values(override) if override.is_discrete_sweep() else []
            fix = (
                shlex.quote(f"{key}={values[-1 if key == 'search' else 0]}") if values else f"the command without {key}"
            )
            yield ConfigError(key, value, "one value, which is that of the whole command", fix)


def is_only_shown(args: Namespace) -> bool:
    """Tell whether the command only asks to be shown something (--help, --cfg) and runs nothing."""
    return bool(args.help or args.hydra_help or args.cfg or args.info or args.shell_completion)


def folders_from_elsewhere(args: Namespace) -> list[str]:
    """List the addresses of the folders that -cd and hydra.searchpath add, in the order of Hydra's search."""
    folders = [f"file://{Path(args.config_dir).absolute()}"] if args.config_dir else []
    for line in args.overrides:
        if line.startswith(SEARCHPATH):
            try:
                typed = OverridesParser.create().parse_override(line).value()
            except HydraException:
                continue  # said with every other line that cannot be read
            folders += [str(each) for each in typed] if isinstance(typed, list) else []
    return folders


def search_path(folders: Sequence[str]) -> list[str]:
    """Return the override that has Hydra look into folders; empty for none."""
    quoted = (address.replace("\\", "\\\\").replace('"', '\\"') for address in folders)
    return [SEARCHPATH + "[" + ",".join(f'"{address}"' for address in quoted) + "]"] if folders else []


def _not_followed(args: Namespace) -> Iterator[ConfigError]:
    if args.config_path is not None:
        allowed = "conf/ is read always, and a folder of yours beside it"
        yield ConfigError("--config-path", args.config_path, allowed, f"-cd {args.config_path}")
    if args.experimental_rerun is not None:
        allowed, fix = "reads a pickle, which runs what the file says", "the command again; every run has it"
        yield ConfigError("--experimental-rerun", args.experimental_rerun, allowed, fix)
    if args.config_dir is not None and not Path(args.config_dir).is_dir():
        yield ConfigError("--config-dir", args.config_dir, "there is no such folder", "-cd /a/folder/of/yours")
    if args.config_name not in (None, "train", "train.yaml"):
        allowed = "the configuration of a run is train; a file of yours is an option of a group, -cd FOLDER +group=name"
        if (name := args.config_name.removesuffix(".yaml")) in {path.stem for path in CONF.glob("*.yaml")}:
            allowed += f"; {name} is that of `{program(name)}`"
        yield ConfigError("--config-name", args.config_name, allowed, "-cn train")
    asked = {"--run": args.run, "-m": args.multirun, "--cfg": args.cfg, "-sc": args.shell_completion, "-i": args.info}
    if len(typed := [name for name, value in asked.items() if value]) > 1:
        yield ConfigError(" ".join(typed), "", "one of these at a time", typed[-1] if "-m" not in typed else "-m alone")
    if args.resolve and not (args.cfg or args.help):
        yield ConfigError("--resolve", "", "belongs to --cfg", "--cfg job --resolve")
