"""The direction of imports, read off the syntax trees, and what must not be imported to show help."""

import ast
import os
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from batchlab.config.schema import REPOSITORY

PACKAGES = (
    *("errors", "system", "laws", "config", "tasks", "data", "models", "optim", "training", "measures", "run"),
    *("distributed", "validation", "tracking", "profiling", "search", "report", "experiments", "commands"),
    "hydra_plugins",
)
"""Bottom first: a module imports from its own package and from those before it."""
OWNERS = {
    "mlflow": {"tracking"},
    "optuna": {"search"},
    "plotly": {"report"},
    "jinja2": {"report"},
    "matplotlib": {"report"},
}
SOURCE = REPOSITORY / "src"
MODULES = sorted(SOURCE.rglob("*.py"))
each_module = pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")


NAMES = {name_of(path) for path in MODULES}


def package_of(name: str) -> str:
    first, *rest = name.split(".")
    return rest[0] if first == "batchlab" and rest else first


def imported(path: Path) -> set[str]:
    """Modules that a file imports anywhere, in functions and for type checkers too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= inner & NAMES or {str(node.module)}
    return names


@each_module
def test_a_package_imports_only_from_those_below_it(path):
    name = name_of(path)
    if name in ("batchlab", "batchlab.api"):
        return
    mine = PACKAGES.index(package_of(name))
    above = {each for each in imported(path) & NAMES if PACKAGES.index(package_of(each)) > mine}
    assert not above, f"{name} imports {above}"


def test_no_module_imports_itself_by_way_of_others():
    imports = {name_of(path): imported(path) & NAMES for path in MODULES}
    graph = TopologicalSorter(imports)
    try:
        graph.prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {error.args[1]}")


def test_the_top_of_the_package_has_at_most_three_modules():
    assert {path.name for path in (SOURCE / "batchlab").glob("*.py")} <= {"__init__.py", "errors.py", "api.py"}


@each_module
def test_each_library_has_one_owner(path):
    for name in imported(path):
        mine = package_of(name_of(path))
        assert mine in OWNERS.get(name.split(".")[0], {mine})


@each_module
def test_instantiate_is_called_in_one_place(path):
    called = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)]
    assert path.name == "instantiate.py" or "instantiate" not in {node.id for node in called}


@pytest.mark.parametrize(
    ("program", "arguments"),
    [
        *(("train.py", shown) for shown in (["--help"], ["--cfg", "job"], ["-sc", "query=bash"], ["--info"])),
        *((f"scripts/{name}.py", ["--help"]) for name in ("benchmark", "advise", "noise", "report")),
    ],
)
def test_showing_help_imports_nothing_heavy(program, arguments, tmp_path):
    code = (
        "import runpy, sys, atexit\n"
        "heavy = {'torch', 'mlflow', 'optuna', 'pandas', 'sqlalchemy', 'sklearn'}\n"
        "atexit.register(lambda: print('HEAVY', sorted(heavy & set(sys.modules)), file=sys.stderr))\n"
        f"sys.argv = [{program!r}, *{arguments!r}]\n"
        f"runpy.run_path({str(REPOSITORY / program)!r}, run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=60,
        env=os.environ | {"COMP_LINE": "train.py mod", "COMP_POINT": "12"},
    )
    assert "HEAVY []" in done.stderr, done.stderr
    assert done.returncode == 0
    assert list(tmp_path.iterdir()) == []


def test_importing_a_module_changes_nothing():
    code = (
        "import logging, os, torch\n"
        "before = torch.initial_seed(), torch.get_num_threads(), logging.root.level, logging.root.handlers[:]\n"
        "import batchlab.commands.train.preflight, batchlab.training.build\n"
        "import batchlab.run.training_run, batchlab.report.run_progress\n"
        "after = torch.initial_seed(), torch.get_num_threads(), logging.root.level, logging.root.handlers[:]\n"
        "assert before == after, (before, after)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
