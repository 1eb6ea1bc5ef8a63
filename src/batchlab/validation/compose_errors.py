"""Why Hydra could not compose a command line, said in the same form as every other error."""

import shlex
from dataclasses import fields, is_dataclass
from types import SimpleNamespace
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf

from batchlab.config.command_keys import KEYS, key_errors
from batchlab.config.compose import COMPOSE_ERRORS, compose, without_hydra
from batchlab.config.hydra_internals import keys_of
from batchlab.config.installation import program
from batchlab.config.keys import KINDS, Key
from batchlab.config.keys import keys_of as keys_of_schema
from batchlab.config.override_text import override_text, swept_values
from batchlab.config.resolve import resolved
from batchlab.config.schema import declared_key
from batchlab.errors import ConfigError, ConfigErrors, nearest, reason
from batchlab.validation.rules import check_config
from batchlab.validation.unreadable import joined, not_a_setting, unreadable

SYNONYMS = {
    "learning_rate": "lr",
    "num_epochs": "epochs",
    "dataset": "data",
    "network": "model",
    "random_seed": "seed",
    "accumulation_steps": "micro_batch_size",
    "amp": "precision",
    "n_trials": "hydra.sweeper.n_trials",
    "num_workers": "hydra.sweeper.num_workers",
    "checkpoint_every": "checkpoint.every_seconds",
    "checkpoint_every_seconds": "checkpoint.every_seconds",
    "storage": "hydra.sweeper.storage",
}
"""What other programs call a key of ours."""
OPTION_SYNONYMS = {"optuna": "batchlab", "mse": "squared_error", "l2": "squared_error"} | dict.fromkeys(
    ("ce", "nll", "xent"), "cross_entropy"
)
"""What other programs call an option of ours."""
TABLES = (".csv", ".tsv", ".txt", ".gz", ".parquet")


def diagnose(config_name: str, overrides: list[str], extra: list[str], message: str) -> list[ConfigError]:
    """Find each override that cannot be composed, one by one, and what gate 1 says of the others.

    Args:
        config_name: primary configuration.
        overrides: what was typed; each value of a list is tried alone.
        extra: overrides of our own, e.g. the search path.
        message: Hydra's own, told where no single override is to blame.
    """
    own, extra = extra, [*extra, *_group_lines(config_name, overrides, extra)]
    try:
        default = compose(config_name, extra)
    except COMPOSE_ERRORS:  # of groups that do not go together
        default = compose(config_name, own)
    HydraConfig.instance().set_config(default)  # what a default is made of, as the study's name is
    errors, good = [], []
    for line, cut_off in joined(overrides):
        if cut_off:
            key, _, value = line.partition("=")
            is_list = OmegaConf.is_list(OmegaConf.select(default, key, throw_on_missing=False))
            fix = shlex.quote(cut_off if is_list else cut_off.replace("=[", "=").removesuffix("]"))
            fix = fix if is_list and "=[" in cut_off else f"-m {fix}"
            errors.append(ConfigError(key, value, "a list has no spaces and does not end in a comma", fix))
            continue
        found = _errors_of(config_name, line, extra, default)
        errors += found
        good += [] if found else _values(line)[:1]
    if not errors:
        said = " ".join(message.split("full_key", maxsplit=1)[0].split()).rstrip(".")
        words = [word.partition("=") for word in overrides if "${" in word or word.startswith("~")]
        words = words or [word.partition("=") for word in overrides]
        return [ConfigError(key, value, said, f"the command without {key}") for key, _, value in words]
    try:
        rest = compose(config_name, [*extra, *good])
        HydraConfig.instance().set_config(rest)
        mended = {word.partition("=")[0] for error in errors for word in error.fix.replace("'", "").split()}
        plain: Any = OmegaConf.to_container(without_hydra(rest), resolve=True)
        more = [*key_errors(config_name, SimpleNamespace(**plain)), *check_config(resolved(without_hydra(rest)))]
        mended -= {line.lstrip("+~").partition("=")[0] for line in overrides}
        errors += [error for error in more if error.key not in mended]  # one mistake, one message
    except ConfigErrors as error:
        errors += error.errors
    except COMPOSE_ERRORS:
        pass  # the others do not stand alone; what was found is enough to fix
    return errors


def _group_lines(config_name: str, overrides: list[str], extra: list[str]) -> list[str]:
    """List what was typed that chooses an option of a group, without which there are none of its keys."""
    loader = GlobalHydra.instance().config_loader()
    lines = [line for line in overrides if "=" in line and loader.get_group_options(line.partition("=")[0])]
    default = compose(config_name, extra)
    return [_values(line)[0] for line in lines if not _errors_of(config_name, line, extra, default)]


def _values(line: str) -> list[str]:
    """List an override with each of its values; none where it is an interval."""
    override = OverridesParser.create().parse_override(line)
    if not override.is_sweep_override():
        return [line]
    if override.is_interval_sweep():
        return []
    return [f"{override.get_key_element()}={value}" for value in swept_values(override)]


def _errors_of(config_name: str, line: str, extra: list[str], default: DictConfig) -> list[ConfigError]:
    key, equals, _ = line.lstrip("+~").partition("=")
    if not equals and not line.startswith("~"):
        return [not_a_setting(line)]
    try:
        lines = _values(line)
    except HydraException:
        return [unreadable(line, OmegaConf.select(default, key, throw_on_missing=False))]
    found = (_error_of(config_name, each, extra, default) for each in lines)
    return [error for error in found if error]


def _error_of(config_name: str, line: str, extra: list[str], default: DictConfig) -> ConfigError | None:
    key, _, value = line.lstrip("+~").partition("=")
    try:
        compose(config_name, [*extra, line])
    except MissingConfigException as error:
        options = [option for option in error.options or [] if not option.startswith("_")]  # what others share
        allowed = f"no such option; there are {', '.join(options)}" if options else "no such group of options"
        return ConfigError(key, value, allowed, _option_like(key, value, options, default))
    except COMPOSE_ERRORS as error:
        if line.startswith("+") and OmegaConf.select(default, key, throw_on_missing=False) is not None:
            return ConfigError(f"+{key}", value, "+ adds a new key, and this one is there", line.lstrip("+"))
        return _value_or_key(key, value, error, default)
    return None


def _option_like(key: str, value: str, options: list[str], default: DictConfig) -> str:
    """Return the override of the option that was meant, else of the one that stands there without it."""
    if key == "data" and value.endswith(TABLES):
        return f"data=table {override_text('data.path', value)}"
    if "." in value and "own" in options:
        return f"{key}=own {key}._target_={value}"
    synonym = OPTION_SYNONYMS.get(value)
    close = synonym if synonym in options else nearest(value, options)
    return f"{key}={close or default.hydra.runtime.choices.get(key) or '...'}"


def _value_or_key(key: str, value: str, error: Exception, default: DictConfig) -> ConfigError:
    known = OmegaConf.select(default, key, throw_on_missing=False)
    keys = keys_of(default)
    if known is None and key not in keys:
        return _unknown_key(key, value, keys)
    said = "must have a value" if value == "null" else reason(error.__cause__ or error).rstrip(".")
    said = said[:1].lower() + said[1:]
    choices = default.hydra.runtime.choices
    if key in choices:
        return ConfigError(key, value, said, f"{key}={choices[key]}")
    if isinstance(known, DictConfig) and len(known):
        first = next(iter(known))
        allowed = f"holds settings of its own: {', '.join(f'{key}.{name}' for name in known)}"
        has_no_place = isinstance(known[first], DictConfig) or value[:1] in ("[", "{")
        fix = f"the command without {key}" if has_no_place else f"{key}.{first}={value}"
        return ConfigError(key, value, allowed, fix)
    if OmegaConf.is_list(known) and not value.startswith("["):
        return ConfigError(key, value, "a list stands in brackets", shlex.quote(f"{key}=[{value}]"))
    items = OverridesParser.create().parse_override(f"key={value}").value() if value[:1] == "[" else None
    if (wrong := _declaration(key, default).error(items or value, key)) is not None:
        return wrong
    if value != "null" and type(known) in KINDS:
        said = KINDS[type(known)]
    plain = OmegaConf.to_container(known) if OmegaConf.is_config(known) else known
    fix = f"the command without {key}" if known is None else override_text(key, plain)
    return ConfigError(key, value, said, fix)


def _declaration(key: str, default: DictConfig) -> Key:
    """Return the declaration of a key: of a run's, a command's or a sweeper's."""
    group, _, name = key.rpartition(".")
    node = OmegaConf.select(default, group) if group else default
    schema = OmegaConf.get_type(node) if isinstance(node, DictConfig) else None
    of_schema = keys_of_schema(schema) if is_dataclass(schema) and isinstance(schema, type) else ()
    return next((each for each in of_schema if each.name == name), declared_key(key))


def _unknown_key(key: str, value: str, keys: list[str]) -> ConfigError:
    inner = [each for each in keys if each.endswith(f".{key}") and not each.startswith("hydra.")]
    if inner and key not in SYNONYMS and f"hydra.sweeper.{key}" not in keys:
        fix = override_text(inner[0], value) if value[:1] != "[" else shlex.quote(f"{inner[0]}={value}")
        return ConfigError(key, value, f"no such key; there is {' and '.join(inner)}", fix)
    others = [program(name) for name, kind in KEYS.items() if key in {each.name for each in fields(kind)}]
    if others and key not in SYNONYMS:
        return ConfigError(key, value, f"a key of {' and '.join(others)}", f"the command without {key}")
    if f"hydra.sweeper.{key}" in keys:
        return ConfigError(key, value, "no such key; it is a key of the sweeper", f"hydra.sweeper.{key}={value}")
    if key.startswith("hydra.sweeper.") and "hydra.sweeper.n_trials" not in keys:
        return ConfigError(key, value, "a key of the search's sweeper", f"search=joint {key}={value}")
    loader = GlobalHydra.instance().config_loader()
    options = {group: loader.get_group_options(group) for group in loader.list_groups("")}
    groups = [group for group, names in options.items() if value in names or nearest(value, names)]
    alike = [each for each in keys if each.startswith("hydra.sweeper.") == key.startswith("hydra")]
    named = [each for each in alike if each not in options and not each.endswith(("_target_", "_partial_"))]
    close = nearest(key, [*named, *groups, *SYNONYMS])
    if close is None:
        table = f"data=table {override_text('data.path', value)}" if value.endswith(TABLES) else ""
        return ConfigError(key, value, "no such key; --help lists them", table or f"the command without {key}")
    close = SYNONYMS.get(close, close)
    return ConfigError(key, value, f"no such key; the nearest is {close}", f"{close}={value}")
