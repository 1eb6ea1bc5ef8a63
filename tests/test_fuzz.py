"""Random configurations through the entry that a person types into: each trains or is refused, none leaves half a run.

30 of them, always the same, in `make test`; as many as BATCHLAB_FUZZ_EXAMPLES says, others each time, in `make fuzz`.
"""

import logging
import os
import shutil
import signal
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, redirect_stderr, redirect_stdout
from copy import deepcopy
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hypothesis import HealthCheck, Phase, given, note, settings

import batchlab.training.build
from batchlab.commands.train import train_command
from batchlab.config.registration import register_schema
from batchlab.tracking.mlflow_store import _client, forget_stores
from tests.command_lines import command_lines

NUM_EXAMPLES = int(os.environ.get("BATCHLAB_FUZZ_EXAMPLES", "0"))
SECONDS_OF_AN_EXAMPLE = 90
"""Longer than anything here takes; one that takes it hangs."""
STEPS = {"steps": 2.0, "seconds": 0.05}


@contextmanager
def a_process_of_its_own(words: list[str], folder: Path) -> Iterator[None]:
    """What a new process would have: its own arguments, environment, logging, Hydra; and an end to a hang."""
    argv, orig_argv, environment = sys.argv[:], sys.orig_argv[:], dict(os.environ)
    handlers, level = logging.root.handlers[:], logging.root.level
    signals = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)}

    def hang(_number: int, _frame: object) -> None:
        raise TimeoutError(f"nothing happened for {SECONDS_OF_AN_EXAMPLE} s")

    signal.signal(signal.SIGALRM, hang)
    signal.alarm(SECONDS_OF_AN_EXAMPLE)
    sys.argv[:] = ["train.py", *words]
    os.environ |= {"BATCHLAB_MLRUNS": str(folder / "mlruns"), "BATCHLAB_DATA": str(folder / "data"), "COLUMNS": "120"}
    os.chdir(folder / "work")
    try:
        yield
    finally:
        signal.alarm(0)
        os.chdir(folder)
        for number, handler in signals.items():
            signal.signal(number, handler)
        sys.argv[:], sys.orig_argv[:] = argv, orig_argv
        os.environ.clear()
        os.environ |= environment
        logging.root.handlers[:], logging.root.level = handlers, level
        GlobalHydra.instance().clear()
        HydraConfig.instance().cfg = None


def typed(words: list[str], folder: Path) -> tuple[int, str]:
    """Exit code and output of `python train.py ...`, in this process."""
    shown = StringIO()
    with a_process_of_its_own(words, folder), redirect_stdout(shown), redirect_stderr(shown):
        try:
            code = train_command.start()
        except SystemExit as stopped:
            code = int(stopped.code or 0)
    return code, shown.getvalue()


def files(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file and folder with size and time of its last change; SQLite's own beside a database left out."""
    found = (path for path in folder.rglob("*") if not path.name.endswith(("-wal", "-shm")))
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in found if path.is_file()}


def half_written(folder: Path) -> list[str]:
    """Runs and trials that are still running, and spool files that nobody has sent."""
    found = [str(path) for path in folder.rglob("spool/*")]
    for name, table, column in (("mlflow.db", "runs", "status"), ("optuna.db", "trials", "state")):
        for path in folder.rglob(name):
            with closing(sqlite3.connect(path)) as connection:
                count = f"SELECT count(*) FROM {table} WHERE {column} = 'RUNNING'"
                found += [f"{path}: {table} RUNNING"] if connection.execute(count).fetchone()[0] else []
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where everything is written; training is bounded to two steps, whatever the budget, and makes no page.

    The files in conf/ are parsed once: that is a third of what a refused command takes.
    """
    place, here = tmp_path_factory.mktemp("fuzz"), Path.cwd()
    (place / "work").mkdir()
    make_plan, load, parsed = batchlab.training.build.make_plan, FileConfigSource.load_config, {}

    def load_once(source, config_path):
        key = source.path, config_path
        parsed[key] = parsed.get(key) or load(source, config_path)
        return deepcopy(parsed[key])

    def two_steps(config, num_train):
        plan = make_plan(config, num_train)
        return replace(plan, limit=min(plan.limit, STEPS.get(plan.counted, 2.0 * plan.batch_size)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FileConfigSource, "load_config", load_once)
        patch.setattr(batchlab.training.build, "make_plan", two_steps)
        patch.setattr("batchlab.commands.train.results.show_page", lambda *_: None)
        patch.setattr("batchlab.commands.train.finish_search.show_page", lambda *_: None)
        yield place
    os.chdir(here)
    register_schema()


def check(words: list[str], folder: Path) -> None:
    """What holds of every command line."""
    before = files(folder)
    code, shown = typed(words, folder)
    note(f"python train.py {words} -> {code}\n{shown[-3000:]}")
    assert "Traceback" not in shown
    assert code in (0, 2), shown[-3000:]
    if code == 2:
        assert files(folder) == before, "something was written"
        return
    assert not half_written(folder)
    for path in (folder / "mlruns" / "hydra", folder / "mlruns" / "reports", folder / "work"):
        shutil.rmtree(path, ignore_errors=True)
    (folder / "work").mkdir()
    if any(word.lstrip("+~").startswith("mlruns") for word in words):
        forget_stores()  # their folder has gone
        _client.cache_clear()


@pytest.mark.parametrize("half", range(2 if NUM_EXAMPLES else 1))
@settings(
    max_examples=NUM_EXAMPLES // 2 or 30,
    derandomize=not NUM_EXAMPLES,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)
@given(command_lines())
def test_any_command_line_trains_or_is_refused_and_leaves_no_half_run(
    folder: Path, half: int, words: list[str]
) -> None:
    check(words, folder)
