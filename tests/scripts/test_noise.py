"""scripts/noise.py: the figures of the gradient noise on the digits, typed as a person does."""

import json
import os
import subprocess
import sys

import pytest

from batchlab.config import REPOSITORY
from batchlab.laws.gradient_noise import cosine_law


def typed(tmp_path, *arguments):
    env = os.environ | {"BATCHLAB_MLRUNS": str(tmp_path / "mlruns")}
    command = [sys.executable, str(REPOSITORY / "scripts" / "noise.py"), "num_threads=1", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=env, cwd=tmp_path)


@pytest.mark.slow
def test_wrong_input_costs_nothing(tmp_path):
    ended = typed(tmp_path, "num_examples=3", "num_draws=1", "output=csv")
    assert (ended.returncode, "3 mistakes" in ended.stderr) == (2, True)
    assert not (tmp_path / "mlruns").exists()


@pytest.mark.slow
def test_variance_noise_scale_and_cosine_are_what_theory_says(tmp_path):
    ended = typed(tmp_path, "epochs=2", "output=json")
    found = json.loads(ended.stdout)
    assert found["variance_slope"]["value"] == pytest.approx(-1, abs=0.03)
    assert found["two_batch"]["value"] == pytest.approx(found["exact"], rel=0.25)
    for each in found["batches"]:
        assert each["cosine_squared"] == pytest.approx(float(cosine_law(each["size"], found["exact"], 1257)), abs=0.05)
