"""A composed configuration as plain typed objects, and its settings by key."""

from collections.abc import Iterator
from dataclasses import MISSING as NO_FACTORY
from dataclasses import asdict
from typing import Any

from omegaconf import DictConfig, OmegaConf

from batchlab.config.keys import MISSING
from batchlab.config.schema import OPEN_GROUPS, Budget, Checkpoint, Config, Eval, Measure, Memory
from batchlab.config.traits import TRAITS
from batchlab.errors import ConfigError, ConfigErrors


def resolved(config: DictConfig) -> Config:
    """Make plain typed objects of a composed configuration, interpolations resolved, without Hydra's own node.

    Raises:
        ConfigErrors: where a value that must be given is not, or a key was added that nothing reads.
    """
    missing = sorted(key for key in OmegaConf.missing_keys(config) if not key.startswith("hydra."))
    if missing:
        raise ConfigErrors(*map(_missing, missing))
    values = OmegaConf.to_container(config, resolve=True)
    assert isinstance(values, dict)
    settings = {str(key): value for key, value in values.items() if key != "hydra"}
    allowed = getattr(OmegaConf.get_type(config), "__dataclass_fields__", Config.__dataclass_fields__)
    if added := [key for key in settings if key not in allowed]:
        raise ConfigErrors(*(_added(key, settings[key]) for key in added))
    if deleted := [key for key in Config.__dataclass_fields__ if key not in settings]:
        raise ConfigErrors(*map(_deleted, deleted))
    if others := [error for name, value in settings.items() for error in _of_another_kind(name, value)]:
        raise ConfigErrors(*others)
    return typed({key: value for key, value in settings.items() if key in Config.__dataclass_fields__})


def typed(settings: dict[str, Any]) -> Config:
    """Make a configuration of plain settings, as `asdict` gives them; their types were checked against the schema."""
    groups = {"budget": Budget, "eval": Eval, "memory": Memory, "measure": Measure, "checkpoint": Checkpoint}
    return Config(**settings | {name: group(**settings[name]) for name, group in groups.items()})


def _of_another_kind(name: str, value: Any) -> Iterator[ConfigError]:
    """Find an interpolation that became no list or no group where one belongs: OmegaConf checks scalars only."""
    field = Config.__dataclass_fields__.get(name)
    if field is None or field.default_factory is NO_FACTORY:
        return
    is_list = isinstance(field.default_factory(), list)
    if not isinstance(value, list if is_list else dict):
        yield ConfigError(name, value, "a list" if is_list else "a group of settings", f"the command without {name}")


def _missing(key: str) -> ConfigError:
    """Return the error of a missing value; where a closed group misses one, the group itself was deleted."""
    group, _, name = key.partition(".")
    if name and group not in OPEN_GROUPS:
        return _deleted(group)
    return ConfigError(key, MISSING, "must be given", f"{key}=...")


def _deleted(key: str) -> ConfigError:
    return ConfigError(f"~{key}", "", "every run has it", f"the command without ~{key}")


def _added(key: str, value: Any) -> ConfigError:
    if key == "best":
        allowed = (
            "no such pick; a search writes its picks into mlruns/reports/<study>/best, and one folder goes with it"
        )
        return ConfigError(key, value, allowed, f"-cd mlruns/reports/<study of a search> +best={value}")
    return ConfigError(key, value, "no such key; nothing reads it", f"the command without {key}")


def flat_params(config: Config) -> dict[str, Any]:
    """List every setting of a run under its dotted key, e.g. ``{"batch_size": 128, "model.width": 64, ...}``.

    Without what an option declares of itself (`traits`). A measure with its settings is one of them: MLflow takes 100
    in one write.
    """
    flat: dict[str, Any] = {}

    def walk(prefix: str, value: Any) -> None:
        if isinstance(value, dict) and prefix.startswith("measure.sharpness."):
            settings = (f"{name}={inner}" for name, inner in value.items() if name != "_target_")
            flat[prefix] = " ".join([str(value.get("_target_")), *settings])
        elif isinstance(value, dict):
            for key, inner in value.items():
                walk(f"{prefix}.{key}" if prefix else str(key), inner)
        else:
            flat[prefix] = value

    settings = asdict(config)
    for group in TRAITS.values():
        settings[group].pop("traits", None)
    walk("", {key: value for key, value in settings.items() if key != "trust"})
    return flat
