"""Files from elsewhere run nothing of their own unless trust=[package] is typed; the trap says when they do."""

import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from batchlab.commands.train.preflight import preflight
from batchlab.config.registration import register_schema
from batchlab.config.schema import REPOSITORY
from batchlab.config.trusted_targets import packages_to_trust
from batchlab.report.search_summary import best_command, write_best

TRAP = """
import pathlib
pathlib.Path(__file__).with_suffix(".sprung").touch()
from torch import nn

class Net(nn.Sequential):
    def __init__(self, input_shape, num_classes):
        super().__init__(nn.Flatten(), nn.Linear(64, num_classes))
"""


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """A function: text of a file -> the folder in which it is the option `it` of the group extra."""
    register_schema()
    monkeypatch.setenv("BATCHLAB_MLRUNS", str(tmp_path / "mlruns"))
    (tmp_path / "trap.py").write_text(TRAP)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "trap", raising=False)

    def write(text: str) -> Path:
        (tmp_path / "theirs" / "extra").mkdir(parents=True, exist_ok=True)
        (tmp_path / "theirs" / "extra" / "it.yaml").write_text(f"# @package _global_\n{text}\n")
        return tmp_path / "theirs"

    return write


@pytest.fixture
def refused(elsewhere, tmp_path, capsys) -> Callable[..., str]:
    """A function: text of a file, arguments -> what is said of them; nothing may be imported or written."""

    def check(text: str, *arguments: str) -> str:
        with pytest.raises(SystemExit) as stopped:
            preflight(["-cd", str(elsewhere(text)), "+extra=it", *arguments])
        assert stopped.value.code == 2
        assert not (tmp_path / "trap.sprung").exists()
        assert not (tmp_path / "mlruns").exists()
        return capsys.readouterr().err

    return check


TARGETS = {
    "model._target_=trap.Net": "model: {_target_: trap.Net}",
    "loss._target_=torch.load": "loss: {_target_: torch.load}",
    "optimizer.extra._target_=trap.f": "optimizer: {extra: {_target_: trap.f}}",
    "data.extra.0._target_=trap.f": "data: {extra: [{_target_: trap.f}]}",
    "measure.sharpness.mine._target_=trap.f": "measure: {sharpness: {mine: {_target_: trap.f}}}",
    "data._target_=trap.load": "data: {_target_: trap.load}\nhydra: {sweeper: {params: {lr: '${quarter_of_train:}'}}}",
    "hydra.callbacks.mine._target_=trap.Callback": "hydra: {callbacks: {mine: {_target_: trap.Callback}}}",
    "hydra.sweeper._target_=trap.Sweeper": "hydra: {sweeper: {_target_: trap.Sweeper}}",
    "hydra.launcher._target_=trap.Launcher": "hydra: {launcher: {_target_: trap.Launcher}}",
    "batchlab.training.build.torch.load": "loss: {_target_: batchlab.training.build.torch.load}",
}


@pytest.mark.parametrize("said", TARGETS)
def test_a_target_of_a_file_from_elsewhere_is_refused_before_it_is_imported(refused, tmp_path, said):
    message = refused(TARGETS[said])
    assert said in message
    assert f"stands in a file from elsewhere: {tmp_path}/theirs/extra/it.yaml" in message
    assert "Type 'trust=[" in message


SEARCHES = {
    "hydra.sweeper.sampler._target_=trap.Sampler": "hydra: {sweeper: {sampler: {_target_: trap.Sampler}}}",
    "hydra.sweeper.pruner._target_=trap.Pruner": "hydra: {sweeper: {pruner: {_target_: trap.Pruner}}}",
    "hydra.sweeper.custom_search_space=trap.suggest": "hydra: {sweeper: {custom_search_space: trap.suggest}}",
    "hydra.sweeper.storage=sqlite:///theirs.db": "hydra: {sweeper: {storage: 'sqlite:///theirs.db'}}",
    "model._target_=trap.Net": "hydra: {sweeper: {params: {model._target_: 'choice(trap.Net,trap.Other)'}}}",
    "hydra.sweeper.params.hydra.launcher.x": "hydra: {sweeper: {params: {hydra.launcher.x: 1}}}",
}


@pytest.mark.parametrize("said", SEARCHES)
def test_a_search_from_elsewhere_runs_nothing_of_its_own(refused, said):
    assert said in refused(SEARCHES[said], "search=joint")


COMMANDS = {
    "hydra.job.env_set.LD_PRELOAD=theirs.so": "hydra: {job: {env_set: {LD_PRELOAD: theirs.so}}}",
    "hydra.job_logging.handlers.console.()=os.system": "hydra: {job_logging: {handlers: {console: {(): os.system}}}}",
    "hydra.launcher.setup.0=rm": "defaults: [{override /hydra/launcher: submitit_slurm}]\n"
    "hydra: {launcher: {setup: [rm]}}",
    "hydra.run.dir=/etc": "hydra: {run: {dir: /etc}}",
}


@pytest.mark.parametrize("said", COMMANDS)
def test_keys_by_which_hydra_runs_commands_need_trust_in_hydra(refused, said):
    message = refused(COMMANDS[said])
    assert f"{said}: has Hydra run commands or write files" in message
    assert "Type 'trust=[hydra]'" in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("trust: [trap]\nmodel: {_target_: trap.Net}", "a file cannot trust itself"),
        ("model: {width: \"${oc.decode:'{_target_: trap.f}'}\"}", "text that becomes a setting"),
        ("model: {width: \"${oc.create:'{_target_: trap.f}'}\"}", "text that becomes a setting"),
        ("model: {width: '\\${oc.env:HOME}'}", "text that becomes a setting"),
        ("model: {_target_: '${data._target_}'}", "text that becomes a setting"),
        ("batch_size: '${quarter_of_train:}'", "text that becomes a setting"),
        ("model: {width: \"${oc.env:NOTHING,'$'}{oc.decode:'{_target_: trap.f}'}\"}", "read as a setting once more"),
    ],
)
def test_text_does_not_become_a_target_on_the_way(refused, text, said):
    assert said in refused(text)


def test_arms_of_an_experiment_from_elsewhere_run_nothing_of_their_own(elsewhere, tmp_path, capsys):
    folder = elsewhere("seed: 0")
    (folder / "experiment").mkdir()
    own = (REPOSITORY / "conf" / "experiment" / "accumulation.yaml").read_text()
    (folder / "experiment" / "theirs.yaml").write_text(own.replace("[model.norm=none]", "[model._target_=trap.Net]"))
    with pytest.raises(SystemExit):
        preflight(["-cd", str(folder), "-m", "experiment=theirs"])
    assert "model._target_=trap.Net: runs code" in capsys.readouterr().err
    assert not (tmp_path / "trap.sprung").exists()


def test_to_show_a_file_from_elsewhere_runs_nothing_either(refused):
    assert "model._target_=trap.Net" in refused(TARGETS["model._target_=trap.Net"], "--cfg", "job", "--resolve")


@pytest.mark.parametrize("trust", ["trust=[trap]", "trust=[other,trap.Net]", "model._target_=trap.Net"])
def test_trust_that_is_typed_lets_it_in_and_so_does_the_target_itself(elsewhere, tmp_path, trust):
    preflight(["-cd", str(elsewhere("model: {_target_: trap.Net}")), "+extra=it", "model=own", trust])
    assert (tmp_path / "trap.sprung").exists()


def test_trust_in_one_package_is_none_in_another(refused):
    message = refused("model: {_target_: trap.Net}\nloss: {_target_: traps.Loss}", "trust=[trap]")
    assert "loss._target_=traps.Loss" in message
    assert "model._target_" not in message
    assert "Type 'trust=[trap,traps]' too" in message


def test_targets_of_conf_may_stand_anywhere(elsewhere):
    text = "defaults: [{override /optimizer: adam}]\nmodel: {_target_: batchlab.models.mlp.mlp, width: 16}\nlr: 0.01"
    [config] = preflight(["-cd", str(elsewhere(text)), "+extra=it"]).configs
    assert (config.model["width"], config.optimizer["_target_"]) == (16, "torch.optim.Adam")


def test_a_folder_on_the_search_path_is_elsewhere_too_and_a_file_that_is_not_chosen_is_not_read(elsewhere, capsys):
    folder = elsewhere("model: {_target_: trap.Net}")
    assert preflight([f"hydra.searchpath=[file://{folder}]"]).configs
    with pytest.raises(SystemExit):
        preflight([f"hydra.searchpath=[file://{folder}]", "+extra=it"])
    assert "model._target_=trap.Net: runs code" in capsys.readouterr().err


def test_names_that_are_no_packages_are_refused(elsewhere, capsys):
    elsewhere("")
    with pytest.raises(SystemExit):
        preflight(["trust=[my-package,os/path,fine.one]"])
    message = capsys.readouterr().err
    assert "2 errors" in message
    assert "trust=my-package: packages or modules, as they are imported. Type trust=[mypackage]" in message


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["-cp", "theirs"], "Type -cd theirs"),
        (["--experimental-rerun", "config.pickle"], "reads a pickle"),
        (["-cd", "nowhere"], "there is no such folder"),
        (["-cn", "trian"], "Type -cn train"),
        (["--cfg", "job", "-m"], "one of these at a time"),
        (["--resolve"], "Type --cfg job --resolve"),
    ],
)
def test_flags_that_are_not_followed_are_said(elsewhere, capsys, flags, said):
    elsewhere("")
    with pytest.raises(SystemExit) as stopped:
        preflight(flags)
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err


def test_a_recommended_command_types_the_trust_that_it_needs_and_passes(elsewhere, tmp_path, config_of, monkeypatch):
    elsewhere("")
    config = config_of("model=own", "model._target_=trap.Net", "budget=steps", "budget.num_steps=2")
    choices = {"model": "own", "data": "digits", "optimizer": "mine", "budget": "steps"}
    path = write_best(tmp_path / "of a study", "knee", "a trial", config, choices)
    assert packages_to_trust(config) == ["trap"]
    words = shlex.split(best_command(tmp_path / "of a study", "knee", config))
    assert words[-1] == "trust=[trap]"
    assert preflight(words[2:]).configs[0].model["_target_"] == "trap.Net"
    assert yaml.safe_load(path.read_text())["defaults"][2] == {"override /optimizer": None}
    assert best_command(tmp_path, "knee", config_of()) == f"python train.py -cd {tmp_path} +best=knee"
