"""Who has the host: real processes, one of them killed; no clock decides anything."""

import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from batchlab.system.host_lock import LOCKS, host_alone, host_shared, lock_folder

NOTE = """
import os, sys, time
from pathlib import Path
from batchlab.system.host_lock import host_alone, host_shared
log = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
def note(text): os.write(log, (text + "\\n").encode())
"""
TRAINS = """
for _ in range(30):
    with host_shared():
        note("+train"); time.sleep(0.002); note("-train")
"""
MEASURES = """
for _ in range(5):
    with host_alone() as is_alone:
        assert is_alone
        note("+measure"); time.sleep(0.002); note("-measure")
"""
TRAINS_ONCE_UNTIL_MEASURED = """
with host_shared() as place:
    while "measure" not in Path(sys.argv[1]).read_text():
        note("train")
        time.sleep(0.005)
        place.give_way()
    assert place.num_here() >= 1
"""
TRAINS_UNTIL_MEASURED = """
while "measure" not in Path(sys.argv[1]).read_text():
    with host_shared():
        note("train")
        time.sleep(0.005)
"""
STAYS = """
with host_shared():
    print("here", flush=True)
    time.sleep(600)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv(LOCKS, str(tmp_path / "locks"))
    return tmp_path / "locks"


@pytest.fixture
def process():
    """A function: what a process does after the notes' beginning, its log -> the process; none outlives the test."""
    running = []

    def start(does: str, log: Path) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", NOTE + does, str(log)]
        running.append(subprocess.Popen(command, text=True, stdout=subprocess.PIPE))
        return running[-1]

    yield start
    for each in running:
        each.kill()
        each.wait()


def test_trainings_share_the_host_and_a_measurement_has_it_alone(process, tmp_path):
    log = tmp_path / "log"
    processes = [process(does, log) for does in (TRAINS, TRAINS, TRAINS, MEASURES, MEASURES)]
    assert [each.wait(timeout=60) for each in processes] == [0] * 5
    num_training, is_measuring, most = 0, False, 0
    for line in log.read_text().split():
        if line.endswith("train"):
            num_training += 1 if line[0] == "+" else -1
            most = max(most, num_training)
        else:
            is_measuring = line[0] == "+"
        assert not (is_measuring and num_training)
    assert log.read_text().count("+measure") == 10
    assert most > 1


@pytest.mark.parametrize("trains", [TRAINS_UNTIL_MEASURED, TRAINS_ONCE_UNTIL_MEASURED])
def test_neither_one_long_training_nor_many_short_ones_keep_a_measurement_out(process, tmp_path, trains):
    log = tmp_path / "log"
    log.touch()
    trainings = [process(trains, log) for _ in range(3)]
    while log.read_text().count("train") < 10:
        time.sleep(0.01)
    process("with host_alone():\n    note('measure')", log)
    assert [each.wait(timeout=60) for each in trainings] == [0] * 3


def test_every_training_is_counted_and_a_killed_one_is_gone(process, tmp_path):
    others = [process(STAYS, tmp_path / "log") for _ in range(2)]
    assert [each.stdout.readline() for each in others] == ["here\n"] * 2
    with host_shared() as place:
        assert place.num_here() == 3
        os.kill(others[0].pid, signal.SIGKILL)
        others[0].wait()
        assert place.num_here() == 2
    others[1].kill()
    others[1].wait()
    with host_alone() as is_alone:  # waits for nobody
        assert is_alone
    with host_shared() as place:
        assert place.num_here() == 1


def test_locks_that_another_user_made_are_taken_as_well(folder):
    with host_shared():
        pass
    assert os.stat(folder).st_mode & 0o1777 == 0o1777
    for path in folder.iterdir():
        path.chmod(0o444)  # all that another user may do with them is to read
    with host_shared() as place:
        assert place.num_here() == 1
    with host_alone() as is_alone:
        assert is_alone


def test_where_no_lock_can_be_made_training_goes_on_and_nothing_is_claimed(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv(LOCKS, str(tmp_path / "file" / "locks"))
    with host_shared() as place:
        assert math.isnan(place.num_here())
    with host_alone() as is_alone:
        assert not is_alone


def test_a_folder_of_locks_that_is_removed_ends_no_training(folder):
    with host_shared() as place:
        shutil.rmtree(folder)
        place.give_way()
        assert math.isnan(place.num_here())


def test_the_locks_of_a_host_are_not_in_a_jobs_own_temporary_folder(monkeypatch, tmp_path):
    monkeypatch.delenv(LOCKS)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    made = []
    monkeypatch.setattr(Path, "is_dir", lambda path: made.append(path) or True)
    assert tmp_path not in lock_folder().parents
    assert made


def test_a_measurement_on_one_gpu_lets_the_others_train(monkeypatch, tmp_path):
    monkeypatch.setenv(LOCKS, str(tmp_path))
    with host_shared(["gpu-a"]) as share, host_alone("gpu-b") as is_alone, host_shared() as beside:
        assert is_alone
        assert (share.num_here(), beside.num_here()) == (1, 1)
    with host_shared(["gpu-a", "gpu-b"]) as first, host_shared(["gpu-b"]):
        assert first.num_here() == 2
