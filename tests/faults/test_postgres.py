"""PostgreSQL stopped and started, connections cut, hosts that begin together: a real server, real processes."""

import os
import subprocess
import sys
import threading
import time
from collections import Counter
from uuid import uuid4

import pytest
from optuna import load_study

from batchlab.config.schema import REPOSITORY
from batchlab.search.storage import open_storage
from batchlab.search.study import TrialState

pytestmark = pytest.mark.slow
NUM_SLOTS = 60
HOST = """
import sys, time
from pathlib import Path
from batchlab.search.finalize import JobOutcome, finalize
from batchlab.search.stale_trials import own_lease
from batchlab.search.settings import Settings
from batchlab.search.trial_queue import TrialQueue
from batchlab.search.storage import open_storage
from batchlab.search.study import check_fingerprint, open_study
from optuna.samplers import RandomSampler

address, mlruns, num_slots, space = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
settings = Settings("test", ("x",), ("minimize",), address, mlruns, num_slots, None, 0, 1, 0.5, {}, None, True, (), {},
                    None)
study = open_study(settings, open_storage(mlruns, address), {"x": space})
print("opened", *check_fingerprint(study, {"x": space}), flush=True)
while not (Path(mlruns).parent / "go").exists():
    time.sleep(0.01)
slots = TrialQueue(study, settings, own_lease(), [])
with slots.held():
    while trial := slots.claim(lambda slot, attempt: RandomSampler(seed=slot)):
        value = trial.suggest_float("x", 0, 1)
        trial.set_user_attr("pid", own_lease().pid)
        slots.learn(trial, [value])
        finalize(study, trial._trial_id, JobOutcome("returned", values=[value]))
"""


@pytest.fixture
def database(postgres):
    """(server, name of a new database, its address)."""
    name = f"test_{uuid4().hex[:8]}"
    return postgres, name, postgres.database(name)


def hosts(address, folder, count, spaces=None):
    """Processes that share nothing but the server, as on several machines: each has a folder of its own.

    They begin with trials when all have opened the study; returned with what each said of it.
    """
    spaces = spaces or ["a"] * count
    names = [[str(folder / f"host{place}"), str(NUM_SLOTS), spaces[place]] for place in range(count)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    processes = [subprocess.Popen([sys.executable, "-c", HOST, address, *each], env=environment, **pipes)
                 for each in names]  # fmt: skip
    said = [process.stdout.readline().strip() for process in processes]
    (folder / "go").touch()
    return processes, said


def ended(processes):
    outputs = [process.communicate(timeout=200) for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), outputs
    return outputs


def check_slots(address, folder):
    trials = load_study(study_name="test", storage=open_storage(str(folder), address)).trials
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * NUM_SLOTS
    assert Counter(trial.user_attrs["slot"] for trial in trials) == Counter(range(NUM_SLOTS))
    assert all(trial.values == [trial.params["x"]] for trial in trials)
    assert all(trial.user_attrs["pid"] == trial.user_attrs["lease"]["pid"] for trial in trials)
    return trials


def wait_for_trials(server, name, count):
    until = time.monotonic() + 100
    while True:
        [(exists,)] = server.ask("SELECT to_regclass('trials') IS NOT NULL", database=name)
        done = server.ask("SELECT count(*) FROM trials WHERE state = 'COMPLETE'", database=name)[0][0] if exists else 0
        if done >= count:
            return
        assert time.monotonic() < until, "nothing happened"
        time.sleep(0.02)


def test_hosts_that_begin_together_make_one_study_and_do_each_slot_once(database, tmp_path):
    _, _, address = database
    processes, said = hosts(address, tmp_path, 3)
    ended(processes)
    assert said == ["opened"] * 3
    trials = check_slots(address, tmp_path)
    assert len({trial.user_attrs["pid"] for trial in trials}) > 1


def test_a_server_that_is_stopped_and_started_costs_no_trial(database, tmp_path):
    server, name, address = database
    processes, _ = hosts(address, tmp_path, 3)
    for count in (10, 35):
        wait_for_trials(server, name, count)
        server.stop()
        time.sleep(1.5)
        server.start()
    said = "".join(err for _, err in ended(processes))
    check_slots(address, tmp_path)
    masked = f"postgresql+psycopg://batchlab:***@127.0.0.1:{server.port}/{name}"
    assert f"{masked} is away, waiting up to 120 s: " in said
    assert f"{masked} is back after " in said
    assert "open-sesame" not in said
    assert "Traceback" not in said


def test_connections_that_are_cut_cost_no_trial(database, tmp_path):
    server, name, address = database
    (processes, _), num_cut, over = hosts(address, tmp_path, 2), [], threading.Event()

    def cut() -> None:
        while not over.wait(0.5):
            num_cut.append(server.cut(name))

    wait_for_trials(server, name, 5)
    cutter = threading.Thread(target=cut)
    cutter.start()
    try:
        said = "".join(err for _, err in ended(processes))
    finally:
        over.set()
        cutter.join()
    check_slots(address, tmp_path)
    assert sum(num_cut) > 3
    assert "Traceback" not in said


def test_of_two_spaces_under_one_name_the_second_is_refused_with_the_difference(database, tmp_path):
    _, _, address = database
    processes, said = hosts(address, tmp_path, 2, spaces=["16 to 64", "16 to 128"])
    ended(processes)
    refused = sorted(said)
    assert refused[0] == "opened"
    assert refused[1].startswith("opened x=16 to ")
    assert "the study test was begun with 16 to " in refused[1]


def test_a_search_of_another_space_under_the_same_name_is_refused(database, type_command):
    _, _, address = database
    typed = [
        "search=joint",
        "study=spaces",
        "measure=none",
        "epochs=1",
        "lr=0.1",
        "num_threads=1",
        f"hydra.sweeper.storage={address}",
    ]
    first = type_command(*typed, "batch_size=64,128", "hydra.sweeper.n_trials=1")
    assert first.returncode == 0, first.stdout + first.stderr
    second = type_command(*typed, "batch_size=64,256", "hydra.sweeper.n_trials=2")
    assert second.returncode == 2
    assert "batch_size=64, 256: the study spaces was begun with 64, 128" in second.stderr
    assert "open-sesame" not in first.stdout + first.stderr + second.stderr


def test_an_address_that_does_not_answer_is_refused_at_once(database, type_command):
    server, name, _ = database
    config_error = server.address(name, password="wrong-sesame")
    done = type_command("search=joint", f"hydra.sweeper.storage={config_error}")
    assert done.returncode == 2
    assert "password authentication failed" in done.stderr
    assert "wrong-sesame" not in done.stdout + done.stderr


@pytest.mark.long
def test_a_study_survives_killed_workers_a_killed_supervisor_restarts_and_cuts(tmp_path):
    """The short form of `make chaos`, which checks the end and says what is wrong."""
    script, typed = REPOSITORY / "scripts" / "bench" / "chaos.py", ["num_trials=16", "restarts=1", "away=3"]
    command = [sys.executable, str(script), *typed, "every=1,2", "kills=1", "write=false"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    for what in ("workers killed", "supervisors killed", "restarts of PostgreSQL", "connections cut"):
        assert what in done.stdout
