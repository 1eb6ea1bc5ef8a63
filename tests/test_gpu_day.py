"""The steps of a GPU day run to their end on a CPU, with tiny sizes."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from batchlab.config.schema import REPOSITORY

STEPS = (
    *("options", "cli-train", "cli-resume", "search", "floors-mlp", "bench-mlp", "loop", "memory", "floors-conv"),
    "advise",
)
GPU_STEPS = {
    *("bench-mobilenet", "cli-ddp"),
    *(f"claims-{claim}" for claim in ("full_waves", "multiples_of_eight", "cpu_or_gpu", "cuda_cores")),
}


@pytest.mark.slow
@pytest.mark.long
def test_every_step_of_a_gpu_day_ends_well_on_a_cpu_or_says_that_it_needs_a_gpu(tmp_path: Path) -> None:
    sizes = {"DAY_DEVICE": "cpu", "TOTAL": "3000", "PATIENCE": "10", "STEPS": "3000", "OMP_NUM_THREADS": "1"}
    folders = {"W": str(tmp_path), "OUT": str(tmp_path / "out"), "SITE": str(tmp_path), "PYTHON": sys.executable}
    command = ["bash", str(REPOSITORY / "scripts" / "gpu" / "gpu_day.sh")]
    subprocess.run(command, env=os.environ | sizes | folders, check=True, capture_output=True)
    summary = (tmp_path / "out" / "summary.txt").read_text()
    logs = (tmp_path / "out" / "logs.txt").read_text()
    assert {name: int(rc) for name, rc in re.findall(r"s ([\w-]+): rc (\d+)", summary)} == dict.fromkeys(STEPS, 0), logs
    assert set(re.findall(r"s ([\w-]+): needs a GPU", summary)) == GPU_STEPS
    rows = [json.loads(line) for line in (tmp_path / "out" / "results.jsonl").read_text().splitlines()]
    assert not [row for row in rows if row.get("outcome") == "FAILED" or "failed" in row or row.get("rc")], logs
    assert "resumed at step" in logs
