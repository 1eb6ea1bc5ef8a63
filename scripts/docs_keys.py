"""Make the page of keys: keys of a run, of options, of a search and of scripts, off schema, yaml and docstrings."""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import yaml
from hydra.utils import get_object

from batchlab.config.command_keys import KEYS
from batchlab.config.keys import Affects, Key, keys_of
from batchlab.config.schema import OPEN_GROUPS, Config
from batchlab.config.traits import TRAITS
from batchlab.search.sweeper_keys import BatchlabSweeperConf
from scripts.docs_markdown import table

CONF = Path(__file__).resolve().parents[1] / "conf"
AFFECTS = {
    Affects.IDENTITY: "identity",
    Affects.SEEDS: "seeds",
    Affects.MEASURES: "measures",
    Affects.STEP_TIME: "step time",
    Affects.MEMORY: "memory",
    Affects.BATCH: "batch",
    Affects.LABEL: "series",
}
"""Words for what a key affects, explained at the top of the page of keys."""
ABOUT_AFFECTS = """\
What a key *affects*: **identity**, another value makes another run; **seeds**, over which repetitions a configuration
is averaged; **measures**, what is measured on a run, which trains the same without it; **step time**, seconds of a step
of a given batch size; **memory**, bytes of a pass over a given number of examples; **batch**, how many examples go
through at once; **series**, the line of a figure that a run belongs to."""
HELP = {key.name: key.help for key in keys_of(Config)}


def keys_page() -> str:
    """Return the reference of keys: of a run, of each group's options, of a search, of each script."""
    given = yaml.safe_load((CONF / "train.yaml").read_text())
    parts = ["# Keys", "`python train.py --help` shows the most used ones; `--cfg job` prints the whole configuration."]
    parts += ["## Of a run", ABOUT_AFFECTS, *table_of_keys(Config, given)]
    for group in sorted(folder.name for folder in CONF.iterdir() if folder.is_dir() and folder.name != "experiment"):
        parts += [f"## {group}", *options_of(group)]
    parts += ["## Of a search: hydra.sweeper", *table_of_keys(BatchlabSweeperConf, {}, "hydra.sweeper.")]
    for name, kind in KEYS.items():
        own = yaml.safe_load((CONF / f"{name}.yaml").read_text())
        parts += [f"## Of scripts/{name}.py", "Beside those of a run.", *table_of_keys(kind, own)]
    return "\n\n".join(parts) + "\n"


def table_of_keys(kind: type, given: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return the table of a dataclass's keys, those of its groups behind it.

    Args:
        kind: dataclass with declared keys, or with a string under each field.
        given: defaults of the yaml, which count before those of the dataclass.
        prefix: of the keys.
    """
    texts, declared = docstrings(kind), {key.name.removeprefix(prefix): key for key in keys_of(kind, prefix)}
    rows, groups = [], []
    for field in fields(kind):
        if field.name in OPEN_GROUPS or field.name.startswith("_") or field.name == "defaults":
            continue
        if isinstance(field.type, type) and is_dataclass(field.type):
            groups += table_of_keys(field.type, given.get(field.name) or {}, f"{prefix}{field.name}.")
            continue
        made = field.default_factory() if callable(field.default_factory) else field.default
        default, key = shown(given.get(field.name, made)), declared.get(field.name)
        about = (key.help, allowed_by(key), affected_by(key)) if key else (texts.get(field.name, ""), "", "")
        rows.append((f"`{prefix}{field.name}`", default, *about))
    head = ("key", "default", "meaning", "allowed", "affects")
    if not declared:
        head, rows = head[:3], [row[:3] for row in rows]
    about = [f"**`{prefix.rstrip('.')}`**: {inspect.getdoc(kind)}"] if prefix in declared_groups() else []
    return [*about, table(head, rows), *groups]


def declared_groups() -> set[str]:
    """Return the prefixes of the keys that stand in a group of the schema."""
    return {f"{field.name}." for field in fields(Config) if isinstance(field.type, type) and is_dataclass(field.type)}


def allowed_by(key: Key) -> str:
    """Return which values a key may have; nothing where its type says it all."""
    is_plain = key.numbers is None and not key.words and key.pattern is None
    return "" if is_plain else key.allowed


def affected_by(key: Key) -> str:
    """Return what changes with a key's value."""
    return ", ".join(AFFECTS[each] for each in key.affects)


def options_of(group: str) -> Iterator[str]:
    """Yield two tables of a group: its options, and their keys with defaults and meanings."""
    options, defaults, meanings = [], Gathered(), Gathered()
    for path in sorted((CONF / group).glob("*.yaml")):
        text, option = path.read_text(), f"`{path.stem}`"
        node = yaml.safe_load(text) or {}
        about = " ".join(re.findall(r"^# (?!@package)(.*)$", text, flags=re.MULTILINE))
        traits = node.get(group, node).get("traits") or {}
        options.append(
            (option, about, " ".join(f"`{name}={shown(value).strip('`')}`" for name, value in traits.items()))
        )
        comments = re.findall(r"^(\w+): .*\S  # (.*)$", text, flags=re.MULTILINE)
        told = arguments_of(node.get(group, node).get("_target_", "")) | dict(comments)
        for key, value in flat(node, group):
            defaults.add(key, value, option)
            meanings.add(key, told.get(key.rpartition(".")[2]) or HELP.get(key, ""), option)
    if any(traits for _, _, traits in options):
        yield table(("option", "what it is", "traits"), options)
        yield "\n".join(f"* `traits.{name}`: {about}" for name, about in traits_of(group).items())
    else:
        yield table(("option", "what it is"), [row[:2] for row in options])
    rows = [(f"`{key}`", defaults.text(key), meanings.text(key)) for key in defaults.found]
    if rows:
        yield table(("key", "default", "meaning"), rows)


def traits_of(group: str) -> dict[str, str]:
    """Return the traits that an option of a group may declare, with what they mean."""
    (kind,) = (kind for kind, name in TRAITS.items() if name == group)
    listed = arguments_in(inspect.getdoc(kind) or "", "Attributes")
    about = (inspect.getdoc(kind) or "").partition("\n")[0]
    return {field.name: listed.get(field.name, about) for field in fields(kind)}


class Gathered:
    """Gather texts by key, each with the options that it is true of."""

    def __init__(self) -> None:
        self.found: dict[str, dict[str, list[str]]] = {}

    def add(self, key: str, text: str, option: str) -> None:
        """Note a text of a key in an option."""
        self.found.setdefault(key, {}).setdefault(text, []).append(option)

    def text(self, key: str) -> str:
        """Return the text where all options share it, else each text behind its options."""
        texts = self.found[key]
        if len(texts) == 1:
            return next(iter(texts))
        return "<br>".join(f"{' '.join(where)}: {text}" for text, where in texts.items() if text)


def flat(node: Mapping[str, Any], group: str) -> Iterator[tuple[str, str]]:
    """Yield the dotted keys of an option's yaml with their values, as they are typed."""
    is_global = group in node or group in ("budget", "search")
    for key, value in node.items():
        if isinstance(value, Mapping) and is_global and key not in ("hydra", "traits"):
            yield from flat(value, key)
        elif key not in ("_target_", "_partial_", "defaults", "hydra", "traits"):
            yield (key if is_global else f"{group}.{key}"), ("" if isinstance(value, Mapping) else shown(value))


def arguments_of(target: str) -> dict[str, str]:
    """Return what the docstring of one of batchlab's `_target_`s says of its arguments."""
    if not target.startswith("batchlab."):
        return {}
    found = get_object(target)
    text = f"{inspect.getdoc(found)}\n{inspect.getdoc(found.__init__) if isinstance(found, type) else ''}"
    return arguments_in(text, "Args")


def arguments_in(text: str, heading: str) -> dict[str, str]:
    """Return what a section of a docstring says of each argument."""
    section = re.split(r"\n\S", f"{text.partition(f'{heading}:{chr(10)}')[2]}\n.")[0].replace("``", "`")
    arguments = re.findall(r"^ {4}(\w+): (.*(?:\n {8,}.*)*)", section, flags=re.MULTILINE)
    return {name: " ".join(meaning.split()) for name, meaning in arguments}


def docstrings(kind: type) -> dict[str, str]:
    """Return the string that stands under each field of a dataclass, by the field's name."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(body, ast.ClassDef)
    found = {}
    for before, after in zip(body.body, body.body[1:], strict=False):
        match before, after:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                found[name] = " ".join(text.split())
    return found


def shown(value: Any) -> str:
    """Return a default as it is typed."""
    if value is None:
        return "`null`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, list):
        return f"`[{','.join(shown(each).strip('`') for each in value)}]`"
    return f"`{value}`" if value not in ("", "???") else ""
