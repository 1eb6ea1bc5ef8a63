"""Words of a command line that Hydra's grammar cannot read, and what was probably meant."""

import re
import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from batchlab.config.installation import program
from batchlab.config.override_text import override_text
from batchlab.errors import ConfigError, nearest

FUNCTIONS = ["choice", "range", "interval", "int", "float", "tag", "sort", "shuffle", "glob"]
"""Of Hydra's override grammar, those that make a list or a range."""
TAGGED = (
    (r"^log_?uniform\((.*)\)$", r"log(interval(\1))"),
    (r"^(log|pow2)\((.*)\)$", r"tag(\1,\2)"),
    (r"^tag\((.*), *(log|pow2)\)$", r"tag(\2,\1)"),
    (r"^interval\((log|pow2), *(.*)\)$", r"tag(\1,interval(\2))"),
    (r"^interval\((.*), *(log|pow2)\)$", r"tag(\2,interval(\1))"),
)
"""Other forms of a range with a tag, and the one that Hydra reads."""


def joined(overrides: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Join overrides with the words that a space cut off from their list; the list as one word where that happened."""
    words = list(overrides)
    while words:
        line, rest = words.pop(0), []
        while words and (line if not rest else rest[-1]).endswith(",") and "=" not in words[0]:
            rest.append(words.pop(0))
        is_cut_off = "=" in line and line.endswith(",")
        yield " ".join([line, *rest]), "".join([line, *rest]).rstrip(",") if is_cut_off else ""


def not_a_setting(word: str) -> ConfigError:
    """Return the error for a word on the command line that is no setting."""
    fix = f"{program()} --help" if word.strip("-") in ("h", "help") else f"the command without {word}"
    fix = word.lstrip("-") if "=" in word else fix
    return ConfigError(word, "", "is no setting; settings are key=value, lists have no spaces", fix)


def unreadable(line: str, known: Any) -> ConfigError:
    """Return the error of an override whose value cannot be read; `known` is the key's value without it."""
    key, _, value = line.lstrip("+~").partition("=")
    if better := _tagged(value):
        allowed = "cannot be read; a tag stands before its range, tag(log,interval(low,high))"
        return ConfigError(key, value, allowed, shlex.quote(f"{line.partition('=')[0]}={better}"))
    calls = re.findall(r"(\w+)\(", value) if re.fullmatch(r"\w+\(.*\)", value) else []
    for name in (name for name in calls if name not in FUNCTIONS):
        allowed = f"there is no {name}(); there are {', '.join(FUNCTIONS)}"
        better = line.replace(f"{name}(", f"{nearest(name, FUNCTIONS) or 'interval'}(")
        return ConfigError(key, value, allowed, shlex.quote(better))
    items = value.removeprefix("[").removesuffix("]").split(",") if value.startswith("[") else None
    fix = override_text(key, known if isinstance(known, int | float) else items or value)
    return ConfigError(key, value, "cannot be read; text with spaces or signs stands in quotes", fix)


def _tagged(value: str) -> str:
    """Return a range with its tag as Hydra reads it; empty where none was meant."""
    better = value
    for typed, meant in TAGGED:
        better = re.sub(typed, meant, better)
    try:
        is_range = OverridesParser.create().parse_override(f"key={better}").is_sweep_override()
    except HydraException:
        return ""
    return better if is_range and better != value else ""
