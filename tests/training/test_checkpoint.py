"""Resume inside a run: the same run to the last bit, and every fault of its file in one line."""

import os
import pickle
import resource
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from batchlab.config.identity import config_key
from batchlab.training.build import Built, build
from batchlab.training.checkpoint import FORMAT, folder_of, key_of, remove_stale

EVERY_STEP = "checkpoint.every_seconds=1e-9"
TIMED = ("seconds", "cost/examples_per_second", "cost/peak_memory_bytes")
SHORT = ("batch_size=128", "budget=steps", "budget.num_steps=12", "measure=none")


def checkpoints(config) -> list[str]:
    return sorted(path.name for path in folder_of(config.mlruns).iterdir())


def test_no_checkpoint_is_written_before_its_time(config_of, train_resumable, facts_of):
    config = config_of(*SHORT, "checkpoint.every_seconds=1000")
    train_resumable(config, stop_at=8)
    assert checkpoints(config) == []
    off = config_of(*SHORT, f"mlruns={config.mlruns}-off")
    train_resumable(off, stop_at=8)
    assert not folder_of(off.mlruns).exists()


def test_a_checkpoint_is_of_one_run(config_of):
    overrides = [[], ["lr=0.1"], ["data.split_seed=1"], ["measure=none"]]
    keys = [key_of(build(config_of(*each), seed=0)) for each in overrides] + [key_of(build(config_of(), seed=1))]
    assert len(set(keys)) == 5
    assert key_of(build(config_of(EVERY_STEP, "study=other"), seed=0)) == keys[0]


def test_checkpoints_change_no_identity(config_of):
    assert config_key(config_of(EVERY_STEP)) == config_key(config_of())
    assert config_key(config_of()) == "4b09793bdbc5"  # as it was before there were checkpoints


class Harmful:
    """Pickled it is a command."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def content(path: Path) -> dict[str, Any]:
    return torch.load(path, weights_only=True)


def flip_a_bit(path: Path) -> None:
    """In the middle of the largest tensor."""
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda each: each.file_size)
        place = largest.header_offset + largest.file_size // 2
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(bytes(data))


def other_shape(path: Path) -> None:
    whole = content(path)
    whole["states"]["weights"]["own"]["1.weight"] = torch.zeros(3, 3)
    torch.save(whole, path)


SPOILED = {
    "empty": (lambda path: path.write_bytes(b""), "not a zip file"),
    "cut short": (lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]), "not a zip file"),
    "no torch file": (lambda path: path.write_bytes(os.urandom(5000)), "not a zip file"),
    "a pickle that runs a command": (lambda path: path.write_bytes(pickle.dumps(Harmful(path.parent / "harm"))), "zip"),
    "a torch file that runs a command": (
        lambda path: torch.save({"format": FORMAT, "x": Harmful(path.parent / "harm")}, path),
        "more than numbers and text",
    ),
    "another program's": (lambda path: torch.save(nn.Linear(2, 2).state_dict(), path), "no checkpoint of batchlab"),
    "another zip file": (lambda path: zipfile.ZipFile(path, "w").close(), ""),
    "of another format": (lambda path: torch.save(content(path) | {"format": 99}, path), "format is 99"),
    "of another run": (lambda path: torch.save(content(path) | {"key": "x"}, path), "of another run"),
    "of another model": (other_shape, "size mismatch for 1.weight"),
    "without states": (lambda path: torch.save(content(path) | {"states": {}}, path), "KeyError"),
    "with a flipped bit": (flip_a_bit, "is damaged"),
}


@pytest.mark.parametrize("fault", SPOILED)
def test_a_file_that_is_no_checkpoint_is_put_aside_and_the_run_begins_anew(config_of, train_resumable, facts_of, fault):
    spoil, why = SPOILED[fault]
    config = config_of(*SHORT, EVERY_STEP)
    train_resumable(config, stop_at=8)
    [path] = folder_of(config.mlruns).glob("*.pt")
    spoil(path)
    points, result, said = train_resumable(config)
    assert len(said) == 1
    assert said[0].startswith("its checkpoint cannot be used (")
    assert why in said[0]
    assert "\n" not in said[0]
    assert f"the file is now {path}.damaged" in said[0]
    assert checkpoints(config) == [f"{path.name}.damaged"]
    assert facts_of(points, result) == facts_of(*train_resumable(config_of(*SHORT))[:2])


def test_a_write_that_breaks_off_leaves_the_earlier_checkpoint_whole(config_of, train_resumable, facts_of):
    config = config_of(*SHORT, EVERY_STEP)
    train_resumable(config, stop_at=5)
    [path] = folder_of(config.mlruns).glob("*.pt")
    before, (_, hard) = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, hard))
    try:
        points, result, said = train_resumable(config, stop_at=10)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert said[1:] == [
        "its checkpoint could not be written (File too large); the run goes on; the one at step 4 (33% of its budget) "
        "stays",
        "its checkpoint, at step 4 (33% of its budget), is kept; the same command goes on from there",
    ]
    assert path.read_bytes() == before
    assert [name for name in checkpoints(config) if name.endswith(".part")] == []
    points, result, _ = train_resumable(config)
    assert facts_of(points, result) == facts_of(*train_resumable(config_of(*SHORT))[:2])


def test_a_state_that_cannot_be_read_again_is_not_written(config_of, train_resumable, facts_of):
    def odd(built: Built) -> Built:
        parameter = next(built.train_step.model.parameters())
        built.train_step.optimizer.state[parameter]["odd"] = {1, 2}
        return built

    _, result, said = train_resumable(config_of(*SHORT, EVERY_STEP), change=odd)
    assert said == ["its checkpoint could not be written (a state holds a set); the run goes on"]
    assert result.outcome == "done"


HOLDING = (
    "import fcntl, sys; f = open(sys.argv[1], 'a'); fcntl.lockf(f, fcntl.LOCK_EX); print('held', flush=True); input()"
)


def holder(path: Path) -> subprocess.Popen[str]:
    """Another process that has the lock of a checkpoint."""
    command = [sys.executable, "-c", HOLDING, str(path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_two_processes_never_use_one_checkpoint(config_of, train_resumable, facts_of):
    config = config_of(*SHORT, EVERY_STEP)
    train_resumable(config, stop_at=8)
    [path] = folder_of(config.mlruns).glob("*.pt")
    before = path.read_bytes()
    with holder(path.with_suffix(".lock")) as process:
        points, result, said = train_resumable(config)
        process.kill()
    assert said == ["begins anew and keeps no checkpoint (another process trains the same run and has its checkpoint)"]
    assert path.read_bytes() == before
    assert facts_of(points, result) == facts_of(*train_resumable(config_of(*SHORT))[:2])
    assert train_resumable(config)[2][0].startswith("resumed at step 7")


def test_a_folder_that_cannot_be_made_costs_the_checkpoints_only(config_of, train_resumable, tmp_path):
    (tmp_path / "mlruns").mkdir()
    (tmp_path / "mlruns" / "checkpoints").write_text("a file")
    _, result, said = train_resumable(config_of(*SHORT, EVERY_STEP))
    assert len(said) == 1
    assert said[0].startswith(f"begins anew and keeps no checkpoint ({tmp_path / 'mlruns' / 'checkpoints'}: ")
    assert result.outcome == "done"


def test_stale_checkpoints_of_a_study_are_removed_and_no_others(tmp_path):
    folder = folder_of(str(tmp_path))
    folder.mkdir()
    owners = {"mine": "study", "held": "study", "other": "another", "single": ""}
    for name, owner in owners.items():
        (folder / f"{name}.lock").write_text(owner)
        (folder / f"{name}.pt").write_text("")
    with holder(folder / "held.lock") as process:
        assert remove_stale(str(tmp_path), "study") == 1
        process.kill()
    assert {path.stem for path in folder.iterdir()} == {"held", "other", "single"}
    assert remove_stale(str(tmp_path / "nowhere"), "study") == 0
