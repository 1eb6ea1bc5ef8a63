"""The console script: which commands there are, and how a person is told to call them; the wheel in an empty folder."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from batchlab.commands.main import COMMANDS
from batchlab.config.installation import REPOSITORY

HEAVY = "torch", "mlflow", "optuna", "pandas", "sqlalchemy", "sklearn"


def batchlab(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    code = (
        "import atexit, sys\n"
        f"atexit.register(lambda: print('HEAVY', sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr))\n"
        f"sys.argv = ['/bin/batchlab', *{arguments!r}]\n"
        "from batchlab.commands.main import main\n"
        "main()\n"
    )
    env = os.environ | {"OMP_NUM_THREADS": "1"} | environment
    command = [sys.executable, "-P", "-c", code]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=folder, env=env)


@pytest.mark.parametrize("arguments", [["--help"], *([name, "--help"] for name in COMMANDS)], ids=" ".join)
def test_help_names_the_console_script_and_imports_nothing_heavy(tmp_path, arguments):
    done = batchlab(tmp_path, *arguments)
    assert done.returncode == 0, done.stderr
    assert "HEAVY []" in done.stderr
    assert "batchlab " in done.stdout
    assert "python train.py" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "batchlab COMMAND --help"),
        (["trian"], "trian: no such command"),
        (["trian"], "Type batchlab train"),
        (["train", "help"], "Type batchlab train --help"),
        (["ui", "nosuch=3"], "batchlab ui [mlruns=DIR]"),
    ],
)
def test_what_is_no_command_is_told_with_exit_code_2(tmp_path, arguments, said):
    done = batchlab(tmp_path, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_tab_completes_commands_and_the_options_of_train(tmp_path):
    for line, said in (("batchlab re", "report"), ("batchlab train model=ml", "model=mlp model=mlp6x64")):
        done = batchlab(tmp_path, "-sc", "query=bash", COMP_LINE=line, COMP_POINT=str(len(line)))
        assert done.stdout.strip() == said, done.stderr


@pytest.mark.slow
def test_the_wheel_trains_in_an_empty_folder_and_writes_mlruns_there(tmp_path):
    uv = Path(sys.executable).parent / "uv"
    subprocess.run([uv, "build", "--quiet", "--wheel", "-o", tmp_path / "dist", REPOSITORY], check=True, timeout=300)
    [wheel] = (tmp_path / "dist").glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
    (tmp_path / "empty").mkdir()
    inherited = {key: value for key, value in os.environ.items() if key != "BATCHLAB_MLRUNS"}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "batchlab.commands.main", "train", "-m", "batch_size=32,128", "epochs=1"],
        env=inherited | {"PYTHONPATH": str(tmp_path / "installed"), "OMP_NUM_THREADS": "1"},
        cwd=tmp_path / "empty", capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / "empty").iterdir()} == {"mlruns"}
    assert f"Report: {tmp_path / 'empty' / 'mlruns' / 'reports'}" in done.stdout
    assert "`batchlab ui`" in done.stdout
