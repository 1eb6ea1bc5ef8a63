"""Overrides as text: what to type, at a shell, so that Hydra reads a given value."""

import shlex
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, RangeSweep
from hydra.errors import HydraException

from batchlab.errors import in_grammar


def override_text(key: str, value: Any) -> str:
    """Return the override that sets a key, quoted for Hydra's grammar and for the shell.

    E.g. ``lr=0.1`` or ``'data.drop=["petal length (cm)"]'``; a value is text, number, bool, None, list or dict.
    """
    return shlex.quote(f"{key}={value_text(value)}")


def swept_values(override: Override) -> list[str]:
    """List the values of a list or range in Hydra's grammar; none of a range without one, as where its step is 0."""
    swept = override.value()
    if isinstance(swept, RangeSweep) and not swept.step:
        return []
    return list(override.sweep_string_iterator())


def value_text(value: Any) -> str:
    """Return a value in Hydra's override grammar; text that would be read as something else stands in quotes."""
    return in_grammar(value, _quoted)


def _quoted(text: str) -> str:
    if _is_read_as_it_stands(text):
        return text
    escaped = text.replace('\\"', '\\\\"').replace('"', '\\"').replace("${", "\\${")
    return f'"{escaped}\\"' if escaped.endswith("\\") else f'"{escaped}"'


def _is_read_as_it_stands(text: str) -> bool:
    """Tell whether Hydra reads text as itself, in a list too."""
    try:
        return "${" not in text and OverridesParser.create().parse_override(f"key=[{text}]").value() == [text]
    except HydraException:
        return False
