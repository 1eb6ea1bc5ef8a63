"""Why Hydra could not compose a command line, said in the same form as every other error."""

import re
import shlex

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf

from batchlab.config.compose import COMPOSE_ERRORS, compose, without_hydra
from batchlab.config.hydra_internals import keys_of
from batchlab.config.resolve import resolved
from batchlab.errors import ConfigError, ConfigErrors, nearest
from batchlab.validation.rules import check_config

FUNCTIONS = ["choice", "range", "interval", "int", "float", "tag", "sort", "shuffle", "glob"]
"""Of Hydra's override grammar, those that make a list or a range."""
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


def diagnose(config_name: str, overrides: list[str], extra: list[str], message: str) -> list[ConfigError]:
    """Each override that cannot be composed, one by one, and what gate 1 says of the others.

    Args:
        config_name: primary configuration.
        overrides: what was typed; each value of a list is tried alone.
        extra: overrides of our own, e.g. the search path.
        message: Hydra's own, used where no single override is to blame.

    Returns:
        At least one error.
    """
    extra = [*extra, *_sweeper_lines(config_name, overrides, extra)]
    default = compose(config_name, extra)
    errors, good = [], []
    for line in overrides:
        found = _errors_of(config_name, line, extra, default)
        errors += found
        good += [] if found else _values(line)[:1]
    if not errors:
        return [ConfigError("the command line", " ".join(overrides), " ".join(message.split()), "it differently")]
    try:
        rest = compose(config_name, [*extra, *good])
        HydraConfig.instance().set_config(rest)
        errors += check_config(resolved(without_hydra(rest)))
    except ConfigErrors as error:
        errors += error.errors
    except COMPOSE_ERRORS:
        pass  # the others do not stand alone; what was found is enough to mend
    return errors


def _sweeper_lines(config_name: str, overrides: list[str], extra: list[str]) -> list[str]:
    """What was typed that chooses a sweeper: only with it are there its keys."""
    lines = [line for line in overrides if line.startswith(("search=", "hydra/sweeper="))]
    default = compose(config_name, extra)
    return [line for line in lines if not _errors_of(config_name, line, extra, default)]


def _values(line: str) -> list[str]:
    """An override with each of its values; none where it is an interval."""
    override = OverridesParser.create().parse_override(line)
    if not override.is_sweep_override():
        return [line]
    if override.is_interval_sweep():
        return []
    return [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]


def _errors_of(config_name: str, line: str, extra: list[str], default: DictConfig) -> list[ConfigError]:
    key, equals, value = line.lstrip("+~").partition("=")
    if not equals and not line.startswith("~"):
        return [not_a_setting(line)]
    try:
        lines = _values(line)
    except HydraException:
        if value.endswith(","):
            return [ConfigError(key, value, "a list has no spaces and does not end in a comma", f"-m {key}={value}64")]
        calls = re.findall(r"(\w+)\(", value) if re.fullmatch(r"\w+\(.*\)", value) else []
        for name in (name for name in calls if name not in FUNCTIONS):
            allowed = f"there is no {name}(); there are {', '.join(FUNCTIONS)}"
            better = line.replace(f"{name}(", f"{nearest(name, FUNCTIONS) or 'interval'}(")
            return [ConfigError(key, value, allowed, shlex.quote(better))]
        quoted = shlex.quote(f'{key}="{value.replace(chr(34), chr(92) + chr(34))}"')
        return [ConfigError(key, value, "cannot be read; text with spaces or signs stands in quotes", quoted)]
    found = (_error_of(config_name, each, extra, default) for each in lines)
    return [error for error in found if error]


def not_a_setting(word: str) -> ConfigError:
    """The error for a word on the command line that is no setting."""
    fix = "python train.py --help" if word.strip("-") in ("h", "help") else "key=value, e.g. -m batch_size=32,64"
    return ConfigError(word, "", "is no setting; settings are key=value, lists have no spaces", fix)


def _error_of(config_name: str, line: str, extra: list[str], default: DictConfig) -> ConfigError | None:
    key, _, value = line.lstrip("+~").partition("=")
    try:
        compose(config_name, [*extra, line])
    except MissingConfigException as error:
        options = [option for option in error.options or [] if not option.startswith("_")]  # what others share
        allowed = f"no such option; there are {', '.join(options)}" if options else "no such group of options"
        close = nearest(value, options) or (options[0] if options else "...")
        return ConfigError(key, value, allowed, f"{key}={close}")
    except COMPOSE_ERRORS as error:
        return _value_or_key(key, value, error, default)
    return None


def _value_or_key(key: str, value: str, error: Exception, default: DictConfig) -> ConfigError:
    known = OmegaConf.select(default, key, throw_on_missing=False)
    keys = [each for each in keys_of(default) if each.startswith("hydra.sweeper.") == key.startswith("hydra")]
    if known is None and f"hydra.sweeper.{key}" in keys_of(default):
        return ConfigError(key, value, "no such key; it is a key of the sweeper", f"hydra.sweeper.{key}={value}")
    if known is None and key not in keys:
        if key.startswith("hydra.sweeper.") and "hydra.sweeper.n_trials" not in keys:
            return ConfigError(key, value, "a key of the search's sweeper", f"search=joint {key}={value}")
        groups = GlobalHydra.instance().config_loader().list_groups("")
        named = [each for each in keys if not each.endswith(("_target_", "_partial_"))]
        close = nearest(key, [*named, *groups, *SYNONYMS]) or "see python train.py --help"
        close = SYNONYMS.get(close, close)
        fix = f"{close}={value}" if "=" not in close and " " not in close else close
        return ConfigError(key, value, f"no such key; the nearest is {close}", fix)
    is_group = key in GlobalHydra.instance().config_loader().list_groups("")
    if isinstance(known, DictConfig) and len(known) and not is_group:
        first = next(iter(known))
        allowed = f"holds settings of its own: {', '.join(f'{key}.{name}' for name in known)}"
        return ConfigError(key, value, allowed, f"{key}.{first}={value}")
    if OmegaConf.is_list(known) and not value.startswith("["):
        return ConfigError(key, value, "a list stands in brackets", shlex.quote(f"{key}=[{value}]"))
    cause = error.__cause__ or error
    reason = str(cause).splitlines()[0].rstrip(".")
    example = known if known is not None else "a value of its type"
    return ConfigError(key, value, reason[:1].lower() + reason[1:], f"{key}={example}")
