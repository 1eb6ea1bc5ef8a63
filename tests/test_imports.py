"""The direction of imports, read off the syntax trees, and what must not be imported to show help."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from batchlab.config import REPOSITORY

LAYERS = [
    {"mistake", "stopping", "place", "lockfile", "fault", "passwords"},
    {"config", "objectives", "dataset", "memory", "stores", "check_stores", "exit_code", "host"},
    {"plan", "clock", "prepare", "identity", "spool", "tracking", "trust", "composition"}
    | {"check_contrastive", "check_hydra", "check_kinds", "check_launch", "check_measure"},
    {"batches", "results", "check", "sink", "left_behind"},
    {"diagnosis", "signature", "flags"},
    {"data", "model", "loss", "optim", "metrics", "sharpness", "laws", "tally"},
    {"gradient"},
    {"fit"},
    {"learner", "target"},
    {"build"},
    {"state"},
    {"probe", "rehearse", "first_step", "measure", "checkpoint"},
    {"run", "grid", "rank_parts"},
    {"ranks", "process_group"},
    {"leader", "follower"},
    {"arms"},
    {"experiment"},
    {"run_header", "record"},
    {"record_study", "record_probe", "study_record"},
    {"search"},
    {"survey", "begun", "report"},
    {"picked"},
    {"study_page"},
    {"preflight", "job", "show"},
    {"command"},
    {"benchmark", "advise", "noise", "claims", "report_study"},
    {"outcome"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
OWNERS = {
    "mlflow": {"tracking", "sink", "study_record"},
    "optuna": {"search"},
    "plotly": {"report"},
    "jinja2": {"report"},
    "matplotlib": {"report"},
}
MODULES = sorted((REPOSITORY / "src" / "batchlab").rglob("*.py"))


def layer_of(path: Path) -> str:
    return path.relative_to(REPOSITORY / "src" / "batchlab").parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {node.module} if node.module != "batchlab" else {f"batchlab.{alias.name}" for alias in node.names}
    return {name for name in names if name}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_imports_point_one_way(path):
    if path.name == "__init__.py" and path.parent.name == "batchlab":
        return
    mine = layer_of(path)
    for name in imported(path):
        if name.startswith("batchlab."):
            theirs = name.split(".")[1]
            assert theirs == mine or LEVEL[theirs] <= LEVEL[mine], f"{mine} imports {theirs}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_each_library_has_one_owner(path):
    for name in imported(path):
        assert layer_of(path) in OWNERS.get(name.split(".")[0], {layer_of(path)})


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_instantiate_is_called_in_one_place(path):
    called = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)]
    assert path.name == "build.py" or "instantiate" not in {node.id for node in called}


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
        "import batchlab.preflight, batchlab.build, batchlab.run, batchlab.report.watch\n"
        "after = torch.initial_seed(), torch.get_num_threads(), logging.root.level, logging.root.handlers[:]\n"
        "assert before == after, (before, after)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
