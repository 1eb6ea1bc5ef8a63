import gc
import os
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir

from batchlab.config.registration import register_schema
from batchlab.config.resolve import resolved
from batchlab.config.schema import REPOSITORY, Config
from batchlab.training.evaluation import Evaluation
from scripts.bench.postgres import NoPostgres, Postgres, serving

gc.set_threshold(10_000)  # as the commands do
torch.set_num_threads(1)  # tiny models: threads only wait for each other, all the more on a shared machine


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--allow-skips", action="store_true", help="a test that this machine cannot run is no failure")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the commands of the pages, which take longest: no core waits for them at the end."""
    items.sort(key=lambda item: "test_readme" not in item.nodeid)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Report a skipped test as failed: what is never run is not tested."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and not item.config.getoption("allow_skips"):
        report.outcome, report.longrepr = "failed", f"skipped, which --allow-skips lets pass: {report.longrepr}"
    return report


@pytest.fixture(scope="session", autouse=True)
def own_locks(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Locks of this session alone: what else trains on this machine is neither waited for nor counted."""
    os.environ["BATCHLAB_LOCKS"] = str(tmp_path_factory.mktemp("locks"))


@pytest.fixture
def config_of(tmp_path: Path) -> Callable[..., Config]:
    """A function: overrides -> typed configuration whose results go to a temporary folder."""

    def make(*overrides: str) -> Config:
        register_schema()
        fixed = ["study=test", f"mlruns={tmp_path / 'mlruns'}", "device=cpu"]
        with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
            return resolved(compose("train", [*fixed, *overrides]))

    return make


@pytest.fixture
def type_command(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """A function: arguments -> the finished `python train.py ...`, in a folder that is not the repository."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        env = os.environ | {"BATCHLAB_MLRUNS": str(tmp_path / "mlruns"), "OMP_NUM_THREADS": "1"} | environment
        command = [sys.executable, str(REPOSITORY / "train.py"), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=300, env=env, cwd=tmp_path)

    return run


@pytest.fixture
def refused_by_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """A function: a command's name and arguments -> what it says of wrong input; nothing is written."""
    from batchlab.commands.command_line import read_command

    def refused(name: str, *arguments: str) -> str:
        monkeypatch.setenv("BATCHLAB_MLRUNS", str(tmp_path / "mlruns"))
        with pytest.raises(SystemExit) as stopped:
            read_command(name, arguments)
        assert stopped.value.code == 2
        assert not (tmp_path / "mlruns").exists()
        return capsys.readouterr().err

    yield refused
    register_schema()


@pytest.fixture
def train_resumable(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[list[Any], Any, list[str]]]:
    """A function: configuration, step -> points, result and sentences of a run whose process is gone at that step.

    Checkpoints are written when they are due after each step, and not four times a second. Without a step the run goes
    to its end; cut off it has no result. `change` makes another run of what was built.
    """
    from batchlab.run.training_run import run
    from batchlab.training.build import build
    from batchlab.training.checkpoint import open_checkpointer

    monkeypatch.setattr("batchlab.training.loop.TICK_SECONDS", 0.0)

    def train(config: Config, stop_at: int | None = None, change: Callable[[Any], Any] = lambda built: built):
        built, said, points = change(build(config, seed=3)), [], []
        with open_checkpointer(built, said.append) as checkpointer:
            training = run(built, checkpointer=checkpointer)
            while True:
                try:
                    points.append(next(training))
                except StopIteration as stop:
                    if checkpointer is not None:
                        checkpointer.remove()
                    return points, stop.value, said
                if getattr(points[-1], "point", points[-1]).counts.steps == stop_at:
                    training.close()
                    return points, None, said

    return train


@pytest.fixture
def facts_of() -> Callable[[list[Any], Any], dict[str, str]]:
    """A function: points, result -> a run but for seconds and bytes, as text that is equal where all bits are."""
    timed = ("seconds", "cost/examples_per_second", "cost/peak_memory_bytes")

    def facts(points: list[Any], result: Any) -> dict[str, str]:
        curve = [asdict(each) for each in points if isinstance(each, Evaluation)]
        for each in curve:
            each["point"]["counts"].pop("seconds")
        finals = {name: value for name, value in result.finals.items() if not name.endswith(timed)}
        weights = {name: value.numpy().tobytes().hex() for name, value in result.weights.items()}
        return {"curve": repr(curve), "finals": repr(finals), "outcome": result.outcome} | weights

    return facts


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server of the tests' own, started by the first that asks."""
    try:
        with serving() as server:
            yield server
    except NoPostgres as error:
        pytest.skip(str(error))
