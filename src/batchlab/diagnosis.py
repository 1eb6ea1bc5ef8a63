"""Why Hydra could not compose a command line, said in the same form as every other mistake."""

from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from batchlab.check import check_config
from batchlab.config import resolved
from batchlab.mistake import Mistake, WrongInput, nearest


def diagnose(
    config_name: str,
    overrides: list[str],
    extra: list[str],
    message: str,
    swept: list[list[str]] | None = None,
) -> list[Mistake]:
    """Each override that cannot be composed, one by one, and what gate 1 says of the others.

    Args:
        config_name: primary configuration.
        overrides: what was typed, one job's worth.
        extra: overrides of our own, e.g. the search path.
        message: Hydra's own, used where no single override is to blame.
        swept: values of each swept key, each tried alone.

    Returns:
        At least one mistake.
    """
    default = compose(config_name, extra)
    mistakes, good = [], []
    for line in [*overrides, *(line for lines in swept or [] for line in lines)]:
        mistake = _mistake_of(config_name, line, extra, default)
        mistakes += [mistake] if mistake else []
        good += [] if mistake or line not in overrides else [line]
    if not mistakes:
        return [Mistake("the command line", " ".join(overrides), " ".join(message.split()), "it differently")]
    try:
        rest = compose(config_name, [*extra, *good], return_hydra_config=True)
        HydraConfig.instance().set_config(rest)
        with open_dict(rest):
            del rest["hydra"]
        mistakes += check_config(resolved(rest))
    except WrongInput as error:
        mistakes += error.mistakes
    except (HydraException, OmegaConfBaseException):
        pass  # the others do not stand alone; what was found is enough to mend
    return mistakes


def _mistake_of(config_name: str, line: str, extra: list[str], default: DictConfig) -> Mistake | None:
    key, _, value = line.lstrip("+~").partition("=")
    try:
        compose(config_name, [*extra, line])
    except OverrideParseException as error:
        allowed = f"cannot be read ({str(error).splitlines()[0]})"
        return Mistake(key, value, allowed, f"'{key}=\"{value}\"' with quotes, or another value")
    except MissingConfigException as error:
        options = list(error.options or [])
        allowed = f"no such option; there are {', '.join(options)}" if options else "no such group of options"
        close = nearest(value, options) or (options[0] if options else "...")
        return Mistake(key, value, allowed, f"{key}={close}")
    except (HydraException, OmegaConfBaseException) as error:
        return _value_or_key(key, value, error, default)
    return None


def _value_or_key(key: str, value: str, error: Exception, default: DictConfig) -> Mistake:
    known = OmegaConf.select(default, key, throw_on_missing=False)
    if known is None and key not in _keys(default):
        groups = GlobalHydra.instance().config_loader().list_groups("")
        close = nearest(key, [*_keys(default), *groups]) or "see python train.py --help"
        mend = f"{close}={value}" if "=" not in close and " " not in close else close
        return Mistake(key, value, f"no such key; the nearest is {close}", mend)
    cause = error.__cause__ or error
    reason = str(cause).splitlines()[0]
    example = known if known is not None else "a value of its type"
    return Mistake(key, value, reason[:1].lower() + reason[1:], f"{key}={example}")


def _keys(node: DictConfig, prefix: str = "") -> list[str]:
    keys = []
    for name in node:
        full = f"{prefix}{name}"
        keys.append(full)
        child = node._get_node(name)  # without resolving interpolations
        if isinstance(child, DictConfig) and not child._is_none() and not child._is_missing():
            keys += _keys(child, f"{full}.")
    return keys
