import gzip
import os
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from batchlab.commands.train.preflight import Request, preflight
from batchlab.config.registration import register_schema
from batchlab.validation.grid import params_of
from tests.validation.wrong_commands import WRONG_COMMANDS


class NoParameters(nn.Module):
    def forward(self, inputs):
        return inputs.flatten(1)[:, :10]


class WrongShape(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, 7)

    def forward(self, inputs):
        return self.layer(inputs.flatten(1))


class RefusesInput(WrongShape):
    def forward(self, inputs):
        return self.layer(inputs)


class FailsInEval(WrongShape):
    def forward(self, inputs):
        if not self.training:
            raise RuntimeError("no running statistics")
        return torch.zeros(len(inputs), 10) + self.layer.bias.sum()


@pytest.fixture
def mistakes_of(monkeypatch, capsys, tmp_path):
    """A function: command line -> the message of the pre-flight; nothing may be written meanwhile."""
    register_schema()
    monkeypatch.setenv("BATCHLAB_MLRUNS", str(tmp_path / "mlruns"))
    monkeypatch.chdir(tmp_path)

    def check(*arguments: str) -> str:
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(SystemExit) as stop:
            preflight(list(arguments))
        out, err = capsys.readouterr()
        assert stop.value.code == 2
        assert (out, "Traceback" in err) == ("", False)
        assert sorted(tmp_path.rglob("*")) == before
        return err

    return check


@pytest.mark.parametrize(("arguments", "said"), WRONG_COMMANDS)
def test_wrong_input_is_one_message_and_nothing_is_written(mistakes_of, arguments, said):
    assert said in mistakes_of(*arguments)


def test_a_device_that_is_not_there(mistakes_of, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert "this machine has 0 CUDA devices. Type device=auto" in mistakes_of("device=cuda")
    assert "needs a CUDA device" in mistakes_of("precision=float16")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("NoParameters", "has no parameters to train"),
        ("WrongShape", "must return logits of shape [2, 10], returned [2, 7]"),
        ("RefusesInput", "refused examples of shape [1, 8, 8] (train, test_preflight.py line"),
        ("FailsInEval", "no running statistics"),
    ],
)
def test_own_models_that_do_not_fit(mistakes_of, monkeypatch, name, said):
    import sys

    monkeypatch.setitem(sys.modules, "own_models", sys.modules[__name__])
    assert said in mistakes_of("model=own", f"model._target_=own_models.{name}")


@pytest.mark.parametrize(
    ("content", "target", "said"),
    [
        (None, "y", "data.path"),
        (b"", "y", "data.path"),
        (gzip.compress(b"x,y\n" + b"1,a\n2,b\n" * 999)[:40], "y", "data.path"),
        (gzip.compress(b"x,yy\n" + b"1,a\n2,b\n" * 50), "y", "data.target"),
        (gzip.compress(b"x,y\n" + b"1,a\n2,a\n" * 50), "y", "class"),
    ],
    ids=["missing", "empty", "truncated", "no such column", "one class"],
)
def test_tables_that_cannot_be_used(mistakes_of, tmp_path, content, target, said):
    if content is not None:
        (tmp_path / "table.csv.gz").write_bytes(content)
    assert said in mistakes_of("data=table", "data.path=table.csv.gz", f"data.target={target}")


def test_a_grid_of_a_hundred_jobs_composes_only_what_differs(monkeypatch, tmp_path):
    import batchlab.validation.grid as module

    calls = []
    compose = module.compose
    monkeypatch.setattr(module, "compose", lambda *a, **k: calls.append(a) or compose(*a, **k))
    register_schema()
    arguments = ["-m", f"batch_size={','.join(map(str, range(1, 26)))}", "lr=0.1,0.2", "model=mlp,convnet"]
    configs = preflight([*arguments, "model.norm=none", f"mlruns={tmp_path}"]).configs
    assert (len(configs), len(calls)) == (100, 2)
    assert {(c.batch_size, c.lr, c.model["_target_"].rsplit(".")[-1]) for c in configs} >= {(25, 0.2, "mlp")}


@pytest.mark.parametrize("arguments", [["--help"], ["--cfg", "job"], ["--info"], ["-sc", "install=bash"]])
def test_commands_that_only_show_something_are_let_through(arguments):
    assert preflight(arguments) == Request([], None)


def test_a_folder_of_results_that_an_ordinary_user_cannot_write(tmp_path):
    """Run as another user where this one is root, for whom every folder is writable."""
    folder = tmp_path / "closed"
    folder.mkdir()
    folder.chmod(0o555)
    code = f"from batchlab.tracking.store_checks import unwritable; print(*unwritable({str(folder / 'mlruns')!r}))"
    if os.getuid() == 0:
        Path(tmp_path).chmod(0o755)
        said = _as_nobody(code, list(tmp_path.parents))
    else:
        import subprocess
        import sys

        said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "is not writable. Type mlruns=" in said


def _as_nobody(code: str, parents: list[Path]) -> str:
    """Standard output of Python code run in a child process that has given up root."""
    import io
    from contextlib import redirect_stdout

    from batchlab.tracking.store_checks import unwritable  # noqa: F401  (imported while files can still be read)

    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        for parent in parents:
            if parent.stat().st_mode & 0o001 == 0 and parent != Path("/"):
                parent.chmod(parent.stat().st_mode | 0o011)
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        said = io.StringIO()
        with redirect_stdout(said):
            exec(code)
        os.write(writer, said.getvalue().encode())
        os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as stream:
        return stream.read()


def test_lists_of_a_file_are_a_grid_and_what_is_typed_counts_above_them():
    composed = OmegaConf.create({"hydra": {"sweeper": {"params": {"lr": "0.1,0.2", "seed": "1,2"}}}})
    assert params_of(composed, ["seed=3", "epochs=1"]) == ["lr=0.1,0.2"]
