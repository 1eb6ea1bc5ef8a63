"""Pages of the documentation that are read off the code: keys, metrics, contributing, changelog (a hook of mkdocs)."""

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
from mkdocs.structure.files import File, Files

from batchlab.config.command_keys import KEYS
from batchlab.config.keys import Affects, Key, keys_of
from batchlab.config.objectives import DIRECTIONS
from batchlab.config.schema import OPEN_GROUPS, Config
from batchlab.config.traits import TRAITS
from batchlab.search.sweeper_keys import BatchlabSweeperConf

REPOSITORY = Path(__file__).resolve().parents[1]
CONF = REPOSITORY / "conf"
METRICS = {
    "train/loss": "mean loss of the training steps since the last evaluation",
    "train/accuracy": "accuracy on up to 2,000 training examples",
    "train/lr": "learning rate of the step",
    "train/batch_size": "batch size of the step",
    "val/loss": "loss on the validation split",
    "val/accuracy": "accuracy on the validation split",
    "progress/epochs": "passes over the training split so far",
    "progress/examples": "examples processed so far",
    "progress/train_seconds": "training seconds so far",
    "noise/gradient_noise_scale": "gradient noise scale tr(Σ)/|G|², in examples; the final with its 95 % interval",
    "final/train_loss": "loss on up to 10,000 training examples at the end of the budget",
    "final/val_loss": "loss on the validation split at the end of the budget",
    "final/val_accuracy": "accuracy on the validation split at the end of the budget",
    "final/val_precision": "precision on the validation split; two classes: of class 1, else the mean over classes",
    "final/val_recall": "recall on the validation split; two classes: of class 1, else the mean over classes",
    "final/val_auroc": "area under the ROC curve; one class against the rest, mean over classes",
    "final/val_auprc": "average precision; one class against the rest, mean over classes",
    "final/test_accuracy": "accuracy on the test split, measured once at the end; refused as an objective",
    "cost/train_seconds": "seconds of optimizer steps, on a device that has finished its work",
    "cost/calibrated_train_seconds": "step times measured alone on this host, times steps",
    "cost/eval_seconds": "seconds of evaluations; not in cost/train_seconds",
    "cost/measure_seconds": "seconds of gradient noise and sharpness; not in cost/train_seconds",
    "cost/warmup_seconds": "seconds of one pass of each shape before the first step",
    "cost/compile_seconds": "the same with compile=true, where it is the compilation",
    "cost/total_seconds": "seconds of the whole run, recording included",
    "cost/num_steps": "optimizer steps",
    "cost/num_examples": "examples processed; each pass of L-BFGS counts",
    "cost/examples_per_second": "cost/num_examples over cost/train_seconds",
    "cost/peak_memory_bytes": "peak memory of the device; on a CPU that of the whole process",
    "cost/workers_on_host": "most trainings of batchlab on the host at the run's beginning and end",
    "target/seconds": "training seconds to the target (budget=target); NaN where it was not reached",
    "target/epochs": "passes to the target",
    "target/steps": "optimizer steps to the target",
    "target/examples": "examples to the target",
    "sharpness/train_loss": "loss on the sample that sharpness is measured on; sharpness compares only at equal loss",
    "sharpness/lambda_max": "largest eigenvalue of the Hessian",
    "sharpness/lr_lambda_max": "that times lr; near 2 at the edge of stability",
    "sharpness/trace": "trace of the Hessian (Hutchinson)",
    "sharpness/sam": "rise of the loss in the steepest direction at distance rho",
    "sharpness/adaptive_sam": "the same with distances relative to the weights",
    "sharpness/keskar_1e-3": "Keskar's φ: largest rise of the loss in a box of relative half width 10⁻³",
    "sharpness/keskar_5e-4": "the same in a box of half width 5·10⁻⁴",
    "sharpness/keskar_subspace_1e-3": "φ in a random subspace of 100 dimensions, 10⁻³",
    "sharpness/keskar_subspace_5e-4": "φ in a random subspace of 100 dimensions, 5·10⁻⁴",
}
"""What each metric of a run means."""
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


def on_files(files: Files, config: Any) -> Files:
    """Add the generated pages to those of docs/ (called by mkdocs)."""
    for path, text in pages().items():
        if (earlier := files.get_file_from_path(path)) is not None:
            files.remove(earlier)
        files.append(File.generated(config, path, content=text))
    return files


def pages() -> dict[str, str]:
    """Return the generated pages: path in docs/ -> Markdown."""
    found = {f"reference/{name}.md": page() for name, page in REFERENCE.items()}
    for path, source in {"contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}.items():
        if (file := REPOSITORY / source).exists():
            found[path] = with_links_from_docs(file.read_text())
    return found


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


def metrics_page() -> str:
    """Return the reference of metrics: name, which way is better, meaning."""
    better = {"minimize": "smaller", "maximize": "larger"}
    rows = [(f"`{name}`", better.get(DIRECTIONS.get(name, ""), ""), text) for name, text in METRICS.items()]
    return "\n\n".join(
        [
            "# Metrics",
            "Every run records these in MLflow. Those with a direction are finals that may be an objective of a "
            "search; `minimize:x` or `maximize:x` overrides it. How they are measured: "
            "[How to read the numbers](../measurement.md).",
            *curves_and_finals(rows),
        ]
    )


def modules_page() -> str:
    """Return the list of modules: package by package, with the first line of each docstring."""
    parts = ["# Modules", "Every module of `src/batchlab` by package, with the first line of its docstring."]
    source = REPOSITORY / "src" / "batchlab"
    for folder in sorted(path.parent for path in source.rglob("__init__.py")):
        name = ".".join(folder.relative_to(source.parent).parts)
        about, *lines = [
            (path.stem, first_line(path))
            for path in sorted(folder.glob("*.py"), key=lambda path: path.stem != "__init__")
        ]
        parts += [f"## {name}", about[1]]
        parts += [table(("module", "what it has"), [(f"`{stem}`", line) for stem, line in lines])] if lines else []
    return "\n\n".join(parts) + "\n"


def first_line(path: Path) -> str:
    """Return the first line of a module's docstring."""
    return (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n")[0]


def curves_and_finals(rows: list[tuple[str, str, str]]) -> Iterator[str]:
    """Yield the tables of metrics by the first part of their names."""
    titles = {
        "train": "Curves, at evaluations",
        "final": "Finals",
        "cost": "Cost",
        "target": "To a target",
        "sharpness": "Sharpness",
    }
    beside = {"val": "train", "progress": "train", "noise": "train"}
    for prefix, title in titles.items():
        of_it = [row for row in rows if beside.get(first := row[0][1:].partition("/")[0], first) == prefix]
        yield f"## {title}"
        yield table(("metric", "better", "meaning"), of_it)


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
    """Texts by key, each with the options that it is true of."""

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


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Return a Markdown table."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def with_links_from_docs(text: str) -> str:
    """Return a page of the repository's root as one of docs/: links into docs/ stay links, others become text."""
    text = re.sub(r"\]\(docs/", "](", text)
    return re.sub(r"\[([^\]]+)\]\((?!https?:|#)([^)]+)\)", lambda m: m[0] if is_page(m[2]) else m[1], text)


def is_page(link: str) -> bool:
    """Whether a link from the root of docs/ leads to a file there."""
    return (REPOSITORY / "docs" / link.partition("#")[0]).exists()


REFERENCE = {"keys": keys_page, "metrics": metrics_page, "modules": modules_page}


if __name__ == "__main__":
    for name, page in pages().items():
        print(f"<!-- {name} -->\n{page}")
