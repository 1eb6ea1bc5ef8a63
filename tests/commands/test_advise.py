"""scripts/advise.py: a minute from nothing to a batch size; here with seconds, on the digits."""

import json
import os
import subprocess
import sys

import pytest

from batchlab.config.schema import REPOSITORY


def typed(tmp_path, *arguments):
    env = os.environ | {"BATCHLAB_MLRUNS": str(tmp_path / "mlruns")}
    command = [sys.executable, str(REPOSITORY / "scripts" / "advise.py"), "num_threads=1", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=400, env=env, cwd=tmp_path)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["budget_seconds=-1", "method=guess"], "2 errors"),
        (["budget_seconds=0", "target=0.9"], "has no effect with budget_seconds=0"),
        (["method=fill_then_reduce", "budget_seconds=0"], "has to train"),
        (["lr=0.1,0.2"], "lr=0.1,0.2: one value: this command is about one configuration. Type lr=0.1"),
        (["target=0.5,0.6"], "target=0.5,0.6: one value. Type target=0.5"),
        (["budget_seconds=2m"], "Type budget_seconds=120"),
        (["search=joint"], "search=joint: has no effect here: it is for train. Type the command without search"),
        (["experiment=accumulation"], "Type the command without experiment"),
        (["hydra.sweeper.n_trials=3"], "Type the command without hydra.sweeper.n_trials"),
        (["data=fashion_mnist", "data.root=nowhere"], "data.download=true"),
        (["target=1.5"], "the best accuracy there can be"),
        (["target=0.05"], "a model that always answers the same"),
    ],
)
def test_wrong_input_costs_nothing(refused_by_script, arguments, said):
    assert said in refused_by_script("advise", *arguments)


@pytest.mark.slow
def test_a_batch_size_comes_out_with_its_reasons(tmp_path):
    ended = typed(tmp_path, "budget_seconds=30", "price_per_hour=2")
    assert ended.returncode == 0, ended.stderr
    for said in ("batch_size=", "What limits:", "Critical batch size:", "predicted to the target", "price"):
        assert said in ended.stdout
    answer = json.loads((tmp_path / "mlruns" / "reports" / "advise-digits-mlp" / "advice.json").read_text())
    assert 16 <= answer["batch_size"] <= 1024
    assert answer["basis"] == "trainings"
    assert f"epochs={answer['epochs']:g} batch_size={answer['batch_size']}" in ended.stdout


@pytest.mark.slow
def test_without_a_budget_it_rests_on_noise(tmp_path):
    ended = typed(tmp_path, "budget_seconds=0", "output=json")
    answer = json.loads(ended.stdout)
    assert answer["basis"] == "noise"
    assert answer["trainings"] == []
    assert answer["optimal_batch_size"]["high"] > 2 * answer["optimal_batch_size"]["low"]


@pytest.mark.slow
def test_the_other_method_ends_at_a_batch_size_that_converges(tmp_path):
    ended = typed(tmp_path, "method=fill_then_reduce", "budget_seconds=30")
    assert ended.returncode == 0, ended.stderr
    assert "by fill_then_reduce" in ended.stdout


@pytest.mark.slow
def test_a_target_out_of_reach_is_said(tmp_path):
    ended = typed(tmp_path, "target=1", "budget_seconds=10", "data=synthetic", "data.num_examples=5000")
    assert ended.returncode == 0, ended.stderr
    assert "fewer than two batch sizes reached the target" in ended.stdout
    assert "stopped after" in ended.stdout or "time was over after" in ended.stdout
