"""Types the fix that a message offers, as it is printed."""

import re
import shlex

WORD = re.compile(r"^([+~]{0,2}[\w./@-]+=.*|~[\w./@-]+|-m|--multirun)$", re.DOTALL)


def key_of(word: str) -> str:
    return word.lstrip("+~").partition("=")[0]


def errors_of(message: str) -> list[tuple[str, str]]:
    """What is wrong and its fix, for each line of a message."""
    lines = message.split("\n  ")[1:]
    return [(said, fix.rstrip("\n")) for said, _, fix in (line.rpartition(". Type ") for line in lines)]


def retyped(arguments: list[str], said: str, fix: str) -> list[str] | None:
    """The command line with the fix typed; None where what is to be done is not typed behind the command.

    Args:
        arguments: what was wrong.
        said: the error, ``key=value: what is allowed``.
        fix: what stands behind "Type".
    """
    key = key_of(said.partition(": ")[0])
    fix, is_added = re.split(r", or ", fix)[0].removesuffix(" too"), fix.endswith(" too")
    if fix.startswith("the command without "):
        dropped = fix.removeprefix("the command without ")
        return [word for word in arguments if key_of(word) != key_of(dropped) and word != dropped]
    try:
        words = shlex.split(fix)
    except ValueError:
        return None
    if words[:2] == ["python", "train.py"] or sorted(words) == sorted(arguments):
        return [word for word in words if word not in ("python", "train.py")]
    if words[:1] == ["-cn"]:
        place = arguments.index(words[0])
        return [*arguments[:place], *words, *arguments[place + 2 :]]
    if not words or not all(map(WORD.match, words)):
        return None
    replaced = {key_of(word) for word in words} | (set() if is_added else {key})
    flags = [word for word in words if word.startswith("-") and word not in arguments]
    kept = [word for word in arguments if key_of(word) not in replaced or (word.startswith("-") and "=" not in word)]
    cut_off = said.partition(": a list has no spaces")[0].split()[1:]
    settings = [word for word in words if not word.startswith("-")]
    return [*flags, *(word for word in kept if word not in cut_off), *settings]
