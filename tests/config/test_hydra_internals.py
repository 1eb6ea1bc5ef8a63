"""What batchlab relies on of Hydra's private parts; what fails after an upgrade is fixed in hydra_internals.py."""

import pytest
from hydra import compose, initialize_config_dir
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext
from omegaconf import OmegaConf

from batchlab.config.hydra_internals import args_parser, chosen_files, is_in_process, job_error, keys_of, locate
from batchlab.config.registration import register_schema
from batchlab.config.schema import REPOSITORY


class Other(Launcher):
    setup = launch = None  # type: ignore[assignment]


@pytest.fixture
def conf():
    register_schema()
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        yield


def test_the_parser_knows_the_flags_that_are_followed_or_refused_and_leaves_the_overrides():
    words = ["-m", "-cd", "folder", "-cn", "train", "--cfg", "job", "--resolve", "lr=1", "--info", "-sc", "--run"]
    args, unknown = args_parser().parse_known_args([*words, "--nosuch"])
    assert (args.multirun, args.config_dir, args.config_name, args.cfg) == (True, "folder", "train", "job")
    assert (args.resolve, args.info, args.shell_completion, args.run) == (True, "all", True, True)
    assert (args.overrides, unknown) == (["lr=1"], ["--nosuch"])
    nothing = args_parser().parse_args([])
    assert not any((nothing.help, nothing.hydra_help, nothing.config_path, nothing.experimental_rerun))


@pytest.mark.parametrize("target", ["no.such.module", "math.nosuch", ""])
def test_what_cannot_be_located_raises_and_says_nothing_else(target, caplog, capsys):
    with pytest.raises(ImportError):
        locate(target)
    assert (caplog.text, *capsys.readouterr()) == ("", "", "")


def test_a_class_and_its_method_are_located():
    assert locate("pathlib.Path.cwd").__func__ is type(REPOSITORY).cwd.__func__


def test_each_file_of_a_composition_stands_where_its_settings_go(conf):
    files = {each.name: each for each in chosen_files("train", ["model=convnet", "hydra/launcher=basic"])}
    assert {"train", "schema", "model/convnet", "data/digits", "hydra/launcher/basic"} <= set(files)
    assert files["model/convnet"].settings.keys() == {"model"}
    assert files["optimizer/momentum"].settings.keys() == {"lr", "optimizer"}
    assert files["train"].settings["launch"] == "${launch_of:${num_processes}}"
    assert (files["train"].provider, files["train"].folder) == ("main", f"file://{REPOSITORY / 'conf'}")


def test_keys_are_listed_without_resolving(conf):
    node = OmegaConf.create({"a": {"b": "${nosuch:}", "c": None}, "d": "${a}", "e": "???"})
    assert keys_of(node) == ["a", "a.b", "a.c", "d", "e"]
    assert "hydra.sweeper.max_batch_size" in keys_of(compose("train", return_hydra_config=True))


def test_the_basic_launcher_runs_in_process(conf):
    config = compose("train", return_hydra_config=True)
    context = HydraContext(config_loader=GlobalHydra.instance().config_loader(), callbacks=Callbacks())
    made = Plugins.instance().instantiate_launcher(
        hydra_context=context, task_function=lambda config: None, config=config
    )
    assert is_in_process(made)
    assert not is_in_process(Other())


def test_a_failed_job_hands_over_what_it_raised():
    error = ValueError("x")
    assert job_error(JobReturn(status=JobStatus.FAILED, _return_value=error)) is error
