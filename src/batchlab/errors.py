"""Errors of what a person typed, each with the fix to type instead."""

import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any


@dataclass(frozen=True)
class ConfigError:
    """One wrong setting.

    Attributes:
        key: configuration key, e.g. ``batch_size``.
        value: the value that was got, as typed; empty where only the key is to blame.
        allowed: what is allowed, a clause that follows "is not allowed:".
        fix: the override to type instead, e.g. ``batch_size=32``.
    """

    key: str
    value: object
    allowed: str
    fix: str

    def __str__(self) -> str:
        typed = self.key if self.value == "" else f"{self.key}={in_grammar(self.value)}"
        return f"{typed}: {self.allowed}. Type {self.fix}"


class ConfigErrors(ValueError):
    """The configuration or the data is wrong; carries every error that was found.

    Raised by whatever reads user input (data loaders, models, rules); the pre-flight collects them.
    """

    def __init__(self, *errors: ConfigError) -> None:
        super().__init__("\n".join(str(error) for error in errors))
        self.errors = errors


def config_error(key: str, value: object, allowed: str, fix: str) -> ConfigErrors:
    """Make the error of one wrong setting; see `ConfigError` for the four parts."""
    return ConfigErrors(ConfigError(key, value, allowed, fix))


def in_grammar(value: Any, of_text: Callable[[str], str] = str) -> str:
    """Return a value as it is typed, ``[true,null]`` and not ``[True, None]``; `of_text` quotes a text."""
    if isinstance(value, list | tuple):
        return f"[{','.join(in_grammar(each, of_text) for each in value)}]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{name}:{in_grammar(inner, of_text)}" for name, inner in value.items()) + "}"
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return of_text(value) if isinstance(value, str) else str(value)


def raised(error: BaseException) -> str:
    """Say what an exception says and where it was raised, e.g. ``raised KeyError: 'x' (mine.py line 3)``.

    The place is the last one that is no library's; an exception of Hydra's stands for the one that it wraps.
    """
    cause = error.__cause__ or error
    said = str(cause).strip().split("\n", 1)[0]
    return f"raised {type(cause).__name__}{': ' if said else ''}{said} ({place_of(cause)})"


def place_of(error: BaseException) -> str:
    """Say where an exception was raised, ``mine.py line 3``: the last place that is no library's, if there is one."""
    places = traceback.extract_tb(error.__traceback__)
    own = (each for each in reversed(places) if "site-packages" not in each.filename and each.filename[0] != "<")
    place = next(own, places[-1])
    return f"{place.filename.rsplit('/', 1)[-1]} line {place.lineno}"


def reason(error: BaseException) -> str:
    """Return the first line of what an exception says, or its name where it says nothing."""
    return str(error).strip().split("\n", 1)[0] or type(error).__name__


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Find the known word that `word` was probably meant to be, whatever its case, or None."""
    by_case = {each.casefold(): each for each in known}
    matches = get_close_matches(word.casefold(), by_case, n=1, cutoff=0.5)
    return by_case[matches[0]] if matches else None
