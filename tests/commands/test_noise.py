"""scripts/noise.py: the figures of the gradient noise on the digits, typed as a person does."""

import json
import os
import subprocess
import sys

import pytest

from batchlab.config.schema import REPOSITORY
from batchlab.laws.gradient_noise import cosine_law
from batchlab.profiling.micro_batch import KNOWN


def typed(tmp_path, *arguments):
    env = os.environ | {"BATCHLAB_MLRUNS": str(tmp_path / "mlruns")}
    command = [sys.executable, str(REPOSITORY / "scripts" / "noise.py"), "num_threads=1", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=env, cwd=tmp_path)


def test_wrong_input_costs_nothing(refused_by_script):
    said = refused_by_script("noise", "checkpoint.every_seconds=60")
    assert "checkpoint.every_seconds: has no effect: only train keeps checkpoints" in said
    assert "3 errors" in refused_by_script("noise", "num_examples=3", "num_draws=1", "output=csv")


@pytest.mark.slow
def test_a_memory_in_which_nothing_fits_is_refused(refused_by_script, monkeypatch):
    monkeypatch.setenv(KNOWN, "null")
    said = refused_by_script("noise", "micro_batch_size=auto", "memory.limit_bytes=300000000")
    assert "0.27 of 0.30 GB may be used" in said


@pytest.mark.slow
def test_auto_is_settled_as_a_run_does(tmp_path):
    ended = typed(tmp_path, "micro_batch_size=auto", "epochs=0.1", "num_examples=64", "num_draws=16")
    assert ended.returncode == 0, ended.stderr
    assert "micro_batch_size=auto: the whole batch in one part (128 at a time needed " in ended.stdout


@pytest.mark.slow
def test_variance_noise_scale_and_cosine_are_what_theory_says(tmp_path):
    ended = typed(tmp_path, "epochs=2", "output=json")
    found = json.loads(ended.stdout)
    assert found["variance_slope"]["value"] == pytest.approx(-1, abs=0.03)
    assert found["two_batch"]["value"] == pytest.approx(found["exact"], rel=0.25)
    for each in found["batches"]:
        assert each["cosine_squared"] == pytest.approx(float(cosine_law(each["size"], found["exact"], 1257)), abs=0.05)
