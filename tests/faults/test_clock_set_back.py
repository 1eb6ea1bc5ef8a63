"""The host's clock set back, between commands and in the middle of one; its monotonic clock goes on, as in life."""

import shutil
from pathlib import Path

import pytest

from tests.faults.processes import QUICK, check_study, ended, num_values, runs_of, start, trials_of, wait_until

SEARCH = ("search=joint", *QUICK[:2], "study=clock", "epochs=tag(log,int(interval(5,20)))")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("faketime") is None, reason="Debian's package faketime sets a process's clock"),
]


@pytest.fixture
def clock(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A file that says how far the clock is off, and the environment of a process that goes by it."""
    [library] = Path("/usr/lib").glob("*/faketime/libfaketime.so.1")
    offset = tmp_path / "offset"
    offset.write_text("+0")
    environment = {"LD_PRELOAD": str(library), "FAKETIME_TIMESTAMP_FILE": str(offset), "FAKETIME_NO_CACHE": "1"}
    return offset, environment | {"FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1"}


def check_times(folder: Path) -> None:
    for run in runs_of(folder, "clock"):
        assert run.info.start_time <= run.info.end_time
        assert run.data.metrics.get("cost/train_seconds", 0.0) >= 0.0


def test_a_clock_that_is_set_back_in_a_run_leaves_its_times_in_order(tmp_path, clock):
    offset, environment = clock
    process = start(tmp_path, *QUICK, "study=clock", "budget=seconds", "budget.seconds=8", **environment)
    wait_until(lambda: num_values(tmp_path) > 100, process)
    offset.write_text("-1d")
    output = ended(process)
    [run] = runs_of(tmp_path, "clock")
    assert (run.info.status, run.data.metrics["cost/train_seconds"]) == ("FINISHED", pytest.approx(8.0, rel=0.2))
    check_times(tmp_path)
    assert "val accuracy" in output


def test_a_search_goes_on_under_an_earlier_clock(tmp_path, clock):
    offset, environment = clock
    ended(start(tmp_path, *SEARCH, "hydra.sweeper.n_trials=4", **environment))
    offset.write_text("-1d")
    output = ended(start(tmp_path, *SEARCH, "hydra.sweeper.n_trials=8", **environment))
    check_study(tmp_path, "clock", 8)
    check_times(tmp_path)
    assert "Report: " in output


@pytest.mark.long
def test_a_clock_that_is_set_back_does_not_lengthen_a_searchs_timeout(tmp_path, clock):
    offset, environment = clock
    typed = (
        *SEARCH[:4],
        "epochs=2000",
        "batch_size=32,64,128",
        "hydra.sweeper.n_trials=500",
        "hydra.sweeper.timeout=8",
    )
    process = start(tmp_path, *typed, **environment)
    wait_until(lambda: any(trial.state.name == "RUNNING" for trial in trials_of(tmp_path, "clock")), process)
    offset.write_text("-1d")
    ended(process)  # within five minutes, and not in a day
    assert not [trial for trial in trials_of(tmp_path, "clock") if trial.state.name == "RUNNING"]
    check_times(tmp_path)
