"""scripts/benchmark.py: what it refuses, what it prints, and what it leaves."""

import json
import os
import subprocess
import sys

import pytest

from batchlab.config.command_keys import Benchmark
from batchlab.config.schema import REPOSITORY
from batchlab.profiling.benchmark_sizes import coulom_sizes, sizes_of, with_images

QUICK = ("num_threads=1", "num_blocks=5", "budget_seconds=20")


def typed(tmp_path, *arguments):
    env = os.environ | {"BATCHLAB_MLRUNS": str(tmp_path / "mlruns")}
    command = [sys.executable, str(REPOSITORY / "scripts" / "benchmark.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=env, cwd=tmp_path)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["batch_sizes=[]"], "an empty list times nothing. Type batch_sizes=[32,128,512]"),
        (["batch_sizes=[32,abc]", "budget_seconds=-1", "clock=sun"], "3 errors"),
        (["batch_sizes=[64,9999]"], "at most 1257, the size of the training split"),
        (["num_blocks=5,6"], "num_blocks=5,6: one value. Type num_blocks=5"),
        (["lr=[0.1,0.2]"], "1 error; nothing was run, nothing was written.\n  lr=[0.1,0.2]: one value"),
        (["search=joint"], "search=joint: has no effect here"),
        (["clock=process"], "Type clock=process num_threads=1"),
    ],
)
def test_wrong_input_costs_nothing(refused_by_script, arguments, said):
    assert said in refused_by_script("benchmark", *arguments)


@pytest.mark.slow
def test_lists_are_compared_and_everything_is_written(tmp_path):
    ended = typed(tmp_path, "batch_sizes=8,32,128", "modes=[train,inference]", *QUICK)
    assert ended.returncode == 0, ended.stderr
    assert "t(B) = α + β·B from B = 8 to 128" in ended.stdout
    assert "take the same time at" in ended.stdout
    folder = tmp_path / "mlruns" / "reports" / "benchmark-digits-mlp"
    records = json.loads((folder / "step_time.json").read_text())
    assert {record["what"] for record in records} >= {"train alpha", "inference beta", "train B=32 step"}
    page = (folder / "step_time.html").read_text()
    assert "plotly" in page[:100_000]
    assert f'"subtitle":{{"text":"{ended.stdout.splitlines()[0]}' in page  # the hardware, as in the terminal


def test_json_is_nothing_but_json(tmp_path):
    ended = typed(tmp_path, "batch_sizes=[8,32]", "output=json", *QUICK)
    assert {record["unit"] for record in json.loads(ended.stdout)} == {"s", "s/example", "examples"}


@pytest.mark.slow
def test_a_budget_that_is_too_small_says_what_would_do(tmp_path):
    ended = typed(tmp_path, "batch_sizes=[1000]", "num_threads=1", "budget_seconds=0.01")
    assert ended.returncode == 1
    assert "Type budget_seconds=" in ended.stderr


def test_sizes_by_name(config_of):
    config = config_of()
    assert sizes_of(Benchmark(batch_sizes=[64, "full", 64, 8]), config, 1257) == [8, 64, 1257]
    assert sizes_of(Benchmark(), config, 100) == [8, 16, 32, 64, 100]


def test_coulom_sizes_are_whole_waves_of_tiles(config_of):
    """132 multiprocessors at 64 x 32 x 32 values: 33 images per wave, as in the comments on Raschka 2022."""
    keys = Benchmark(batch_sizes="coulom", num_multiprocessors=132, wave_shape=[64, 32, 32])
    assert coulom_sizes(keys, config_of(), 1257)[:3] == [33, 66, 99]
    with pytest.raises(ValueError, match="first size, 33792, is larger than the training split"):
        coulom_sizes(Benchmark(num_multiprocessors=132), config_of(), 1257)
    with pytest.raises(ValueError, match="coulom needs images"):
        coulom_sizes(Benchmark(num_multiprocessors=132), config_of("data=synthetic", "data.num_examples=500"), 350)


def test_image_size_makes_images_enough_for_the_largest_batch(config_of):
    [config] = with_images(Benchmark(batch_sizes=[2000], image_size=16), [config_of()])
    assert config.data["image_size"] == 16
    assert config.data["num_examples"] * 0.7 >= 2000


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["num_processes=2", "feeds=[resident]"], "Type feeds=[loader]"),
        (["num_processes=2", "modes=[train,inference]"], "Type modes=[train]"),
        (["num_processes=2", "precision=float32,bfloat16"], "one configuration at a time"),
    ],
)
def test_several_processes_are_compared_with_one_and_nothing_else(refused_by_script, arguments, said):
    assert said in refused_by_script("benchmark", *arguments)


@pytest.mark.slow
def test_two_processes_stand_beside_one_with_their_speed_up(tmp_path):
    ended = typed(tmp_path, "num_processes=2", "batch_sizes=[16,512]", *QUICK)
    assert ended.returncode == 0, ended.stderr
    assert "2 processes over one" in ended.stdout
    folder = tmp_path / "mlruns" / "reports" / "benchmark-digits-mlp"
    records = json.loads((folder / "step_time.json").read_text())
    ups = [record for record in records if record["unit"] == "times the throughput"]
    assert [record["what"] for record in ups] == ["2 processes over one, B=16", "2 processes over one, B=512"]
    assert all(0 < record["low"] <= record["median"] <= record["high"] for record in ups)
