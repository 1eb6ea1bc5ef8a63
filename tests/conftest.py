import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir

from batchlab.config import REPOSITORY, Config, register_schema, resolved

torch.set_num_threads(1)  # tiny models: threads only wait for each other, all the more on a shared machine
SHARED_DATA = REPOSITORY.parent / "shared" / "data"


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
    """A function: a script's name, keys, check and arguments -> what it says of wrong input; nothing is written."""
    from batchlab.command import read_command

    def refused(name: str, kind: type, check, *arguments: str) -> str:
        monkeypatch.setenv("BATCHLAB_MLRUNS", str(tmp_path / "mlruns"))
        with pytest.raises(SystemExit) as stopped:
            read_command(name, kind, list(arguments), check)
        assert stopped.value.code == 2
        assert not (tmp_path / "mlruns").exists()
        return capsys.readouterr().err

    yield refused
    register_schema()
