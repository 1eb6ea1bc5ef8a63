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


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["batch_size=0"], "batch_size=0: an integer from 1"),
        (["batch_size=1258"], "batch_size=1258: at most 1257, the size of the training split. Type batch_size=full"),
        (["-m", "batch_size=32,0"], "1 error; nothing was run, nothing was written.\n  batch_size=0"),
        (["-m", "batch_size=32,abc"], "batch_size=abc: an integer"),
        (["-m", "model=mlp,nosuch"], "model=nosuch: no such option; there are convnet, mlp"),
        (["model=convnt"], "Type model=convnet"),
        (["nosuch=3"], "nosuch=3: no such key"),
        (["batchsize=32"], "Type batch_size=32"),
        (["optimiser=adam"], "Type optimizer=adam"),
        (["lr=abc"], "lr=abc: value 'abc' of type 'str' could not be converted to Float"),
        (["lr=0", "batch_size=-8", "model=convnt", "batchsize=3"], "4 errors"),
        (["batch_size=32,64"], "Type -m batch_size=32,64"),
        (["search=joint", "lr=tag(log,intervall(0.1,0.2))"], "Type 'lr=tag(log,interval(0.1,0.2))'"),
        (["search=joint", "objectives=final/val_accuracy"], "Type 'objectives=[final/val_accuracy]'"),
        (["hydra.sweeper.n_trials=3"], "Type search=joint hydra.sweeper.n_trials=3"),
        (["-m", "batch_size=interval(1,9)"], "an interval is for a search"),
        (["batch_size=["], "cannot be read"),
        (["-m", "batch_size=32,", "64"], "batch_size=32, 64: a list has no spaces"),
        (["-m", "batch_size=32", "64"], "64: is no setting; settings are key=value"),
        (["help"], "Type python train.py --help"),
        (["-m", "experiment=grow_bach"], "Type experiment=grow_batch"),
        (["-m", "experiment=accumulation", "search=joint"], "search=joint: an experiment brings its own arms"),
        (["-m", "experiment=accumulation", "model.norm=layer"], "the arm no_norm of this experiment sets it"),
        (["-m", "experiment=accumulation", "hydra.sweeper.preset=big"], "Type hydra.sweeper.preset=small"),
        (["-m", "experiment=accumulation", "hydra.sweeper.arm=norm"], "one of no_norm, batch_norm, ghost_batch_norm"),
        (["-m", "experiment=accumulation", "batch_size=0"], "batch_size=0: an integer from 1"),
        (["-m", "experiment=accumulation", "batch_size=32,64"], "batch_size=32,64: one value"),
        (["-m", "experiment=accumulation", "hydra.sweeper.max_seeds=6"], "seeds are num_seeds"),
        (["-m", "experiment=accumulation", "device=cuda:99"], "Type device=cpu"),
        (["-m", "experiment=accumulation,lbfgs"], "scripts/claims.py accumulation lbfgs"),
        (["-m", "experiment=accumulation", "+experiment=lbfgs"], "experiment=accumulation,lbfgs: one experiment"),
        (["--lr", "lr=0.1"], "--lr: is no setting"),
        (["batch_size=[32,64]"], "Type -m batch_size=32,64"),
        (["precision=bf16"], "Type precision=bfloat16"),
        (["lerning_rate=0.1"], "the nearest is lr. Type lr=0.1"),
        (["widht=8"], "no such key; the nearest is"),
        (["-m", "batch_size=64,full", 'data.path=a "b" == c'], "1 error"),
        (["-m", "batch_size=64,full", 'data.path=a "b" == c'], """Type 'data.path="a \\"b\\" == c"'"""),
        (["-m", "batch_size=32,64", "batch_size=128"], "the same key stands there several times"),
        (["-m", "batch_size=32,32"], "batch_size=32,32: the grid has a value twice. Type batch_size=32"),
        (["-m", "batch_size=1257,full"], "the grid has this run twice (batch_size=1257, seed=0)"),
        (["-m", "seed=0,1", "num_seeds=2"], "the grid has this run twice (batch_size=128, seed=1)"),
        (["epochs=3", "budget=steps"], "epochs=3.0: has no effect with budget=steps"),
        (["optimizer=adam", "+optimizer.momentum=0.9"], "or optimizer=lars or momentum"),
        (["optimizer=adam", "+optimizer.momentun=0.9"], "optimizer.momentun=0.9: has no effect: torch.optim.Adam"),
        (["optimizer=adam", "+optimizer.beta=0.9"], "Type optimizer.betas=0.9"),
        (["optimizer=adam", "optimizer.betas=[2,3]"], "refused its settings: Invalid beta"),
        (["lr_scaling.base_batch_size=64"], "lr_scaling.base_batch_size=64: has no effect"),
        (["lr_scaling=adam_sqrt", "optimizer=adam", "batch_size=1000"], "the largest batch size that works is 640"),
        (["lr_scaling=adam_sqrt"], "for optimizers with betas or alpha"),
        (["lr_schedule=cosine", "optimizer=rprop"], "reads lr once"),
        (["model.norm=ghost_batch", "model.ghost_size=48"], "model.ghost_size=48: must divide each forward pass"),
        (["model.norm=ghost_batch", "model.ghost_size=48"], "Type model.ghost_size=32"),
        (["model.ghost_size=32"], "ghost_size"),
        (["model=mlp6x64", "batch_size=1"], "batch norm needs at least 2 examples"),
        (["model=mlp6x64", "batch_size=3", "micro_batch_size=2"], "batch norm needs at least 2 examples"),
        (["model=torchvision", "model.name=resnet81"], "resnet18"),
        (["model=own"], "model._target_=???: must be given"),
        (["model=own", "model._target_=nosuch.Net"], "cannot be imported: No module named 'nosuch'. Type PYTHONPATH=."),
        (["model=own", "model._target_=torch.nn.Linaer"], "has no Linaer. Type model._target_=torch.nn.Linear"),
        (["model=own", "model._target_=torch.nn.Linear"], "in_features"),
        (["data=fashion_mnist", "data.root=nowhere"], "data.download=true"),
        (["data=table"], "data.path"),
        (["data=digits", "data.val_fraction=1.5"], "val_fraction"),
        (["data.root=x"], "data.root=x: has no effect"),
        (["data=quadratic"], "Type loss=squared_error"),
        (["model=simclr"], "Type loss=contrastive measure=none"),
        (["loss=contrastive", "measure=none"], "Type model=simclr"),
        (["data=surface", "model=surface"], "Type loss=mean_output"),
        (["model=surface"], "Type data=surface loss=mean_output"),
        (["loss=mean_output"], "Type data=surface model=surface"),
        (["eval.every_examples=500", "batch_schedule=grow", "lr_schedule=step", "batch_schedule.max_batch_size=600"],
         "eval.every_examples=500: at least the largest batch, 600"),
        (["batch_schedule=grow", "lr_schedule=step", "batch_schedule.max_batch_size=6000"], "at most 1257"),
        (["objectives=[final/test_accuracy]"], "select on val"),
        (["objectives=[final/val_acuracy]"], "Type objectives=[final/val_accuracy]"),
        (["mlruns=/proc/nowhere"], "/proc is not writable"),
        (["mlruns=" + 300 * "x"], "is not writable. Type mlruns="),
        (["batch_schedule=0"], "batch_schedule=0: config group override must be a string"),
        (["lr=0.1", "-cd", ".", "epochs=1"], "epochs=1: settings stand together, before or behind all flags"),
        (["checkpoint=60"], "holds settings of its own: checkpoint.every_seconds. Type checkpoint.every_seconds=60"),
        (["~budget"], "~budget: every run has it. Type the command without ~budget"),
        (["+batchsize=0.0", "model=own"], "batchsize=0.0: no such key; nothing reads it"),
        (["-m", "lr=range(4,1)"], "a list or range without a value"),
        (["-m", "experiment=_base"], "what experiments share, and none itself"),
        (["optimizer._target_=3"], "optimizer._target_=3: the name of a function or class"),
        (["+loss.reduction=none"], "refused logits and targets of 32 examples: raised ValueError: one number"),
        (["loss=label_smoothing", "loss.label_smoothing=7"], "loss._target_=torch.nn.CrossEntropyLoss: refused logits"),
        (["+optimizer.differentiable=true"], "optimizer._target_=torch.optim.SGD: refused its first step"),
        (["model=own", "model._target_=os.getcwd"], "must make a torch.nn.Module, made str"),
        (["data._target_=os.getcwd", *(f"~data.{key}" for key in ("val_fraction", "test_fraction", "split_seed",
          "resident"))], "must return a batchlab.data.dataset.Dataset, returned str"),
        (["model.width='\\${lr}'"], "would be read as a setting once more"),
        (["search=joint", "hydra.sweeper.max_failure_rate=1,2"], "one value, which is that of the whole command"),
        (["-m", "hydra.sweep.dir=choice(a,b)"], "Type hydra.sweep.dir=a"),
        (["trust=${lr}"], ": a list. Type the command without trust"),
        (["objectives=${seed}"], "objectives=0: a list"),
        (["hydra=1"], "Type the command without hydra"),
        (["mlruns="], "mlruns: the path of a folder: folder of every result. Type mlruns=mlruns"),
        (["objectives=[[a]]"], "each objective is the name of a final metric"),
        (["hydra/sweeper=arms"], "hydra/sweeper=arms: no such option; there are basic, batchlab"),
        (["search=none,joint"], "search=none,joint: one value, which is that of the whole command. Type search=joint"),
        (["-m", "mlruns=a,b"], "mlruns=a,b: one value, which is that of the whole command. Type mlruns=a"),
        (["-cn", "noise"], "--config-name=noise: the configuration of a run is train"),
        (["num_draws=3"], "num_draws=3: a key of python scripts/noise.py. Type the command without num_draws"),
        (["search=joint", "lr=interval(1,2)", "hydra.sweeper.n_trials=2.5"], "hydra.sweeper.n_trials=2.5: "),
        (["lr=interval(1,2)"], "Type search=joint 'lr=interval(1,2)'"),
        (["lr=${nope}"], "lr=${nope}: Interpolation key 'nope' not found. Type the command without lr"),
        (["~optimizer"], "Type the command without ~optimizer"),
        (["+lr=3"], "+lr=3: + adds a new key, and this one is there. Type lr=3"),
        (["model=MLP"], "Type model=mlp"),
        (["--lr=0.1"], "Type lr=0.1"),
        (["study=null"], "study=null: must have a value. Type study=runs-digits-mlp"),
        (["hydra.verbose=3"], "hydra.verbose=3: true, false, or names of loggers"),
        (["hydra.job.env_copy=[NO_SUCH]"], "KeyError: 'NO_SUCH'"),
        (["hydra.launcher._target_=nosuch.Launcher"], "cannot be imported: "),
        (["-m", "hydra.sweeper.max_batch_size=0", "lr=1,2"], "max_batch_size=0: null or an integer from 1"),
        (["--cfg", "job", "budget=0.5"], "budget=0.5: config group override must be a string"),
        (["study=\udcff"], "is no UTF-8, so that no file could hold it"),
    ],
)  # fmt: skip
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
