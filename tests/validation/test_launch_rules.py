import pytest

from batchlab.errors import ConfigErrors
from batchlab.system.torchrun_env import TorchrunRank, with_torchrun
from batchlab.validation.dry_run import check_data
from batchlab.validation.rules import check_config


@pytest.mark.parametrize(
    ("overrides", "key", "fix"),
    [
        (["launch=horovod"], "launch", "launch=single"),
        (["launch=ddp"], "launch", "num_processes=2 too"),
        (["num_processes=0"], "num_processes", "num_processes=1"),
        (["launch=single", "num_processes=2"], "num_processes", "launch=ddp too"),
        (["sync_batch_norm=true"], "sync_batch_norm", "num_processes=2 too"),
        (["num_processes=4", "batch_size=3"], "batch_size", "batch_size=4"),
        (["num_processes=2", "micro_batch_size=auto"], "micro_batch_size", "micro_batch_size=32"),
        (["num_processes=2", "sync_batch_norm=true", "micro_batch_size=8"], "sync_batch_norm", "micro_batch_size=none"),
        (["num_processes=2", "device=cuda:0"], "device", "device=cuda"),
    ],
)
def test_how_a_run_is_spread_is_checked_by_key(config_of, overrides, key, fix):
    config = config_of(*overrides)
    config.device = next((each.partition("=")[2] for each in overrides if each.startswith("device")), "cpu")
    (error,) = check_config(config)
    assert (error.key, error.fix) == (key, fix)


def test_norms_are_checked_against_every_processs_share(config_of):
    (uneven,) = check_data(
        config_of("num_processes=2", "model.norm=ghost_batch", "model.ghost_size=32", "batch_size=96")
    )
    assert (uneven.key, uneven.fix) == ("model.ghost_size", "model.ghost_size=24")
    (single,) = check_data(config_of("num_processes=2", "model.norm=batch", "batch_size=3"))
    assert (single.key, "batch_size=4" in single.fix) == ("batch_size", True)
    (no_norm,) = check_data(config_of("num_processes=2", "model.norm=none", "sync_batch_norm=true"))
    assert no_norm.key == "sync_batch_norm"


def test_torchrun_says_how_many_processes_there_are():
    place = TorchrunRank(0, 2, 0)
    assert with_torchrun(["lr=0.1"], place) == ["lr=0.1", "launch=ddp", "num_processes=2"]
    assert with_torchrun(["num_processes=2"], place) == ["num_processes=2", "launch=ddp"]
    with pytest.raises(ConfigErrors, match="torchrun started 2 processes"):
        with_torchrun(["num_processes=3"], place)
